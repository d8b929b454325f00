/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "security/security.h"

/* "CAP_CHOWN, CAP_KILL", newly allocated. */
static char *names_of(uint64_t mask)
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
    return strbuf_take(&names);
}

static void keep_only(uint64_t *set, uint64_t grantable, const char *name, const char *why)
{
    uint64_t extra = *set & ~grantable;

    if (!extra)
        return;
    _cleanup_free_ char *names = names_of(extra);
    log_warning("process.capabilities.%s: left out %s: %s", name, names, why);
    *set &= grantable;
}

/* What can't be granted is left out with a warning, and the program runs with less (runtime-spec,
 * config.md, "Linux Process"). buildah gives ambient capabilities without inheritable ones, and
 * every list that is made for a newer kernel names what an older one does not know. */
static void fit_capabilities(struct oci_capabilities *c, uint64_t grantable, const char *why)
{
    const struct {
        uint64_t *set;
        const char *name;
    } sets[] = {
        {&c->bounding, "bounding"},   {&c->permitted, "permitted"}, {&c->effective, "effective"},
        {&c->inheritable, "inheritable"}, {&c->ambient, "ambient"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        keep_only(sets[i].set, grantable, sets[i].name, why);
}

static void fit_sets(struct oci_capabilities *c)
{
    keep_only(&c->effective, c->permitted, "effective", "not permitted");
    /* capset(2) refuses it with EPERM once the bounding set is narrowed. */
    keep_only(&c->inheritable, c->bounding, "inheritable", "not in the bounding set");
    keep_only(&c->ambient, c->permitted & c->inheritable, "ambient",
              "not both permitted and inheritable");
}

void security_plan_grant(struct security_plan *plan, bool own_user_namespace)
{
    const struct oci_capabilities *c = &plan->caps;
    uint64_t asked = c->bounding | c->permitted | c->effective | c->inheritable | c->ambient;

    if (!own_user_namespace)
        fit_capabilities(&plan->caps, capability_own(asked), "the runtime does not have it itself");
}

int security_plan(const struct oci_process *process, const struct oci_seccomp *seccomp, int statefd,
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
    fit_capabilities(&plan.caps,
                     plan.last_cap >= 63 ? UINT64_MAX : (UINT64_C(1) << (plan.last_cap + 1)) - 1,
                     "the kernel does not know it");
    fit_sets(&plan.caps);
    int r = security_plan_labels("/sys", process, &plan, e);
    if (r < 0)
        return r;
    if (seccomp) {
        r = seccomp_compile(seccomp, statefd, &plan.seccomp, e);
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
