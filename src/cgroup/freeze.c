/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "cgroup/events.h"

/* A parent that is frozen itself: its children stay so, whatever their own file says. */
static char *frozen_parent(const char *path)
{
    _cleanup_free_ char *p = mem_strdup(path);

    for (char *slash; (slash = strrchr(p, '/')) && slash > p;) {
        _cleanup_free_ char *text = NULL;
        *slash = '\0';
        _cleanup_close_ int fd = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC);
        /* The hierarchy's root has no such file. */
        if (fd < 0 || file_read_at(fd, "cgroup.freeze", 0, 16, &text, NULL) < 0)
            return NULL;
        if (text[0] == '1')
            return TAKE_PTR(p);
    }
    return NULL;
}

static int freeze_timed_out(int dirfd, const char *path, struct error *e)
{
    _cleanup_free_ char *who = cgroup_describe_processes(dirfd);

    (void)file_write_at(dirfd, "cgroup.freeze", "0");
    return error_set(e, ERROR_CGROUP, ETIMEDOUT, "freeze the cgroup", path,
                     "look for one in state D (ps -o pid,stat,wchan:30 -p PID), which waits for a "
                     "device or a network file system, and try again",
                     "not all of %s stopped in time; they run again", who ? who : "its processes");
}

static int thaw_timed_out(const char *path, struct error *e)
{
    _cleanup_free_ char *parent = frozen_parent(path);

    if (parent)
        return error_set(e, ERROR_CGROUP, ETIMEDOUT, "thaw the cgroup", path, "thaw the parent",
                         "the parent cgroup %s is frozen", parent);
    return error_set(e, ERROR_CGROUP, ETIMEDOUT, "thaw the cgroup", path, "try again",
                     "the kernel still says frozen 1");
}

static int set_frozen(const char *path, bool freeze, int timeout_ms, struct error *e)
{
    const char *step = freeze ? "freeze the cgroup" : "thaw the cgroup";
    int64_t deadline = cgroup_deadline(timeout_ms);

    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, step, path, NULL, NULL);
    int r = file_write_at(fd, "cgroup.freeze", freeze ? "1" : "0");
    if (r == -ENOENT)
        return error_set(e, ERROR_CGROUP, ENOENT, step, path,
                         "use Linux 5.2 or newer, and a cgroup below the hierarchy's root",
                         "there is no cgroup.freeze in it");
    if (r < 0)
        return error_set(e, ERROR_CGROUP, -r, step, path, NULL, NULL);

    r = cgroup_events_wait(fd, "frozen", freeze, deadline);
    if (r == -ETIMEDOUT)
        return freeze ? freeze_timed_out(fd, path, e) : thaw_timed_out(path, e);
    if (r < 0 && freeze)
        (void)file_write_at(fd, "cgroup.freeze", "0");
    return r < 0 ? error_set(e, ERROR_CGROUP, -r, step, path, NULL, NULL) : 0;
}

int cgroup_freeze(const char *path, bool freeze, int timeout_ms, struct error *e)
{
    struct error why = {0};
    int r = set_frozen(path, freeze, timeout_ms, &why);

    /* systemd removes a scope as soon as the last process in it has ended. */
    if (r < 0 && !freeze && access(path, F_OK) < 0 && errno == ENOENT)
        r = 0;
    if (r < 0 && e)
        error_move(e, &why);
    error_done(&why);
    return r;
}

/* On one descriptor: poll(2) tells of changes since it was last read. -ENODEV when the cgroup is
 * gone. */
static int read_frozen(int events_fd, bool *ret)
{
    char text[512];
    ssize_t n;

    do
        n = pread(events_fd, text, sizeof(text) - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    return cgroup_parse_events(text, "frozen", ret);
}

int cgroup_await_thaw(const char *path, int or_fd, struct error *e)
{
    _cleanup_free_ char *file = str_printf("%s/cgroup.events", path);
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct pollfd p[] = {{.fd = fd, .events = POLLPRI}, {.fd = or_fd, .events = POLLIN}};
    bool frozen;
    int r = fd < 0 ? -errno : read_frozen(fd, &frozen);

    while (r == 0 && frozen && !p[1].revents)
        r = poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR ? -errno : read_frozen(fd, &frozen);
    if (r < 0 && r != -ENOENT && r != -ENODEV)
        return error_errno(e, r, "wait until the cgroup is thawed", path);
    return 0;
}
