/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/blockers.h"

#include <errno.h>
#include <sched.h>

#include "checkpoint/policy.h"
#include "checkpoint/unsaved.h"

/* The first release whose restore finds the table again that the dump locked the network with: before,
 * the table comes back with the namespace, under a name the restore does not look for, and the
 * connections stay mute. Seen with 3.17.1. */
#define CRIU_LIFTS_NFTABLES_LOCK 40100

static int check_tool(const struct state *s, const struct oci_spec *spec,
                      const struct checkpoint_options *o, const struct criu_tool *tool,
                      struct error *e)
{
    /* CRIU makes the processes in the new user namespace first: its root may not read the images, and may
     * not mount a cgroup2 whose namespace it does not own. */
    if (spec->new_namespaces & CLONE_NEWUSER)
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "checkpoint container", s->id,
                         "run it without a user namespace where it is to be checkpointed",
                         "it has a user namespace of its own, which could not be restored");
    if (o->tcp_established && criu_version_number(&tool->version) < CRIU_LIFTS_NFTABLES_LOCK)
        return error_set(e, ERROR_CRIU, EOPNOTSUPP, "keep TCP connections with", tool->path,
                         "install CRIU 4.1 or newer (scripts/install-criu)",
                         "a restore by CRIU %u.%u would leave them locked", tool->version.major,
                         tool->version.minor);
    return policy_check_dump(s->cgroup_path, criu_version_number(&tool->version), e);
}

int blockers_check(const struct state *s, const struct oci_spec *spec,
                   const struct checkpoint_options *o, const struct criu_tool *tool,
                   const struct stdio_info *stdio, struct error *e)
{
    int r = check_tool(s, spec, o, tool, e);
    if (r < 0)
        return r;
    r = unsaved_check(s->cgroup_path, e);
    if (r < 0)
        return r;
    if (stdio_has_tty(stdio) && !o->shell_job)
        return error_set(e, ERROR_CHECKPOINT, EINVAL, "checkpoint container", s->id,
                         "pass --shell-job, and restore it from a terminal",
                         "its standard input or output is a terminal of the host");
    return 0;
}
