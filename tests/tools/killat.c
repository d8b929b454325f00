/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* Runs a command and kills it at a moment of one's choice: at the Nth system call it is about to
 * make, which is not made. A program changes nothing outside itself but by system calls, so with
 * every N in turn each state is seen that a kill -9, or the OOM killer, can leave behind.
 *
 *     killat [-o FILE] N COMMAND [ARGUMENT ...]
 *     killat [-o FILE] --count COMMAND [ARGUMENT ...]
 *
 * Only the command itself is traced and killed, not what it starts; an execve of its own is
 * followed. The count begins after the first execve. FILE (stderr without it) gets one line:
 *
 *     killed N SYSCALL        at the Nth, by number
 *     exited STATUS COUNT     it ended by itself before; with --count a second line has the
 *                             numbers of all its system calls
 *     signal SIGNAL COUNT     … or by a signal of others
 *
 * Ends as the command did: its status, or 128 + the signal. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CALLS 65536
static unsigned short calls[MAX_CALLS];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "killat: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void trace(enum __ptrace_request request, pid_t pid, unsigned long addr, unsigned long data,
                  const char *what)
{
    if (ptrace(request, pid, (void *)addr, (void *)data) < 0 && errno != ESRCH)
        die(what);
}

static pid_t start(char **argv)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            die("PTRACE_TRACEME");
        (void)raise(SIGSTOP);
        (void)execvp(argv[0], argv);
        die(argv[0]);
    }
    int status;
    if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
        die("wait for start");
    trace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL,
          "PTRACE_SETOPTIONS");
    return pid;
}

static bool at_entry(pid_t pid, unsigned long long *ret_nr)
{
    struct __ptrace_syscall_info info;

    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) < 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    *ret_nr = info.entry.nr;
    return true;
}

int main(int argc, char **argv)
{
    FILE *out = stderr;
    int i = 1;

    if (i + 1 < argc && strcmp(argv[i], "-o") == 0) {
        out = fopen(argv[i + 1], "we");
        if (!out)
            die(argv[i + 1]);
        i += 2;
    }
    if (i + 1 >= argc) {
        fprintf(stderr, "usage: killat [-o FILE] N|--count COMMAND [ARGUMENT ...]\n");
        return 125;
    }
    long at = strcmp(argv[i], "--count") == 0 ? 0 : strtol(argv[i], NULL, 10);
    pid_t pid = start(argv + i + 1);

    bool running = false;
    long count = 0;
    unsigned long long nr = 0;
    unsigned long sig = 0;
    for (;;) {
        int status;

        trace(PTRACE_SYSCALL, pid, 0, sig, "PTRACE_SYSCALL");
        sig = 0;
        while (waitpid(pid, &status, __WALL) < 0)
            if (errno != EINTR)
                die("wait");
        if (WIFEXITED(status)) {
            fprintf(out, "exited %d %ld\n", WEXITSTATUS(status), count);
            for (long k = 0; at == 0 && k < count && k < MAX_CALLS; k++)
                fprintf(out, "%u%c", calls[k], k + 1 == count ? '\n' : ' ');
            return WEXITSTATUS(status);
        }
        if (WIFSIGNALED(status)) {
            if (at > 0 && count == at)
                fprintf(out, "killed %ld %llu\n", at, nr);
            else
                fprintf(out, "signal %d %ld\n", WTERMSIG(status), count);
            return 128 + WTERMSIG(status);
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            running = true;
        else if (status >> 8 != (SIGTRAP | 0x80))
            sig = (unsigned long)WSTOPSIG(status);
        else if (running && at_entry(pid, &nr)) {
            if (count < MAX_CALLS)
                calls[count] = (unsigned short)nr;
            if (++count == at && kill(pid, SIGKILL) < 0)
                die("kill");
        }
    }
}
