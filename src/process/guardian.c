/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define COMMIT 'c'
#define DISMISS 'd'

static _noreturn_ void watch(int fd, void (*undo)(void *arg, bool committed), void *arg)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP, SIGTTOU};
    bool committed = false;

    (void)prctl(PR_SET_NAME, "nucleus-guard", 0, 0, 0);
    (void)setsid();
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    /* Whoever reads the runtime's output must not wait for this process too. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i < 3; i++)
        (void)dup2(null, i);

    for (;;) {
        char c = 0;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 1 && c == DISMISS)
            _exit(EXIT_SUCCESS);
        if (n == 1 && c == COMMIT) {
            committed = true;
            continue;
        }
        break;
    }
    undo(arg, committed);
    _exit(EXIT_SUCCESS);
}

int guardian_start(struct guardian *g, void (*undo)(void *arg, bool committed), void *arg,
                   struct error *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "make pipe to guardian", NULL);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fds[1]);
        watch(fds[0], undo, arg);
    }
    int saved = errno;
    (void)close(fds[0]);
    if (pid < 0) {
        (void)close(fds[1]);
        return error_errno(e, -saved, "start guardian", NULL);
    }
    g->pid = pid;
    g->pipe_fd = fds[1];
    return 0;
}

static void tell(struct guardian *g, char c)
{
    ssize_t n;

    do
        n = write(g->pipe_fd, &c, 1);
    while (n < 0 && errno == EINTR);
}

void guardian_commit(struct guardian *g)
{
    if (g->pipe_fd >= 0)
        tell(g, COMMIT);
}

void guardian_dismiss(struct guardian *g)
{
    if (g->pipe_fd < 0)
        return;
    tell(g, DISMISS);
    g->pipe_fd = fd_close(g->pipe_fd);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
