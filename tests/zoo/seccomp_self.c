/* A seccomp filter a process put on itself: personality() fails with errno 77. */
#include "zoo.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ERRNO = 77 };

static void setup(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ERRNO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
}

static void verify(void)
{
    int status;
    pid_t pid;

    if (syscall(SYS_personality, 0xffffffff) != -1 || errno != ERRNO)
        fail("the filter is gone");
    if (must(prctl(PR_GET_SECCOMP, 0, 0, 0, 0)) != SECCOMP_MODE_FILTER)
        fail("another seccomp mode");
    pid = must(fork());
    if (pid == 0)
        _exit(syscall(SYS_personality, 0xffffffff) == -1 && errno == ERRNO ? 0 : 1);
    must(waitpid(pid, &status, 0));
    if (status != 0)
        fail("a child does not inherit the filter");
}
