/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "cgroup/events.h"
#include "sys/fs.h"
#include "sys/process.h"

/* cgroup.procs of 4 Mi processes, the most a kernel can have. */
#define PROCS_MAX ((size_t)64 << 20)
/* A container that was given its cgroup can nest as deep as it likes. Reading stops with an error
 * here; removing goes on much further, since it holds one descriptor however deep it is. */
#define WALK_DEPTH_MAX 128
#define REMOVE_DEPTH_MAX 65536
#define CREATE_TRIES 64
#define SIGNAL_PASSES 256
#define SIGNAL_CHUNK 64

static int open_dir(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int open_stream(int dirfd, const char *path, DIR **ret)
{
    _cleanup_close_ int fd = open_dir(dirfd, path);
    if (fd < 0)
        return fd;
    DIR *d = fdopendir(fd);
    if (!d)
        return -errno;
    TAKE_FD(fd);
    *ret = d;
    return 0;
}

/* The next directory in a stream, NULL at the end. kernfs always fills in d_type. */
static const char *next_child(DIR *d)
{
    struct dirent *entry;

    while ((entry = readdir(d)))
        if (entry->d_type == DT_DIR && !streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
            return entry->d_name;
    return NULL;
}

/* A cgroup that goes away while it is read: ENOENT from open, ENODEV from what was open. */
static bool is_gone(int r)
{
    return r == -ENOENT || r == -ENODEV;
}

/* --- processes ----------------------------------------------------------------------------- */

static int parse_pids(char *text, pid_t **pids, size_t *n)
{
    for (char *line = text, *end; *line; line = end) {
        uint64_t v;

        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        if (num_parse_u64_max(line, INT32_MAX, &v) < 0)
            return -EINVAL;
        /* 0: a process of a pid namespace we can't see into. */
        if (v == 0)
            continue;
        mem_grow(*pids, *n);
        (*pids)[(*n)++] = (pid_t)v;
    }
    return 0;
}

static int walk_pids(int dirfd, unsigned depth, pid_t **pids, size_t *n)
{
    _cleanup_closedir_ DIR *d = NULL;
    _cleanup_free_ char *text = NULL;

    if (depth > WALK_DEPTH_MAX)
        return -ELOOP;
    int r = file_read_at(dirfd, "cgroup.procs", 0, PROCS_MAX, &text, NULL);
    if (r == 0)
        r = parse_pids(text, pids, n);
    /* In a threaded cgroup cgroup.procs can't be read: its processes are listed above, in the
     * cgroup the threads belong to. */
    if (r < 0 && !(r == -EOPNOTSUPP && depth > 0))
        return r;

    r = open_stream(dirfd, ".", &d);
    if (r < 0)
        return r;
    for (const char *name; (name = next_child(d));) {
        _cleanup_close_ int child = open_dir(dirfd, name);
        r = child < 0 ? child : walk_pids(child, depth + 1, pids, n);
        if (r < 0 && !is_gone(r))
            return r;
    }
    return 0;
}

int cgroup_pids_at(int dirfd, pid_t **ret, size_t *ret_n)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;

    int r = walk_pids(dirfd, 0, &pids, &n);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(pids);
    *ret_n = n;
    return 0;
}

int cgroup_pids(const char *path, pid_t **ret, size_t *ret_n, struct error *e)
{
    _cleanup_close_ int fd = open_dir(AT_FDCWD, path);

    int r = fd < 0 ? fd : cgroup_pids_at(fd, ret, ret_n);
    return r < 0 ? error_errno(e, r, "read the processes of the cgroup", path) : 0;
}

/* --- signals ------------------------------------------------------------------------------- */

static int compare_pids(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

/* A sorted set. */
struct pid_set {
    pid_t *pids;
    size_t n;
};

static void pid_set_done(struct pid_set *s)
{
    free(s->pids);
}

static int pid_set_read(int dirfd, struct pid_set *ret)
{
    int r = cgroup_pids_at(dirfd, &ret->pids, &ret->n);
    if (r == 0 && ret->n > 0)
        qsort(ret->pids, ret->n, sizeof(pid_t), compare_pids);
    return r;
}

static bool pid_set_has(const struct pid_set *s, pid_t pid)
{
    return s->n > 0 && bsearch(&pid, s->pids, s->n, sizeof(pid_t), compare_pids);
}

/* Signals at most SIGNAL_CHUNK processes that were seen in the cgroup a moment ago. A pid may have
 * gone to a stranger since. With all pidfds in hand the cgroup is read again: who is listed then
 * and answers to a pidfd opened before is the one meant (S4). */
static int signal_chunk(int dirfd, const pid_t *pids, size_t n, int sig, int *ret_failed)
{
    _cleanup_(pid_set_done) struct pid_set now = {0};
    int fds[SIGNAL_CHUNK];

    for (size_t i = 0; i < n; i++)
        fds[i] = sys_pidfd_open(pids[i]);
    int r = pid_set_read(dirfd, &now);
    for (size_t i = 0; i < n; i++) {
        int failed = fds[i] < 0 ? fds[i] : 0;
        if (r == 0 && fds[i] >= 0 && pid_set_has(&now, pids[i]))
            failed = sys_pidfd_send_signal(fds[i], sig);
        if (failed < 0 && failed != -ESRCH && *ret_failed == 0)
            *ret_failed = failed;
        fd_close(fds[i]);
    }
    return r;
}

/* One pass over who is not in `seen` yet. Returns how many those were. */
static int signal_pass(int dirfd, struct pid_set *seen, int sig, int *ret_failed)
{
    _cleanup_(pid_set_done) struct pid_set all = {0};
    _cleanup_free_ pid_t *fresh = NULL;
    size_t n = 0;

    int r = pid_set_read(dirfd, &all);
    if (r < 0)
        return r;
    for (size_t i = 0; i < all.n; i++)
        if (!pid_set_has(seen, all.pids[i])) {
            mem_grow(fresh, n);
            fresh[n++] = all.pids[i];
        }
    for (size_t i = 0; i < n && r == 0; i += SIGNAL_CHUNK)
        r = signal_chunk(dirfd, fresh + i, MIN(n - i, (size_t)SIGNAL_CHUNK), sig, ret_failed);
    if (r < 0)
        return r;

    if (n > 0) {
        seen->pids = mem_realloc_array(seen->pids, seen->n + n, sizeof(pid_t));
        memcpy(seen->pids + seen->n, fresh, n * sizeof(pid_t));
        seen->n += n;
        qsort(seen->pids, seen->n, sizeof(pid_t), compare_pids);
    }
    return n > 0;
}

static int signal_all_at(int dirfd, const char *path, int sig, struct error *e)
{
    _cleanup_(pid_set_done) struct pid_set seen = {0};
    int failed = 0, r = 1;

    for (int pass = 0; r > 0; pass++) {
        if (pass == SIGNAL_PASSES)
            return error_set(e, ERROR_CGROUP, EAGAIN, "signal the processes of the cgroup", path,
                             "pause the container first, or send SIGKILL",
                             "new processes appear faster than they can be signalled");
        r = signal_pass(dirfd, &seen, sig, &failed);
    }
    if (r == 0 || is_gone(r))
        r = failed;
    return r < 0 ? error_errno(e, r, "signal the processes of the cgroup", path) : 0;
}

/* cgroup.kill where the kernel has it (Linux 5.14) and the cgroup takes it (not a threaded one). */
static int kill_at(int dirfd, const char *path, struct error *e)
{
    int r = file_write_at(dirfd, "cgroup.kill", "1");
    if (r == -ENOENT || r == -EOPNOTSUPP)
        return signal_all_at(dirfd, path, SIGKILL, e);
    return r == 0 || is_gone(r) ? 0 : error_errno(e, r, "kill the processes of the cgroup", path);
}

/* Where a record, or a bundle, says that a container is. At the root of a hierarchy is everybody,
 * as in any directory of v1 that lists processes: what would end a container would end the host.
 * Only the root has cgroup.procs and no cgroup.events (cgroup-v2.rst); one that is gone has
 * neither. */
static int open_container(const char *path, const char *step, int *ret, struct error *e)
{
    uint64_t magic = 0;
    _cleanup_close_ int fd = open_dir(AT_FDCWD, path);
    int r = fd < 0 ? fd : sys_fs_magic(fd, &magic);

    if (r < 0)
        return r == -ENOENT ? r : error_errno(e, r, step, path);
    if (magic != CGROUP2_SUPER_MAGIC || (faccessat(fd, "cgroup.events", F_OK, 0) < 0 &&
                                         faccessat(fd, "cgroup.procs", F_OK, 0) == 0))
        return error_set(e, ERROR_CGROUP, EINVAL, step, path,
                         "correct cgroup_path in the container's record, or remove the record",
                         "it is no container's cgroup");
    *ret = TAKE_FD(fd);
    return 0;
}

int cgroup_signal_all(const char *path, int sig, struct error *e)
{
    static const char step[] = "signal the processes of the cgroup";
    _cleanup_close_ int fd = -EBADF;
    int r = open_container(path, step, &fd, e);
    if (r < 0)
        return r == -ENOENT ? error_errno(e, r, step, path) : r;
    return sig == SIGKILL ? kill_at(fd, path, e) : signal_all_at(fd, path, sig, e);
}

static int kill_and_wait(int dirfd, const char *path, int64_t deadline, struct error *e)
{
    int r = kill_at(dirfd, path, e);
    if (r < 0)
        return r;
    r = cgroup_events_wait(dirfd, "populated", false, deadline);
    if (r == -ETIMEDOUT) {
        _cleanup_free_ char *who = cgroup_describe_processes(dirfd);
        return error_set(e, ERROR_CGROUP, ETIMEDOUT, "kill the processes of the cgroup", path,
                         "find out what holds them (ps -o pid,stat,wchan:30 -p PID: state D waits "
                         "for a device or a network file system), then try again",
                         "%s did not end in time after SIGKILL", who ? who : "a process");
    }
    return r == 0 || is_gone(r) ? 0 : error_errno(e, r, "wait for the cgroup to empty", path);
}

int cgroup_kill(const char *path, int timeout_ms, struct error *e)
{
    _cleanup_close_ int fd = -EBADF;
    int r = open_container(path, "kill the processes of the cgroup", &fd, e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return kill_and_wait(fd, path, cgroup_deadline(timeout_ms), e);
}

/* --- creating ------------------------------------------------------------------------------ */

static int create_failed(int r, const char *path, struct error *e)
{
    const char *remedy = NULL;

    switch (r) {
    case -EACCES:
    case -EPERM:
        remedy = "run as root, or have a cgroup that is delegated to you and writable";
        break;
    case -EROFS:
        remedy = "remount the cgroup2 file system read-write (mount -o remount,rw), or start the "
                 "container around this one with a writable /sys/fs/cgroup";
        break;
    case -EAGAIN:
        remedy = "raise cgroup.max.depth or cgroup.max.descendants of its parents";
        break;
    case -ENOTDIR:
    case -EEXIST:
    case -EINVAL:
        remedy = "choose another linux.cgroupsPath";
        break;
    default:
        break;
    }
    return error_set(e, ERROR_CGROUP, -r, "create the cgroup", path, remedy, NULL);
}

/* Makes the directory, and its parents where they are missing: another container's removal may
 * take an empty parent away between two steps. `*ret_fresh` is false where it was there before. */
static int make_dir(const char *path, bool *ret_fresh, int *ret_fd)
{
    int r = -ENOENT;

    for (int tries = 0; tries < CREATE_TRIES && r == -ENOENT; tries++) {
        bool fresh = mkdir(path, 0755) == 0;
        if (!fresh && errno == ENOENT) {
            /* -EEXIST is its answer to a parent that went while it looked. */
            r = dir_make_parents(path, 0755);
            if (r == -EEXIST)
                r = -ENOENT;
            if (r < 0)
                continue;
        } else if (!fresh && errno != EEXIST) {
            return -errno;
        }
        int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            *ret_fresh = fresh;
            *ret_fd = fd;
            return 0;
        }
        r = -errno;
    }
    return r;
}

/* What an earlier container of that name may have left. */
static int take_over(int fd, const char *path, struct error *e)
{
    _cleanup_free_ char *freeze = NULL;
    bool populated = false;

    int r = cgroup_events_read(fd, "populated", &populated);
    if (r < 0 && r != -ENOENT)
        return error_errno(e, r, "read the events of the cgroup", path);
    if (populated) {
        _cleanup_free_ char *who = cgroup_describe_processes(fd);
        return error_set(e, ERROR_EXISTS, EEXIST, "create the cgroup", path,
                         "stop what runs there, or choose another linux.cgroupsPath",
                         "it exists and holds %s", who ? who : "processes");
    }
    /* Frozen, it would stop the new process before its first instruction. */
    if (file_read_at(fd, "cgroup.freeze", 0, 16, &freeze, NULL) == 0 && freeze[0] == '1') {
        r = file_write_at(fd, "cgroup.freeze", "0");
        if (r < 0)
            return error_errno(e, r, "thaw the cgroup left over", path);
    }
    return 0;
}

/* A directory strictly below the hierarchy's mount: all that may be made or removed. */
static bool is_inside(const struct cgroup_host *host, const char *path)
{
    return host->mount && path_is_below(path, host->mount) && !streq(path, host->mount) &&
           !strstr(path, "/../");
}

static int not_inside(const struct cgroup_host *host, const char *path, struct error *e)
{
    return error_set(e, ERROR_CGROUP, EINVAL, "use the cgroup", path,
                     "mount the v2 hierarchy where it was when the container was made",
                     "it does not lie below the cgroup2 mount (%s)",
                     host->mount ? host->mount : "there is none");
}

int cgroup_create(const struct cgroup_host *host, const char *path, int *ret_fd, struct error *e)
{
    _cleanup_close_ int fd = -EBADF;
    bool fresh = false;

    if (!is_inside(host, path))
        return not_inside(host, path, e);
    int r = make_dir(path, &fresh, &fd);
    if (r < 0)
        return create_failed(r, path, e);
    if (!fresh) {
        r = take_over(fd, path, e);
        if (r < 0)
            return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* --- removing ------------------------------------------------------------------------------ */

/* Removes the children of a directory that have none themselves. *ret_busy is one that is not so
 * easily removed, or NULL. */
static int remove_leaves(int dirfd, char **ret_busy)
{
    _cleanup_closedir_ DIR *d = NULL;

    int r = open_stream(dirfd, ".", &d);
    if (r < 0)
        return r;
    *ret_busy = NULL;
    for (const char *name; (name = next_child(d));) {
        if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        if (errno != EBUSY)
            return -errno;
        *ret_busy = mem_strdup(name);
        return 0;
    }
    return 0;
}

/* Removes all below a directory. Goes down and up again by "..", with one descriptor and the
 * names of where it is. -EBUSY: something in there is alive. */
static int remove_below(int dirfd)
{
    _cleanup_strv_ char **names = NULL;
    size_t depth = 0;
    _cleanup_close_ int cur = open_dir(dirfd, ".");
    if (cur < 0)
        return cur;

    for (;;) {
        char *busy = NULL;
        int r = remove_leaves(cur, &busy);
        if (r < 0)
            return r;
        if (busy) {
            int child = depth < REMOVE_DEPTH_MAX ? open_dir(cur, busy) : -ELOOP;
            if (child < 0) {
                free(busy);
                if (is_gone(child))
                    continue;
                return child;
            }
            fd_close(cur);
            cur = child;
            /* By hand: strv_push() counts the array each time. */
            names = mem_realloc_array(names, depth + 2, sizeof(*names));
            names[depth++] = busy;
            names[depth] = NULL;
            continue;
        }
        if (depth == 0)
            return 0;

        int parent = open_dir(cur, "..");
        if (parent < 0)
            return parent;
        fd_close(cur);
        cur = parent;
        _cleanup_free_ char *name = TAKE_PTR(names[--depth]);
        if (unlinkat(cur, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
            return -errno;
    }
}

static int remove_once(int dirfd, const char *path)
{
    int r = remove_below(dirfd);
    if (r == 0 && rmdir(path) < 0)
        r = -errno;
    return is_gone(r) ? 0 : r;
}

static int remove_busy(int dirfd, const char *path, struct error *e)
{
    _cleanup_free_ char *who = cgroup_describe_processes(dirfd);
    return error_set(e, ERROR_CGROUP, EBUSY, "remove the cgroup", path,
                     "stop what runs there first, or delete with --force", "still in it: %s",
                     who ? who : "a dying process");
}

/* A process that was just reaped may still count for a moment, and someone may still start one:
 * wait for the cgroup to be empty and try again, until the deadline. */
static int remove_tree(int dirfd, const char *path, bool kill, int64_t deadline, struct error *e)
{
    for (unsigned tries = 0;; tries++) {
        int r = remove_once(dirfd, path);
        if (r == 0)
            return 0;
        if (r != -EBUSY)
            return error_set(e, ERROR_CGROUP, -r, "remove the cgroup", path, NULL, NULL);

        bool populated = true;
        int left = cgroup_deadline_left(deadline);
        (void)cgroup_events_read(dirfd, "populated", &populated);
        if (populated) {
            r = kill ? kill_and_wait(dirfd, path, deadline, e)
                     : cgroup_events_wait(dirfd, "populated", false, deadline);
            if (kill && r < 0)
                return r;
            if (r == -ETIMEDOUT)
                return remove_busy(dirfd, path, e);
            if (r < 0 && !is_gone(r))
                return error_errno(e, r, "wait for the cgroup to empty", path);
        } else if (tries >= 3) {
            /* Empty by all accounts and still busy: no event will tell when that ends. */
            if (left == 0)
                return remove_busy(dirfd, path, e);
            (void)poll(NULL, 0, left < 0 || left > 10 ? 10 : left);
        }
    }
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int cgroup_remove_empty(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t magic = 0;

    if (!slash || slash == path || strstr(path, "/../"))
        return -EBUSY;
    _cleanup_free_ char *parent = mem_strndup(path, (size_t)(slash - path));
    _cleanup_close_ int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (sys_fs_magic(fd, &magic) < 0 || magic != CGROUP2_SUPER_MAGIC)
        return -EBUSY;
    if (unlinkat(fd, slash + 1, AT_REMOVEDIR) < 0)
        return errno == ENOENT ? -ENOENT : -EBUSY;
    if (streq(last_component(parent), "nucleus"))
        (void)rmdir(parent);
    return 0;
}

int cgroup_remove(const struct cgroup_host *host, const char *path, bool kill, int timeout_ms,
                  struct error *e)
{
    int64_t deadline = cgroup_deadline(timeout_ms);
    _cleanup_close_ int fd = open_dir(AT_FDCWD, path);
    if (fd < 0 && fd != -ENOENT)
        return error_set(e, ERROR_CGROUP, -fd, "remove the cgroup", path, NULL, NULL);
    if (fd >= 0) {
        if (!is_inside(host, path))
            return not_inside(host, path, e);
        int r = kill ? kill_and_wait(fd, path, deadline, e) : 0;
        if (r == 0)
            r = remove_tree(fd, path, kill, deadline, e);
        if (r < 0)
            return r;
    }

    /* Parents that are ours: a sibling in there makes rmdir fail, and that is fine. */
    _cleanup_free_ char *parent = mem_strdup(path);
    for (char *slash; (slash = strrchr(parent, '/'));) {
        *slash = '\0';
        if (!streq(last_component(parent), "nucleus") || !is_inside(host, parent) ||
            rmdir(parent) < 0)
            break;
    }
    return 0;
}
