/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "security/security.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. System calls are made
 * directly, since the C library's setters of ids would try to reach other threads. */

static int call_prctl(int option, unsigned long a, unsigned long b)
{
    return syscall(SYS_prctl, option, a, b, 0UL, 0UL) < 0 ? -errno : 0;
}

static int drop_bounding(const struct security_plan *plan)
{
    for (int cap = 0; cap <= plan->last_cap; cap++) {
        if (plan->caps.bounding & UINT64_C(1) << cap)
            continue;
        int r = call_prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0);
        /* Dropping needs CAP_SETPCAP, even for one that is not there. */
        if (r < 0 && syscall(SYS_prctl, PR_CAPBSET_READ, (unsigned long)cap, 0UL, 0UL, 0UL) > 0)
            return r;
    }
    return 0;
}

static enum security_stage filter_stage(const struct security_plan *plan)
{
    if (!plan->no_new_privileges)
        return SECURITY_EARLY;
    return plan->seccomp.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER ? SECURITY_READY : SECURITY_LAST;
}

int security_load_filter(const struct security_plan *plan, enum security_stage stage,
                         int *ret_listener, enum security_step *ret_step)
{
    const struct sock_fprog prog = {
        .len = plan->seccomp.len,
        .filter = plan->seccomp.filter,
    };

    *ret_listener = -EBADF;
    if (!prog.filter || filter_stage(plan) != stage)
        return 0;
    *ret_step = SECURITY_SECCOMP;
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, plan->seccomp.flags, &prog);
    if (r < 0)
        return -errno;
    if (plan->seccomp.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) {
        *ret_listener = (int)r;
        return 0;
    }
    /* With SECCOMP_FILTER_FLAG_TSYNC: the thread that could not follow. */
    return r > 0 ? -EBUSY : 0;
}

static int set_capabilities(const struct oci_capabilities *c)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].effective = (uint32_t)(c->effective >> (32 * i));
        data[i].permitted = (uint32_t)(c->permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(c->inheritable >> (32 * i));
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int raise_ambient(const struct security_plan *plan)
{
    int r = call_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0);

    for (int cap = 0; r == 0 && cap <= plan->last_cap; cap++)
        if (plan->caps.ambient & UINT64_C(1) << cap)
            r = call_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)cap);
    return r;
}

static int set_groups(const struct security_plan *plan)
{
    if (!plan->set_groups)
        return 0;
    return syscall(SYS_setgroups, plan->n_additional_gids, plan->additional_gids) < 0 ? -errno : 0;
}

static int set_gid(uint32_t id)
{
    return syscall(SYS_setresgid, id, id, id) < 0 ? -errno : 0;
}

static int set_uid(uint32_t id)
{
    return syscall(SYS_setresuid, id, id, id) < 0 ? -errno : 0;
}

int security_apply_credentials(const struct security_plan *plan, enum security_step *ret_step)
{
    int r;

    /* Narrowing the bounding set needs CAP_SETPCAP, which the steps after it may take away. */
    *ret_step = SECURITY_BOUNDING;
    r = drop_bounding(plan);
    if (r < 0)
        return r;

    /* Otherwise leaving uid 0 empties the permitted set. execve(2) clears the flag. */
    *ret_step = SECURITY_KEEPCAPS;
    r = call_prctl(PR_SET_KEEPCAPS, 1, 0);
    if (r < 0)
        return r;

    /* Groups and gid first: leaving uid 0 takes CAP_SETGID out of the effective set. */
    *ret_step = SECURITY_GROUPS;
    r = set_groups(plan);
    if (r < 0)
        return r;
    *ret_step = SECURITY_GID;
    r = set_gid(plan->gid);
    if (r < 0)
        return r;
    *ret_step = SECURITY_UID;
    r = set_uid(plan->uid);
    if (r < 0)
        return r;

    *ret_step = SECURITY_CAPSET;
    r = set_capabilities(&plan->caps);
    if (r < 0)
        return r;
    /* Needs the permitted and inheritable sets of the step before. */
    *ret_step = SECURITY_AMBIENT;
    r = raise_ambient(plan);
    if (r < 0)
        return r;

    if (plan->no_new_privileges) {
        *ret_step = SECURITY_NO_NEW_PRIVS;
        r = call_prctl(PR_SET_NO_NEW_PRIVS, 1, 0);
        if (r < 0)
            return r;
    }
    return 0;
}
