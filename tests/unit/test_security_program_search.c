/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "base/macros.h"
#include "base/mem.h"
#include "security/program-cache.h"
#include "security/program-search.h"

/* A filter made shorter answers what the original answers. */

#define RET(v) BPF_STMT(BPF_RET | BPF_K, (v))
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF(op, v, jt, jf) BPF_JUMP(BPF_JMP | (op) | BPF_K, (v), (jt), (jf))

static uint32_t run(const struct sock_filter *code, const struct seccomp_data *d)
{
    uint32_t a = 0;

    for (size_t pc = 0;; pc++) {
        const struct sock_filter *i = &code[pc];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)d + i->k, sizeof(a));
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
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            pc += a & i->k ? i->jt : i->jf;
            break;
        default:
            return i->k;
        }
    }
}

static void compare_at(const struct sock_filter *a, const struct sock_filter *b, uint32_t arch,
                       uint32_t nr)
{
    static const uint64_t values[] = {0, 1, 5, UINT64_C(0x100000005), UINT64_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        const uint64_t v = values[i], w = values[(i + nr) % ARRAY_SIZE(values)];
        const struct seccomp_data d = {
            .nr = (int)nr, .arch = arch, .instruction_pointer = v, .args = {v, w, v, w, v, w}};
        if (run(a, &d) != run(b, &d))
            fail_msg("call %u with %llu, %llu: %x, not %x", nr, (unsigned long long)v,
                     (unsigned long long)w, run(b, &d), run(a, &d));
    }
}

/* True where it was made shorter. */
static bool compare(const struct sock_filter *code, size_t n, uint32_t arch)
{
    struct sock_filter *shorter;
    size_t shorter_n;

    if (!program_search(code, n, arch, &shorter, &shorter_n))
        return false;
    assert_true(shorter_n < n);
    assert_true(program_is_valid(shorter, shorter_n));
    for (uint32_t nr = 0; nr < 700; nr++) {
        compare_at(code, shorter, arch, nr);
        compare_at(code, shorter, arch, nr | 0x40000000);
        compare_at(code, shorter, arch, nr | 0x80000000);
        compare_at(code, shorter, arch, UINT32_MAX - nr);
    }
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < 3; k++)
            compare_at(code, shorter, arch, code[i].k + k - 1);
    free(shorter);
    return true;
}

static unsigned random_below(unsigned n)
{
    static uint32_t x = 1;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x % n;
}

static struct sock_filter *build(uint32_t arch, unsigned rules, unsigned with_args, size_t *ret_n)
{
    static const uint32_t actions[] = {SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(1), SCMP_ACT_ERRNO(38),
                                       SCMP_ACT_KILL_PROCESS, SCMP_ACT_LOG};
    static const enum scmp_compare ops[] = {SCMP_CMP_NE,       SCMP_CMP_LT, SCMP_CMP_LE,
                                            SCMP_CMP_EQ,       SCMP_CMP_GE, SCMP_CMP_GT,
                                            SCMP_CMP_MASKED_EQ};
    scmp_filter_ctx ctx = seccomp_init(actions[random_below(ARRAY_SIZE(actions))]);

    assert_non_null(ctx);
    assert_int_equal(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, random_below(2) + 1), 0);
    if (arch != seccomp_arch_native()) {
        assert_int_equal(seccomp_arch_add(ctx, arch), 0);
        assert_int_equal(seccomp_arch_remove(ctx, seccomp_arch_native()), 0);
    }
    for (unsigned i = 0; i < rules; i++) {
        struct scmp_arg_cmp args[2];
        unsigned n = random_below(100) < with_args ? 1 + random_below(2) : 0;
        for (unsigned k = 0; k < n; k++)
            args[k] =
                (struct scmp_arg_cmp){k * 2 + random_below(2), ops[random_below(ARRAY_SIZE(ops))],
                                      random_below(7), random_below(2)};
        /* Neighbours, as in real profiles. One that is refused changes nothing. */
        const uint32_t action = actions[random_below(ARRAY_SIZE(actions))];
        const unsigned first = random_below(440), last = first + random_below(n ? 1 : 20);
        for (unsigned call = first; call <= last; call++)
            (void)seccomp_rule_add_array(ctx, action, (int)call, n, args);
    }
    int fd = memfd_create("filter", MFD_CLOEXEC);
    assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
    off_t len = lseek(fd, 0, SEEK_END);
    struct sock_filter *code = mem_alloc((size_t)len);
    assert_int_equal(pread(fd, code, (size_t)len, 0), len);
    (void)close(fd);
    seccomp_release(ctx);
    *ret_n = (size_t)len / sizeof(*code);
    return code;
}

static void test_filters_of_libseccomp(void **state)
{
    uint32_t archs[3] = {seccomp_arch_native(), seccomp_arch_native(), seccomp_arch_native()};
    unsigned made = 0;

    (void)state;
#ifdef __x86_64__
    archs[1] = SCMP_ARCH_X86;
    archs[2] = SCMP_ARCH_X32;
#endif
    for (unsigned i = 0; i < 300; i++) {
        uint32_t arch = archs[i % 3], audit = arch == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : arch;
        size_t n;
        _cleanup_free_ struct sock_filter *code =
            build(arch, random_below(i < 30 ? 400 : 60), random_below(3) * 10, &n);
        made += compare(code, n, audit);
    }
    /* Or nothing was compared. */
    assert_true(made > 200);
}

static void test_filters_by_hand(void **state)
{
    const struct sock_filter same[] = {LOAD(nr), IF(BPF_JEQ, 1, 0, 1), RET(7), RET(7)};
    const struct sock_filter last[] = {LOAD(nr),
                                       IF(BPF_JGT, UINT32_MAX - 1, 0, 1),
                                       RET(1),
                                       IF(BPF_JEQ, 0, 0, 1),
                                       RET(2),
                                       IF(BPF_JEQ, 0, 0, 2),
                                       IF(BPF_JEQ, 1, 0, 0),
                                       IF(BPF_JEQ, 1, 0, 0),
                                       RET(3)};
    /* What decides later loads the number again. */
    const struct sock_filter back[] = {
        LOAD(nr),
        IF(BPF_JEQ, 5, 0, 5),
        LOAD(args[0]),
        IF(BPF_JSET, 1, 0, 1),
        RET(1),
        LOAD(nr),
        IF(BPF_JEQ, 5, 4, 5),
        IF(BPF_JEQ, 6, 3, 0),
        IF(BPF_JEQ, 7, 2, 0),
        IF(BPF_JEQ, 8, 1, 0),
        IF(BPF_JEQ, 9, 0, 1),
        RET(2),
        RET(3),
    };

    (void)state;
    assert_true(compare(same, ARRAY_SIZE(same), 1));
    assert_true(compare(last, ARRAY_SIZE(last), 1));
    (void)compare(back, ARRAY_SIZE(back), 1);
}

static void test_what_is_left_as_it_is(void **state)
{
    const struct sock_filter short_one[] = {RET(1)};
    const struct sock_filter set[] = {LOAD(nr), IF(BPF_JSET, 1, 0, 1), RET(1), RET(2), RET(3),
                                      RET(4)};
    const struct sock_filter mask[] = {
        LOAD(nr), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1), IF(BPF_JEQ, 1, 0, 1), RET(1), RET(2),
        RET(3)};
    const struct sock_filter unset[] = {IF(BPF_JEQ, 0, 0, 1), RET(1), RET(2), RET(3), RET(4)};
    const struct sock_filter invalid[] = {LOAD(nr), IF(BPF_JEQ, 1, 9, 1), RET(1), RET(2)};
    struct sock_filter many[1001];
    struct sock_filter *ret;
    size_t ret_n;

    (void)state;
    assert_false(program_search(short_one, ARRAY_SIZE(short_one), 1, &ret, &ret_n));
    assert_false(program_search(set, ARRAY_SIZE(set), 1, &ret, &ret_n));
    assert_false(program_search(mask, ARRAY_SIZE(mask), 1, &ret, &ret_n));
    assert_false(program_search(unset, ARRAY_SIZE(unset), 1, &ret, &ret_n));
    assert_false(program_search(invalid, ARRAY_SIZE(invalid), 1, &ret, &ret_n));
    /* Every other number has another answer, more of them than a jump reaches over. */
    for (unsigned ranges = 100; ranges <= 300; ranges += 100) {
        many[0] = (struct sock_filter)LOAD(nr);
        for (unsigned i = 0; i < ranges; i++) {
            many[1 + 3 * i] = (struct sock_filter)IF(BPF_JEQ, 2 * i, 0, 1);
            many[2 + 3 * i] = (struct sock_filter)RET(1);
            many[3 + 3 * i] = (struct sock_filter)IF(BPF_JEQ, 2 * i, 0, 0);
        }
        many[1 + 3 * ranges] = (struct sock_filter)RET(2);
        assert_int_equal(compare(many, 2 + 3 * ranges, 1), ranges == 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters_of_libseccomp),
        cmocka_unit_test(test_filters_by_hand),
        cmocka_unit_test(test_what_is_left_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
