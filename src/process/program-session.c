/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/program.h"

/* Everything here runs in the child: nothing allocates. */

void program_become_root(const struct program_plan *plan)
{
    if (plan->security->set_groups && syscall(SYS_setgroups, 0, NULL) < 0)
        program_fail(plan, errno, "drop additional groups", NULL);
    if (syscall(SYS_setresgid, 0, 0, 0) < 0)
        program_fail(plan, errno, "become group 0 of the user namespace", NULL);
    if (syscall(SYS_setresuid, 0, 0, 0) < 0)
        program_fail(plan, errno, "become user 0 of the user namespace", NULL);
    /* A change of ids makes it whatever fs.suid_dumpable says. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* EDQUOT and ENOSYS are what hosts without keyrings or with strict quotas answer; a container that
 * keeps the caller's keyring would be a hole, so both are errors. One by name could be there
 * already, made by another container and opened to all: without a name it is new. */
static void join_keyring(const struct program_plan *plan)
{
    enum security_step step = 0;
    int r = security_label_keys(plan->security, plan->procfd, true, &step);

    if (r < 0)
        program_fail(plan, r, security_step_name(step), NULL);
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
        program_fail(plan, errno, "join a new session keyring", NULL);
    r = security_label_keys(plan->security, plan->procfd, false, &step);
    if (r < 0)
        program_fail(plan, r, security_step_name(step), NULL);
}

void program_new_session(const struct program_plan *plan, bool keep_keyring)
{
    if (setsid() < 0)
        program_fail(plan, errno, "start a session", NULL);
    if (!keep_keyring)
        join_keyring(plan);
}
