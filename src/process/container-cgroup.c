/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/container-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cgroup/devices.h"
#include "cgroup/resources.h"
#include "process/container.h"
#include "sys/process.h"

void container_cgroup_done(struct container_cgroup *c)
{
    cgroup_host_done(&c->host);
    free(c->path);
    c->path = NULL;
    c->fd = fd_close(c->fd);
}

int container_cgroup_plan(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                          enum cgroup_need need, struct error *e)
{
    c->unlimited_caller = geteuid() == 0 && sys_in_initial_user_namespace();
    c->may_go_without =
        need == CGROUP_NEED_NONE || (need == CGROUP_NEED_AUTO && !c->unlimited_caller);
    int r = cgroup_host_probe(AT_FDCWD, &c->host, e);
    if (r < 0)
        return r;
    return cgroup_choose_path(&c->host, spec->cgroups_path, id, &c->path, e);
}

/* The devices of the spec are not counted: who may not make a cgroup may open no more than the kernel lets
 * a user namespace anyway. */
static bool wants_limits(const struct oci_spec *spec)
{
    const struct oci_resources *r = &spec->resources;
    _cleanup_(cgroup_writes_done) struct cgroup_writes writes = {0};

    return cgroup_plan_resources(r, &writes, NULL) < 0 || writes.n > 0;
}

static bool not_allowed(int r)
{
    return r == -EACCES || r == -EPERM || r == -EROFS;
}

int container_cgroup_make(struct container_cgroup *c, const struct oci_spec *spec, struct error *e)
{
    struct error why = {0};
    int r = cgroup_create(&c->host, c->path, &c->fd, &why);

    c->made = r == 0;
    if (r == 0)
        return 0;
    if (!c->may_go_without || !not_allowed(r) || wants_limits(spec)) {
        error_move(e, &why);
        return r;
    }
    _cleanup_free_ char *text = error_render(&why);
    log_warning("the container runs without a cgroup of its own, and can't be paused or checkpointed: %s",
                text);
    error_done(&why);
    free(c->path);
    c->path = NULL;
    return 0;
}

int container_cgroup_limit_devices(const struct container_cgroup *c, const struct oci_spec *spec,
                                   struct error *e)
{
    if (!c->path || !c->unlimited_caller)
        return 0;
    return cgroup_set_devices(c->fd, c->path, spec->resources.devices, spec->resources.n_devices, e);
}

int container_cgroup_limit(struct container_cgroup *c, const struct oci_spec *spec, struct error *e)
{
    if (!c->path)
        return 0;
    int r = cgroup_apply_resources(&c->host, c->path, &spec->resources, e);
    return r < 0 ? r : container_cgroup_limit_devices(c, spec, e);
}

void container_cgroup_undo(struct container_cgroup *c)
{
    if (c->made)
        (void)cgroup_remove(&c->host, c->path, true, CONTAINER_KILL_TIMEOUT_MS, NULL);
    c->made = false;
}
