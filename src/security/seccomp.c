/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <ctype.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "security/security.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

#define STEP "compile the seccomp profile"
#define ERRNO_MAX 4095 /* MAX_ERRNO of the kernel, which cuts what is above */
#define ARGS_MAX 6
/* x32 calls carry this bit (arch/x86/include/uapi/asm/unistd.h). */
#define X32_BIT 0x40000000u
/* From here all architectures number their new system calls alike (Linux 5.1). */
#define FIRST_COMMON_SYSCALL 424
#define SYSCALL_GAP_MAX 32
/* Linear filters answer late rules slowly, and the kernel tries every call when it loads one
 * (seccomp_cache_prepare, Linux 5.11): 2 is libseccomp's binary tree. */
#define OPTIMIZE_TREE 2

static void contextp(scmp_filter_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

void seccomp_program_done(struct seccomp_program *p)
{
    free(p->filter);
    *p = (struct seccomp_program){0};
}

static const struct {
    uint32_t action;
    const char *name;
} actions[] = {
    {SECCOMP_RET_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"},
    {SECCOMP_RET_KILL_THREAD, "SCMP_ACT_KILL_THREAD"},
    {SECCOMP_RET_TRAP, "SCMP_ACT_TRAP"},
    {SECCOMP_RET_ERRNO, "SCMP_ACT_ERRNO"},
    {SECCOMP_RET_USER_NOTIF, "SCMP_ACT_NOTIFY"},
    {SECCOMP_RET_TRACE, "SCMP_ACT_TRACE"},
    {SECCOMP_RET_LOG, "SCMP_ACT_LOG"},
    {SECCOMP_RET_ALLOW, "SCMP_ACT_ALLOW"},
};

static const char *action_name(uint32_t action)
{
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (actions[i].action == action)
            return actions[i].name;
    return "unknown action";
}

/* The kernel's own order: of several filters the lowest signed value wins. */
static bool is_stricter(uint32_t a, uint32_t b)
{
    return (int32_t)a < (int32_t)b;
}

/* Checks an action and adds its data: what errno it gives. */
static int full_action(uint32_t action, bool has_errno, uint32_t errno_ret, uint32_t *ret,
                       struct error *e)
{
    uint32_t available = action;

    if (action == SECCOMP_RET_USER_NOTIF)
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, action_name(action),
                         "use another action", "there is no seccomp agent to ask");
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &available) < 0)
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, action_name(action),
                         "use another action", "the kernel does not have it");
    if (action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE) {
        uint32_t data = has_errno ? errno_ret : EPERM;
        if (data > ERRNO_MAX)
            return error_set(e, ERROR_CONFIG, EINVAL, STEP, action_name(action),
                             "choose an errnoRet of errno(3)", "errnoRet %u is above %d", data,
                             ERRNO_MAX);
        action |= data;
    }
    *ret = action;
    return 0;
}

static int check_flags(uint32_t flags, struct error *e)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } known[] = {
        {SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"},
        {SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"},
        {SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
    };
    uint32_t rest = flags;

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!(flags & known[i].flag))
            continue;
        rest &= ~known[i].flag;
        /* With flags it knows the kernel goes on to read the program: EFAULT. */
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, known[i].flag, NULL) < 0 &&
            errno != EFAULT)
            return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, known[i].name,
                             "take it out of linux.seccomp.flags", "the kernel does not have it");
    }
    if (rest)
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP,
                         rest & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                             ? "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
                             : "linux.seccomp.flags",
                         "take it out of linux.seccomp.flags",
                         "it serves notifications, which are not supported");
    return 0;
}

/* --- the filter ---------------------------------------------------------------------------- */

/* Architectures whose programs a kernel of the native one can run. Others never reach the filter,
 * and would only make it longer. */
static bool runs_beside(uint32_t native, uint32_t arch)
{
    switch (native) {
    case SCMP_ARCH_X86_64:
        return arch == SCMP_ARCH_X86 || arch == SCMP_ARCH_X32;
    case SCMP_ARCH_AARCH64:
        return arch == SCMP_ARCH_ARM;
    case SCMP_ARCH_S390X:
        return arch == SCMP_ARCH_S390;
    default:
        return false;
    }
}

/* "SCMP_ARCH_X86_64" to libseccomp's token; 0 when it knows none such. */
static uint32_t arch_token(const char *name)
{
    char lower[32];
    const char *rest = str_after(name, "SCMP_ARCH_");
    size_t n = rest ? strlen(rest) : 0;

    if (n == 0 || n >= sizeof(lower))
        return 0;
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)tolower((unsigned char)rest[i]);
    return seccomp_arch_resolve_name(lower);
}

static int add_architectures(scmp_filter_ctx ctx, const struct oci_seccomp *spec, struct error *e)
{
    uint32_t native = seccomp_arch_native();

    for (char *const *name = spec->architectures; name && *name; name++) {
        uint32_t arch = arch_token(*name);
        if (arch == native)
            continue;
        if (arch == 0 || !runs_beside(native, arch)) {
            log_debug("seccomp: %s can't run on this kernel, skipped", *name);
            continue;
        }
        int r = seccomp_arch_add(ctx, arch);
        if (r < 0 && r != -EEXIST)
            return error_set(e, ERROR_UNSUPPORTED, -r, STEP, *name,
                             "take it out of linux.seccomp.architectures", NULL);
    }
    return 0;
}

static int convert_args(const struct oci_seccomp_rule *rule, struct scmp_arg_cmp *ret,
                        bool *ret_repeated, struct error *e)
{
    static const enum scmp_compare ops[] = {
        [OCI_CMP_NE] = SCMP_CMP_NE,
        [OCI_CMP_LT] = SCMP_CMP_LT,
        [OCI_CMP_LE] = SCMP_CMP_LE,
        [OCI_CMP_EQ] = SCMP_CMP_EQ,
        [OCI_CMP_GE] = SCMP_CMP_GE,
        [OCI_CMP_GT] = SCMP_CMP_GT,
        [OCI_CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
    };
    unsigned seen = 0;

    *ret_repeated = false;
    for (size_t i = 0; i < rule->n_args; i++) {
        const struct oci_seccomp_arg *a = &rule->args[i];
        if (a->op < 0 || (size_t)a->op >= ARRAY_SIZE(ops))
            return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, rule->names[0],
                             "use a comparison of the runtime-spec", "operator %d is unknown",
                             a->op);
        if (a->index >= ARGS_MAX)
            return error_set(e, ERROR_CONFIG, EINVAL, STEP, rule->names[0],
                             "count arguments from 0", "a system call has no argument %u",
                             a->index);
        if (seen & 1u << a->index)
            *ret_repeated = true;
        seen |= 1u << a->index;
        /* For MASKED_EQ `value` is the mask, as in libseccomp; the others ignore the second. */
        ret[i] = (struct scmp_arg_cmp){a->index, ops[a->op], a->value, a->value_two};
    }
    return 0;
}

static int rule_failed(int r, const char *name, struct error *e)
{
    if (r == -EEXIST)
        return error_set(e, ERROR_CONFIG, EEXIST, STEP, name, "keep one of the rules",
                         "an earlier rule has another action for the same arguments");
    return error_set(e, ERROR_UNSUPPORTED, -r, STEP, name,
                     "take the rule out or write it without arguments", NULL);
}

/* One system call of a rule. Conditions hold together; libseccomp takes each argument once, so a
 * rule that compares one twice becomes a rule a condition, of which any is enough, as every
 * runtime has it (seccomp.json of moby relies on it). */
static int add_call(scmp_filter_ctx ctx, uint32_t action, int call, const char *name,
                    const struct scmp_arg_cmp *args, size_t n_args, bool repeated, struct error *e)
{
    int r = 0;

    if (repeated)
        for (size_t i = 0; i < n_args && r == 0; i++)
            r = seccomp_rule_add_array(ctx, action, call, 1, &args[i]);
    else
        r = seccomp_rule_add_array(ctx, action, call, (unsigned)n_args, args);
    return r < 0 ? rule_failed(r, name, e) : 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct oci_seccomp *spec, uint32_t default_action,
                    const struct oci_seccomp_rule *rule, struct error *e)
{
    struct scmp_arg_cmp args[2 * ARGS_MAX];
    uint32_t action;
    bool repeated;

    if (!rule->names || !rule->names[0])
        return 0;
    if (rule->n_args > ARRAY_SIZE(args))
        return error_set(e, ERROR_CONFIG, E2BIG, STEP, rule->names[0], "split the rule",
                         "it has %zu comparisons, more than %zu", rule->n_args, ARRAY_SIZE(args));
    int r = full_action(rule->action, rule->has_errno, rule->errno_ret, &action, e);
    if (r < 0)
        return r;
    r = convert_args(rule, args, &repeated, e);
    if (r < 0)
        return r;
    /* libseccomp refuses what changes nothing. */
    if (action == default_action)
        return 0;

    for (char *const *name = rule->names; *name; name++) {
        int call = seccomp_syscall_resolve_name(*name);
        if (call == __NR_SCMP_ERROR) {
            if (is_stricter(rule->action, spec->default_action))
                return error_set(e, ERROR_UNSUPPORTED, ENOSYS, STEP, *name,
                                 "take it out of the rule, or install a newer libseccomp",
                                 "libseccomp does not know this system call, so it would stay "
                                 "open where the profile wants %s",
                                 action_name(rule->action));
            log_debug("seccomp: libseccomp does not know %s, skipped", *name);
            continue;
        }
        r = add_call(ctx, action, call, *name, args, rule->n_args, repeated, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- the program --------------------------------------------------------------------------- */

/* The highest system call that libseccomp has a name for. */
static uint32_t highest_known(uint32_t arch)
{
    int highest = FIRST_COMMON_SYSCALL - 1;

    for (int nr = FIRST_COMMON_SYSCALL; nr - highest <= SYSCALL_GAP_MAX; nr++) {
        _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(arch, nr);
        if (name)
            highest = nr;
    }
    return (uint32_t)highest;
}

/* Before the filter proper: a call newer than anything the profile's author or the library can
 * have meant answers ENOSYS, so that a C library falls back to the older one instead of taking
 * EPERM for the verdict (the idea is runc's). Calls with the x32 bit go on to the filter, and so
 * does -1, which a tracer makes of a call it wants skipped. */
static void add_enosys(struct sock_filter *out, size_t *n, uint32_t arch)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, highest_known(arch), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };

    memcpy(out + *n, code, sizeof(code));
    *n += ARRAY_SIZE(code);
}
#define ENOSYS_INSNS 6

/* The compiled filter behind room for `room` instructions at the front. */
static int export_filter(scmp_filter_ctx ctx, size_t room, struct sock_filter **ret, size_t *ret_n,
                         struct error *e)
{
    _cleanup_free_ char *data = NULL;
    size_t len;

    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, STEP, "memfd");
    int r = seccomp_export_bpf(ctx, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r == 0)
        r = fd_read_all(fd, BPF_MAXINSNS * sizeof(struct sock_filter), &data, &len);
    size_t n = r == 0 ? len / sizeof(struct sock_filter) : 0;
    if (r == -EFBIG || n + room > BPF_MAXINSNS)
        return error_set(
            e, ERROR_CONFIG, E2BIG, STEP, "linux.seccomp", "use fewer rules and comparisons",
            "the filter has more than the %d instructions a kernel takes", BPF_MAXINSNS);
    if (r < 0)
        return error_set(e, ERROR_SYSTEM, -r, STEP, "linux.seccomp", NULL, NULL);

    struct sock_filter *filter = mem_realloc_array(NULL, room + n, sizeof(*filter));
    memcpy(filter + room, data, n * sizeof(*filter));
    *ret = filter;
    *ret_n = room + n;
    return 0;
}

static int build_program(scmp_filter_ctx ctx, const struct oci_seccomp *spec,
                         uint32_t default_action, struct seccomp_program *ret, struct error *e)
{
    uint32_t archs[2];
    size_t n_archs = 0;

    if (spec->default_action == SECCOMP_RET_ERRNO &&
        default_action != (SECCOMP_RET_ERRNO | ENOSYS)) {
        uint32_t native = seccomp_arch_native();
        archs[n_archs++] = native;
        /* The token is the kernel's AUDIT_ARCH_*, except for x32. */
        if (native == SCMP_ARCH_X86_64 && seccomp_arch_exist(ctx, SCMP_ARCH_X86) == 0)
            archs[n_archs++] = SCMP_ARCH_X86;
    }

    struct sock_filter *filter = NULL;
    size_t n = 0, at = 0;
    int r = export_filter(ctx, n_archs * ENOSYS_INSNS, &filter, &n, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_archs; i++)
        add_enosys(filter, &at, archs[i]);
    *ret = (struct seccomp_program){
        .filter = filter,
        .len = (unsigned short)n,
        .flags = spec->flags,
    };
    return 0;
}

int seccomp_compile(const struct oci_seccomp *spec, struct seccomp_program *ret, struct error *e)
{
    uint32_t default_action;

    int r = check_flags(spec->flags, e);
    if (r < 0)
        return r;
    r = full_action(spec->default_action, spec->has_default_errno, spec->default_errno,
                    &default_action, e);
    if (r < 0)
        return r;

    _cleanup_(contextp) scmp_filter_ctx ctx = seccomp_init(default_action);
    if (!ctx)
        return error_set(e, ERROR_UNSUPPORTED, EINVAL, STEP, action_name(spec->default_action),
                         "use another defaultAction", "libseccomp refuses it");
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
    r = add_architectures(ctx, spec, e);
    for (size_t i = 0; i < spec->n_rules && r == 0; i++)
        r = add_rule(ctx, spec, default_action, &spec->rules[i], e);
    if (r < 0)
        return r;
    return build_program(ctx, spec, default_action, ret, e);
}
