/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Names of the runtime-spec and the kernel's numbers behind them. */

struct oci_name {
    const char *name;
    uint64_t value;
};

/* Number of "CAP_CHOWN", … (capabilities(7), linux/capability.h up to Linux 6.18); -EINVAL for any
 * other text. And back; NULL for a number without a name. */
int oci_capability_parse(const char *name) _pure_;
const char *oci_capability_name(int cap) _const_;

/* RLIMIT_* of "RLIMIT_NOFILE", …; -EINVAL for any other text. And back, NULL when unknown. */
int oci_rlimit_parse(const char *name) _pure_;
const char *oci_rlimit_name(int resource) _const_;

/* The names that linux.seccomp and linux.memoryPolicy may use, one after the other: NULL behind the
 * last. */
const struct oci_name *oci_seccomp_action(size_t i) _const_;       /* SECCOMP_RET_* */
const struct oci_name *oci_seccomp_operator(size_t i) _const_;     /* enum oci_seccomp_op */
const struct oci_name *oci_seccomp_architecture(size_t i) _const_; /* no value */
const struct oci_name *oci_seccomp_flag(size_t i) _const_;         /* SECCOMP_FILTER_FLAG_* */
const struct oci_name *oci_memory_policy_mode(size_t i) _const_;   /* MPOL_* */
const struct oci_name *oci_memory_policy_flag(size_t i) _const_;   /* MPOL_F_* */
