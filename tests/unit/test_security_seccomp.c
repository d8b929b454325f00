/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/str.h"
#include "security/security.h"

#define MISSING_CALL 1000 /* above what any libseccomp knows */

static char **names(const char *one, const char *two)
{
    static char *list[3];

    list[0] = (char *)(uintptr_t)one;
    list[1] = (char *)(uintptr_t)two;
    list[2] = NULL;
    return list;
}

/* Enough for a child of these tests to do its work when the default is not to allow. */
static char **basics(void)
{
    static char *list[] = {
        (char *)(uintptr_t) "write",        (char *)(uintptr_t) "exit_group",
        (char *)(uintptr_t) "rt_sigreturn", (char *)(uintptr_t) "rt_sigaction",
        (char *)(uintptr_t) "getpid",       NULL,
    };

    return list;
}

static struct seccomp_program compile(const struct oci_seccomp *spec)
{
    struct seccomp_program program;
    struct error e = {0};

    if (seccomp_compile(spec, -EBADF, &program, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_true(program.len > 0);
    return program;
}

static void refuse(const struct oci_seccomp *spec, enum error_code code, const char *says)
{
    struct seccomp_program program = {0};
    struct error e = {0};

    if (seccomp_compile(spec, -EBADF, &program, &e) >= 0)
        fail_msg("accepted, although %s", says);
    assert_null(program.filter);
    if (e.code != code)
        fail_msg("%s: %s", error_code_name(e.code), error_render(&e));
    assert_error_says(&e, says);
    error_done(&e);
}

/* Loads the program in a child (by security_load_filter) and makes the call there. Returns the
 * errno it gave, 0 for success, or minus the signal that ended the child. */
static int call_under(struct seccomp_program *program, long (*call)(void *), void *arg)
{
    struct security_plan plan = {.no_new_privileges = true, .seccomp = *program};
    struct {
        int r, error;
    } *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;

    assert_true(shared != MAP_FAILED);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct security_plan credentials = {.no_new_privileges = true, .last_cap = -1};
        enum security_step step;
        /* cmocka has handlers for these, which would run the other tests in here. */
        (void)signal(SIGSYS, SIG_DFL);
        (void)signal(SIGSEGV, SIG_DFL);
        /* Sets no_new_privs and nothing that could fail without rights. */
        credentials.uid = (uint32_t)getuid();
        credentials.gid = (uint32_t)getgid();
        shared->r = security_apply_credentials(&credentials, &step);
        int listener;
        if (shared->r == 0)
            shared->r = security_load_filter(&plan, SECURITY_LAST, &listener, &step);
        if (shared->r == 0) {
            errno = 0;
            shared->error = call(arg) < 0 ? errno : 0;
        }
        (void)syscall(SYS_exit_group, 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (shared->r < 0)
        fail_msg("not loaded: %s", strerror(-shared->r));
    int result = WIFSIGNALED(status) ? -WTERMSIG(status) : shared->error;
    (void)munmap(shared, 4096);
    return result;
}

static long call_mkdir(void *arg)
{
    (void)arg;
    return syscall(SYS_mkdir, "/nonexistent/x", 0755);
}

static long call_number(void *arg)
{
    return syscall(*(const long *)arg, -1, -1, -1, -1, -1, -1);
}

static int run_spec(const struct oci_seccomp *spec, long (*call)(void *), void *arg)
{
    struct seccomp_program program = compile(spec);
    int r = call_under(&program, call, arg);

    seccomp_program_done(&program);
    assert_null(program.filter);
    return r;
}

/* --- actions --------------------------------------------------------------------------------- */

static void test_a_denied_call_fails_with_its_errno(void **state)
{
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL), .action = SECCOMP_RET_ERRNO};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    (void)state;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EPERM);
    rule.has_errno = true;
    rule.errno_ret = EXDEV;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EXDEV);
    rule.errno_ret = 0; /* nothing done, success told */
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), 0);
    rule.action = SECCOMP_RET_ALLOW;
    rule.has_errno = false;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), ENOENT);
    rule.action = SECCOMP_RET_LOG;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), ENOENT);
    rule.action = SECCOMP_RET_TRACE; /* without a tracer */
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), ENOSYS);
}

static void test_kill_actions(void **state)
{
    static const uint32_t actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD,
                                       SECCOMP_RET_TRAP};
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL)};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        rule.action = actions[i];
        assert_int_equal(run_spec(&spec, call_mkdir, NULL), -SIGSYS);
    }
}

static void test_default_action_holds_for_the_rest(void **state)
{
    struct oci_seccomp_rule rule = {.names = basics(), .action = SECCOMP_RET_ALLOW};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = &rule, .n_rules = 1};
    long getpid_number = SYS_getpid;

    (void)state;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EPERM);
    assert_int_equal(run_spec(&spec, call_number, &getpid_number), 0);
    spec.has_default_errno = true;
    spec.default_errno = EACCES;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EACCES);
    spec.default_action = SECCOMP_RET_KILL_PROCESS;
    spec.has_default_errno = false;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), -SIGSYS);
}

static void test_rules_equal_to_the_default_change_nothing(void **state)
{
    struct oci_seccomp_rule rules[] = {
        {.names = basics(), .action = SECCOMP_RET_ALLOW},
        {.names = names("mkdir", NULL), .action = SECCOMP_RET_ERRNO},
    };
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = rules, .n_rules = 2};

    (void)state;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EPERM);
    rules[1].has_errno = true;
    rules[1].errno_ret = EXDEV;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EXDEV);
}

/* --- arguments ------------------------------------------------------------------------------- */

/* Any argument is fine for it. */
static long call_umask(void *arg)
{
    return syscall(SYS_umask, *(const uint64_t *)arg);
}

static void test_comparisons(void **state)
{
    static const struct {
        int op;
        uint64_t value, value_two, arg;
        bool matches;
    } rows[] = {
        {OCI_CMP_EQ, 5, 0, 5, true},
        {OCI_CMP_EQ, 5, 0, 6, false},
        {OCI_CMP_NE, 5, 0, 6, true},
        {OCI_CMP_NE, 5, 0, 5, false},
        {OCI_CMP_LT, 5, 0, 4, true},
        {OCI_CMP_LT, 5, 0, 5, false},
        {OCI_CMP_LE, 5, 0, 5, true},
        {OCI_CMP_LE, 5, 0, 6, false},
        {OCI_CMP_GE, 5, 0, 5, true},
        {OCI_CMP_GE, 5, 0, 4, false},
        {OCI_CMP_GT, 5, 0, 6, true},
        {OCI_CMP_GT, 5, 0, 5, false},
        {OCI_CMP_MASKED_EQ, 0xf0, 0x50, 0x5a, true},
        {OCI_CMP_MASKED_EQ, 0xf0, 0x50, 0x6a, false},
        /* All 64 bits count. */
        {OCI_CMP_EQ, UINT64_C(0x100000005), 0, UINT64_C(0x100000005), true},
        {OCI_CMP_EQ, UINT64_C(0x100000005), 0, 5, false},
        {OCI_CMP_GT, UINT64_C(0xffffffff), 0, UINT64_C(0x100000000), true},
        {OCI_CMP_LT, UINT64_C(0x100000000), 0, UINT64_C(0x200000001), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_seccomp_arg arg = {
            .op = rows[i].op, .value = rows[i].value, .value_two = rows[i].value_two};
        struct oci_seccomp_rule rule = {
            .names = names("umask", NULL), .action = SECCOMP_RET_ERRNO, .args = &arg, .n_args = 1};
        struct oci_seccomp spec = {
            .default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
        uint64_t value = rows[i].arg;
        int r = run_spec(&spec, call_umask, &value);
        if (r != (rows[i].matches ? EPERM : 0))
            fail_msg("row %zu: %d", i, r);
    }
}

static long call_getpriority(void *arg)
{
    const long *a = arg;
    return syscall(SYS_getpriority, a[0], a[1]);
}

static void test_conditions_on_several_arguments_hold_together(void **state)
{
    struct oci_seccomp_arg args[] = {{.index = 0, .op = OCI_CMP_EQ, .value = 1},
                                     {.index = 1, .op = OCI_CMP_EQ, .value = 0}};
    struct oci_seccomp_rule rule = {.names = names("getpriority", NULL),
                                    .action = SECCOMP_RET_ERRNO,
                                    .args = args,
                                    .n_args = 2};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    long both[] = {1, 0}, first[] = {1, getpgrp()}, second[] = {0, 0};

    (void)state;
    assert_int_equal(run_spec(&spec, call_getpriority, both), EPERM);
    assert_int_equal(run_spec(&spec, call_getpriority, first), 0);
    assert_int_equal(run_spec(&spec, call_getpriority, second), 0);
}

static void test_two_conditions_on_one_argument_are_two_rules(void **state)
{
    struct oci_seccomp_arg args[] = {{.op = OCI_CMP_EQ, .value = 3},
                                     {.op = OCI_CMP_EQ, .value = 5}};
    struct oci_seccomp_rule rule = {
        .names = names("umask", NULL), .action = SECCOMP_RET_ERRNO, .args = args, .n_args = 2};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    uint64_t values[] = {3, 4, 5};

    (void)state;
    assert_int_equal(run_spec(&spec, call_umask, &values[0]), EPERM);
    assert_int_equal(run_spec(&spec, call_umask, &values[1]), 0);
    assert_int_equal(run_spec(&spec, call_umask, &values[2]), EPERM);
}

/* --- calls newer than the library ------------------------------------------------------------- */

static void test_newer_calls_answer_enosys(void **state)
{
    struct oci_seccomp_rule rule = {.names = basics(), .action = SECCOMP_RET_ALLOW};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = &rule, .n_rules = 1};
    long number = 0, missing = MISSING_CALL;

    (void)state;
    assert_int_equal(run_spec(&spec, call_number, &missing), ENOSYS);
    /* The last one the library knows is denied as the profile says, the next is not there. */
    for (long nr = 424; nr < MISSING_CALL; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), (int)nr);
        if (name)
            number = nr;
        free(name);
    }
    assert_true(number >= 439); /* libseccomp 2.5 */
    assert_int_equal(run_spec(&spec, call_number, &number), EPERM);
    number++;
    assert_int_equal(run_spec(&spec, call_number, &number), ENOSYS);

    /* Only where the default is an errno, and another one. */
    spec.default_action = SECCOMP_RET_KILL_PROCESS;
    assert_int_equal(run_spec(&spec, call_number, &missing), -SIGSYS);
    spec.default_action = SECCOMP_RET_ERRNO;
    struct seccomp_program with = compile(&spec);
    spec.has_default_errno = true;
    spec.default_errno = ENOSYS;
    struct seccomp_program without = compile(&spec);
    assert_true(without.len < with.len);
    seccomp_program_done(&with);
    seccomp_program_done(&without);
}

#ifdef __x86_64__
static void test_x32_calls_are_no_way_around(void **state)
{
    struct oci_seccomp_rule rule = {.names = basics(), .action = SECCOMP_RET_ALLOW};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = &rule, .n_rules = 1};
    long x32_mkdir = 0x40000000 | SYS_mkdir;
    char *archs[] = {(char *)(uintptr_t) "SCMP_ARCH_X86_64", (char *)(uintptr_t) "SCMP_ARCH_X32",
                     NULL};

    (void)state;
    assert_int_equal(run_spec(&spec, call_number, &x32_mkdir), -SIGSYS);
    spec.architectures = archs;
    assert_int_equal(run_spec(&spec, call_number, &x32_mkdir), EPERM);
}

/* A system call of the 32-bit ABI from a 64-bit program. */
static long call_int80(void *arg)
{
    long number = *(const long *)arg, result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory");
    if (result < 0 && result >= -4095) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static void test_32_bit_calls(void **state)
{
    struct oci_seccomp_rule rule = {.names = basics(), .action = SECCOMP_RET_ALLOW};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = &rule, .n_rules = 1};
    struct oci_seccomp open = {.default_action = SECCOMP_RET_ALLOW};
    char *archs[] = {(char *)(uintptr_t) "SCMP_ARCH_X86", NULL};
    long getpid32 = 20, mkdir32 = 39, missing = MISSING_CALL;

    (void)state;
    open.architectures = archs;
    if (run_spec(&open, call_int80, &getpid32) == -SIGSEGV) {
        print_message("skipped: no 32-bit emulation in this kernel\n");
        skip();
    }
    /* Not listed: another architecture is not let in. */
    assert_int_equal(run_spec(&spec, call_int80, &getpid32), -SIGSYS);
    spec.architectures = archs;
    assert_int_equal(run_spec(&spec, call_int80, &getpid32), 0);
    assert_int_equal(run_spec(&spec, call_int80, &mkdir32), EPERM);
    assert_int_equal(run_spec(&spec, call_int80, &missing), ENOSYS);
    assert_int_equal(run_spec(&spec, call_number, &missing), ENOSYS);
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EPERM);
}
#endif

static void test_architectures_that_cannot_run_are_skipped(void **state)
{
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL), .action = SECCOMP_RET_ERRNO};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    char *archs[] = {(char *)(uintptr_t) "SCMP_ARCH_S390",
                     (char *)(uintptr_t) "SCMP_ARCH_MIPS",
                     (char *)(uintptr_t) "SCMP_ARCH_LOONGARCH64",
                     (char *)(uintptr_t) "SCMP_ARCH_",
                     (char *)(uintptr_t) "x",
                     NULL};

    (void)state;
    struct seccomp_program without = compile(&spec);
    spec.architectures = archs;
    struct seccomp_program with = compile(&spec);
    assert_int_equal(with.len, without.len);
    assert_int_equal(call_under(&with, call_mkdir, NULL), EPERM);
    seccomp_program_done(&with);
    seccomp_program_done(&without);
}

/* --- what can't be done ----------------------------------------------------------------------- */

static void test_unknown_names(void **state)
{
    struct oci_seccomp_rule rules[] = {
        {.names = basics(), .action = SECCOMP_RET_ALLOW},
        {.names = names("call_of_the_future", "mkdir"), .action = SECCOMP_RET_ALLOW},
    };
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = rules, .n_rules = 2};

    (void)state;
    /* Looser than the default: skipped, and the rest of the rule holds. */
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), ENOENT);
    /* As strict with another errno: still closed. */
    rules[1].action = SECCOMP_RET_ERRNO;
    rules[1].has_errno = true;
    rules[1].errno_ret = EXDEV;
    assert_int_equal(run_spec(&spec, call_mkdir, NULL), EXDEV);
    /* Stricter: it would stay open. */
    rules[1].action = SECCOMP_RET_KILL_PROCESS;
    refuse(&spec, ERROR_UNSUPPORTED, "call_of_the_future");
    rules[1].action = SECCOMP_RET_ERRNO;
    spec.default_action = SECCOMP_RET_ALLOW;
    refuse(&spec, ERROR_UNSUPPORTED, "SCMP_ACT_ERRNO");
    spec.default_action = SECCOMP_RET_LOG;
    refuse(&spec, ERROR_UNSUPPORTED, "call_of_the_future");
}

static void test_unsupported_parts(void **state)
{
    struct oci_seccomp_arg args[1] = {{0}};
    struct oci_seccomp_rule rule = {
        .names = names("umask", NULL), .action = SECCOMP_RET_ERRNO, .args = args};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    (void)state;
    rule.action = 0x12340000;
    refuse(&spec, ERROR_UNSUPPORTED, "the kernel does not have it");
    rule.action = SECCOMP_RET_ERRNO;
    rule.has_errno = true;
    rule.errno_ret = 4096;
    refuse(&spec, ERROR_CONFIG, "4096");
    rule.has_errno = false;

    rule.n_args = 1;
    args[0].index = 6;
    refuse(&spec, ERROR_CONFIG, "umask");
    args[0].index = 0;
    args[0].op = 7;
    refuse(&spec, ERROR_UNSUPPORTED, "operator 7");
    args[0].op = -1;
    refuse(&spec, ERROR_UNSUPPORTED, "operator -1");
    rule.n_args = 0;

    spec.flags = 1u << 3; /* NEW_LISTENER */
    refuse(&spec, ERROR_UNSUPPORTED, "linux.seccomp.flags");
}

static void test_contradiction_is_an_error(void **state)
{
    struct oci_seccomp_arg arg = {.op = OCI_CMP_EQ, .value = 5};
    struct oci_seccomp_rule rules[] = {
        {.names = names("umask", NULL), .action = SECCOMP_RET_ALLOW, .args = &arg, .n_args = 1},
        {.names = names("umask", NULL), .action = SECCOMP_RET_LOG, .args = &arg, .n_args = 1},
    };
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO, .rules = rules, .n_rules = 2};

    (void)state;
    refuse(&spec, ERROR_CONFIG, "umask");
}

static void test_a_filter_that_is_too_long(void **state)
{
    static struct oci_seccomp_arg args[1500];
    static struct oci_seccomp_rule rules[ARRAY_SIZE(args)];
    struct oci_seccomp spec = {
        .default_action = SECCOMP_RET_ALLOW, .rules = rules, .n_rules = ARRAY_SIZE(args)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
        args[i].op = OCI_CMP_EQ;
        args[i].value = i * UINT64_C(0x100000001);
        rules[i] = (struct oci_seccomp_rule){.names = names("umask", NULL),
                                             .action = SECCOMP_RET_ERRNO,
                                             .args = &args[i],
                                             .n_args = 1};
    }
    refuse(&spec, ERROR_CONFIG, "4096 instructions");
}

/* --- the blocks of the architectures ------------------------------------------------------------
 */

/* What a kernel would make of a program: the instructions that libseccomp and we use. */
_unused_ static uint32_t simulate(const struct sock_filter *code, size_t n,
                                  const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < n; pc++) {
        const struct sock_filter *i = &code[pc];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(i->k % 4 == 0 && i->k < sizeof(*data));
            memcpy(&a, (const char *)data + i->k, 4);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > i->k ? i->jt : i->jf;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            fail_msg("instruction %x", i->code);
        }
    }
    fail_msg("ran off the end");
    return 0;
}

#ifdef __x86_64__
/* libseccomp's own filter for all architectures at once, with the same rules. */
static size_t reference(const struct oci_seccomp *spec, struct sock_filter *code, size_t max)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    for (char **arch = spec->architectures; arch && *arch; arch++) {
        if (streq(*arch, "SCMP_ARCH_X86"))
            assert_int_equal(seccomp_arch_add(ctx, SCMP_ARCH_X86), 0);
        if (streq(*arch, "SCMP_ARCH_X32"))
            assert_int_equal(seccomp_arch_add(ctx, SCMP_ARCH_X32), 0);
    }
    for (size_t i = 0; i < spec->n_rules; i++)
        for (char **name = spec->rules[i].names; *name; name++) {
            struct scmp_arg_cmp arg = {0, SCMP_CMP_EQ, 5, 0};
            assert_int_equal(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
                                                    seccomp_syscall_resolve_name(*name),
                                                    spec->rules[i].n_args ? 1 : 0, &arg),
                             0);
        }
    int fd = memfd_create("reference", MFD_CLOEXEC);
    assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
    ssize_t n = pread(fd, code, max * sizeof(*code), 0);
    assert_true(n > 0);
    (void)close(fd);
    seccomp_release(ctx);
    return (size_t)n / sizeof(*code);
}

static void compare(const struct oci_seccomp *spec)
{
    static const uint32_t archs[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_AARCH64, 0};
    static const uint32_t bases[] = {0, 0x40000000, 0x7fffff00, 0x80000000, 0xfffffe00};
    static struct sock_filter code[BPF_MAXINSNS];
    struct seccomp_program ours = compile(spec);
    size_t n = reference(spec, code, ARRAY_SIZE(code)), newer = 0;

    for (size_t i = 0; i < ARRAY_SIZE(archs); i++)
        for (size_t b = 0; b < ARRAY_SIZE(bases); b++)
            for (uint32_t k = 0; k < 700; k++) {
                /* 700 wraps around the last base: -1 and 0 are there. */
                struct seccomp_data data = {.nr = (int)(bases[b] + k), .arch = archs[i]};
                data.args[0] = k % 2 ? 5 : UINT64_C(0x100000005);
                uint32_t got = simulate(ours.filter, ours.len, &data);
                uint32_t want = simulate(code, n, &data);
                if (got == (SECCOMP_RET_ERRNO | ENOSYS) && want == (SECCOMP_RET_ERRNO | EPERM) &&
                    b == 0 && k > 439)
                    newer++;
                else if (got != want)
                    fail_msg("arch %x nr %x: %x, not %x", data.arch, (unsigned)data.nr, got, want);
            }
    assert_true(newer > 100);
    seccomp_program_done(&ours);
}

static void test_blocks_answer_as_one_filter_does(void **state)
{
    static const char *const all_archs[] = {"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"};
    char *allowed[500] = {NULL};
    size_t n = 0;

    (void)state;
    for (int nr = 0; nr < 440; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);
        if (name && nr % 7 != 3 && nr != SYS_personality)
            allowed[n++] = name;
        else
            free(name);
    }
    struct oci_seccomp_arg arg = {.op = OCI_CMP_EQ, .value = 5};
    struct oci_seccomp_rule rules[] = {
        {.names = allowed, .action = SECCOMP_RET_ALLOW},
        {.names = names("personality", NULL),
         .action = SECCOMP_RET_ALLOW,
         .args = &arg,
         .n_args = 1},
    };
    /* Every subset of the architectures. */
    for (unsigned set = 0; set < 8; set++) {
        char *archs[4] = {NULL};
        size_t k = 0;
        for (unsigned i = 0; i < 3; i++)
            if (set & 1u << i)
                archs[k++] = (char *)(uintptr_t)all_archs[i];
        struct oci_seccomp spec = {.default_action = SECCOMP_RET_ERRNO,
                                   .architectures = archs,
                                   .rules = rules,
                                   .n_rules = ARRAY_SIZE(rules)};
        compare(&spec);
    }
    for (size_t i = 0; i < n; i++)
        free(allowed[i]);
}
#endif

/* --- loading ---------------------------------------------------------------------------------- */

static void test_flags_reach_the_kernel(void **state)
{
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL), .action = SECCOMP_RET_ERRNO};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    (void)state;
    spec.flags =
        SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC;
    struct seccomp_program program = compile(&spec);
    assert_int_equal(program.flags, spec.flags);
    assert_int_equal(call_under(&program, call_mkdir, NULL), EPERM);
    seccomp_program_done(&program);
}

/* Whether the stage loads the plan's filter: 'y', 'n', or 'e' where the kernel refuses it. */
static char loads_at(const struct security_plan *plan, enum security_stage stage)
{
    int status, listener = 0;
    enum security_step step = 0;

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, plan->no_new_privileges, 0, 0, 0) < 0 &&
            plan->no_new_privileges)
            _exit(3);
        if (security_load_filter(plan, stage, &listener, &step) < 0)
            _exit(step == SECURITY_SECCOMP ? 2 : 3);
        if (listener != -EBADF)
            _exit(3);
        _exit(call_mkdir(NULL) == -1 && errno == EXDEV);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return "nye?"[WEXITSTATUS(status)];
}

/* Without no_new_privileges the filter goes in while CAP_SYS_ADMIN is still there, with it at the
 * very end. */
static void test_each_filter_has_its_stage(void **state)
{
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL),
                                    .action = SECCOMP_RET_ERRNO,
                                    .has_errno = true,
                                    .errno_ret = EXDEV};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    struct security_plan plan = {.no_new_privileges = true, .seccomp = compile(&spec)};

    (void)state;
    assert_int_equal(loads_at(&plan, SECURITY_EARLY), 'n');
    assert_int_equal(loads_at(&plan, SECURITY_READY), 'n');
    assert_int_equal(loads_at(&plan, SECURITY_LAST), 'y');
    plan.no_new_privileges = false;
    assert_int_equal(loads_at(&plan, SECURITY_EARLY), geteuid() == 0 ? 'y' : 'e');
    assert_int_equal(loads_at(&plan, SECURITY_READY), 'n');
    assert_int_equal(loads_at(&plan, SECURITY_LAST), 'n');
    plan.seccomp.len = 0; /* what the kernel refuses */
    assert_int_equal(loads_at(&plan, SECURITY_EARLY), 'e');
    plan.seccomp.len = 1;
    security_plan_done(&plan);
    assert_null(plan.seccomp.filter);
    assert_int_equal(loads_at(&plan, SECURITY_EARLY), 'n');
}

/* The credentials that come after an early filter. */
static void test_without_no_new_privileges(void **state)
{
    struct oci_seccomp_rule rule = {.names = names("mkdir", NULL), .action = SECCOMP_RET_ERRNO};
    struct oci_seccomp seccomp = {
        .default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    struct oci_process process = {.uid = 1000, .gid = 1000};
    struct security_plan plan;
    struct error e = {0};
    int status;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
    assert_int_equal(security_plan(&process, &seccomp, -EBADF, &plan, &e), 0);
    assert_true(plan.seccomp.len > 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enum security_step step;
        int listener;
        if (security_load_filter(&plan, SECURITY_EARLY, &listener, &step) < 0)
            _exit(1);
        if (security_apply_credentials(&plan, &step) < 0)
            _exit(2);
        if (call_mkdir(NULL) != -1 || errno != EPERM)
            _exit(3);
        _exit(getuid() == 1000 ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    security_plan_done(&plan);
    assert_null(plan.seccomp.filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_denied_call_fails_with_its_errno),
        cmocka_unit_test(test_kill_actions),
        cmocka_unit_test(test_default_action_holds_for_the_rest),
        cmocka_unit_test(test_rules_equal_to_the_default_change_nothing),
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_conditions_on_several_arguments_hold_together),
        cmocka_unit_test(test_two_conditions_on_one_argument_are_two_rules),
        cmocka_unit_test(test_newer_calls_answer_enosys),
#ifdef __x86_64__
        cmocka_unit_test(test_x32_calls_are_no_way_around),
        cmocka_unit_test(test_32_bit_calls),
        cmocka_unit_test(test_blocks_answer_as_one_filter_does),
#endif
        cmocka_unit_test(test_architectures_that_cannot_run_are_skipped),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_unsupported_parts),
        cmocka_unit_test(test_contradiction_is_an_error),
        cmocka_unit_test(test_a_filter_that_is_too_long),
        cmocka_unit_test(test_flags_reach_the_kernel),
        cmocka_unit_test(test_each_filter_has_its_stage),
        cmocka_unit_test(test_without_no_new_privileges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
