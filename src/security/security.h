/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "oci/spec.h"

/* What a container's process may do: planned in the parent, applied between clone3 and execve. */

/* Capability number from "CAP_CHOWN" (capabilities(7)); -EINVAL. And back; NULL when unknown. */
int capability_parse(const char *name);
const char *capability_name(int cap);
/* The kernel's highest capability (what /proc/sys/kernel/cap_last_cap says, asked by prctl(2)), at
 * most 63. */
int capability_last(void);

/* A seccomp program, ready for seccomp(2) SECCOMP_SET_MODE_FILTER. */
struct seccomp_program {
    struct sock_filter *filter; /* owned; NULL: none */
    unsigned short len;         /* instructions */
    uint32_t flags;             /* SECCOMP_FILTER_FLAG_* */
};
void seccomp_program_done(struct seccomp_program *p);

/* Compiles with libseccomp. Names unknown to the library are skipped (with a debug note), as every
 * runtime does, except when the rule's action is stricter than the default: then the name being
 * unknown would open what was asked to be closed… that is an error. Architectures: the native one
 * is always there; of the others those whose programs this kernel can run (x86 and x32 beside
 * x86-64), the rest is skipped, and calls of an architecture that is not listed kill. An action,
 * flag or operator the library or kernel can't do is ERROR_UNSUPPORTED. SECCOMP_RET_USER_NOTIF is
 * ERROR_UNSUPPORTED. Where the default action is ERRNO, system calls newer than the library
 * (numbers above the highest it knows) answer ENOSYS, so that libcs fall back. Two conditions on
 * one argument of a rule are alternatives, as runc and crun have it. Of two rules for one call
 * without conditions the first holds (libseccomp); the same conditions with two actions are
 * ERROR_CONFIG. */
int seccomp_compile(const struct oci_seccomp *spec, struct seccomp_program *ret, struct error *e);

/* Everything about credentials, as plain data. */
struct security_plan {
    uint32_t uid, gid;
    const uint32_t *additional_gids; /* borrowed from the spec */
    size_t n_additional_gids;
    bool set_groups; /* false where setgroups(2) is denied (user namespace without mapping right) */
    struct oci_capabilities caps;
    int last_cap;
    bool no_new_privileges;
    struct seccomp_program seccomp;
};

/* Plans from a validated spec. A capability the kernel does not know, one in ambient without
 * permitted and inheritable, effective beyond permitted, and inheritable beyond bounding are errors
 * (runc drops some in silence). */
int security_plan(const struct oci_process *process, const struct oci_seccomp *seccomp,
                  struct security_plan *ret, struct error *e);
void security_plan_done(struct security_plan *plan);

/* Steps of security_apply, for the report of a failure from the child. */
enum security_step {
    SECURITY_BOUNDING = 1,
    SECURITY_SECCOMP,
    SECURITY_KEEPCAPS,
    SECURITY_GROUPS,
    SECURITY_GID,
    SECURITY_UID,
    SECURITY_CAPSET,
    SECURITY_AMBIENT,
    SECURITY_NO_NEW_PRIVS,
};
const char *security_step_name(enum security_step step) _const_;

/* In the child, allocation-free, in two parts around the wait for `start`.
 *
 * security_apply_credentials(): bounding set; the seccomp filter when no_new_privileges is off
 * (loading it then needs CAP_SYS_ADMIN, which is about to go; the filter has to allow the calls
 * that follow, as with runc and crun); keepcaps, groups, gid, uid, capset, ambient, no_new_privs.
 * security_apply_seccomp(): the filter when no_new_privileges is on, as the last thing before
 * execve, so that it need not allow what the runtime itself does. Both return negative errno with
 * *ret_step. */
int security_apply_credentials(const struct security_plan *plan, enum security_step *ret_step);
int security_apply_seccomp(const struct security_plan *plan, enum security_step *ret_step);
