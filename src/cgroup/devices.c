/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

#define LOAD(to, field)                                                                            \
    {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = BPF_REG_1,                      \
     .off = offsetof(struct bpf_cgroup_dev_ctx, field)}
#define MOVE(to, from) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)}
#define AND(reg, value) {.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = (reg), .imm = (value)}
#define SHIFT(reg, bits) {.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = (reg), .imm = (bits)}
#define IF_EQ(reg, value, skip)                                                                    \
    {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)}
#define IF_NE(reg, value, skip)                                                                    \
    {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)}
#define SKIP(skip) {.code = BPF_JMP | BPF_JA, .off = (skip)}
#define RETURN(value)                                                                              \
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (value)},                    \
    {.code = BPF_JMP | BPF_EXIT}

enum { ACCESS = BPF_REG_2, TYPE = BPF_REG_3, MAJOR = BPF_REG_4, MINOR = BPF_REG_5 };

/* Numbers: Documentation/admin-guide/devices.txt. Major 1: 3 null, 5 zero, 7 full, 8 random, 9 urandom;
 * major 5: 0 tty, 2 ptmx; major 136: pty slaves. Jumps are relative to the next instruction. */
static const struct bpf_insn program[] = {
    LOAD(ACCESS, access_type),
    MOVE(TYPE, ACCESS),
    AND(TYPE, 0xffff),
    SHIFT(ACCESS, 16),
    LOAD(MAJOR, major),
    LOAD(MINOR, minor),
    /*  6 */ IF_EQ(ACCESS, BPF_DEVCG_ACC_MKNOD, 15 /* allow */),
    /*  7 */ IF_NE(TYPE, BPF_DEVCG_DEV_CHAR, 12 /* deny */),
    /*  8 */ IF_EQ(MAJOR, 136, 13 /* allow */),
    /*  9 */ IF_EQ(MAJOR, 5, 7 /* tty and ptmx */),
    /* 10 */ IF_NE(MAJOR, 1, 9 /* deny */),
    /* 11 */ IF_EQ(MINOR, 3, 10),
    /* 12 */ IF_EQ(MINOR, 5, 9),
    /* 13 */ IF_EQ(MINOR, 7, 8),
    /* 14 */ IF_EQ(MINOR, 8, 7),
    /* 15 */ IF_EQ(MINOR, 9, 6),
    /* 16 */ SKIP(3 /* deny */),
    /* 17 */ IF_EQ(MINOR, 0, 4 /* allow */),
    /* 18 */ IF_EQ(MINOR, 2, 3 /* allow */),
    /* 19 */ SKIP(0 /* deny */),
    /* 20 deny */ RETURN(0),
    /* 22 allow */ RETURN(1),
};

static int bpf(int command, union bpf_attr *attr)
{
    long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
    return r < 0 ? -errno : (int)r;
}

static int load(void)
{
    static const char license[] = "Dual MIT/GPL";
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)program;
    attr.insn_cnt = (uint32_t)ARRAY_SIZE(program);
    attr.license = (uint64_t)(uintptr_t)license;
    return bpf(BPF_PROG_LOAD, &attr);
}

int cgroup_limit_devices(int cgroup_fd, const char *path, struct error *e)
{
    static const char step[] = "limit devices of cgroup";
    static const char remedy[] = "run nucleus with CAP_SYS_ADMIN on a kernel with CONFIG_CGROUP_BPF";
    union bpf_attr attr;

    /* bpf(2) takes no O_PATH descriptor. */
    _cleanup_close_ int dir = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set(e, ERROR_CGROUP, errno, step, path, NULL, NULL);
    _cleanup_close_ int prog = load();
    if (prog < 0)
        return error_set(e, ERROR_CGROUP, -prog, step, path, remedy, NULL);
    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)dir;
    attr.attach_bpf_fd = (uint32_t)prog;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    int r = bpf(BPF_PROG_ATTACH, &attr);
    if (r < 0)
        return error_set(e, ERROR_CGROUP, -r, step, path, remedy, NULL);
    return 0;
}
