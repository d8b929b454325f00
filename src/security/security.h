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
/* Those of the set that are the caller's own: permitted, and in its bounding set. A system call
 * each. */
uint64_t capability_own(uint64_t of);
/* The kernel's highest capability (what /proc/sys/kernel/cap_last_cap says, asked by prctl(2)), at
 * most 63. */
int capability_last(void);

/* A seccomp program, ready for seccomp(2) SECCOMP_SET_MODE_FILTER. */
struct seccomp_program {
    struct sock_filter *filter; /* owned; NULL: none */
    unsigned short len;         /* instructions */
    uint32_t flags;             /* SECCOMP_FILTER_FLAG_*; NEW_LISTENER where an action notifies */
};
void seccomp_program_done(struct seccomp_program *p);

/* Compiles with libseccomp, or takes what it compiled before of the same profile out of the cache
 * in the state directory `statefd` (docs/architecture.md; negative: no cache). Names unknown to the
 * library are skipped (with a debug note), as every runtime does, except when the rule's action is
 * stricter than the default: then the name being unknown would open what was asked to be closed…
 * that is an error. Architectures: the native one is always there; of the others those whose
 * programs this kernel can run (x86 and x32 beside x86-64), the rest is skipped, and calls of an
 * architecture that is not listed kill. An action, flag or operator the library or kernel can't do
 * is ERROR_UNSUPPORTED. SECCOMP_RET_USER_NOTIF can't be the default action, and neither notify nor
 * deny sendmsg, by which the listener goes to the parent: ERROR_CONFIG.
 * SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV without a notifying action means nothing, and is left out.
 * Where the default action is ERRNO, system calls newer than the library (numbers above the highest
 * it knows) answer ENOSYS, so that libcs fall back. Two conditions on one argument of a rule are
 * alternatives, as runc and crun have it. Of two rules for one call without conditions the first
 * holds (libseccomp); the same conditions with two actions are ERROR_CONFIG. */
int seccomp_compile(const struct oci_seccomp *spec, int statefd, struct seccomp_program *ret,
                    struct error *e);

/* Whether this kernel takes a SECCOMP_FILTER_FLAG_*. */
bool seccomp_flag_works(uint32_t flag);
/* "2.5.4", or NULL. */
char *seccomp_library_version(void) _warn_unused_;

/* When the filter is loaded. As late as can be, so that it need not allow what the runtime itself
 * does: */
enum security_stage {
    /* before the credentials, with no_new_privileges off: loading it takes CAP_SYS_ADMIN, which is
     * about to go. The filter has to allow the calls that follow, as with runc and crun. */
    SECURITY_EARLY,
    /* before the process says that it is ready, with no_new_privileges on and an action that
     * notifies: after that nobody is there who could take the listener to the agent. The same is
     * true of what follows. */
    SECURITY_READY,
    /* right before execve, with no_new_privileges on */
    SECURITY_LAST,
};

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
    char *apparmor_exec;       /* "exec PROFILE", for attr/apparmor/exec; owned; NULL: none */
    const char *selinux_label; /* borrowed; NULL: none */
};

/* Plans from a validated spec. A capability the kernel does not know, one that is effective beyond
 * permitted, inheritable beyond bounding, or ambient without being permitted and inheritable is
 * left out with a warning (runtime-spec, config.md, "Linux Process"). A label for a security module
 * that this host does not run is an error (security_check_labels). `statefd` is
 * seccomp_compile()'s. */
int security_plan(const struct oci_process *process, const struct oci_seccomp *seccomp, int statefd,
                  struct security_plan *ret, struct error *e);
/* Leaves out, with a warning too, what the runtime itself does not have and so can't pass on; in a
 * user namespace that the container has or joins the kernel grants all. */
void security_plan_grant(struct security_plan *plan, bool own_user_namespace);
void security_plan_done(struct security_plan *plan);

/* ERROR_UNSUPPORTED where process.apparmorProfile or process.selinuxLabel is given and the host has
 * no AppArmor or SELinux at work, by what is below `sysfs` ("/sys"; a test gives another
 * directory). The profile "unconfined" asks for nothing there. ERROR_CONFIG for one that is no
 * name. */
int security_check_labels(const char *sysfs, const struct oci_process *process, struct error *e);

/* The part of security_plan() that does the same and plans them. */
int security_plan_labels(const char *sysfs, const struct oci_process *process,
                         struct security_plan *plan, struct error *e);

/* The same for linux.mountLabel, which rootfs/ then gives to file systems; NULL asks for
 * nothing. */
int security_check_mount_label(const char *sysfs, const char *label, struct error *e);

/* True where security_apply_labels() and security_label_keys() have something to do, and need a
 * procfs. */
bool security_needs_proc(const struct security_plan *plan) _pure_;

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
    SECURITY_APPARMOR,
    SECURITY_SELINUX,
    SECURITY_SELINUX_KEYS,
};
const char *security_step_name(enum security_step step) _const_;
/* What it was about (a profile, a label), and what the kernel means by its errno where that says
 * little; both may be NULL. */
const char *security_step_subject(const struct security_plan *plan, enum security_step step) _pure_;
const char *security_step_why(enum security_step step, int errnum) _const_;

/* In the child, allocation-free, in this order. Each returns negative errno with *ret_step.
 *
 * `procfd` is the parent's sys_open_private_proc(), opened before the child was made: a procfs that
 * is mounted nowhere, so that nothing can lie over the file that is written to, and the file is the
 * calling thread's own (CVE-2019-16884, CVE-2023-28642, CVE-2025-52881).
 *
 * security_label_keys(): with `set` keys and keyrings made from now on have the SELinux label;
 * without,
 *     the default again. Around the joining of the session keyring.
 * security_apply_labels(): AppArmor profile and SELinux label for the next execve. Before a filter.
 * security_load_filter(): at each of the three stages; loads the filter where its stage is this
 * one.
 *     *ret_listener is the descriptor of the notifications, or -EBADF: to be sent to the parent at
 *     once (the next call could be one that waits for an answer).
 * security_apply_credentials(): bounding set, keepcaps, groups, gid, uid, capset, ambient,
 *     no_new_privs. Between SECURITY_EARLY and SECURITY_READY. */
int security_label_keys(const struct security_plan *plan, int procfd, bool set,
                        enum security_step *ret_step);
int security_apply_labels(const struct security_plan *plan, int procfd,
                          enum security_step *ret_step);
int security_load_filter(const struct security_plan *plan, enum security_stage stage,
                         int *ret_listener, enum security_step *ret_step);
int security_apply_credentials(const struct security_plan *plan, enum security_step *ret_step);

/* In the parent: hands the listener of a process to the agent at linux.seccomp.listenerPath, in a
 * connection of its own, with the "container process state" of config-linux.md; the caller closes
 * the listener. `pid` is the process as the runtime sees it, `state` the container's OCI state as a
 * JSON text. */
int seccomp_notify_agent(const struct oci_seccomp *spec, int listener, pid_t pid, const char *state,
                         struct error *e);
