/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/blockers.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cgroup/cgroup.h"
#include "checkpoint/policy.h"
#include "checkpoint/unsaved.h"
#include "sys/process.h"

/* The first release whose restore finds the table again that the dump locked the network with:
 * before, the table comes back with the namespace, under a name the restore does not look for, and
 * the connections stay mute. Seen with 3.17.1. */
#define CRIU_LIFTS_NFTABLES_LOCK 40100

static pid_t parent_of(pid_t pid)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/status", (int)pid), *text = NULL;
    int parent = 0;

    if (file_read_at(AT_FDCWD, path, 0, 65536, &text, NULL) < 0)
        return 0;
    const char *line = strstr(text, "\nPPid:");
    return line && sscanf(line, "\nPPid: %d", &parent) == 1 ? parent : 0;
}

/* CRIU saves the tree below the first process. What `exec` put beside it has its parent outside, as
 * has what lost its parent where there is no pid namespace: it would be left out in silence. */
static int check_tree(const struct state *s, struct error *e)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = cgroup_pids(s->cgroup_path, &pids, &n, e);

    for (size_t i = 0; r == 0 && i < n; i++) {
        pid_t at = pids[i];
        while (at > 1 && at != s->pid)
            at = parent_of(at);
        /* Gone meanwhile: 0. */
        if (at == s->pid || sys_start_ticks(-EBADF, pids[i], NULL) == 0)
            continue;
        _cleanup_free_ char *what = str_printf("process %d", (int)pids[i]);
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "checkpoint", what,
                         "wait for it to end, or end it",
                         "it was added to container '%s' by exec, or lost its parent, and is no "
                         "descendant of the first process", s->id);
    }
    return r;
}

static int check_tool(const struct state *s, const struct oci_spec *spec,
                      const struct checkpoint_options *o, const struct criu_tool *tool,
                      struct error *e)
{
    /* CRIU makes the processes in the new user namespace first: its root may not read the images,
     * and may not mount a cgroup2 whose namespace it does not own. */
    if (spec->new_namespaces & CLONE_NEWUSER)
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "checkpoint container", s->id,
                         "run it without a user namespace where it is to be checkpointed",
                         "it has a user namespace of its own, which could not be restored");
    for (int t = 0; t < _OCI_NS_MAX; t++)
        if (spec->namespace_paths[t] && t != OCI_NS_NETWORK)
            return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "checkpoint container", s->id,
                             "run it with namespaces of its own where it is to be checkpointed",
                             "it shares its namespace of type %s, and would come back with a copy",
                             oci_namespace_name((enum oci_namespace_type)t));
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
    r = check_tree(s, e);
    if (r == 0)
        r = unsaved_check(s->cgroup_path, e);
    if (r < 0)
        return r;
    if (stdio_has_tty(stdio) && !o->shell_job)
        return error_set(e, ERROR_CHECKPOINT, EINVAL, "checkpoint container", s->id,
                         "pass --shell-job, and restore it from a terminal",
                         "its standard input or output is a terminal of the host");
    return 0;
}
