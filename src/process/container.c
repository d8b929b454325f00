/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "process/bundle.h"
#include "process/channel.h"
#include "process/hooks.h"
#include "process/leftovers.h"
#include "process/rdt.h"
#include "sys/process.h"

/* cpu.max where nobody says otherwise (Documentation/admin-guide/cgroup-v2.rst). */
#define CPU_PERIOD_US 100000

int container_write_pid_file(const char *path, pid_t pid, struct error *e)
{
    _cleanup_free_ char *temp = str_printf("%s.%d.tmp", path, (int)getpid());
    _cleanup_free_ char *text = str_printf("%d", (int)pid);
    _cleanup_close_ int fd =
        open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        if (fd >= 0)
            (void)unlink(temp);
        return error_set(e, ERROR_SYSTEM, -r, "write pid file", path, NULL, NULL);
    }
    return 0;
}

int container_check_terminal(bool terminal, const char *console_socket, bool detached,
                             struct error *e)
{
    if (console_socket && !terminal)
        return error_set(e, ERROR_USAGE, EINVAL, "use console socket", console_socket,
                         "set process.terminal in config.json, or leave --console-socket out",
                         "the container has no terminal");
    if (terminal && detached && !console_socket)
        return error_set(e, ERROR_USAGE, EINVAL, "create a terminal", NULL,
                         "pass --console-socket, or set process.terminal to false",
                         "cannot allocate tty if nucleus will detach without setting console "
                         "socket");
    return 0;
}

struct state *container_new_record(const char *id, const char *name, const char *bundle,
                                   const struct oci_spec *spec, const char *cgroup_path)
{
    const struct oci_process *p = spec->process;
    struct state *s = mem_new0(struct state);

    s->id = mem_strdup(id);
    s->name = mem_strdup(name);
    s->command = strv_dup(p->args);
    s->started_at = (uint64_t)time(NULL);
    s->rootless = geteuid() != 0;
    s->cgroup_path = mem_strdup(cgroup_path);
    s->creator_uid = geteuid();
    s->process_uid = p->uid;
    s->process_gid = p->gid;
    s->additional_gids =
        mem_dup(p->additional_gids, p->n_additional_gids * sizeof(*p->additional_gids));
    s->n_additional_gids = p->n_additional_gids;
    s->status = STATE_CREATING;
    const struct oci_resources *res = &spec->resources;
    s->has_memory_limit = res->memory.limit.set && res->memory.limit.value > 0;
    if (s->has_memory_limit)
        s->memory_limit = (uint64_t)res->memory.limit.value;
    s->has_cpu_limit = res->cpu.quota.set && res->cpu.quota.value > 0;
    if (s->has_cpu_limit)
        s->cpu_limit = num_mul_div((uint64_t)res->cpu.quota.value, 1000,
                                   res->cpu.period.set ? res->cpu.period.value : CPU_PERIOD_US);
    s->bundle_path = mem_strdup(bundle);
    for (size_t i = 0; i < spec->n_annotations; i++) {
        mem_grow(s->annotations, s->n_annotations);
        s->annotations[s->n_annotations++] = (struct state_annotation){
            .key = mem_strdup(spec->annotations[i].key),
            .value = mem_strdup(spec->annotations[i].value),
        };
    }
    return s;
}

static int open_by_id(const struct store *store, const char *id, struct state_lock *ret_lock,
                      struct state **ret, struct error *e)
{
    _cleanup_state_ struct state *s = NULL;
    struct state_lock lock;
    int r = state_lock(store, id, false, &lock, e);
    if (r < 0)
        return r;
    r = store_load(store, id, &s, e);
    if (r == 0)
        r = state_may_change(s, geteuid(), e);
    if (r < 0) {
        state_lock_done(&lock);
        return r;
    }
    *ret_lock = lock;
    *ret = TAKE_PTR(s);
    return 0;
}

int container_open(const struct store *store, const char *ref, struct state_lock *ret_lock,
                   struct state **ret, struct error *e)
{
    _cleanup_state_ struct state *found = NULL;
    int r = store_resolve(store, ref, &found, e);
    if (r == 0)
        r = state_may_change(found, geteuid(), e);
    if (r < 0)
        return r;
    /* It may change, or go, while this waits for the lock, and is loaded again. */
    return open_by_id(store, found->id, ret_lock, ret, e);
}

/* Its first process holds the reading end of its FIFO for as long as it waits for `start`, so a
 * missing FIFO, or one without a reader, means that a `start` got through and died before it could
 * say so. On success *ret_fd, where wanted, is the writing end. */
static bool waits_for_start(const struct store *store, const struct state *s, int *ret_fd)
{
    _cleanup_free_ char *fifo = state_fifo_name(s->id);
    int fd = openat(store->dirfd, fifo, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno != ENXIO && errno != ENOENT;
    if (ret_fd)
        *ret_fd = fd;
    else
        (void)close(fd);
    return true;
}

enum state_status container_status_locked(const struct store *store, const struct state *s)
{
    if (s->status == STATE_CREATING || s->status == STATE_STOPPED)
        return STATE_STOPPED;

    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};
    state_live(s, -EBADF, &live);
    if (!live.running)
        return STATE_STOPPED;
    /* One that waits for `start` can be paused too. */
    if (s->cgroup_path && cgroup_is_frozen(s->cgroup_path))
        return STATE_PAUSED;
    return s->status == STATE_CREATED && waits_for_start(store, s, NULL) ? STATE_CREATED
                                                                         : STATE_RUNNING;
}

enum state_status container_status(const struct store *store, const struct state *s)
{
    if (s->status == STATE_CREATING) {
        struct state_lock lock;
        if (state_lock(store, s->id, true, &lock, NULL) < 0)
            return STATE_CREATING;
        state_lock_done(&lock);
    }
    return container_status_locked(store, s);
}

int container_check_cgroup(const struct state *s, const char *step, struct error *e)
{
    if (s->cgroup_path)
        return 0;
    return error_set(e, ERROR_CGROUP, EOPNOTSUPP, step, s->id,
                     "see nucleus doctor for why none could be made",
                     "the container has no cgroup");
}

static int wrong_status(struct error *e, const char *step, const struct state *s,
                        enum state_status status, const char *remedy, const char *rule)
{
    return error_set(e, ERROR_WRONG_STATUS, EINVAL, step, s->id, remedy, "%s (it is %s)", rule,
                     state_status_name(status));
}

/* A regular file in a FIFO's place would take the word to start, or hold news, for nobody. */
static int check_fifo(int fd, const char *name, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        return 0;
    return error_set(e, ERROR_STATE, EINVAL, "open FIFO", name,
                     "delete the container: somebody has changed the state directory",
                     "something else is in its place");
}

/* Hooks lie on the way to execve, or behind it: *ret_fd is where the container's first process
 * tells of them, -EBADF where there are none. */
static int open_report(const struct store *store, const struct state *s, int *ret_fd,
                       struct error *e)
{
    _cleanup_free_ char *name = state_report_name(s->id);

    *ret_fd = openat(store->dirfd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 && errno != ENOENT)
        return error_set(e, ERROR_STATE, errno, "open FIFO", name, NULL, NULL);
    return *ret_fd < 0 ? 0 : check_fifo(*ret_fd, name, e);
}

/* Nobody deleted it, or made another one of its id, while no lock was held. */
static int check_same(const struct store *store, const struct state *s, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *now = NULL;
    int r = open_by_id(store, s->id, &lock, &now, e);

    if (r < 0 || (now->pid == s->pid && now->start_ticks == s->start_ticks))
        return r;
    return wrong_status(e, "start container", s, STATE_STOPPED, NULL, "container not running");
}

/* startContainer and poststart; when one fails the container is ended (runtime.md, "Lifecycle").
 * Without the lock: hooks may take as long as they like, may call nucleus themselves, and a
 * container that hangs in one must be killed all the same. */
static int finish_start(const struct store *store, const struct state *s,
                        const struct oci_spec *spec, int report_fd, int pidfd, struct error *e)
{
    const struct oci_hook_list *hooks = &spec->hooks[OCI_HOOK_POSTSTART];
    int r = channel_await_report(report_fd, s->id, e);

    if (r == 0)
        r = check_same(store, s, e);
    if (r == 0 && hooks->n > 0) {
        _cleanup_free_ char *state = state_render_oci(s, STATE_RUNNING);
        r = hooks_run(OCI_HOOK_POSTSTART, hooks, state, s->bundle_path ? s->bundle_path : "/", e);
    }
    if (r < 0)
        (void)sys_pidfd_send_signal(pidfd, SIGKILL);
    return r;
}

int container_start(const struct store *store, const char *ref, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    int r = container_open(store, ref, &lock, &s, e);
    if (r < 0)
        return r;

    enum state_status status = container_status_locked(store, s);
    if (status == STATE_STOPPED)
        return wrong_status(e, "start container", s, status, NULL,
                            "cannot start a container that has stopped");
    if (status == STATE_PAUSED)
        return wrong_status(e, "start container", s, status, "resume it first",
                            "cannot start a container in the paused state");
    if (status != STATE_CREATED)
        return wrong_status(e, "start container", s, status, NULL,
                            "cannot start an already running container");

    _cleanup_close_ int fd = -EBADF, report_fd = -EBADF;
    _cleanup_free_ char *fifo = state_fifo_name(s->id), *report = state_report_name(s->id);
    r = open_report(store, s, &report_fd, e);
    if (r < 0)
        return r;
    (void)waits_for_start(store, s, &fd);
    if (fd < 0)
        return error_set(e, ERROR_STATE, errno, "open FIFO", fifo, NULL, NULL);
    r = check_fifo(fd, fifo, e);
    if (r < 0)
        return r;
    if (write(fd, "S", 1) != 1)
        return error_set(e, ERROR_SYSTEM, errno, "let container run", s->id, NULL, NULL);
    (void)unlinkat(store->dirfd, fifo, 0);
    (void)unlinkat(store->dirfd, report, 0);

    s->status = STATE_RUNNING;
    s->started_at = (uint64_t)time(NULL);
    r = store_save(store, s, e);
    if (r < 0 || report_fd < 0)
        return r;
    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};
    _cleanup_spec_ struct oci_spec *spec = NULL;
    state_live(s, -EBADF, &live);
    r = container_load_spec(store, s, &spec, e);
    if (r < 0)
        return r;
    state_lock_done(&lock);
    return finish_start(store, s, spec, report_fd, live.pidfd, e);
}

/* Whether the cgroup of a container that has stopped is in use by another one by now: by one that
 * was restored, or made again, with the same linux.cgroupsPath. Who runs in there is not this
 * one's. */
static int cgroup_is_anothers(const struct store *store, const struct state *s, struct error *e)
{
    struct state **list;
    size_t n;
    bool found = false;

    if (!s->cgroup_path || !cgroup_is_populated(s->cgroup_path))
        return 0;
    int r = store_list(store, &list, &n, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && !found; i++)
        found = !streq(list[i]->id, s->id) && list[i]->cgroup_path &&
                path_is_below(list[i]->cgroup_path, s->cgroup_path) &&
                container_status(store, list[i]) != STATE_STOPPED;
    store_list_free(list, n);
    return found;
}

int container_kill(const struct store *store, const char *ref, int sig, bool all, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    int r = container_open(store, ref, &lock, &s, e);
    if (r < 0)
        return r;

    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};
    state_live(s, -EBADF, &live);
    bool running = live.running && s->status != STATE_STOPPED && s->status != STATE_CREATING;
    /* Without a pid namespace of its own a container can outlive its first process. */
    if (all && s->cgroup_path && (running || cgroup_is_populated(s->cgroup_path))) {
        r = running ? 0 : cgroup_is_anothers(store, s, e);
        if (r <= 0)
            return r < 0 ? r : cgroup_signal_all(s->cgroup_path, sig, e);
    }
    if (!running)
        return wrong_status(e, "signal container", s, STATE_STOPPED, NULL,
                            "container not running");
    r = sys_pidfd_send_signal(live.pidfd, sig);
    if (r == -ESRCH)
        return wrong_status(e, "signal container", s, STATE_STOPPED, NULL,
                            "container not running");
    if (r < 0)
        return error_errno(e, r, "signal container", s->id);
    return 0;
}

/* Ends what is left of a container and frees its cgroup. */
static int tear_down(const struct store *store, const struct state *s, struct error *e)
{
    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};
    state_live(s, -EBADF, &live);
    if (live.running) {
        int r = sys_pidfd_send_signal(live.pidfd, SIGKILL);
        if (r < 0 && r != -ESRCH)
            return error_errno(e, r, "kill container", s->id);
    }
    int anothers = live.running ? 0 : cgroup_is_anothers(store, s, e);
    if (anothers < 0)
        return anothers;
    if (!anothers) {
        int r = container_cgroup_remove(s->cgroup_path, s->systemd_unit, e);
        if (r < 0)
            return r;
    }
    /* The first process of a pid namespace ends last: not before those that `exec` added and whose
     * parents, outside, have not waited for them. Nothing of it runs any more once the cgroup is
     * gone. */
    if (live.running && s->cgroup_path && !anothers) {
        (void)sys_pidfd_wait(live.pidfd, CONTAINER_ZOMBIE_TIMEOUT_MS);
        return 0;
    }
    if (live.running && sys_pidfd_wait(live.pidfd, CONTAINER_KILL_TIMEOUT_MS) < 0)
        return error_set(e, ERROR_SYSTEM, ETIMEDOUT, "kill container", s->id,
                         "look for a process in uninterruptible sleep (state D)",
                         "process %d does not end", (int)s->pid);
    return 0;
}

/* The record, last, and what lies beside it. */
static int remove_files(const struct store *store, const char *id, struct error *e)
{
    leftovers_remove_work(store, id);
    leftovers_remove_logs(store, id);
    return store_remove(store, id, e);
}

/* Everything, once the processes are gone; then poststop hooks, by the config that goes with the
 * record. A config that can't be read any more keeps nobody from deleting. */
static int remove_all(const struct store *store, const struct state *s, struct error *e)
{
    static const char *const for_the_end[] = {"intelRdt", "poststop", NULL};
    _cleanup_spec_ struct oci_spec *spec = NULL;
    _cleanup_(error_done) struct error unreadable = {0};

    if (container_config_mentions(store, s, for_the_end) &&
        container_load_spec(store, s, &spec, &unreadable) < 0) {
        _cleanup_free_ char *why = error_render(&unreadable);
        log_debug("container '%s': no poststop hooks are run: %s", s->id, why);
    }
    int r = 0;
    if (spec && spec->intel_rdt)
        r = rdt_remove(spec->intel_rdt, s->id, RDT_ROOT, false, e);
    if (r == 0)
        r = remove_files(store, s->id, e);
    if (r < 0 || !spec || spec->hooks[OCI_HOOK_POSTSTOP].n == 0)
        return r;
    _cleanup_free_ char *state = state_render_oci(s, STATE_STOPPED);
    return hooks_run(OCI_HOOK_POSTSTOP, &spec->hooks[OCI_HOOK_POSTSTOP], state,
                     s->bundle_path ? s->bundle_path : "/", e);
}

/* Of a command that was killed before it had saved the record, or after it had removed it. Who
 * holds the lock is still at work, and takes care of them himself. */
static void remove_traces(const struct store *store, const char *id)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    struct error absent = {0};

    if (state_id_check(id, NULL) < 0 || state_lock(store, id, true, &lock, NULL) < 0)
        return;
    if (store_load(store, id, &s, &absent) < 0 && absent.code == ERROR_NOT_FOUND) {
        (void)remove_files(store, id, NULL);
    }
    error_done(&absent);
}

int container_delete(const struct store *store, const char *ref, bool force, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    struct error found = {0};
    int r = container_open(store, ref, &lock, &s, &found);
    /* An engine that cleans up `web`, which never came to be, does not mean `web-2`. */
    if (r == 0 && force && !streq(s->id, ref) && !streq_ptr(s->name, ref))
        return 0;
    if (r < 0) {
        bool absent = found.code == ERROR_NOT_FOUND;
        if (force && absent) {
            error_done(&found);
            remove_traces(store, ref);
            return 0;
        }
        error_move(e, &found);
        return r;
    }

    enum state_status status = container_status_locked(store, s);
    if (!force && (status == STATE_RUNNING || status == STATE_PAUSED))
        return wrong_status(e, "delete container", s, status,
                            "stop it first, or use delete --force",
                            "cannot delete a container that is not stopped");
    r = tear_down(store, s, e);
    if (r < 0)
        return r;
    return remove_all(store, s, e);
}

int container_finish(const struct store *store, const char *id, bool keep, struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    struct error found = {0};
    int r = open_by_id(store, id, &lock, &s, &found);
    if (r < 0) {
        /* Somebody was quicker to delete it. */
        bool absent = found.code == ERROR_NOT_FOUND;
        if (absent)
            error_done(&found);
        else
            error_move(e, &found);
        return absent ? 0 : r;
    }
    if (container_status_locked(store, s) != STATE_STOPPED)
        /* Deleted and made again under the same id meanwhile: not ours to touch. */
        return 0;
    r = tear_down(store, s, e);
    if (r < 0)
        return r;
    if (!keep)
        return remove_all(store, s, e);
    s->status = STATE_STOPPED;
    s->pid = 0;
    s->start_ticks = 0;
    return store_save(store, s, e);
}
