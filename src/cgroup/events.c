/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/events.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

#define NS_PER_MS 1000000LL

static int64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 * NS_PER_MS + ts.tv_nsec;
}

int64_t cgroup_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : now_ns() + timeout_ms * NS_PER_MS;
}

int cgroup_deadline_left(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - now_ns();
    return left <= 0 ? 0 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

int cgroup_parse_events(const char *text, const char *key, bool *ret)
{
    size_t n = strlen(key);

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (len > n && memcmp(line, key, n) == 0 && line[n] == ' ') {
            if (len != n + 2 || (line[n + 1] != '0' && line[n + 1] != '1'))
                return -EINVAL;
            *ret = line[n + 1] == '1';
            return 0;
        }
        line += len + (line[len] == '\n');
    }
    return -ENOENT;
}

/* From the start, on a descriptor that stays open: poll(2) compares with what was last read. */
static int read_key(int fd, const char *key, bool *ret)
{
    char text[512];
    ssize_t n;

    do
        n = pread(fd, text, sizeof(text) - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    return cgroup_parse_events(text, key, ret);
}

static int events_open(int dirfd)
{
    int fd = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int cgroup_events_read(int dirfd, const char *key, bool *ret)
{
    _cleanup_close_ int fd = events_open(dirfd);
    return fd < 0 ? fd : read_key(fd, key, ret);
}

int cgroup_events_wait(int dirfd, const char *key, bool want, int64_t deadline)
{
    /* The kernel holds an event back for up to 10 ms when it follows another one closely
     * (CGROUP_FILE_NOTIFY_MIN_INTV in kernel/cgroup/cgroup.c), as a freeze right after a start
     * does. The first polls are short so that this wait is not ours. */
    static const int short_polls[] = {1, 1, 2, 4, 8};

    _cleanup_close_ int fd = events_open(dirfd);
    if (fd < 0)
        return fd == -ENOENT ? -ENODEV : fd;

    for (size_t i = 0;; i++) {
        bool is;
        int r = read_key(fd, key, &is);
        if (r < 0)
            return r;
        if (is == want)
            return 0;

        int left = cgroup_deadline_left(deadline);
        if (left == 0)
            return -ETIMEDOUT;
        if (i < ARRAY_SIZE(short_polls) && (left < 0 || left > short_polls[i]))
            left = short_polls[i];
        struct pollfd p = {.fd = fd, .events = POLLPRI};
        if (poll(&p, 1, left) < 0 && errno != EINTR)
            return -errno;
    }
}

char *cgroup_describe_processes(int dirfd)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;

    if (cgroup_pids_at(dirfd, &pids, &n) < 0 || n == 0)
        return NULL;

    struct strbuf b = {0};
    strbuf_addf(&b, "%zu process%s (", n, n == 1 ? "" : "es");
    for (size_t i = 0; i < n && i < 8; i++)
        strbuf_addf(&b, "%s%d", i ? ", " : "", (int)pids[i]);
    strbuf_add(&b, n > 8 ? ", …)" : ")");
    return strbuf_take(&b);
}

static bool event_says(const char *path, const char *key)
{
    bool is = false;
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && cgroup_events_read(fd, key, &is) == 0 && is;
}

bool cgroup_is_frozen(const char *path)
{
    return event_says(path, "frozen");
}

bool cgroup_is_populated(const char *path)
{
    return event_says(path, "populated");
}
