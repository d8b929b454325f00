/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cgroup/resources.h"
#include "checkpoint/policy.h"
#include "checkpoint/timers.h"
#include "process/console.h"
#include "sys/netns.h"
#include "sys/process.h"

#define RESTORE_LOG "restore.log"
#define REAP_MS 100

static void restore_done(struct restore *r)
{
    criu_swrk_done(&r->swrk);
    guardian_dismiss(&r->guardian);
    container_process_done(&r->process);
    state_free(r->state);
    work_done(&r->work);
    container_cgroup_done(&r->cgroup);
    namespaces_done(&r->joined);
    stdio_handover_done(&r->handover);
    private_mounts_done(&r->private);
    criu_tool_done(&r->tool);
    for (size_t i = 0; i < r->n_mounts; i++) {
        free(r->mounts[i].key);
        free(r->mounts[i].value);
    }
    free(r->mounts);
    rootfs_externals_free(r->externals, r->n_externals);
    rootfs_plan_done(&r->plan);
    bundle_config_done(&r->config);
    free(r->id);
    free(r->name);
    free(r->bundle);
    checkpoint_record_done(&r->record);
    checkpoint_metadata_done(&r->metadata);
    layout_done(&r->layout);
}

/* ---- what is made, and taken back on failure ---- */

/* CRIU moves the old root away to a tmpfs it mounts on /tmp of the new one, or else to a directory
 * it makes there (criu/mount.c, cr_pivot_root), which a read-only root does not let it. So a root
 * without /tmp gets one for as long as CRIU works. */
static int lend_tmp(struct restore *r, struct error *e)
{
    if (!r->plan.readonly)
        return 0;
    r->tmp_made = mkdirat(r->plan.root_fd, "tmp", 0755) == 0;
    if (!r->tmp_made && errno != EEXIST)
        return error_set(e, ERROR_CHECKPOINT, errno, "make /tmp for CRIU in", r->plan.root,
                         "make that directory by hand", NULL);
    return 0;
}

static void take_back_tmp(struct restore *r)
{
    if (r->tmp_made)
        (void)unlinkat(r->plan.root_fd, "tmp", AT_REMOVEDIR);
    r->tmp_made = false;
}

/* What systemd was told when it made the scope it would write again at its next reload. */
static int tell_systemd(struct restore *r, struct error *e)
{
    _cleanup_systemd_properties_ struct cgroup_systemd_properties properties = {0};
    _cleanup_writes_ struct cgroup_writes limits = {0};

    cgroup_plan_limits(&r->metadata.limits, &limits);
    int ret = cgroup_systemd_add_limits(&properties, &limits, r->cgroup.path, e);
    if (ret < 0 || properties.n == 0)
        return ret;
    return cgroup_systemd_set(r->cgroup.unit.name, container_systemd_is_users(), &properties, e);
}

/* The bundle's limits, then those of the moment of the checkpoint (`update` may have changed them),
 * C13. */
static int make_cgroup(struct restore *r, struct error *e)
{
    int ret = container_cgroup_make(&r->cgroup, r->spec, r->id, e);

    if (ret < 0)
        return ret;
    free(r->state->cgroup_path);
    r->state->cgroup_path = mem_strdup(r->cgroup.path);
    r->plan.cgroup_path = r->cgroup.path;
    if (ret == 0)
        ret = cgroup_apply_resources(&r->cgroup.host, r->cgroup.path, &r->spec->resources, e);
    if (ret == 0 && r->has_metadata && r->metadata.has_limits && r->cgroup.systemd)
        ret = tell_systemd(r, e);
    if (ret == 0 && r->has_metadata && r->metadata.has_limits)
        ret = cgroup_write_limits(&r->cgroup.host, r->cgroup.path, &r->metadata.limits, e);
    return ret;
}

static int prepare(struct restore *r, struct error *e)
{
    int ret = stdio_hand_over(&r->record.stdio, r->sealed, &r->handover, e);
    if (ret < 0)
        return ret;
    r->state = container_new_record(r->id, r->name, r->bundle, r->spec, r->cgroup.path);
    if (r->has_metadata) {
        uint64_t millicores;
        r->state->using_gvisor = r->metadata.using_gvisor;
        if (r->metadata.has_limits && r->metadata.limits.memory_bytes != CGROUP_NO_LIMIT) {
            r->state->has_memory_limit = true;
            r->state->memory_limit = r->metadata.limits.memory_bytes;
        }
        if (r->metadata.has_limits && checkpoint_cpu_millicores(&r->metadata.limits, &millicores)) {
            r->state->has_cpu_limit = true;
            r->state->cpu_limit = millicores;
        }
    }
    if (r->cgroup.systemd)
        r->state->systemd_unit = mem_strdup(r->cgroup.unit.name);
    ret = store_save(r->store, r->state, e);
    if (ret < 0)
        return ret;
    r->state_saved = true;
    ret = store_save_config(r->store, r->id, r->config.text, r->config.len, e);
    if (ret == 0)
        ret = make_cgroup(r, e);
    if (ret < 0)
        return ret;
    ret = work_make(r->store, r->id, r->has_metadata ? r->metadata.container_id : r->id,
                    r->o->work_path                 ? r->o->work_path
                    : !r->o->own_form && !r->sealed ? r->layout.dir
                                                    : NULL,
                    &r->work, e);
    if (ret < 0)
        return ret;
    return lend_tmp(r, e);
}

/* Everything that runs in the cgroup, CRIU included, goes, then what was made for it. */
static void remove_remains(struct restore *r)
{
    if (r->pid_file_made)
        (void)unlink(r->o->pid_file);
    container_cgroup_undo(&r->cgroup);
    take_back_tmp(r);
    if (r->state_saved)
        (void)store_remove(r->store, r->id, NULL);
}

static void undo_restore(void *arg, bool committed)
{
    struct restore *r = arg;

    if (committed)
        return;
    remove_remains(r);
    work_done(&r->work);
}

/* What CRIU had brought back were this process's children, and are dead now or about to be. Others
 * may be its children too, from before it was nucleus (`sleep 60 & exec nucleus restore`), so there
 * is an end to the waiting. */
static void reap(void)
{
    for (int idle = 0; idle < REAP_MS;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno != EINTR)
            return;
        if (pid == 0) {
            (void)poll(NULL, 0, 1);
            idle++;
        }
    }
}

static void roll_back(struct restore *r, struct error *e)
{
    criu_swrk_done(&r->swrk);
    work_keep_log(&r->work, RESTORE_LOG, e);
    remove_remains(r);
    guardian_dismiss(&r->guardian);
    reap();
    if (r->progress == CHECKPOINT_RESTORING)
        (void)progress_step(&r->progress, CHECKPOINT_NONE, NULL);
}

static int take_terminal(struct restore *r, int fd, struct error *e)
{
    if (!r->spec->process->terminal) {
        fd_close(fd);
        return 0;
    }
    if (r->o->console_socket) {
        int ret = console_send(r->o->console_socket, fd, e);
        fd_close(fd);
        return ret;
    }
    fd_close(r->process.console_fd);
    r->process.console_fd = fd;
    return 0;
}

/* Everything is back but still stopped: the last moment at which it can be undone as a whole. */
static int take_process(struct restore *r, pid_t pid, struct error *e)
{
    siginfo_t si;

    /* It becomes this process's child (rst_sibling); any other would be somebody else's process. */
    if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
        return error_set(e, ERROR_CRIU, errno, "take restored process of container", r->id, NULL,
                         "CRIU named process %d, which is no child of this one", (int)pid);
    r->process.pid = pid;
    r->process.pidfd = sys_pidfd_open(pid);
    if (r->process.pidfd < 0)
        return error_errno(e, r->process.pidfd, "hold restored process", r->id);
    r->state->pid = pid;
    r->state->start_ticks = sys_start_ticks(-EBADF, pid, NULL);
    if (r->state->start_ticks == 0)
        return error_set(e, ERROR_SYSTEM, ESRCH, "read start time of restored process", r->id, NULL,
                         NULL);
    int ret = timers_rearm(r->cgroup.path, e);
    if (ret < 0)
        return ret;
    r->state->status = STATE_RUNNING;
    ret = store_save(r->store, r->state, e);
    if (ret == 0 && r->o->pid_file) {
        ret = container_write_pid_file(r->o->pid_file, pid, e);
        r->pid_file_made = ret == 0;
    }
    return ret;
}

/* The namespaces exist, no socket does yet: connections over lo must find it up. */
static int set_up_network(struct restore *r, pid_t pid, struct error *e)
{
    if (!r->record.empty_network || !(r->spec->new_namespaces & CLONE_NEWNET))
        return 0;
    int ret = sys_netns_loopback_up(pid);
    if (ret < 0)
        return error_errno(e, ret, "bring up lo of container", r->id);
    return 0;
}

/* Credentials come back last (CR_STATE_RESTORE_CREDS, behind post-restore), so this is the first
 * moment to judge them, and CRIU does not take a no any more: what may not go on is killed here,
 * while it is still stopped, and CRIU with it. */
static int judge(struct restore *r, struct error *e)
{
    int ret = policy_check(r->cgroup.path, r->process.pid, r->swrk.pid, r->spec, e);

    /* Not earlier: CRIU, in the cgroup too, opens more than a container may. */
    if (ret == 0)
        ret = container_cgroup_limit_devices(&r->cgroup, r->spec, e);
    if (ret < 0)
        (void)cgroup_kill(r->cgroup.path, CONTAINER_KILL_TIMEOUT_MS, NULL);
    return ret;
}

static int on_notify(const char *script, pid_t pid, int fd, void *arg, struct error *e)
{
    struct restore *r = arg;

    if (streq(script, "orphan-pts-master") && fd >= 0)
        return take_terminal(r, fd, e);
    fd_close(fd);
    if (streq(script, "setup-namespaces"))
        return set_up_network(r, pid, e);
    if (streq(script, "post-restore"))
        return take_process(r, pid, e);
    return streq(script, "pre-resume") ? judge(r, e) : 0;
}

/* What CRIU gets besides its request: the descriptors it restores by. */
struct inheritance {
    struct restore *restore;
    struct criu_inherit list[ARRAY_SIZE(((struct stdio_handover *)0)->item) + 1];
    int fds[ARRAY_SIZE(((struct stdio_handover *)0)->item) + 1];
    size_t n;
};

static void inherit(struct inheritance *i, const char *key, int fd)
{
    i->fds[i->n] = fd;
    i->list[i->n] = (struct criu_inherit){key, 4 + (int)i->n};
    i->n++;
}

/* Each candidate starts where the container is to be, for it makes the container's processes. */
static int start_criu(const char *binary, void *arg, struct criu_swrk *swrk, struct error *e)
{
    const struct inheritance *i = arg;
    struct restore *r = i->restore;

    private_mounts_done(&r->private);
    int ret = private_mounts_make(r->store->dirfd, &r->private, e);
    if (ret == 0)
        ret = private_mounts_add_root(&r->private, r->plan.root_fd, r->work.root, e);
    if (ret < 0)
        return ret;
    struct criu_spawn how = {
        .binary = binary,
        .cgroup_fd = r->cgroup.fd,
        .new_cgroup_ns = r->spec->new_namespaces & CLONE_NEWCGROUP,
        .private_mounts = true,
        .setup = private_mounts_setup,
        .setup_arg = &r->private,
        .inherit_fds = i->fds,
        .n_inherit = i->n,
    };
    return criu_spawn(&how, false, swrk, e);
}

/* The CRIU that is asked what it is, is the one that restores. */
static int find_criu(struct restore *r, struct inheritance *i, struct error *e)
{
    _cleanup_criu_search_ struct criu_search search = {0};
    struct criu_find_env env;

    criu_find_env_from_process(&env, r->o->criu);
    env.start = start_criu;
    env.start_arg = i;
    criu_search_start(&env, &search);
    int ret = criu_search_finish(&search, &r->tool, &r->swrk, e);
    if (ret < 0)
        return ret;
    private_mounts_save_cache(&r->private);
    if (criu_version_number(&r->tool.version) < r->record.criu_version)
        return error_set(e, ERROR_CRIU, EINVAL, "restore with", r->tool.path,
                         "install the version that made the checkpoint, or a newer one",
                         "it is older (%u) than the CRIU that made the checkpoint (%u)",
                         criu_version_number(&r->tool.version), r->record.criu_version);
    return 0;
}

static int run_criu(struct restore *r, struct error *e)
{
    struct inheritance inherited = {.restore = r};
    pid_t pid;

    for (size_t i = 0; i < r->handover.n; i++)
        inherit(&inherited, r->handover.item[i].key, r->handover.item[i].fd);
    if (r->joined.flags & CLONE_NEWNET)
        inherit(&inherited, CHECKPOINT_NETNS_KEY, r->joined.fd[OCI_NS_NETWORK]);
    /* Before CRIU exists: from here on, whatever kills this process, the guardian takes it back. */
    int ret = guardian_start(&r->guardian, undo_restore, r, e);
    if (ret == 0)
        ret = find_criu(r, &inherited, e);
    container_cgroup_settled(&r->cgroup);
    if (ret < 0)
        return ret;
    struct criu_options options = {
        .images_dir_fd = r->layout.images_fd,
        .work_dir_fd = r->work.fd,
        .log_file = RESTORE_LOG,
        .root = r->work.root,
        .tcp_established = r->o->tcp_established || r->record.tcp_established,
        .ext_unix_sk = r->o->ext_unix_sk || r->record.ext_unix_sk,
        .shell_job = r->o->shell_job || r->record.shell_job,
        .file_locks = r->o->file_locks || r->record.file_locks,
        .orphan_pts_master = true,
        .rst_sibling = true,
        /* The images say what was locked; CRIU goes by them. */
        .network_lock = checkpoint_network_lock(&r->tool, false),
        .has_empty_ns = r->record.empty_network,
        .empty_ns = CLONE_NEWNET,
        .ext_mounts = r->mounts,
        .n_ext_mounts = r->n_mounts,
        .inherit = inherited.list,
        .n_inherit = inherited.n,
    };
    ret = criu_restore(&r->swrk, &options, r->work.dir, on_notify, r, &pid, e);
    if (ret == 0 && r->process.pid <= 0)
        ret = take_process(r, pid, e);
    return ret;
}

static int check_id_free(struct restore *r, struct error *e)
{
    _cleanup_state_ struct state *there = NULL;
    struct error absent = {0};
    int ret = store_load(r->store, r->id, &there, &absent);
    bool is_free = ret < 0 && absent.code == ERROR_NOT_FOUND;

    error_done(&absent);
    if (is_free)
        return 0;
    return error_set(e, ERROR_EXISTS, EEXIST, "restore container", r->id,
                     "choose another id, or delete that one first",
                     "container with given ID already exists");
}

int checkpoint_restore(const struct store *store, const struct restore_options *o, char **ret_id,
                       struct container_process *ret, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_(restore_done) struct restore r = {
        .o = o,
        .store = store,
        .layout = {.dir_fd = -EBADF, .images_fd = -EBADF},
        .plan = {.root_fd = -EBADF},
        .private = {.run_fd = -EBADF, .root_tree = -EBADF},
        .cgroup = CONTAINER_CGROUP_NONE,
        .joined = NAMESPACE_SET_EMPTY,
        .work = {.fd = -EBADF},
        .guardian = {.pipe_fd = -EBADF},
        .process = {.pidfd = -EBADF, .console_fd = -EBADF},
    };
    int v = restore_read(&r, e);
    if (v == 0)
        v = restore_choose_identity(&r, e);
    if (v == 0)
        v = state_lock(store, r.id, false, &lock, e);
    if (v == 0)
        v = check_id_free(&r, e);
    if (v == 0)
        v = restore_plan_bundle(&r, e);
    if (v == 0)
        v = checkpoint_check_privileges(e);
    if (v < 0)
        return v;

    v = progress_step(&r.progress, CHECKPOINT_RESTORING, e);
    if (v == 0)
        v = prepare(&r, e);
    if (v == 0)
        v = run_criu(&r, e);
    if (v == 0)
        v = progress_step(&r.progress, CHECKPOINT_RESTORED, e);
    if (v < 0) {
        roll_back(&r, e);
        return v;
    }
    take_back_tmp(&r);
    guardian_commit(&r.guardian);
    log_debug("container '%s': restored as process %d", r.id, (int)r.process.pid);
    *ret_id = TAKE_PTR(r.id);
    *ret = r.process;
    r.process = (struct container_process){.pidfd = -EBADF, .console_fd = -EBADF};
    return 0;
}
