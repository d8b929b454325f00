/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/foreground.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "process/console.h"
#include "sys/process.h"

#define SHORT_RUN_MS 200

int foreground_prepare(struct foreground *f, struct error *e)
{
    sigset_t all;

    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
        return error_errno(e, -errno, "block signals", NULL);
    f->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (f->signal_fd < 0)
        return error_errno(e, -errno, "make signal descriptor", NULL);
    if (!f->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return error_errno(e, -errno, "become a subreaper", NULL);
    return 0;
}

void foreground_done(struct foreground *f)
{
    f->signal_fd = fd_close(f->signal_fd);
}

/* Reaps what has ended; true with *ret_status when the container's first process was among it. */
static bool reap(pid_t pid, int *ret_status)
{
    bool ended = false;

    for (;;) {
        int status;
        pid_t who = waitpid(-1, &status, WNOHANG);
        if (who <= 0)
            return ended;
        if (who != pid)
            continue;
        *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        ended = true;
    }
}

static void take_signals(struct foreground *f, const struct container_process *p)
{
    struct signalfd_siginfo si;

    while (read(f->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        int sig = (int)si.ssi_signo;
        switch (sig) {
        case SIGCHLD: /* reap() looks at each turn */
        case SIGURG:  /* nobody but Go's runtime sends it on purpose */
            break;
        case SIGWINCH:
            if (p->console_fd >= 0) {
                console_copy_size(STDIN_FILENO, p->console_fd);
                break;
            }
            (void)sys_pidfd_send_signal(p->pidfd, sig);
            break;
        default:
            (void)sys_pidfd_send_signal(p->pidfd, sig);
        }
    }
}

/* One read's worth; false when that direction is over. */
static bool copy_some(int from, int to)
{
    char buf[8192];
    ssize_t n = read(from, buf, sizeof(buf));

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    return n > 0 && fd_write_all(to, buf, (size_t)n) == 0;
}

/* What was typed and the container's terminal has no room for yet: a program that does not read
 * must not keep signals from being passed on. */
struct typed {
    char data[8192];
    size_t at, end;
};

/* False where there is nothing more to come. */
static bool take_typed(struct typed *t)
{
    ssize_t n = read(STDIN_FILENO, t->data, sizeof(t->data));

    t->at = 0;
    t->end = n > 0 ? (size_t)n : 0;
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* False where the terminal is gone. */
static bool give_typed(struct typed *t, int master)
{
    ssize_t n = write(master, t->data + t->at, t->end - t->at);

    if (n > 0)
        t->at += (size_t)n;
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static int take_terminal(const struct container_process *p, struct console_raw *raw,
                         struct error *e)
{
    int flags = fcntl(p->console_fd, F_GETFL);

    if (flags < 0 || fcntl(p->console_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_errno(e, -errno, "use the container's terminal", NULL);
    console_copy_size(STDIN_FILENO, p->console_fd);
    console_raw_enter(raw, STDIN_FILENO);
    return 0;
}

/* Segments that nobody writes to come back from the file when they are needed. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t to = (info->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & ~(page - 1);
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

/* For as long as the container runs, this process only waits: a thousand containers have a thousand
 * of them. What a short run would need again at once is kept. */
static void give_memory_back(void)
{
    (void)malloc_trim(0);
    (void)dl_iterate_phdr(drop_segments, NULL);
}

int foreground_wait(struct foreground *f, const struct container_process *p, int *ret_status,
                    struct error *e)
{
    enum { SIGNALS, PROCESS, MASTER, INPUT, N };
    struct pollfd fds[N] = {
        [SIGNALS] = {.fd = f->signal_fd, .events = POLLIN},
        [PROCESS] = {.fd = p->pidfd, .events = POLLIN},
        [MASTER] = {.fd = p->console_fd >= 0 ? p->console_fd : -1},
        [INPUT] = {.fd = -1, .events = POLLIN},
    };
    bool input = p->console_fd >= 0;
    struct console_raw raw = {.fd = -EBADF};
    struct typed typed = {.at = 0};
    int patience = SHORT_RUN_MS;
    int r = p->console_fd >= 0 ? take_terminal(p, &raw, e) : 0;

    while (r == 0 && !reap(p->pid, ret_status)) {
        bool full = typed.at < typed.end;
        fds[MASTER].events = (short)(POLLIN | (full ? POLLOUT : 0));
        fds[INPUT].fd = input && !full ? STDIN_FILENO : -1;
        int ready = poll(fds, N, patience);
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            r = error_errno(e, -errno, "wait for container", NULL);
            break;
        }
        if (ready == 0) {
            patience = -1;
            give_memory_back();
            continue;
        }
        if (fds[SIGNALS].revents)
            take_signals(f, p);
        if ((fds[MASTER].revents & ~POLLOUT) && !copy_some(p->console_fd, STDOUT_FILENO))
            fds[MASTER].fd = -1;
        if (fds[INPUT].fd >= 0 && fds[INPUT].revents)
            input = take_typed(&typed);
        if (typed.at < typed.end && !give_typed(&typed, p->console_fd))
            typed.at = typed.end;
    }
    /* What it printed last is still in the pty. */
    if (fds[MASTER].fd >= 0) {
        struct pollfd last = {.fd = fds[MASTER].fd, .events = POLLIN};
        while (poll(&last, 1, 0) > 0 && (last.revents & POLLIN) &&
               copy_some(p->console_fd, STDOUT_FILENO))
            ;
    }
    console_raw_leave(&raw);
    return r;
}
