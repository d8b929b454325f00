/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "security/security.h"

/* Private to security/: what of a seccomp profile can be judged before it is compiled. */

#define SECCOMP_STEP "compile the seccomp profile"

/* "SCMP_ACT_ERRNO", … of SECCOMP_RET_*. */
const char *profile_action_name(uint32_t action);

/* The kernel's own order: of several filters the lowest signed value wins. */
bool profile_is_stricter(uint32_t a, uint32_t b) _const_;

/* Checks that the kernel has an action, and adds its data: what errno it gives. */
int profile_action(uint32_t action, bool has_errno, uint32_t errno_ret, uint32_t *ret,
                   struct error *e);

/* The flags for seccomp(2): those asked for, with what notifications take. ERROR_UNSUPPORTED for
 * one that the kernel does not have, ERROR_CONFIG for notifications that can't work
 * (security.h). */
int profile_flags(const struct oci_seccomp *spec, uint32_t *ret, struct error *e);
