/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/container-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cgroup/devices.h"
#include "cgroup/resources.h"
#include "process/container.h"
#include "process/idmap.h"
#include "sys/process.h"

void container_cgroup_done(struct container_cgroup *c)
{
    container_cgroup_settled(c);
    cgroup_host_done(&c->host);
    cgroup_systemd_unit_done(&c->unit);
    free(c->path);
    c->path = NULL;
    c->fd = fd_close(c->fd);
}

bool container_systemd_is_users(void)
{
    return geteuid() != 0 || !sys_in_initial_user_namespace();
}

int container_cgroup_plan(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                          enum cgroup_need need, bool systemd, struct error *e)
{
    c->unlimited_caller = !container_systemd_is_users();
    c->may_go_without =
        need == CGROUP_NEED_NONE || (need == CGROUP_NEED_AUTO && !c->unlimited_caller);
    int r = cgroup_host_find(&c->host, e);
    if (r < 0)
        return r;
    c->systemd = systemd;
    if (systemd)
        return cgroup_systemd_unit_parse(spec->cgroups_path, id, !c->unlimited_caller, &c->unit, e);
    return cgroup_choose_path(&c->host, spec->cgroups_path, id, &c->path, e);
}

/* The devices of the spec are not counted: who may not make a cgroup may open no more than the
 * kernel lets a user namespace anyway. */
static bool wants_limits(const struct oci_spec *spec)
{
    const struct oci_resources *r = &spec->resources;
    _cleanup_(cgroup_writes_done) struct cgroup_writes writes = {0};

    if (cgroup_plan_resources(r, &writes, NULL) < 0)
        return true;
    for (size_t i = 0; i < writes.n; i++)
        if (!writes.list[i].optional)
            return true;
    return false;
}

static bool not_allowed(int r)
{
    return r == -EACCES || r == -EPERM || r == -EROFS;
}

/* It ends with this process, or with all else that is killed in there. */
static int make_stand_in(struct container_cgroup *c, pid_t *ret, struct error *e)
{
    pid_t parent = getpid(), pid = sys_clone3(0, -EBADF, &c->stand_in);

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
        sys_reset_signals();
        (void)syscall(SYS_close_range, 0, ~0U, 0);
        for (;;)
            (void)pause();
    }
    if (pid < 0)
        return error_errno(e, (int)pid, "make a process for the scope", NULL);
    *ret = pid;
    return 0;
}

void container_cgroup_settled(struct container_cgroup *c)
{
    siginfo_t si;

    if (c->stand_in < 0)
        return;
    (void)sys_pidfd_send_signal(c->stand_in, SIGKILL);
    while (waitid(P_PIDFD, (id_t)c->stand_in, &si, WEXITED) < 0 && errno == EINTR)
        ;
    c->stand_in = fd_close(c->stand_in);
}

static int make_scope(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                      struct error *e)
{
    pid_t pid = 0;

    if (!c->unlimited_caller)
        return 0;
    int r = make_stand_in(c, &pid, e);
    return r < 0 ? r : container_cgroup_start(c, spec, id, pid, e);
}

int container_cgroup_make(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                          struct error *e)
{
    if (c->systemd)
        return make_scope(c, spec, id, e);

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
    log_warning(
        "the container runs without a cgroup of its own, and can't be paused or checkpointed: %s",
        text);
    error_done(&why);
    free(c->path);
    c->path = NULL;
    return 0;
}

static int plan_properties(const struct oci_spec *spec, struct cgroup_systemd_properties *p,
                           struct error *e)
{
    _cleanup_writes_ struct cgroup_writes limits = {0};
    int r = cgroup_plan_resources(&spec->resources, &limits, e);

    if (r == 0)
        r = cgroup_systemd_add_limits(p, &limits, NULL, e);
    return r < 0 ? r : cgroup_systemd_add_annotations(p, spec->annotations, spec->n_annotations, e);
}

int container_cgroup_start(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                           pid_t pid, struct error *e)
{
    _cleanup_systemd_properties_ struct cgroup_systemd_properties properties = {0};
    int r = plan_properties(spec, &properties, e);

    if (r < 0)
        return r;
    r = cgroup_systemd_start(&c->host, &c->unit, id, pid, &properties, &c->path, e);
    /* Also where it fails half-way there may be a scope; but not another's. */
    c->made = r != -EEXIST;
    if (r < 0)
        return r;
    c->fd = open(c->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (c->fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "open the cgroup that systemd made", c->path, NULL,
                         NULL);
    return 0;
}

/* A container that can write to its /sys/fs/cgroup is to own what it writes to. */
static int delegate(const struct container_cgroup *c, const struct oci_spec *spec, struct error *e)
{
    bool writable = false;

    for (size_t i = 0; i < spec->n_mounts; i++) {
        const struct oci_mount *m = &spec->mounts[i];
        if (m->type && (streq(m->type, "cgroup") || streq(m->type, "cgroup2")))
            writable = !strv_contains(m->options, "ro");
    }
    if (!writable || !(spec->new_namespaces & CLONE_NEWUSER))
        return 0;
    uint32_t uid, gid;
    if (!idmap_to_host(spec->uid_maps, spec->n_uid_maps, 0, &uid) ||
        !idmap_to_host(spec->gid_maps, spec->n_gid_maps, 0, &gid))
        return 0;
    return cgroup_delegate(c->fd, uid, gid, e);
}

int container_cgroup_limit_devices(const struct container_cgroup *c, const struct oci_spec *spec,
                                   struct error *e)
{
    if (!c->path || !c->unlimited_caller)
        return 0;
    return cgroup_set_devices(c->fd, c->path, spec->resources.devices, spec->resources.n_devices,
                              e);
}

int container_cgroup_limit(struct container_cgroup *c, const struct oci_spec *spec, struct error *e)
{
    if (!c->path)
        return 0;
    int r = cgroup_apply_resources(&c->host, c->path, &spec->resources, e);
    return r < 0 ? r : delegate(c, spec, e);
}

void container_cgroup_undo(struct container_cgroup *c)
{
    if (c->made)
        (void)container_cgroup_remove(c->path, c->systemd ? c->unit.name : NULL, NULL);
    c->made = false;
}

int container_cgroup_remove(const char *path, const char *systemd_unit, struct error *e)
{
    struct cgroup_host host = {0};

    /* As a rule all has ended. */
    if (path && !systemd_unit && cgroup_remove_empty(path) == 0)
        return 0;
    int r = path ? cgroup_kill(path, CONTAINER_KILL_TIMEOUT_MS, e) : 0;

    if (r == 0 && systemd_unit)
        r = cgroup_systemd_stop(systemd_unit, container_systemd_is_users(), e);
    if (r < 0 || !path)
        return r;
    r = cgroup_host_find(&host, e);
    if (r == 0)
        r = cgroup_remove(&host, path, true, CONTAINER_KILL_TIMEOUT_MS, e);
    cgroup_host_done(&host);
    return r;
}
