/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "security/profile.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

#define STEP SECCOMP_STEP
#define ERRNO_MAX 4095 /* MAX_ERRNO of the kernel, which cuts what is above */
/* How the listener gets to the parent, after the filter is loaded. */
#define LISTENER_CALL "sendmsg"

static const struct {
    uint32_t action;
    const char *name;
} actions[] = {
    {SECCOMP_RET_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"},
    {SECCOMP_RET_KILL_THREAD, "SCMP_ACT_KILL_THREAD"},
    {SECCOMP_RET_TRAP, "SCMP_ACT_TRAP"},
    {SECCOMP_RET_ERRNO, "SCMP_ACT_ERRNO"},
    {SECCOMP_RET_USER_NOTIF, "SCMP_ACT_NOTIFY"},
    {SECCOMP_RET_TRACE, "SCMP_ACT_TRACE"},
    {SECCOMP_RET_LOG, "SCMP_ACT_LOG"},
    {SECCOMP_RET_ALLOW, "SCMP_ACT_ALLOW"},
};

const char *profile_action_name(uint32_t action)
{
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (actions[i].action == action)
            return actions[i].name;
    return "unknown action";
}

bool profile_is_stricter(uint32_t a, uint32_t b)
{
    return (int32_t)a < (int32_t)b;
}

int profile_action(uint32_t action, bool has_errno, uint32_t errno_ret, uint32_t *ret,
                   struct error *e)
{
    uint32_t available = action;

    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &available) < 0)
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, profile_action_name(action),
                         "use another action", "the kernel does not have it");
    if (action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE) {
        uint32_t data = has_errno ? errno_ret : EPERM;
        if (data > ERRNO_MAX)
            return error_set(e, ERROR_CONFIG, EINVAL, STEP, profile_action_name(action),
                             "choose an errnoRet of errno(3)", "errnoRet %u is above %d", data,
                             ERRNO_MAX);
        action |= data;
    }
    *ret = action;
    return 0;
}

/* --- notifications -------------------------------------------------------------------------- */

static bool notifies(const struct oci_seccomp *spec)
{
    for (size_t i = 0; i < spec->n_rules; i++)
        if (spec->rules[i].action == SECCOMP_RET_USER_NOTIF)
            return true;
    return false;
}

static bool lets_through(uint32_t action)
{
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

static int listener_stuck(uint32_t action, struct error *e)
{
    return error_set(e, ERROR_CONFIG, EINVAL, STEP, LISTENER_CALL,
                     "allow it without conditions, or do without SCMP_ACT_NOTIFY",
                     "with %s for it the listener of the notifications could not be handed over",
                     profile_action_name(action));
}

/* The process that loads the filter is under it already when it hands the listener over. */
static int check_listener(const struct oci_seccomp *spec, struct error *e)
{
    bool allowed = lets_through(spec->default_action);

    for (size_t i = 0; i < spec->n_rules; i++) {
        const struct oci_seccomp_rule *rule = &spec->rules[i];
        if (!strv_contains(rule->names, LISTENER_CALL))
            continue;
        if (!lets_through(rule->action))
            return listener_stuck(rule->action, e);
        allowed = allowed || rule->n_args == 0;
    }
    return allowed ? 0 : listener_stuck(spec->default_action, e);
}

/* --- flags ---------------------------------------------------------------------------------- */

static int unsupported_flag(const char *name, const char *why, struct error *e)
{
    return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, STEP, name,
                     "take it out of linux.seccomp.flags", "%s", why);
}

static int check_known(uint32_t flags, struct error *e)
{
    static const struct {
        uint32_t flag, along; /* what the kernel takes it with only */
        const char *name;
    } known[] = {
        {SECCOMP_FILTER_FLAG_TSYNC, 0, "SECCOMP_FILTER_FLAG_TSYNC"},
        {SECCOMP_FILTER_FLAG_LOG, 0, "SECCOMP_FILTER_FLAG_LOG"},
        {SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
        {SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SECCOMP_FILTER_FLAG_NEW_LISTENER,
         "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!(flags & known[i].flag))
            continue;
        flags &= ~known[i].flag;
        /* With flags it knows the kernel goes on to read the program: EFAULT. */
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, known[i].flag | known[i].along, NULL) <
                0 &&
            errno != EFAULT)
            return unsupported_flag(known[i].name, "the kernel does not have it", e);
    }
    return flags ? unsupported_flag("linux.seccomp.flags", "one of them is unknown", e) : 0;
}

bool seccomp_flag_works(uint32_t flag)
{
    return check_known(flag, NULL) == 0;
}

int profile_flags(const struct oci_seccomp *spec, uint32_t *ret, struct error *e)
{
    uint32_t flags = spec->flags;

    if (spec->default_action == SECCOMP_RET_USER_NOTIF)
        return error_set(e, ERROR_CONFIG, EINVAL, STEP, "linux.seccomp.defaultAction",
                         "name the system calls to be notified of",
                         "SCMP_ACT_NOTIFY would stop nucleus itself");
    int r = check_known(flags, e);
    if (r < 0)
        return r;
    if (notifies(spec)) {
        r = check_listener(spec, e);
        if (r < 0)
            return r;
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
        /* Both answer by what seccomp(2) returns, so the kernel wants to be told which (Linux
         * 5.7). */
        if (flags & SECCOMP_FILTER_FLAG_TSYNC)
            flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    } else if (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        log_debug("seccomp: no action notifies, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is moot");
        flags &= ~(uint32_t)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    *ret = flags;
    return 0;
}
