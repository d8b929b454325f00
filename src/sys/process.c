/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/num.h"

static pid_t clone_process(struct clone_args *args, int *ret_pidfd)
{
    int pidfd = -EBADF;

    args->flags |= CLONE_PIDFD;
    args->pidfd = (uint64_t)(uintptr_t)&pidfd;
    long pid = syscall(SYS_clone3, args, sizeof(*args));
    if (pid < 0)
        return -errno;
    if (pid > 0)
        *ret_pidfd = pidfd;
    return (pid_t)pid;
}

pid_t sys_clone3(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};

    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)cgroup_fd;
    }
    return clone_process(&args, ret_pidfd);
}

pid_t sys_clone3_sibling(uint64_t flags, int *ret_pidfd)
{
    /* The exit signal is the caller's; clone3 refuses another one with CLONE_PARENT. */
    struct clone_args args = {.flags = flags | CLONE_PARENT};

    return clone_process(&args, ret_pidfd);
}

int sys_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int sys_pidfd_send_signal(int pidfd, int sig)
{
    return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int sys_pidfd_wait(int pidfd, int timeout_ms)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int r;

    do
        r = poll(&p, 1, timeout_ms);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

/* The n-th (from 3) field behind the command name; NULL where there are fewer. */
static const char *stat_field(const char *text, int n)
{
    const char *p = strrchr(text, ')');

    if (!p || p[1] != ' ')
        return NULL;
    p += 2;
    for (int i = 3; i < n; i++) {
        p = strchr(p, ' ');
        if (!p)
            return NULL;
        p++;
    }
    return p;
}

int sys_parse_start_ticks(const char *text, uint64_t *ret)
{
    const char *p = stat_field(text, 22);
    if (!p)
        return -EINVAL;

    char number[32];
    size_t n = strcspn(p, " \n");
    if (n == 0 || n >= sizeof(number))
        return -EINVAL;
    memcpy(number, p, n);
    number[n] = '\0';
    return num_parse_u64(number, ret);
}

uint64_t sys_start_ticks(int procfd, pid_t pid, bool *ret_zombie)
{
    char path[64];

    if (pid <= 0)
        return 0;
    (void)snprintf(path, sizeof(path), procfd >= 0 ? "%d/stat" : "/proc/%d/stat", (int)pid);
    for (int tries = 0; tries < 5; tries++) {
        char text[4096];
        uint64_t ticks;

        if (tries > 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        _cleanup_close_ int fd =
            openat(procfd >= 0 ? procfd : AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t n = fd_read_full(fd, text, sizeof(text) - 1);
        if (n <= 0)
            continue;
        text[n] = '\0';
        if (sys_parse_start_ticks(text, &ticks) < 0)
            continue;
        if (ret_zombie) {
            const char *state = stat_field(text, 3);
            *ret_zombie = state && (*state == 'Z' || *state == 'X');
        }
        return ticks;
    }
    return 0;
}

static const struct {
    const char *name;
    int sig;
} signals[] = {
    {"SIGHUP", SIGHUP},       {"SIGINT", SIGINT},       {"SIGQUIT", SIGQUIT},
    {"SIGILL", SIGILL},       {"SIGTRAP", SIGTRAP},     {"SIGABRT", SIGABRT},
    {"SIGIOT", SIGIOT},       {"SIGBUS", SIGBUS},       {"SIGFPE", SIGFPE},
    {"SIGKILL", SIGKILL},     {"SIGUSR1", SIGUSR1},     {"SIGSEGV", SIGSEGV},
    {"SIGUSR2", SIGUSR2},     {"SIGPIPE", SIGPIPE},     {"SIGALRM", SIGALRM},
    {"SIGTERM", SIGTERM},     {"SIGSTKFLT", SIGSTKFLT}, {"SIGCHLD", SIGCHLD},
    {"SIGCLD", SIGCHLD},      {"SIGCONT", SIGCONT},     {"SIGSTOP", SIGSTOP},
    {"SIGTSTP", SIGTSTP},     {"SIGTTIN", SIGTTIN},     {"SIGTTOU", SIGTTOU},
    {"SIGURG", SIGURG},       {"SIGXCPU", SIGXCPU},     {"SIGXFSZ", SIGXFSZ},
    {"SIGVTALRM", SIGVTALRM}, {"SIGPROF", SIGPROF},     {"SIGWINCH", SIGWINCH},
    {"SIGIO", SIGIO},         {"SIGPOLL", SIGPOLL},     {"SIGPWR", SIGPWR},
    {"SIGSYS", SIGSYS},
};

static int parse_realtime(const char *name)
{
    int base;
    uint64_t n = 0;

    if (strncasecmp(name, "RTMIN", 5) == 0)
        base = SIGRTMIN;
    else if (strncasecmp(name, "RTMAX", 5) == 0)
        base = SIGRTMAX;
    else
        return -EINVAL;
    name += 5;
    if (*name != '\0') {
        if (*name != (base == SIGRTMIN ? '+' : '-'))
            return -EINVAL;
        if (num_parse_u64_max(name + 1, (uint64_t)(SIGRTMAX - SIGRTMIN), &n) < 0)
            return -EINVAL;
    }
    return base == SIGRTMIN ? base + (int)n : base - (int)n;
}

int sys_signal_parse(const char *text)
{
    uint64_t n;

    if (isdigit((unsigned char)text[0]))
        return num_parse_u64_max(text, (uint64_t)SIGRTMAX, &n) < 0 ? -EINVAL : (int)n;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        if (strcasecmp(signals[i].name + 3, text) == 0)
            return signals[i].sig;
    return parse_realtime(text);
}

const char *sys_signal_name(int sig)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        if (signals[i].sig == sig)
            return signals[i].name;
    return NULL;
}

int sys_cloexec_from(unsigned first)
{
    return syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

void sys_reset_signals(void)
{
    /* As the kernel has it (include/uapi/asm-generic/signal.h); all zero is SIG_DFL. */
    static const struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action;
    const uint64_t none = 0;

    for (int sig = 1; sig <= 64; sig++)
        (void)syscall(SYS_rt_sigaction, sig, &action, NULL, sizeof(none));
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

int sys_loopback_up(void)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {.ifr_name = "lo"};
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        return -errno;
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return -errno;
    return 0;
}

bool sys_in_initial_user_namespace(void)
{
    /* PROC_USER_INIT_INO of include/linux/proc_ns.h. */
    const ino_t initial = 0xEFFFFFFD;
    struct stat st;

    /* A kernel without user namespaces has no such file. */
    return stat("/proc/self/ns/user", &st) < 0 || st.st_ino == initial;
}

bool sys_has_capability(int cap)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    return syscall(SYS_capget, &header, data) == 0 && (data[cap / 32].effective >> (cap % 32) & 1);
}
