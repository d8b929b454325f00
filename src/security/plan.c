/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "base/str.h"
#include "security/security.h"

/* Fails naming the capabilities in `mask`. */
static int refuse(uint64_t mask, enum error_code code, const char *remedy, const char *why,
                  struct error *e)
{
    struct strbuf names = {0};

    for (int cap = 0; cap < 64; cap++) {
        if (!(mask & UINT64_C(1) << cap))
            continue;
        const char *name = capability_name(cap);
        if (names.len)
            strbuf_add(&names, ", ");
        if (name)
            strbuf_add(&names, name);
        else
            strbuf_addf(&names, "%d", cap);
    }
    int r = error_set(e, code, code == ERROR_UNSUPPORTED ? ENOTSUP : EINVAL, "use the capabilities",
                      names.s, remedy, "%s", why);
    strbuf_done(&names);
    return r;
}

static int check_capabilities(const struct oci_capabilities *c, int last, struct error *e)
{
    uint64_t known = last >= 63 ? UINT64_MAX : (UINT64_C(1) << (last + 1)) - 1;
    uint64_t all = c->bounding | c->effective | c->inheritable | c->permitted | c->ambient;

    if (all & ~known)
        return refuse(all & ~known, ERROR_UNSUPPORTED, "take them out of process.capabilities",
                      "the kernel does not know them", e);
    if (c->effective & ~c->permitted)
        return refuse(c->effective & ~c->permitted, ERROR_CONFIG,
                      "add them to process.capabilities.permitted",
                      "they are effective without being permitted", e);
    if (c->ambient & ~(c->permitted & c->inheritable))
        return refuse(c->ambient & ~(c->permitted & c->inheritable), ERROR_CONFIG,
                      "add them to process.capabilities.permitted and inheritable",
                      "they are ambient without being permitted and inheritable", e);
    /* capset(2) refuses it with EPERM once the bounding set is narrowed. */
    if (c->inheritable & ~c->bounding)
        return refuse(c->inheritable & ~c->bounding, ERROR_CONFIG,
                      "add them to process.capabilities.bounding",
                      "they are inheritable without being in the bounding set", e);
    return 0;
}

int security_plan(const struct oci_process *process, const struct oci_seccomp *seccomp,
                  struct security_plan *ret, struct error *e)
{
    struct security_plan plan = {
        .uid = process->uid,
        .gid = process->gid,
        .additional_gids = process->additional_gids,
        .n_additional_gids = process->n_additional_gids,
        .set_groups = true,
        .last_cap = capability_last(),
        .no_new_privileges = process->no_new_privileges,
    };

    if (process->has_capabilities)
        plan.caps = process->capabilities;
    int r = check_capabilities(&plan.caps, plan.last_cap, e);
    if (r < 0)
        return r;
    r = security_plan_labels("/sys", process, &plan, e);
    if (r < 0)
        return r;
    if (seccomp) {
        r = seccomp_compile(seccomp, &plan.seccomp, e);
        if (r < 0) {
            security_plan_done(&plan);
            return r;
        }
    }
    *ret = plan;
    return 0;
}

void security_plan_done(struct security_plan *plan)
{
    seccomp_program_done(&plan->seccomp);
    free(plan->apparmor_exec);
    *plan = (struct security_plan){0};
}

const char *security_step_name(enum security_step step)
{
    switch (step) {
    case SECURITY_BOUNDING:
        return "drop capabilities from the bounding set";
    case SECURITY_SECCOMP:
        return "load the seccomp filter";
    case SECURITY_KEEPCAPS:
        return "keep capabilities over the change of user";
    case SECURITY_GROUPS:
        return "set the supplementary groups";
    case SECURITY_GID:
        return "set the group";
    case SECURITY_UID:
        return "set the user";
    case SECURITY_CAPSET:
        return "set the capabilities";
    case SECURITY_AMBIENT:
        return "raise the ambient capabilities";
    case SECURITY_NO_NEW_PRIVS:
        return "set no_new_privs";
    case SECURITY_APPARMOR:
        return "apply the AppArmor profile";
    case SECURITY_SELINUX:
        return "apply the SELinux label";
    case SECURITY_SELINUX_KEYS:
        return "label the session keyring for SELinux";
    }
    return "set up the process's rights";
}
