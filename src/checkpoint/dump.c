/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "checkpoint/blockers.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/criu/criu.h"
#include "checkpoint/layout.h"
#include "checkpoint/network.h"
#include "checkpoint/private.h"
#include "checkpoint/progress.h"
#include "checkpoint/record.h"
#include "checkpoint/tool.h"
#include "checkpoint/work.h"
#include "process/bundle.h"
#include "process/guardian.h"
#include "sys/netns.h"
#include "sys/process.h"

#define DUMP_LOG "dump.log"
#define FREEZE_TIMEOUT_MS 10000
/* A guardian waits this long for CRIU to put the container back together. */
#define GUARDIAN_TIMEOUT_MS 120000
/* Deleted files that are still open are copied into the checkpoint up to this size; CRIU's own
 * limit, 1 MiB, is a leftover from when that was much. */
#define GHOST_LIMIT (1u << 30)

struct dump {
    const struct checkpoint_options *o;
    const struct store *store;
    struct state *s;
    struct oci_spec *spec;
    struct rootfs_plan plan;
    struct criu_search search;
    struct criu_tool tool;
    struct private_mounts mounts;
    struct checkpoint_layout layout;
    struct checkpoint_work work;
    struct checkpoint_record record;
    struct checkpoint_metadata metadata;
    struct rootfs_external *externals;
    size_t n_externals;
    char *joined_network; /* CRIU's key for a network namespace that is another's, or NULL */
    struct seal_key key;
    struct criu_swrk swrk;
    struct guardian guardian;
    enum checkpoint_progress progress;
    bool seal, frozen;
    bool was_paused; /* and is to be so afterwards */
};

static void dump_done(struct dump *d)
{
    criu_search_done(&d->search);
    criu_swrk_done(&d->swrk);
    guardian_dismiss(&d->guardian);
    seal_key_done(&d->key);
    rootfs_externals_free(d->externals, d->n_externals);
    free(d->joined_network);
    checkpoint_metadata_done(&d->metadata);
    checkpoint_record_done(&d->record);
    work_done(&d->work);
    layout_done(&d->layout);
    private_mounts_done(&d->mounts);
    criu_tool_done(&d->tool);
    rootfs_plan_done(&d->plan);
    oci_spec_free(d->spec);
    state_free(d->s);
}

/* ---- before anything is touched ---- */

/* B1, C5. */
static int check_status(struct dump *d, struct error *e)
{
    enum state_status status = container_status(d->store, d->s);

    /* Engines pause a container before they checkpoint it, and find it paused afterwards
     * (containerd, CRI-O); a person who paused it may have forgotten. */
    d->was_paused = status == STATE_PAUSED && !d->o->own_form;
    if (status != STATE_RUNNING && !d->was_paused)
        return error_set(e, ERROR_WRONG_STATUS, EINVAL, "checkpoint container", d->s->id,
                         status == STATE_PAUSED    ? "resume it first"
                         : status == STATE_CREATED ? "start it first"
                                                   : NULL,
                         "cannot checkpoint a container that is %s", state_status_name(status));
    if (!d->s->bundle_path || !d->s->cgroup_path)
        return error_set(e, ERROR_STATE, EINVAL, "checkpoint container", d->s->id, NULL,
                         "its record has no bundle or no cgroup");
    return 0;
}

static int find_externals(struct dump *d, struct error *e)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/root", (int)d->s->pid);
    _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(e, -errno, "open root of container", d->s->id);
    return rootfs_externals(&d->plan, root, &d->externals, &d->n_externals, e);
}

static int inspect_stdio(struct dump *d, struct error *e)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = cgroup_pids(d->s->cgroup_path, &pids, &n, e);

    return r < 0 ? r : stdio_inspect(d->s->pid, pids, n, &d->record.stdio, e);
}

static int name_joined_network(struct dump *d, struct error *e)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/net", (int)d->s->pid);
    struct stat st;

    if (stat(path, &st) < 0)
        return error_errno(e, -errno, "look at network namespace of container", d->s->id);
    d->record.joined_network = true;
    d->joined_network =
        str_printf("net[%llu]:" CHECKPOINT_NETNS_KEY, (unsigned long long)st.st_ino);
    return 0;
}

/* An interface that somebody outside put into the container's network namespace is his to put there
 * again (C17): CRIU then leaves the namespace's contents alone on both sides. */
static int look_at_network(struct dump *d, struct error *e)
{
    /* One that was joined is its owner's with all that is in it: CRIU neither saves nor makes it,
     * and the restored container joins whatever the bundle names then. */
    if (d->spec->joined_namespaces & CLONE_NEWNET)
        return name_joined_network(d, e);
    if (!(d->spec->new_namespaces & CLONE_NEWNET))
        return 0;
    int r = sys_netns_has_foreign_link(d->s->pid, &d->record.empty_network);
    if (r < 0)
        return error_errno(e, r, "look at network interfaces of container", d->s->id);
    /* Not with TCP to keep: CRIU's lock is a part of the namespace then. */
    if (!d->record.empty_network && !d->o->tcp_established)
        d->record.empty_network = network_is_as_new(d->s->cgroup_path, d->s->pid);
    return 0;
}

static void fill_record(struct dump *d)
{
    d->record.tcp_established = d->o->tcp_established;
    d->record.ext_unix_sk = d->o->ext_unix_sk;
    d->record.shell_job = d->o->shell_job;
    d->record.file_locks = d->o->file_locks;
    d->record.terminal = d->spec->process->terminal;
    d->record.namespaces = d->spec->new_namespaces;
    d->record.criu_version = criu_version_number(&d->tool.version);
    for (size_t i = 0; i < d->n_externals; i++)
        strv_push(&d->record.external_mounts, mem_strdup(d->externals[i].dest));
}

static int fill_metadata(struct dump *d, struct error *e)
{
    struct cgroup_limits limits;

    checkpoint_metadata_init(&d->metadata);
    d->metadata.container_id = mem_strdup(d->s->id);
    d->metadata.container_name = mem_strdup(d->s->name);
    d->metadata.original_pid = d->s->pid;
    d->metadata.command = strv_dup(d->s->command);
    d->metadata.using_gvisor = d->s->using_gvisor;
    d->metadata.rootless = d->s->rootless;
    d->metadata.cgroup_path = mem_strdup(d->s->cgroup_path);
    cgroup_limits_init(&limits);
    int r = cgroup_read_limits(d->s->cgroup_path, &limits, e);
    if (r < 0)
        return r;
    checkpoint_metadata_take_limits(&d->metadata, &limits);
    return 0;
}

static int inspect(struct dump *d, struct error *e)
{
    int r = container_load_spec(d->store, d->s, &d->spec, e);
    if (r == 0)
        r = rootfs_plan_make(d->spec, d->s->bundle_path, &d->plan, e);
    d->plan.cgroup_path = d->s->cgroup_path;
    if (r == 0)
        r = find_externals(d, e);
    if (r == 0)
        r = inspect_stdio(d, e);
    if (r == 0)
        r = look_at_network(d, e);
    return r < 0 ? r : fill_metadata(d, e);
}

static int prepare_seal(struct dump *d, struct error *e)
{
    struct seal_env env;

    d->seal = d->o->own_form || d->o->seal;
    if (!d->seal)
        return 0;
    seal_env_from_process(&env);
    int r = seal_key_load(&env, true, &d->key, e);
    return r < 0 ? r : seal_prepare(e);
}

/* The CRIU that is asked what it can do is the one that dumps. */
static int start_criu(const char *binary, void *arg, struct criu_swrk *ret, struct error *e)
{
    struct dump *d = arg;

    private_mounts_done(&d->mounts);
    int r = private_mounts_make(d->store->dirfd, &d->mounts, e);
    if (r < 0)
        return r;
    struct criu_spawn how = {
        .binary = binary,
        .cgroup_fd = -EBADF,
        .private_mounts = true,
        .setup = private_mounts_setup,
        .setup_arg = &d->mounts,
    };
    /* Images hold the memory of the container: only their owner may read them. */
    mode_t mask = umask(0077);
    r = criu_spawn(&how, false, ret, e);
    (void)umask(mask);
    return r;
}

/* CRIU starts and looks at the kernel while the container is looked at. */
static int prepare(struct dump *d, struct error *e)
{
    int r = check_status(d, e);
    if (r < 0)
        return r;
    r = checkpoint_check_privileges(e);
    if (r < 0)
        return r;
    struct criu_find_env env;
    criu_find_env_from_process(&env, d->o->criu);
    env.start = start_criu;
    env.start_arg = d;
    criu_search_start(&env, &d->search);
    r = inspect(d, e);
    if (r == 0)
        r = prepare_seal(d, e);
    if (r == 0)
        r = criu_search_finish(&d->search, &d->tool, &d->swrk, e);
    if (r < 0)
        return r;
    private_mounts_save_cache(&d->mounts);
    r = blockers_check(d->s, d->spec, d->o, &d->tool, &d->record.stdio, e);
    if (r < 0)
        return r;
    fill_record(d);
    return 0;
}

/* What CRIU writes while and after it answers (log, statistics) must not change a sealed tree. */
static int check_work_path(const struct dump *d, struct error *e)
{
    _cleanup_free_ char *dir = realpath(d->layout.dir, NULL);

    if (d->seal && dir && path_is_below(d->work.dir, dir))
        return error_set(e, ERROR_USAGE, EINVAL, "use work directory", d->work.dir,
                         "choose one outside the checkpoint",
                         "it lies inside the checkpoint that is to be sealed");
    return 0;
}

static int make_directories(struct dump *d, struct error *e)
{
    const char *work_path = d->o->work_path;

    int r = layout_make(d->o->dir, d->o->own_form, &d->layout, e);
    if (r < 0)
        return r;
    /* As runc has it: without a work path the log lies beside the images. */
    if (!work_path && !d->seal)
        work_path = d->layout.dir;
    r = work_make(d->store, d->s->id, d->s->id, work_path, &d->work, e);
    if (r == 0)
        r = check_work_path(d, e);
    return r;
}

/* ---- while it is frozen ---- */

/* When this process is killed in the middle: CRIU notices (its socket is closed), lets go of the
 * container and ends; what remains is the freeze, and images nobody finished. */
static void undo_dump(void *arg, bool committed)
{
    struct dump *d = arg;

    /* The guardian's copy of our end would keep CRIU from noticing. */
    d->swrk.sk = fd_close(d->swrk.sk);
    if (sys_pidfd_wait(d->swrk.pidfd, GUARDIAN_TIMEOUT_MS) < 0)
        (void)sys_pidfd_send_signal(d->swrk.pidfd, SIGKILL);
    if (!committed)
        layout_discard(&d->layout);
    if (!d->was_paused)
        (void)cgroup_freeze(d->s->cgroup_path, false, FREEZE_TIMEOUT_MS, NULL);
    work_done(&d->work);
}

static int write_seal(struct dump *d, bool sync, struct error *e)
{
    struct seal_info info;
    int r = seal_write(d->layout.dir_fd, d->layout.dir, &d->key, sync, &info, e);
    if (r < 0)
        return r;
    log_debug("sealed %llu files, %llu bytes", (unsigned long long)info.files,
              (unsigned long long)info.bytes);
    return 0;
}

/* The container is frozen, its images are complete. A yes lets CRIU end it (or go on), a no brings
 * it back: so everything that has to be on disk before the container may die is written here, the
 * seal included. One that runs on anyway is not kept waiting for the seal. */
static int commit(struct dump *d, struct error *e)
{
    int r;

    d->metadata.checkpoint_at = (uint64_t)time(NULL);
    r = stdio_refresh_offsets(d->s->pid, &d->record.stdio, e);
    if (r == 0)
        r = checkpoint_record_save(&d->record, d->layout.images_fd, e);
    if (r == 0)
        r = checkpoint_metadata_save(d->layout.dir_fd, d->layout.dir, &d->metadata, e);
    if (r == 0 && d->seal && !d->o->leave_running)
        r = write_seal(d, true, e);
    if (r == 0 && !(d->seal && d->o->leave_running))
        guardian_commit(&d->guardian);
    return r;
}

static int on_notify(const char *script, pid_t pid, int fd, void *arg, struct error *e)
{
    struct dump *d = arg;

    (void)pid;
    fd_close(fd);
    return streq(script, "post-dump") ? commit(d, e) : 0;
}

/* Since it was looked at, it may have ended, and its pid be another's (S4). What is frozen now
 * stays as it is, but for a SIGKILL. */
static int check_process(struct dump *d, struct error *e)
{
    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};

    state_live(d->s, -EBADF, &live);
    if (live.running)
        return 0;
    return error_set(e, ERROR_WRONG_STATUS, ESRCH, "checkpoint container", d->s->id, NULL,
                     "its first process ended meanwhile");
}

/* Locking keeps segments from getting lost or refused while a connection is half gone, or half
 * back: also in a network namespace with nothing but lo, where all who could send are frozen, for
 * data that was written but not yet sent goes out while CRIU restores one end, before the other
 * exists (EPIPE, soccr/soccr.c). Without TCP to keep there is nothing to lose, and a lock in the
 * host's own namespace would stay there until the container is restored. */
static int run_criu(struct dump *d, struct error *e)
{
    _cleanup_strv_ char **external = stdio_external_keys(&d->record.stdio);
    _cleanup_free_ struct criu_pair *mounts =
        mem_new(struct criu_pair, d->n_externals ? d->n_externals : 1);
    if (d->joined_network)
        strv_push(&external, mem_strdup(d->joined_network));
    struct criu_options options = {
        .images_dir_fd = d->layout.images_fd,
        .work_dir_fd = d->work.fd,
        .log_file = DUMP_LOG,
        .pid = d->s->pid,
        .root = d->plan.root,
        .leave_running = d->o->leave_running,
        .tcp_established = d->o->tcp_established,
        .ext_unix_sk = d->o->ext_unix_sk,
        .shell_job = d->o->shell_job,
        .file_locks = d->o->file_locks,
        .orphan_pts_master = true,
        .freeze_cgroup = d->s->cgroup_path,
        .ext_mounts = mounts,
        .n_ext_mounts = d->n_externals,
        .external = external,
        .ghost_limit = GHOST_LIMIT,
        .network_lock = checkpoint_network_lock(&d->tool, d->o->tcp_established),
        .has_empty_ns = d->record.empty_network,
        .empty_ns = CLONE_NEWNET,
    };

    for (size_t i = 0; i < d->n_externals; i++)
        mounts[i] = (struct criu_pair){d->externals[i].dest, d->externals[i].dest};

    int r = guardian_start(&d->guardian, undo_dump, d, e);
    if (r < 0)
        return r;
    d->frozen = true;
    r = cgroup_freeze(d->s->cgroup_path, true, FREEZE_TIMEOUT_MS, e);
    if (r == 0)
        r = check_process(d, e);
    if (r < 0)
        return r;
    return criu_dump(&d->swrk, &options, d->work.dir, on_notify, d, e);
}

/* ---- afterwards ---- */

/* What was paused stays so, as long as there is something to pause. */
static int thaw(struct dump *d, bool ended, struct error *e)
{
    bool stays = d->was_paused && !ended;

    if (!d->frozen || stays)
        return 0;
    d->frozen = false;
    return cgroup_freeze(d->s->cgroup_path, false, FREEZE_TIMEOUT_MS, e);
}

/* CRIU has killed the container's processes; its record says so, and its cgroup is not needed. */
static int mark_stopped(struct dump *d, struct error *e)
{
    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};

    state_live(d->s, -EBADF, &live);
    if (live.running)
        (void)sys_pidfd_wait(live.pidfd, CONTAINER_KILL_TIMEOUT_MS);
    d->s->status = STATE_STOPPED;
    d->s->pid = 0;
    d->s->start_ticks = 0;
    int r = store_save(d->store, d->s, e);
    return r < 0 ? r : container_cgroup_remove(d->s->cgroup_path, d->s->systemd_unit, e);
}

static void roll_back(struct dump *d, struct error *e)
{
    struct error late = {0};

    criu_swrk_done(&d->swrk);
    if (thaw(d, false, &late) < 0) {
        _cleanup_free_ char *text = error_render(&late);
        log_warning("%s", text);
    }
    error_done(&late);
    work_keep_log(&d->work, DUMP_LOG, e);
    layout_discard(&d->layout);
    if (d->progress == CHECKPOINT_DUMPING)
        (void)progress_step(&d->progress, CHECKPOINT_NONE, NULL);
}

static int finish(struct dump *d, struct error *e)
{
    int r = progress_step(&d->progress, CHECKPOINT_DUMPED, e);
    if (r == 0)
        r = thaw(d, !d->o->leave_running, e);
    if (r == 0 && d->seal && d->o->leave_running) {
        r = write_seal(d, false, e);
        if (r < 0)
            layout_discard(&d->layout);
    }
    guardian_dismiss(&d->guardian);
    if (r == 0 && !d->o->leave_running)
        r = mark_stopped(d, e);
    return r;
}

int checkpoint_dump(const struct store *store, const struct checkpoint_options *o, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_(dump_done) struct dump d = {
        .o = o,
        .store = store,
        .plan = {.root_fd = -EBADF},
        .mounts = {.run_fd = -EBADF, .root_tree = -EBADF},
        .layout = {.dir_fd = -EBADF, .images_fd = -EBADF},
        .work = {.fd = -EBADF},
        .guardian = {.pipe_fd = -EBADF},
    };
    int r = container_open(store, o->ref, &lock, &d.s, e);
    if (r < 0)
        return r;
    r = prepare(&d, e);
    if (r < 0)
        return r;
    r = make_directories(&d, e);
    if (r == 0)
        r = progress_step(&d.progress, CHECKPOINT_DUMPING, e);
    if (r == 0)
        r = stdio_save_descriptors(&d.record.stdio, d.layout.images_fd, e);
    if (r == 0)
        r = checkpoint_record_save(&d.record, d.layout.images_fd, e);
    if (r == 0)
        r = run_criu(&d, e);
    if (r < 0) {
        roll_back(&d, e);
        return r;
    }
    return finish(&d, e);
}
