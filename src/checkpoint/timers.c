/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/timers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "sys/process.h"

static int field(const char *text, const char *name, const char *format, unsigned long long *a,
                 unsigned long long *b)
{
    const char *at = strstr(text, name);

    if (!at)
        return -EINVAL;
    int want = b ? 2 : 1;
    return sscanf(at + strlen(name), format, a, b) == want ? 0 : -EINVAL;
}

int timers_parse_fdinfo(const char *text, unsigned long long *ret_s, unsigned long long *ret_ns)
{
    unsigned long long ticks, value_s, value_ns, s, ns;

    if (field(text, "\nticks:", " %llu", &ticks, NULL) < 0 ||
        field(text, "\nit_value:", " (%llu, %llu)", &value_s, &value_ns) < 0 ||
        field(text, "\nit_interval:", " (%llu, %llu)", &s, &ns) < 0 || ns >= 1000000000)
        return -EINVAL;
    if (ticks == 0 || value_s || value_ns || (s == 0 && ns == 0))
        return 0;
    *ret_s = s;
    *ret_ns = ns;
    return 1;
}

static int rearm(int pidfd, pid_t pid, int fd, unsigned long long s, unsigned long long ns,
                 struct error *e)
{
    struct itimerspec spec = {
        .it_value = {.tv_nsec = 1},
        .it_interval = {.tv_sec = (time_t)s, .tv_nsec = (long)ns},
    };
    _cleanup_free_ char *name = str_printf("descriptor %d of process %d", fd, (int)pid);
    _cleanup_close_ int timer = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

    if (timer < 0 || timerfd_settime(timer, 0, &spec, NULL) < 0)
        return error_errno(e, -errno, "start again timer", name);
    log_debug("started again the periodic timer at %s", name);
    return 0;
}

static int rearm_process(pid_t pid, struct error *e)
{
    _cleanup_free_ char *dir = str_printf("/proc/%d/fd", (int)pid);
    _cleanup_close_ int pidfd = sys_pidfd_open(pid);
    _cleanup_closedir_ DIR *d = pidfd >= 0 ? opendir(dir) : NULL;

    /* A zombie has no descriptors. */
    if (!d)
        return 0;
    for (struct dirent *de; (de = readdir(d));) {
        char target[32];
        uint64_t fd;
        ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
        if (n < 0 || num_parse_u64_max(de->d_name, INT32_MAX, &fd) < 0)
            continue;
        target[n] = '\0';
        if (!streq(target, "anon_inode:[timerfd]"))
            continue;

        _cleanup_free_ char *info = str_printf("/proc/%d/fdinfo/%s", (int)pid, de->d_name);
        _cleanup_free_ char *text = NULL;
        unsigned long long s, ns;
        int r = file_read_at(AT_FDCWD, info, 0, 65536, &text, NULL);
        if (r == 0)
            r = timers_parse_fdinfo(text, &s, &ns);
        if (r < 0)
            return error_errno(e, r, "read", info);
        if (r > 0)
            r = rearm(pidfd, pid, (int)fd, s, ns, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int timers_rearm(const char *cgroup_path, struct error *e)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = cgroup_pids(cgroup_path, &pids, &n, e);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = rearm_process(pids[i], e);
    return r;
}
