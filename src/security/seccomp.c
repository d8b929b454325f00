/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <ctype.h>
#include <errno.h>
#include <link.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "security/profile.h"
#include "security/program-cache.h"
#include "security/program-search.h"

#define STEP SECCOMP_STEP
#define ARGS_MAX 6
/* x32 calls carry this bit (arch/x86/include/uapi/asm/unistd.h). */
#define X32_BIT 0x40000000u
/* From here all architectures number their new system calls alike (Linux 5.1). */
#define FIRST_COMMON_SYSCALL 424
#define SYSCALL_GAP_MAX 32
/* libseccomp's binary tree. A filter that tries one call after the other costs as much to compile
 * and load as it saves, since the kernel runs it for every number when it loads (Linux 5.11,
 * seccomp_cache_prepare), and then costs more at each call whose arguments are looked at. */
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

/* --- architectures ------------------------------------------------------------------------- */

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

/* At most the native one and two beside it. */
#define ARCHS_MAX 3

/* Native is always there, and last: x32 has to be asked for before x86-64. */
static size_t choose_architectures(const struct oci_seccomp *spec, uint32_t ret[ARCHS_MAX])
{
    uint32_t native = seccomp_arch_native();
    size_t n = 0;

    for (char *const *name = spec->architectures; name && *name; name++) {
        uint32_t arch = arch_token(*name);
        bool known = arch == native;
        for (size_t i = 0; i < n; i++)
            known = known || ret[i] == arch;
        if (arch == 0 || !(known || runs_beside(native, arch)))
            log_debug("seccomp: %s can't run on this kernel, skipped", *name);
        else if (!known)
            ret[n++] = arch;
    }
    ret[n++] = native;
    return n;
}

/* --- the profile, resolved ------------------------------------------------------------------- */

/* What of a profile depends on this kernel or is another way to say the same: with the rules' names
 * and arguments, which stay in the spec, it is all that decides the program. */
struct resolved {
    uint32_t default_action; /* this and the next with their errno */
    uint32_t *actions;       /* one a rule; owned */
    uint32_t archs[ARCHS_MAX];
    size_t n_archs;
};

static void resolved_done(struct resolved *p)
{
    free(p->actions);
}

/* Asks the kernel for each action, so it is done for a program from the cache, too. */
static int resolve(const struct oci_seccomp *spec, struct resolved *ret, struct error *e)
{
    _cleanup_(resolved_done) struct resolved p = {
        .actions = mem_alloc(spec->n_rules * sizeof(*p.actions)),
    };
    int r = profile_action(spec->default_action, spec->has_default_errno, spec->default_errno,
                           &p.default_action, e);
    for (size_t i = 0; r == 0 && i < spec->n_rules; i++) {
        const struct oci_seccomp_rule *rule = &spec->rules[i];
        r = profile_action(rule->action, rule->has_errno, rule->errno_ret, &p.actions[i], e);
    }
    if (r < 0)
        return r;
    p.n_archs = choose_architectures(spec, p.archs);
    *ret = p;
    p.actions = NULL;
    return 0;
}

static void add_u32(struct strbuf *b, uint32_t v)
{
    strbuf_addn(b, (const char *)&v, sizeof(v));
}

static void add_u64(struct strbuf *b, uint64_t v)
{
    strbuf_addn(b, (const char *)&v, sizeof(v));
}

/* Everything that decides the program, by which the cache finds it. Each part has its length before
 * it or its end in it, so no two profiles have the same. */
/* Of the executable and of every library it has loaded: a version does not tell a build that was
 * patched. An ELF note of type NT_GNU_BUILD_ID, whose owner is "GNU" (elf(5)). */
__attribute__((no_sanitize("address"))) /* between our own notes it keeps poisoned bytes */
static int add_build_id(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct strbuf *key = arg;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_NOTE)
            continue;
        const char *note = (const char *)(info->dlpi_addr + p->p_vaddr);
        for (size_t left = p->p_memsz; left >= sizeof(ElfW(Nhdr));) {
            const ElfW(Nhdr) h = *(const ElfW(Nhdr) *)(const void *)note;
            /* Both are padded to the alignment of the segment, of which 4 is the usual one. */
            size_t align = p->p_align == 8 ? 8 : 4;
            size_t text = (sizeof(h) + h.n_namesz + align - 1) & ~(align - 1);
            size_t whole = (text + h.n_descsz + align - 1) & ~(align - 1);
            if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == sizeof("GNU") &&
                memcmp(note + sizeof(h), "GNU", sizeof("GNU")) == 0 && text + h.n_descsz <= left)
                strbuf_addn(key, note + text, h.n_descsz);
            if (whole >= left)
                break;
            note += whole;
            left -= whole;
        }
    }
    return 0;
}

static void add_key(struct strbuf *key, const struct oci_seccomp *spec, const struct resolved *p)
{
    const struct scmp_version *v = seccomp_version();

    strbuf_addn(key, NUCLEUS_VERSION, sizeof(NUCLEUS_VERSION));
    (void)dl_iterate_phdr(add_build_id, key);
    add_u32(key, v ? v->major : 0);
    add_u32(key, v ? v->minor : 0);
    add_u32(key, v ? v->micro : 0);
    add_u32(key, p->default_action);
    /* The last one is the native. */
    add_u32(key, (uint32_t)p->n_archs);
    for (size_t i = 0; i < p->n_archs; i++)
        add_u32(key, p->archs[i]);
    add_u32(key, (uint32_t)spec->n_rules);
    for (size_t i = 0; i < spec->n_rules; i++) {
        const struct oci_seccomp_rule *rule = &spec->rules[i];
        add_u32(key, p->actions[i]);
        add_u32(key, (uint32_t)rule->n_args);
        for (size_t k = 0; k < rule->n_args; k++) {
            add_u32(key, rule->args[k].index);
            add_u32(key, (uint32_t)rule->args[k].op);
            add_u64(key, rule->args[k].value);
            add_u64(key, rule->args[k].value_two);
        }
        add_u32(key, (uint32_t)strv_len(rule->names));
        for (char *const *name = rule->names; name && *name; name++)
            strbuf_addn(key, *name, strlen(*name) + 1);
    }
}

/* --- rules --------------------------------------------------------------------------------- */

/* One call of one rule, as libseccomp takes it. */
struct call {
    uint32_t action;
    int number;       /* on the native architecture, or libseccomp's own below zero */
    const char *name; /* borrowed */
    struct scmp_arg_cmp args[ARGS_MAX];
    unsigned n_args;
};

struct call_list {
    struct call *calls;
    size_t n;
};

static void call_list_done(struct call_list *l)
{
    free(l->calls);
}

static int convert_arg(const struct oci_seccomp_arg *a, const char *name, struct scmp_arg_cmp *ret,
                       struct error *e)
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

    if (a->op < 0 || (size_t)a->op >= ARRAY_SIZE(ops))
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, name,
                         "use a comparison of the runtime-spec", "operator %d is unknown", a->op);
    if (a->index >= ARGS_MAX)
        return error_set(e, ERROR_CONFIG, EINVAL, STEP, name, "count arguments from 0",
                         "a system call has no argument %u", a->index);
    /* For MASKED_EQ `value` is the mask, as in libseccomp; the others ignore the second. */
    *ret = (struct scmp_arg_cmp){a->index, ops[a->op], a->value, a->value_two};
    return 0;
}

static bool compares_twice(const struct oci_seccomp_rule *rule)
{
    unsigned seen = 0;

    for (size_t i = 0; i < rule->n_args; i++) {
        if (rule->args[i].index < ARGS_MAX && seen & 1u << rule->args[i].index)
            return true;
        seen |= 1u << (rule->args[i].index % ARGS_MAX);
    }
    return false;
}

/* Conditions hold together; libseccomp takes each argument once, so a rule that compares one twice
 * becomes a rule a condition, of which any is enough: what runc and crun make of it. */
static int add_call(struct call_list *l, const struct oci_seccomp_rule *rule, struct call call,
                    struct error *e)
{
    bool split = compares_twice(rule);

    for (size_t i = 0; i < rule->n_args; i++) {
        /* Without a repetition an index out of range comes before the seventh condition. */
        int r = convert_arg(&rule->args[i], call.name, &call.args[call.n_args], e);
        if (r < 0)
            return r;
        if (split) {
            call.n_args = 1;
            mem_grow(l->calls, l->n);
            l->calls[l->n++] = call;
            call.n_args = 0;
        } else {
            call.n_args++;
        }
    }
    if (!split) {
        mem_grow(l->calls, l->n);
        l->calls[l->n++] = call;
    }
    return 0;
}

/* Names that it does not know are added to `skipped`. */
static int add_rule(struct call_list *l, const struct oci_seccomp *spec, const struct resolved *p,
                    size_t i, struct strbuf *skipped, struct error *e)
{
    const struct oci_seccomp_rule *rule = &spec->rules[i];

    for (char *const *name = rule->names; name && *name; name++) {
        int number = seccomp_syscall_resolve_name(*name);
        if (number == __NR_SCMP_ERROR) {
            if (profile_is_stricter(rule->action, spec->default_action))
                return error_set(e, ERROR_UNSUPPORTED, ENOSYS, STEP, *name,
                                 "take it out of the rule, or install a newer libseccomp",
                                 "libseccomp does not know this system call, so it would stay "
                                 "open where the profile wants %s",
                                 profile_action_name(rule->action));
            strbuf_addn(skipped, *name, strlen(*name) + 1);
            continue;
        }
        /* libseccomp refuses what changes nothing. */
        if (p->actions[i] == p->default_action)
            continue;
        int r = add_call(
            l, rule, (struct call){.action = p->actions[i], .number = number, .name = *name}, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- the program --------------------------------------------------------------------------- */

/* libseccomp's time grows with the square of a filter's length, so each architecture gets a filter
 * of its own, and the blocks below send a call to the right one:
 *
 *     load arch; not this one: jump over the block
 *     (x32: load nr; without the bit, or -1: jump over the block)
 *     (load nr; above the highest known: return ENOSYS)
 *     libseccomp's filter, of which every path returns
 *
 * An architecture without a block ends at the last instruction, which kills, as libseccomp does. */
struct program {
    struct sock_filter *code;
    size_t n;
};

static void program_done(struct program *p)
{
    free(p->code);
}

static void append(struct program *p, const struct sock_filter *code, size_t n)
{
    p->code = mem_realloc_array(p->code, p->n + n, sizeof(*code));
    memcpy(p->code + p->n, code, n * sizeof(*code));
    p->n += n;
}

static int too_long(struct error *e)
{
    return error_set(e, ERROR_CONFIG, E2BIG, STEP, "linux.seccomp",
                     "use fewer rules and comparisons",
                     "the filter has more than the %d instructions a kernel takes", BPF_MAXINSNS);
}

static int export_filter(scmp_filter_ctx ctx, struct program *ret, struct error *e)
{
    size_t len;

    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, STEP, "memfd");
    int r = seccomp_export_bpf(ctx, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    char *data = NULL;
    if (r == 0)
        r = fd_read_all(fd, BPF_MAXINSNS * sizeof(struct sock_filter), &data, &len);
    if (r == -EFBIG)
        return too_long(e);
    if (r < 0)
        return error_set(e, ERROR_SYSTEM, -r, STEP, "linux.seccomp", NULL, NULL);
    *ret = (struct program){(struct sock_filter *)(void *)data, len / sizeof(struct sock_filter)};
    return 0;
}

static int call_failed(int r, const char *name, struct error *e)
{
    if (r == -EEXIST)
        return error_set(e, ERROR_CONFIG, EEXIST, STEP, name, "keep one of the rules",
                         "an earlier rule has another action for the same arguments");
    return error_set(e, ERROR_UNSUPPORTED, -r, STEP, name,
                     "take the rule out or write it without arguments", NULL);
}

static int compile_for(uint32_t arch, uint32_t default_action, const struct call_list *l,
                       struct program *ret, struct error *e)
{
    _cleanup_(contextp) scmp_filter_ctx ctx = seccomp_init(default_action);
    if (!ctx)
        return error_set(e, ERROR_UNSUPPORTED, EINVAL, STEP, "linux.seccomp.defaultAction",
                         "use another action", "libseccomp refuses it");

    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
    if (arch != seccomp_arch_native()) {
        int r = seccomp_arch_add(ctx, arch);
        if (r == 0)
            r = seccomp_arch_remove(ctx, seccomp_arch_native());
        if (r < 0)
            return error_set(e, ERROR_UNSUPPORTED, -r, STEP, "linux.seccomp.architectures", NULL,
                             "libseccomp refuses one of them");
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct call *c = &l->calls[i];
        int r = seccomp_rule_add_array(ctx, c->action, c->number, c->n_args, c->args);
        if (r < 0)
            return call_failed(r, c->name, e);
    }
    return export_filter(ctx, ret, e);
}

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

/* A call newer than anything the library knows, and the profile's author could have named, answers
 * ENOSYS, so that a C library falls back to the older one instead of taking EPERM for the verdict
 * (the idea is runc's). Calls with the x32 bit are left to the filter, and so is -1, which a
 * tracer makes of a call it wants skipped. */
static void append_enosys(struct program *p, uint32_t arch)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, highest_known(arch), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };

    append(p, code, ARRAY_SIZE(code));
}

/* The token is the kernel's AUDIT_ARCH_*, except for x32, which shares that of x86-64. */
static uint32_t audit_arch(uint32_t arch)
{
    return arch == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : arch;
}

/* The kernel's time to load a program grows with its length, too: half a millisecond for docker's
 * profile as libseccomp makes it. */
static void shorten(struct program *p, uint32_t arch)
{
    struct program shorter;

    if (!program_search(p->code, p->n, audit_arch(arch), &shorter.code, &shorter.n))
        return;
    program_done(p);
    *p = shorter;
}

static void append_block(struct program *p, uint32_t arch, bool enosys,
                         const struct program *filter)
{
    bool is_x32 = arch == SCMP_ARCH_X32;
    _cleanup_(program_done) struct program body = {0};

    if (enosys && !is_x32)
        append_enosys(&body, arch);
    append(&body, filter->code, filter->n);

    const uint32_t over = (uint32_t)body.n;
    const struct sock_filter by_arch[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_arch(arch), 1, 0),
        BPF_STMT(BPF_JMP | BPF_JA, over + (is_x32 ? 4 : 0)),
    };
    const struct sock_filter by_number[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 0, 1),
        BPF_STMT(BPF_JMP | BPF_JA, over),
    };
    append(p, by_arch, ARRAY_SIZE(by_arch));
    if (is_x32)
        append(p, by_number, ARRAY_SIZE(by_number));
    append(p, body.code, body.n);
}

static int compile(const struct oci_seccomp *spec, const struct resolved *p,
                   struct cached_program *ret, struct error *e)
{
    _cleanup_(program_done) struct program all = {0};
    _cleanup_(call_list_done) struct call_list calls = {0};
    _cleanup_strbuf_ struct strbuf skipped = {0};
    const struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD);

    bool enosys = spec->default_action == SECCOMP_RET_ERRNO &&
                  p->default_action != (SECCOMP_RET_ERRNO | ENOSYS);
    for (size_t i = 0; i < spec->n_rules; i++) {
        int r = add_rule(&calls, spec, p, i, &skipped, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < p->n_archs; i++) {
        _cleanup_(program_done) struct program filter = {0};
        int r = compile_for(p->archs[i], p->default_action, &calls, &filter, e);
        if (r < 0)
            return r;
        shorten(&filter, p->archs[i]);
        append_block(&all, p->archs[i], enosys, &filter);
    }
    append(&all, &kill, 1);
    if (all.n > BPF_MAXINSNS)
        return too_long(e);
    *ret =
        (struct cached_program){.code = TAKE_PTR(all.code), .n = all.n, .skipped_len = skipped.len};
    ret->skipped = strbuf_take(&skipped);
    return 0;
}

int seccomp_compile(const struct oci_seccomp *spec, int statefd, struct seccomp_program *ret,
                    struct error *e)
{
    _cleanup_(resolved_done) struct resolved p = {0};
    _cleanup_(cached_program_done) struct cached_program program = {0};
    _cleanup_strbuf_ struct strbuf key = {0};
    uint32_t flags = 0;

    int r = profile_flags(spec, &flags, e);
    if (r == 0)
        r = resolve(spec, &p, e);
    if (r < 0)
        return r;
    add_key(&key, spec, &p);
    if (program_cache_load(statefd, key.s, key.len, &program) < 0) {
        r = compile(spec, &p, &program, e);
        if (r < 0)
            return r;
        program_cache_save(statefd, key.s, key.len, &program);
    }
    for (size_t i = 0; i < program.skipped_len; i += strlen(program.skipped + i) + 1)
        log_debug("seccomp: libseccomp does not know %s, skipped", program.skipped + i);
    *ret = (struct seccomp_program){
        .filter = TAKE_PTR(program.code),
        .len = (unsigned short)program.n,
        .flags = flags,
    };
    return 0;
}

/* --- for `features` ------------------------------------------------------------------------- */

char *seccomp_library_version(void)
{
    const struct scmp_version *v = seccomp_version();
    return v ? str_printf("%u.%u.%u", v->major, v->minor, v->micro) : NULL;
}
