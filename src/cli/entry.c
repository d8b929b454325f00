/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Where the static executable begins, before the C library does.
 *
 * The C library's own start costs half a millisecond and more on a virtual machine: glibc asks
 * CPUID about a hundred times, and each of these leaves the guest. A container's start would pay it
 * twice, since the binary is started again from a read-only mount to be out of containers' reach
 * (process/protect.h). So what leads to another execve is done here: that, and handing over to
 * nucleus-linked what the static executable has no code for (cli/variant.h).
 *
 * Nothing here is decided for good. Whatever does not work out goes on to main(), which does it the
 * ordinary way, and tells when it can't.
 *
 * There is no C library yet: no errno, no stack protector, no function of it may be called, and no
 * pointer to data be in a table, for the addresses have not been relocated. */
#include <elf.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "cli/variant.h"

#ifndef __x86_64__
#error "the static executable is for x86-64 (meson.build)"
#endif

/* rdx is what the kernel leaves for the C library (System V ABI, "Process Initialization"). */
__asm__(".text\n"
        ".globl nucleus_entry\n"
        ".type nucleus_entry, @function\n"
        "nucleus_entry:\n"
        "    endbr64\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rbx\n"
        "    mov %rdx, %r12\n"
        "    mov %rsp, %rdi\n"
        "    call nucleus_before_libc\n"
        "    mov %rbx, %rsp\n"
        "    mov %r12, %rdx\n"
        "    jmp _start\n"
        ".size nucleus_entry, .-nucleus_entry\n");

static long call5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return ret;
}

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* In a list of words, each with its NUL, that ends with an empty one. */
static bool among(const char *words, const char *word)
{
    while (*words) {
        if (same(words, word))
            return true;
        while (*words++)
            ;
    }
    return false;
}

enum way { GO_ON, PROTECT, HAND_OVER };

/* The global options that take a value are those of cli/main.c. */
static enum way choose(char *const *argv)
{
    for (argv++; *argv; argv++) {
        const char *word = *argv;
        if (*word != '-')
            return among("create\0run\0exec\0", word) ? PROTECT
                   : among(VARIANT_HOT_WORDS, word)   ? GO_ON
                                                      : HAND_OVER;
        word += word[1] == '-' ? 2 : 1;
        if (same(word, "systemd-cgroup"))
            return HAND_OVER;
        if (among("root\0log\0log-format\0rootless\0", word) && !*++argv)
            break;
    }
    return GO_ON;
}

/* As protect_own_binary() does. */
static void start_again_protected(char *const *argv, char *const *envp)
{
    const struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    struct statfs fs;

    if (call5(SYS_geteuid, 0, 0, 0, 0, 0) != 0)
        return;
    long exe = call5(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_PATH | O_CLOEXEC, 0, 0);
    if (exe < 0)
        return;
    if (call5(SYS_fstatfs, exe, (long)&fs, 0, 0, 0) == 0 && !(fs.f_flags & ST_RDONLY)) {
        long tree = call5(SYS_open_tree, exe, (long)"",
                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH, 0, 0);
        if (tree >= 0 && call5(SYS_mount_setattr, tree, (long)"", AT_EMPTY_PATH, (long)&read_only,
                               sizeof(read_only)) == 0)
            (void)call5(SYS_execveat, tree, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH);
        if (tree >= 0)
            (void)call5(SYS_close, tree, 0, 0, 0, 0);
    }
    (void)call5(SYS_close, exe, 0, 0, 0, 0);
}

/* What lies beside a path, behind which there is room for the name. */
static void run_beside(char *path, size_t n, char *const *argv, char *const *envp)
{
    while (n > 0 && path[n - 1] != '/')
        n--;
    for (size_t i = 0; i < sizeof(VARIANT_LINKED_NAME); i++)
        path[n + i] = VARIANT_LINKED_NAME[i];
    (void)call5(SYS_execve, (long)path, (long)argv, (long)envp, 0, 0);
}

/* The path given to execve(2), behind the environment (getauxval(3)). */
static const char *executed_as(char *const *envp)
{
    while (*envp)
        envp++;
    for (const unsigned long *v = (const unsigned long *)(envp + 1); v[0] != AT_NULL; v += 2)
        if (v[0] == AT_EXECFN)
            return (const char *)v[1];
    return "";
}

static void hand_over(char *const *argv, char *const *envp)
{
    char path[4096];
    const size_t room = sizeof(path) - sizeof(VARIANT_LINKED_NAME);
    long n = call5(SYS_readlink, (long)"/proc/self/exe", (long)path, (long)room, 0, 0);

    if (n > 0) {
        run_beside(path, (size_t)n, argv, envp);
    } else {
        /* There is no /proc. */
        const char *name = executed_as(envp);
        for (n = 0; name[n] && (size_t)n < room; n++)
            path[n] = name[n];
        run_beside(path, (size_t)n, argv, envp);
    }
    (void)call5(SYS_execve, (long)VARIANT_LINKED_PATH, (long)argv, (long)envp, 0, 0);
}

__attribute__((used, visibility("hidden"))) void nucleus_before_libc(const long *stack);
void nucleus_before_libc(const long *stack)
{
    char *const *argv = (char *const *)(stack + 1);
    char *const *envp = argv + stack[0] + 1;

    if (stack[0] < 1)
        return;
    switch (choose(argv)) {
    case GO_ON:
        break;
    case PROTECT:
        start_again_protected(argv, envp);
        break;
    case HAND_OVER:
        hand_over(argv, envp);
        break;
    }
}
