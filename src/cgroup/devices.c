/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "cgroup/device-program.h"

/* How a program of ours is known again: BPF_OBJ_NAME_LEN - 1 letters at most. */
#define PROGRAM_NAME "nucleus_dev"
/* kernel/bpf/cgroup.c, BPF_CGROUP_MAX_PROGS */
#define PROGRAMS_MAX 64

#define STEP "limit the devices of cgroup"
#define REMEDY "run nucleus with CAP_SYS_ADMIN on a kernel with CONFIG_CGROUP_BPF"

static int bpf(int command, union bpf_attr *attr)
{
    long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
    return r < 0 ? -errno : (int)r;
}

static int load(const struct bpf_insn *insns, size_t n)
{
    static const char license[] = "Dual MIT/GPL";
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)insns;
    attr.insn_cnt = (uint32_t)n;
    attr.license = (uint64_t)(uintptr_t)license;
    memcpy(attr.prog_name, PROGRAM_NAME, sizeof(PROGRAM_NAME));
    return bpf(BPF_PROG_LOAD, &attr);
}

static int attach(int cgroup_fd, int prog_fd, int replaced_fd)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)prog_fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced_fd >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced_fd;
    }
    return bpf(BPF_PROG_ATTACH, &attr);
}

static int detach(int cgroup_fd, int prog_fd)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)prog_fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    return bpf(BPF_PROG_DETACH, &attr);
}

static bool is_ours(int prog_fd)
{
    struct bpf_prog_info info = {0};
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.info.bpf_fd = (uint32_t)prog_fd;
    attr.info.info_len = sizeof(info);
    attr.info.info = (uint64_t)(uintptr_t)&info;
    return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0 && streq(info.name, PROGRAM_NAME);
}

/* The program that an earlier call attached to this very cgroup: a descriptor, or -ENOENT. */
static int find_attached(int cgroup_fd)
{
    uint32_t ids[PROGRAMS_MAX];
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.query.target_fd = (uint32_t)cgroup_fd;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attr.query.prog_cnt = PROGRAMS_MAX;
    int r = bpf(BPF_PROG_QUERY, &attr);
    if (r < 0)
        return r;
    uint32_t n = attr.query.prog_cnt;
    for (uint32_t i = 0; i < n; i++) {
        memset(&attr, 0, sizeof(attr));
        attr.prog_id = ids[i];
        _cleanup_close_ int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
        if (fd >= 0 && is_ours(fd))
            return TAKE_FD(fd);
        if (fd < 0 && fd != -ENOENT)
            return fd;
    }
    return -ENOENT;
}

/* In one step where the kernel can (Linux 5.6); else both hold for a moment, which allows less. */
static int replace(int cgroup_fd, int prog_fd, int old_fd)
{
    int r = attach(cgroup_fd, prog_fd, old_fd);
    if (r != -EINVAL || old_fd < 0)
        return r;
    r = attach(cgroup_fd, prog_fd, -EBADF);
    return r < 0 ? r : detach(cgroup_fd, old_fd);
}

int cgroup_set_devices(int cgroup_fd, const char *path, const struct oci_device_rule *rules,
                       size_t n, struct error *e)
{
    _cleanup_free_ struct bpf_insn *insns = NULL;
    size_t n_insns;

    if (device_program_make(rules, n, &insns, &n_insns) < 0)
        return error_set(e, ERROR_UNSUPPORTED, E2BIG, STEP, path,
                         "merge rules with wildcards for the minor number",
                         "linux.resources.devices has %zu rules, at most %d fit", n,
                         DEVICE_RULES_MAX);
    /* bpf(2) takes no O_PATH descriptor. */
    _cleanup_close_ int dir = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set(e, ERROR_CGROUP, errno, STEP, path, NULL, NULL);
    _cleanup_close_ int prog = load(insns, n_insns);
    if (prog < 0)
        return error_set(e, ERROR_CGROUP, -prog, STEP, path, REMEDY, NULL);
    _cleanup_close_ int old = find_attached(dir);
    if (old < 0 && old != -ENOENT)
        return error_set(e, ERROR_CGROUP, -old, STEP, path, REMEDY, NULL);
    int r = replace(dir, prog, old);
    return r < 0 ? error_set(e, ERROR_CGROUP, -r, STEP, path, REMEDY, NULL) : 0;
}
