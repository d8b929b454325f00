/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>

#include "oci/resources.h"

/* Device rules as a program of BPF_PROG_TYPE_CGROUP_DEVICE: 1 allows, 0 denies. Each of the
 * accesses asked for (an open for reading and writing asks for two) is decided by the last rule
 * that matches the device and names that access; all must be allowed. Without a rule an access is
 * denied. The runtime's own rules stand behind the given ones (cgroup/devices.h).
 *
 * Rules that decide nothing, since one that matches everything stands behind them, leave no trace.
 * At most DEVICE_RULES_MAX may be given, -E2BIG above: each costs two jumps, and the verifier keeps
 * no more than 8192 in mind (kernel/bpf/verifier.c, BPF_COMPLEXITY_LIMIT_JMP_SEQ). */
#define DEVICE_RULES_MAX 2048
int device_program_make(const struct oci_device_rule *rules, size_t n, struct bpf_insn **ret,
                        size_t *ret_n);
