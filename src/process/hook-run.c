/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/hook-run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/process.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

/* As much of the end of a hook's output as an error shows. */
#define TAIL_MAX 400
/* Enough for what a pipe holds (64 KiB) when the hook has ended; somebody it left may go on
 * writing. */
#define LAST_READS 32

/* What a hook's process tells before it is the hook: the one write to a close-on-exec pipe. */
struct stillborn {
    int errnum;
    int in_cwd; /* 0: it was the directory that failed */
};

struct run {
    const struct oci_hook *hook;
    const char *cwd;
    int watch_fd;
    int state_fd;     /* the hook's standard input */
    int output[2];    /* of what it prints */
    int stillborn[2]; /* of struct stillborn */
    pid_t pid;
    int pidfd;
    char tail[TAIL_MAX];
    size_t n_tail;
    bool cut; /* more was printed than `tail` holds */
};

static void run_done(struct run *run)
{
    fd_close(run->state_fd);
    for (int i = 0; i < 2; i++) {
        fd_close(run->output[i]);
        fd_close(run->stillborn[i]);
    }
    fd_close(run->pidfd);
}

/* ---- the hook's process, until it is the hook ---- */

/* Out of the way of the numbers that are about to be taken. */
static int high(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 10);
}

static _noreturn_ void give_up(int report, int in_cwd)
{
    const struct stillborn s = {.errnum = errno, .in_cwd = in_cwd};

    _exit(write(report, &s, sizeof(s)) == sizeof(s) ? 127 : 126);
}

static _noreturn_ void become_hook(const struct run *run, pid_t parent)
{
    char *const args[] = {run->hook->path, NULL}, *const nothing[] = {NULL};
    int in = high(run->state_fd), out = high(run->output[1]), report = high(run->stillborn[1]);

    /* A hook must not outlive a runtime that is killed. One that is gone already sends no
     * signal. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(126);
    (void)setsid();
    sys_reset_signals();
    (void)umask(022);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        give_up(report, 1);
    if (dup3(report, 3, O_CLOEXEC) < 0)
        give_up(report, 1);
    (void)syscall(SYS_close_range, 4, ~0U, 0);
    if (run->cwd && chdir(run->cwd) < 0)
        give_up(3, 0);
    (void)execve(run->hook->path, run->hook->args ? run->hook->args : args,
                 run->hook->env ? run->hook->env : nothing);
    give_up(3, 1);
}

/* ---- the one who waits for it ---- */

/* Without "noexec" where the kernel is older; with vm.memfd_noexec there is nothing else. */
static int open_memory(void)
{
    int fd = memfd_create("oci-state", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("oci-state", MFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A file, not a pipe: a hook that does not read its input blocks nobody. Each has one of its
 * own. */
static int make_input(struct run *run, const char *state, size_t len)
{
    run->state_fd = open_memory();
    if (run->state_fd < 0)
        return run->state_fd;
    int r = fd_write_all(run->state_fd, state, len);
    if (r < 0)
        return r;
    return lseek(run->state_fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int start(struct run *run)
{
    const pid_t self = getpid();

    if (pipe2(run->output, O_CLOEXEC) < 0 || pipe2(run->stillborn, O_CLOEXEC) < 0)
        return -errno;
    if (fcntl(run->output[0], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    run->pid = sys_clone3(0, -EBADF, &run->pidfd);
    if (run->pid == 0)
        become_hook(run, self);
    if (run->pid < 0)
        return run->pid;
    run->output[1] = fd_close(run->output[1]);
    run->stillborn[1] = fd_close(run->stillborn[1]);
    return 0;
}

static void keep_tail(struct run *run, const char *data, size_t n)
{
    size_t keep = MIN(run->n_tail, n >= TAIL_MAX ? 0 : TAIL_MAX - n);

    run->cut = run->cut || run->n_tail + n > TAIL_MAX;
    if (n > TAIL_MAX) {
        data += n - TAIL_MAX;
        n = TAIL_MAX;
    }
    memmove(run->tail, run->tail + run->n_tail - keep, keep);
    memcpy(run->tail + keep, data, n);
    run->n_tail = keep + n;
}

/* One read. False where nothing is there now, or ever will be: then the descriptor is closed. */
static bool read_output(struct run *run)
{
    char data[4096];
    ssize_t n;

    do
        n = read(run->output[0], data, sizeof(data));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        run->output[0] = fd_close(run->output[0]);
    if (n > 0)
        keep_tail(run, data, (size_t)n);
    return n > 0;
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what it prints until it ends. -ETIMEDOUT where it does not in time, -EPIPE where nobody
 * waits for it any more. */
static int follow(struct run *run)
{
    const int64_t deadline = now_ms() + (int64_t)run->hook->timeout * 1000;

    for (;;) {
        struct pollfd p[] = {{.fd = run->pidfd, .events = POLLIN},
                             {.fd = run->output[0], .events = POLLIN},
                             {.fd = run->watch_fd}}; /* POLLHUP comes unasked */
        int64_t left = run->hook->timeout ? MAX(deadline - now_ms(), 0) : -1;
        int r = poll(p, ARRAY_SIZE(p), (int)MIN(left, INT32_MAX));
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r > 0 && p[0].revents)
            break;
        if (r > 0 && p[2].revents)
            return -EPIPE;
        /* Also when it prints all the time. */
        if (run->hook->timeout && now_ms() >= deadline)
            return -ETIMEDOUT;
        if (r > 0 && p[1].revents)
            (void)read_output(run);
    }
    for (int i = 0; i < LAST_READS && run->output[0] >= 0 && read_output(run); i++)
        ;
    return 0;
}

/* Its group first: until it is waited for, no other can get its number. */
static void kill_all(struct run *run)
{
    (void)kill(-run->pid, SIGKILL);
    (void)sys_pidfd_send_signal(run->pidfd, SIGKILL);
}

static int wait_for(struct run *run, int *ret_status)
{
    pid_t pid;

    do
        pid = waitpid(run->pid, ret_status, 0);
    while (pid < 0 && errno == EINTR);
    return pid < 0 ? -errno : 0;
}

/* ---- how it ended, in words ---- */

/* The tail as one line: whole lines where it was cut, "; " between them. */
static void add_tail(const struct run *run, char *why, size_t size)
{
    const char *p = run->tail, *end = run->tail + run->n_tail;
    size_t n = strlen(why);
    const char *newline = run->cut ? memchr(p, '\n', run->n_tail) : NULL;

    while (end > p && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
        end--;
    if (newline && newline + 1 < end)
        p = newline + 1;
    if (p == end)
        return;
    for (const char *sep = ": "; p < end && n + 3 < size; p++) {
        if (sep) {
            why[n++] = sep[0];
            why[n++] = sep[1];
            sep = NULL;
        }
        if (*p == '\n')
            sep = "; ";
        else if (*p != '\0')
            why[n++] = *p;
    }
    why[n] = '\0';
}

static int judge(const struct run *run, int status, struct hook_failure *ret)
{
    struct stillborn s;
    ssize_t n;

    do
        n = read(run->stillborn[0], &s, sizeof(s));
    while (n < 0 && errno == EINTR);
    if (n == sizeof(s)) {
        ret->errnum = s.errnum;
        (void)snprintf(ret->why, sizeof(ret->why), "%s: %s",
                       s.in_cwd ? "it can't be run" : "its working directory can't be entered",
                       strerrordesc_np(s.errnum));
        return -s.errnum;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    ret->errnum = ECHILD;
    if (WIFEXITED(status)) {
        (void)snprintf(ret->why, sizeof(ret->why), "it ended with status %d", WEXITSTATUS(status));
    } else {
        const char *name = sys_signal_name(WTERMSIG(status));
        (void)snprintf(ret->why, sizeof(ret->why), "it was killed by signal %d%s%s%s",
                       WTERMSIG(status), name ? " (" : "", name ? name : "", name ? ")" : "");
    }
    add_tail(run, ret->why, sizeof(ret->why));
    return -ECHILD;
}

static int timed_out(const struct run *run, struct hook_failure *ret)
{
    ret->errnum = ETIMEDOUT;
    (void)snprintf(ret->why, sizeof(ret->why), "it timed out after %u s and was killed",
                   run->hook->timeout);
    add_tail(run, ret->why, sizeof(ret->why));
    return -ETIMEDOUT;
}

static int trouble(int r, const char *with, struct hook_failure *ret)
{
    ret->errnum = -r;
    (void)snprintf(ret->why, sizeof(ret->why), "%s: %s", with, strerrordesc_np(-r));
    return r;
}

int hook_run(const struct oci_hook *hook, const char *state, size_t len, const char *cwd,
             int watch_fd, struct hook_failure *ret)
{
    _cleanup_(run_done) struct run run = {
        .hook = hook,
        .cwd = cwd,
        .watch_fd = watch_fd,
        .state_fd = -EBADF,
        .output = {-EBADF, -EBADF},
        .stillborn = {-EBADF, -EBADF},
        .pidfd = -EBADF,
    };
    int status = 0;

    int r = make_input(&run, state, len);
    if (r < 0)
        return trouble(r, "its input can't be made", ret);
    r = start(&run);
    if (r < 0)
        return trouble(r, "no process can be made for it", ret);
    int followed = follow(&run);
    if (followed < 0)
        kill_all(&run);
    r = wait_for(&run, &status);
    if (followed == -ETIMEDOUT)
        return timed_out(&run, ret);
    if (followed < 0 || r < 0)
        return trouble(followed < 0 ? followed : r, "it can't be waited for", ret);
    return judge(&run, status, ret);
}
