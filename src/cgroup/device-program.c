/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/device-program.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

#define ALL (OCI_DEVICE_READ | OCI_DEVICE_WRITE | OCI_DEVICE_MKNOD)

#define INSN(c, to, from, skip, value)                                                             \
    ((struct bpf_insn){                                                                            \
        .code = (c), .dst_reg = (to), .src_reg = (from), .off = (int16_t)(skip), .imm = (value)})
#define LOAD(to, field)                                                                            \
    INSN(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, field), 0)
#define MOVE(to, from) INSN(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define AND(to, value) INSN(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, value)
#define OR(to, from) INSN(BPF_ALU64 | BPF_OR | BPF_X, to, from, 0, 0)
#define XOR(to, value) INSN(BPF_ALU64 | BPF_XOR | BPF_K, to, 0, 0, value)
#define SHIFT(to, bits) INSN(BPF_ALU64 | BPF_RSH | BPF_K, to, 0, 0, bits)
#define SHIFT_LEFT(to, bits) INSN(BPF_ALU64 | BPF_LSH | BPF_K, to, 0, 0, bits)
#define SKIP(skip) INSN(BPF_JMP | BPF_JA, 0, 0, skip, 0)
#define IF_NOT(reg, value, skip) INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value)
#define IF_ANY(reg, bits, skip) INSN(BPF_JMP | BPF_JSET | BPF_K, reg, 0, skip, bits)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

enum {
    OPEN = BPF_REG_2, /* the accesses asked for that no rule has decided yet */
    TYPE = BPF_REG_3,
    MAJOR = BPF_REG_4,
    MINOR = BPF_REG_5,
    /* Two that are free: BPF_REG_0 is the verdict's, BPF_REG_1 the context. */
    DIFFERS = BPF_REG_6,
    SCRATCH = BPF_REG_7,
    /* What most rules are about in one number: a character device, by its major and minor, or by
     * its major alone. Of any other type it has bits set above those 32. */
    DEVICE = BPF_REG_8,
    DRIVER = BPF_REG_9,
};
#define MINOR_BITS 20 /* include/linux/kdev_t.h */

/* The numbers are those of Documentation/admin-guide/devices.txt. */
static const struct oci_device_rule own[] = {
    /* Making nodes: CRIU brings a /dev back with mknod, and docker build unpacks layers with
     * nodes. */
    {true, 'a', -1, -1, OCI_DEVICE_MKNOD},
    {true, 'c', 1, 3, ALL},    /* null */
    {true, 'c', 1, 5, ALL},    /* zero */
    {true, 'c', 1, 7, ALL},    /* full */
    {true, 'c', 1, 8, ALL},    /* random */
    {true, 'c', 1, 9, ALL},    /* urandom */
    {true, 'c', 5, 0, ALL},    /* tty */
    {true, 'c', 5, 2, ALL},    /* ptmx */
    {true, 'c', 136, -1, ALL}, /* ptys */
    /* net/tun: runc and crun took it away in 2022 and gave it back in 2025, for engines have no
     * option for it everywhere. It does nothing without CAP_NET_ADMIN over the network. */
    {true, 'c', 10, 200, ALL},
};

struct program {
    struct bpf_insn *insns;
    size_t n;
};

static void emit(struct program *p, struct bpf_insn insn)
{
    mem_grow(p->insns, p->n);
    p->insns[p->n++] = insn;
}

static void emit_return(struct program *p, bool allow)
{
    emit(p, SET(BPF_REG_0, allow));
    emit(p, EXIT);
}

/* access_type is the access in the upper and the type in the lower 16 bits. BPF's access bits are
 * not those of OCI. */
static void emit_start(struct program *p)
{
    emit(p, LOAD(OPEN, access_type));
    emit(p, MOVE(TYPE, OPEN));
    emit(p, AND(TYPE, 0xffff));
    emit(p, SHIFT(OPEN, 16));
    emit(p, LOAD(MAJOR, major));
    emit(p, LOAD(MINOR, minor));
    emit(p, MOVE(DRIVER, TYPE));
    emit(p, XOR(DRIVER, BPF_DEVCG_DEV_CHAR));
    emit(p, SHIFT_LEFT(DRIVER, 32));
    emit(p, MOVE(DEVICE, MAJOR));
    emit(p, SHIFT_LEFT(DEVICE, MINOR_BITS));
    emit(p, OR(DEVICE, MINOR));
    emit(p, OR(DEVICE, DRIVER));
    emit(p, OR(DRIVER, MAJOR));
}

static int32_t bpf_access(unsigned access)
{
    return (access & OCI_DEVICE_READ ? BPF_DEVCG_ACC_READ : 0) |
           (access & OCI_DEVICE_WRITE ? BPF_DEVCG_ACC_WRITE : 0) |
           (access & OCI_DEVICE_MKNOD ? BPF_DEVCG_ACC_MKNOD : 0);
}

/* Majors have 12 bits and minors 20 (include/linux/kdev_t.h): no device matches anything greater,
 * and a jump compares with a signed 32-bit number. */
static bool matches_nothing(const struct oci_device_rule *r)
{
    return r->major > INT32_MAX || r->minor > INT32_MAX;
}

static bool matches_everything(const struct oci_device_rule *r)
{
    return r->type == 'a' && r->major < 0 && r->minor < 0 && (r->access & ALL) == ALL;
}

/* What a rule does to an access that it matches. Both ways four instructions. */
#define VERDICT_LEN 4

static void emit_verdict(struct program *p, const struct oci_device_rule *r)
{
    int32_t access = bpf_access(r->access);

    if (r->allow) {
        emit(p, AND(OPEN, ~access));
        emit(p, IF_NOT(OPEN, 0, 2));
    } else {
        emit(p, IF_ANY(OPEN, access, 1));
        emit(p, SKIP(2));
    }
    emit_return(p, r->allow);
}

/* A character device with all accesses, as nearly every rule of every engine has it: one
 * comparison. That matters at each start, for the verifier's time goes by the length of the
 * program. */
static bool emit_short_rule(struct program *p, const struct oci_device_rule *r)
{
    /* The comparison is with a signed 32-bit number. */
    if (!r->allow || r->type != 'c' || (r->access & ALL) != ALL || r->major < 0 ||
        r->major > INT32_MAX >> MINOR_BITS || r->minor >= 1 << MINOR_BITS)
        return false;
    if (r->minor < 0)
        emit(p, IF_NOT(DRIVER, (int32_t)r->major, 2));
    else
        emit(p, IF_NOT(DEVICE, (int32_t)(r->major << MINOR_BITS | r->minor), 2));
    emit_return(p, true);
    return true;
}

/* One jump for all that is compared: the verifier keeps each jump that may go both ways in mind
 * until it is at the end. */
static void emit_rule(struct program *p, const struct oci_device_rule *r)
{
    const struct {
        bool wanted;
        unsigned reg : 4;
        int64_t value;
    } tests[] = {
        {r->type != 'a', TYPE, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR},
        {r->major >= 0, MAJOR, r->major},
        {r->minor >= 0, MINOR, r->minor},
    };
    bool any = false;

    if (emit_short_rule(p, r))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        if (!tests[i].wanted)
            continue;
        emit(p, MOVE(SCRATCH, tests[i].reg));
        emit(p, XOR(SCRATCH, (int32_t)tests[i].value));
        emit(p, any ? OR(DIFFERS, SCRATCH) : MOVE(DIFFERS, SCRATCH));
        any = true;
    }
    if (any)
        emit(p, IF_NOT(DIFFERS, 0, VERDICT_LEN));
    emit_verdict(p, r);
}

/* Last rule first; true when one was met behind which nothing is left to decide. */
static bool emit_rules(struct program *p, const struct oci_device_rule *rules, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        if (matches_everything(&rules[i])) {
            emit_return(p, rules[i].allow);
            return true;
        }
        if (!matches_nothing(&rules[i]))
            emit_rule(p, &rules[i]);
    }
    return false;
}

int device_program_make(const struct oci_device_rule *rules, size_t n, struct bpf_insn **ret,
                        size_t *ret_n)
{
    struct program p = {0};

    if (n > DEVICE_RULES_MAX)
        return -E2BIG;
    emit_start(&p);
    (void)emit_rules(&p, own, ARRAY_SIZE(own));
    if (!emit_rules(&p, rules, n))
        emit_return(&p, false);
    *ret = p.insns;
    *ret_n = p.n;
    return 0;
}
