/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "cgroup/cgroup.h"
#include "cgroup/device-program.h"
#include "cgroup/devices.h"
#include "sys/process.h"

#define R OCI_DEVICE_READ
#define W OCI_DEVICE_WRITE
#define M OCI_DEVICE_MKNOD

/* --- an interpreter of what the programs are made of ---------------------------------------- */

struct machine {
    uint64_t reg[11];
    const struct bpf_cgroup_dev_ctx *ctx;
};

static uint32_t load(const struct machine *m, const struct bpf_insn *i)
{
    uint32_t v;

    assert_int_equal(i->src_reg, BPF_REG_1);
    assert_in_range(i->off, 0, sizeof(*m->ctx) - sizeof(v));
    memcpy(&v, (const char *)m->ctx + i->off, sizeof(v));
    return v;
}

static bool jumps(const struct machine *m, const struct bpf_insn *i)
{
    uint64_t left = m->reg[i->dst_reg], right = (uint64_t)(int64_t)i->imm;

    switch (BPF_OP(i->code)) {
    case BPF_JA:
        return true;
    case BPF_JNE:
        return left != right;
    case BPF_JSET:
        return left & right;
    default:
        fail_msg("jump %x", i->code);
        return false;
    }
}

static void compute(struct machine *m, const struct bpf_insn *i)
{
    uint64_t *to = &m->reg[i->dst_reg], k = (uint64_t)(int64_t)i->imm;

    switch (i->code) {
    case BPF_ALU64 | BPF_MOV | BPF_X:
        *to = m->reg[i->src_reg];
        break;
    case BPF_ALU64 | BPF_MOV | BPF_K:
        *to = k;
        break;
    case BPF_ALU64 | BPF_AND | BPF_K:
        *to &= k;
        break;
    case BPF_ALU64 | BPF_XOR | BPF_K:
        *to ^= k;
        break;
    case BPF_ALU64 | BPF_OR | BPF_X:
        *to |= m->reg[i->src_reg];
        break;
    case BPF_ALU64 | BPF_LSH | BPF_K:
        *to <<= k;
        break;
    case BPF_ALU64 | BPF_RSH | BPF_K:
        *to >>= k;
        break;
    default:
        fail_msg("operation %x", i->code);
    }
}

static bool interpret(const struct bpf_insn *insns, size_t n, const struct bpf_cgroup_dev_ctx *ctx)
{
    struct machine m = {.ctx = ctx};

    for (size_t pc = 0;; pc++) {
        assert_in_range(pc, 0, n - 1);
        const struct bpf_insn *i = &insns[pc];
        if (i->code == (BPF_JMP | BPF_EXIT))
            return m.reg[0];
        if (BPF_CLASS(i->code) == BPF_LDX)
            m.reg[i->dst_reg] = load(&m, i);
        else if (BPF_CLASS(i->code) == BPF_JMP)
            pc += jumps(&m, i) ? (size_t)i->off : 0;
        else
            compute(&m, i);
    }
}

/* --- what rules allow ----------------------------------------------------------------------- */

static uint32_t kernel_access(unsigned access)
{
    return (access & M ? BPF_DEVCG_ACC_MKNOD : 0u) | (access & R ? BPF_DEVCG_ACC_READ : 0u) |
           (access & W ? BPF_DEVCG_ACC_WRITE : 0u);
}

struct access {
    char type;
    uint32_t major, minor;
    unsigned access;
};

static bool is_allowed(const struct oci_device_rule *rules, size_t n, struct access a)
{
    struct bpf_cgroup_dev_ctx ctx = {
        .access_type = kernel_access(a.access) << 16 |
                       (a.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
        .major = a.major,
        .minor = a.minor,
    };
    struct bpf_insn *insns = NULL;
    size_t n_insns = 0;

    assert_int_equal(device_program_make(rules, n, &insns, &n_insns), 0);
    bool allowed = interpret(insns, n_insns, &ctx);
    free(insns);
    return allowed;
}

/* The same by the words of the header: each access by the last rule that matches and names it. */
static bool is_allowed_slowly(const struct oci_device_rule *rules, size_t n, struct access a)
{
    for (unsigned bit = R; bit <= M; bit <<= 1) {
        bool allowed = false;
        if (!(a.access & bit))
            continue;
        for (size_t i = 0; i < n; i++)
            if ((rules[i].type == 'a' || rules[i].type == a.type) &&
                (rules[i].major < 0 || rules[i].major == a.major) &&
                (rules[i].minor < 0 || rules[i].minor == a.minor) && rules[i].access & bit)
                allowed = rules[i].allow;
        if (!allowed)
            return false;
    }
    return true;
}

struct row {
    struct access a;
    bool allowed;
};

static void check_rows(const struct oci_device_rule *rules, size_t n, const struct row *rows,
                       size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        if (is_allowed(rules, n, rows[i].a) != rows[i].allowed)
            fail_msg("row %zu: %c %u:%u %x should be %s", i, rows[i].a.type, rows[i].a.major,
                     rows[i].a.minor, rows[i].a.access, rows[i].allowed ? "allowed" : "denied");
}
#define CHECK_ROWS(rules, n, rows) check_rows(rules, n, rows, ARRAY_SIZE(rows))

static void test_without_rules_the_default_devices_open(void **state)
{
    static const struct row rows[] = {
        {{'c', 1, 3, R | W}, true}, /* null */
        {{'c', 1, 3, R | W | M}, true},
        {{'c', 1, 5, R}, true},       /* zero */
        {{'c', 1, 7, W}, true},       /* full */
        {{'c', 1, 8, R | W}, true},   /* random */
        {{'c', 1, 9, R | W}, true},   /* urandom */
        {{'c', 5, 0, R | W}, true},   /* tty */
        {{'c', 5, 2, R | W}, true},   /* ptmx */
        {{'c', 136, 0, R | W}, true}, /* ptys */
        {{'c', 136, 77, R | W}, true},
        {{'c', 10, 200, R | W}, true},  /* tun */
        {{'c', 1, 1, R}, false},        /* mem */
        {{'c', 1, 11, R}, false},       /* kmsg */
        {{'c', 5, 1, W}, false},        /* the host's console */
        {{'c', 10, 229, R | W}, false}, /* fuse */
        {{'c', 3, 1, R}, false},
        {{'b', 1, 3, R}, false}, /* numbers of null, but a block device */
        {{'b', 8, 0, R}, false}, /* a disk */
        {{'b', 8, 0, W}, false},
        {{'b', 8, 0, M}, true}, /* making a node is no access yet */
        {{'c', 1, 1, M}, true},
        {{'b', 8, 0, R | M}, false},
        {{'c', 4095, 1048575, R}, false},
        {{'c', 4095, 1048575, M}, true},
    };

    (void)state;
    CHECK_ROWS(NULL, 0, rows);
}

static void test_the_last_rule_that_matches_decides(void **state)
{
    static const struct oci_device_rule rules[] = {
        {true, 'c', 10, -1, R | W | M},
        {false, 'c', 10, 229, R | W | M},
        {true, 'b', 8, 0, R | W},
        {false, 'b', 8, 0, W},
        {true, 'b', 7, -1, R},
        {true, 'b', 7, 3, W},
        {false, 'a', 254, -1, R | W | M},
        {true, 'a', -1, 9, R},
    };
    static const struct row rows[] = {
        {{'c', 10, 228, R | W}, true}, {{'c', 10, 229, R}, false},
        {{'b', 10, 228, R}, false},    {{'b', 8, 0, R}, true},
        {{'b', 8, 0, W}, false},       {{'b', 8, 0, R | W}, false}, /* one of two is not enough */
        {{'b', 7, 3, R | W}, true},                                 /* one rule for each */
        {{'b', 7, 4, R}, true},        {{'b', 7, 4, R | W}, false},
        {{'c', 254, 1, R}, false},     {{'c', 254, 9, R}, true},
        {{'b', 254, 9, R}, true},      {{'b', 254, 9, W}, false},
        {{'c', 1, 3, R | W}, true},
    };

    (void)state;
    CHECK_ROWS(rules, ARRAY_SIZE(rules), rows);
}

static void test_rules_for_everything(void **state)
{
    static const struct oci_device_rule all[] = {{true, 'c', 9, 9, R | W | M},
                                                 {true, 'a', -1, -1, R | W | M}};
    static const struct oci_device_rule none[] = {{true, 'a', -1, -1, R | W | M},
                                                  {false, 'a', -1, -1, R | W | M}};
    static const struct oci_device_rule but_one[] = {{true, 'a', -1, -1, R | W | M},
                                                     {false, 'b', 8, 0, R | W}};
    static const struct row all_rows[] = {{{'b', 8, 0, R | W | M}, true}, {{'c', 1, 1, W}, true}};
    /* The runtime's own can't be denied. */
    static const struct row none_rows[] = {
        {{'b', 8, 0, R}, false}, {{'c', 1, 3, R | W}, true}, {{'b', 8, 0, M}, true}};
    static const struct row but_one_rows[] = {
        {{'b', 8, 0, R}, false}, {{'b', 8, 1, R | W}, true}, {{'c', 8, 0, R | W}, true}};
    struct bpf_insn *insns = NULL;
    size_t n_all = 0, n_default = 0;

    (void)state;
    CHECK_ROWS(all, ARRAY_SIZE(all), all_rows);
    CHECK_ROWS(none, ARRAY_SIZE(none), none_rows);
    CHECK_ROWS(but_one, ARRAY_SIZE(but_one), but_one_rows);

    /* What a rule for everything hides leaves no trace. */
    assert_int_equal(device_program_make(NULL, 0, &insns, &n_default), 0);
    free(insns);
    assert_int_equal(device_program_make(all, ARRAY_SIZE(all), &insns, &n_all), 0);
    free(insns);
    assert_int_equal(n_all, n_default);
}

/* Numbers that no device has, and that would be others if they were cut to 32 bits. */
static void test_rules_beyond_the_numbers_of_devices(void **state)
{
    static const struct oci_device_rule rules[] = {
        {true, 'b', (INT64_C(1) << 32) + 8, 0, R | W},
        {true, 'b', 8, (INT64_C(1) << 32), R | W},
        {true, 'b', INT64_C(0xffffffff), -1, R | W},
        {true, 'b', INT64_MAX, INT64_MAX, R | W},
    };
    static const struct row rows[] = {{{'b', 8, 0, R}, false}, {{'b', 0, 0, R}, false}};

    (void)state;
    CHECK_ROWS(rules, ARRAY_SIZE(rules), rows);
}

static unsigned next_random(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed / 65536 % below;
}

static void test_random_rules_agree_with_the_definition(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct oci_device_rule rules[8];
        size_t n = next_random(&seed, ARRAY_SIZE(rules) + 1);
        for (size_t i = 0; i < n; i++)
            rules[i] = (struct oci_device_rule){
                .allow = next_random(&seed, 2),
                .type = "abc"[next_random(&seed, 3)],
                .major = 20 + (int64_t)next_random(&seed, 3),
                .minor = (int64_t)next_random(&seed, 4) - 1,
                .access = 1 + next_random(&seed, 7),
            };
        for (size_t i = 0; i < n; i++)
            if (rules[i].major == 22)
                rules[i].major = -1;
        struct access a = {"bc"[next_random(&seed, 2)], 20 + next_random(&seed, 3),
                           next_random(&seed, 3), 1 + next_random(&seed, 3)};
        if (is_allowed(rules, n, a) != is_allowed_slowly(rules, n, a))
            fail_msg("round %d: %c %u:%u %x", round, a.type, a.major, a.minor, a.access);
    }
}

static struct oci_device_rule *many_rules(size_t n)
{
    struct oci_device_rule *rules = mem_new(struct oci_device_rule, n);

    for (size_t i = 0; i < n; i++)
        rules[i] = (struct oci_device_rule){i % 3 != 0, i % 2 ? 'b' : 'c', 20 + (int64_t)(i % 400),
                                            (int64_t)i, 1 + (unsigned)(i % 7)};
    return rules;
}

static void test_too_many_rules(void **state)
{
    struct oci_device_rule *rules = many_rules(DEVICE_RULES_MAX + 1);
    struct bpf_insn *insns = NULL;
    size_t n = 0;
    struct error e = {0};

    (void)state;
    assert_int_equal(device_program_make(rules, DEVICE_RULES_MAX + 1, &insns, &n), -E2BIG);
    assert_int_equal(cgroup_set_devices(-1, "/x", rules, DEVICE_RULES_MAX + 1, &e), -E2BIG);
    assert_error_says(&e, "has 2049 rules, at most 2048 fit");
    error_done(&e);
    free(rules);
}

/* --- in the kernel --------------------------------------------------------------------------- */

/* A device that opens with a rule of its own only: the kernel's log. */
#define NODE "/dev/kmsg"

struct live {
    struct cgroup_host host;
    char *path;
    int fd;
};

static struct live live = {.fd = -EBADF};

static int live_setup(void **state)
{
    struct error e = {0};
    char name[64];

    *state = &live;
    if (cgroup_host_probe(AT_FDCWD, &live.host, &e) < 0 || !live.host.mount || geteuid() != 0 ||
        access(NODE, F_OK) < 0) {
        error_done(&e);
        return 0;
    }
    (void)snprintf(name, sizeof(name), "nucleus-test-devices-%d", (int)getpid());
    live.path = path_join(live.host.mount, name);
    if (cgroup_create(&live.host, live.path, &live.fd, &e) < 0)
        fail_msg("%s", error_render(&e));
    return 0;
}

static int live_teardown(void **state)
{
    (void)state;
    if (live.fd >= 0) {
        fd_close(live.fd);
        (void)cgroup_remove(&live.host, live.path, true, 10000, NULL);
    }
    free(live.path);
    cgroup_host_done(&live.host);
    return 0;
}

/* 0, or the errno of an open in the cgroup. */
static int open_inside(const char *path)
{
    int pidfd = -1, status = 0;
    pid_t pid = sys_clone3(0, live.fd, &pidfd);

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) < 0 ? errno : 0);
    (void)close(pidfd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void set(const struct oci_device_rule *rules, size_t n)
{
    struct error e = {0};

    if (cgroup_set_devices(live.fd, live.path, rules, n, &e) < 0)
        fail_msg("%s", error_render(&e));
}

static void test_live_rules_are_replaced(void **state)
{
    static const struct oci_device_rule kmsg[] = {{true, 'c', 1, 11, R}};
    static const struct oci_device_rule denied[] = {{true, 'a', -1, -1, R | W | M},
                                                    {false, 'c', 1, 11, R}};

    (void)state;
    if (live.fd < 0)
        skip();
    assert_int_equal(open_inside(NODE), 0);
    set(NULL, 0);
    assert_int_equal(open_inside(NODE), EPERM);
    assert_int_equal(open_inside("/dev/null"), 0);
    /* More is allowed: the old program must be gone, for all that are attached must agree. */
    set(kmsg, ARRAY_SIZE(kmsg));
    assert_int_equal(open_inside(NODE), 0);
    set(denied, ARRAY_SIZE(denied));
    assert_int_equal(open_inside(NODE), EPERM);
    set(kmsg, ARRAY_SIZE(kmsg));
    assert_int_equal(open_inside(NODE), 0);
}

static void test_live_as_many_rules_as_allowed(void **state)
{
    struct oci_device_rule *rules = many_rules(DEVICE_RULES_MAX);

    (void)state;
    if (live.fd < 0) {
        free(rules);
        skip();
    }
    set(rules, DEVICE_RULES_MAX);
    assert_int_equal(open_inside(NODE), EPERM);
    assert_int_equal(open_inside("/dev/null"), 0);
    /* Worst for the verifier: every rule leaves three ways open. */
    for (size_t i = 0; i < DEVICE_RULES_MAX; i++)
        rules[i] = (struct oci_device_rule){i % 2, "bc"[i % 2], 20 + (int64_t)i, 30 + (int64_t)i,
                                            i % 2 ? R : W};
    set(rules, DEVICE_RULES_MAX);
    assert_int_equal(open_inside(NODE), EPERM);
    free(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_rules_the_default_devices_open),
        cmocka_unit_test(test_the_last_rule_that_matches_decides),
        cmocka_unit_test(test_rules_for_everything),
        cmocka_unit_test(test_rules_beyond_the_numbers_of_devices),
        cmocka_unit_test(test_random_rules_agree_with_the_definition),
        cmocka_unit_test(test_too_many_rules),
        cmocka_unit_test(test_live_rules_are_replaced),
        cmocka_unit_test(test_live_as_many_rules_as_allowed),
    };
    return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
