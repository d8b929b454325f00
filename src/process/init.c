/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/init.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/fs.h"
#include "sys/process.h"

/* Everything here runs in the child: nothing allocates. */

static _noreturn_ void fail(const struct init_plan *plan, int r, const char *step,
                            const char *subject)
{
    program_fail(&plan->program, r, step, subject);
}

/* In a new user namespace: become its root, so that what is made now belongs to it. */
static void become_namespace_root(const struct init_plan *plan)
{
    if (plan->program.security->set_groups && syscall(SYS_setgroups, 0, NULL) < 0)
        fail(plan, errno, "drop additional groups", NULL);
    if (syscall(SYS_setresgid, 0, 0, 0) < 0)
        fail(plan, errno, "become group 0 of the user namespace", NULL);
    if (syscall(SYS_setresuid, 0, 0, 0) < 0)
        fail(plan, errno, "become user 0 of the user namespace", NULL);
}

static void set_names(const struct init_plan *plan)
{
    if (plan->hostname && sethostname(plan->hostname, strlen(plan->hostname)) < 0)
        fail(plan, errno, "set hostname", plan->hostname);
    if (plan->domainname && setdomainname(plan->domainname, strlen(plan->domainname)) < 0)
        fail(plan, errno, "set domainname", plan->domainname);
}

static void set_up_namespaces(const struct init_plan *plan)
{
    if (plan->namespaces & CLONE_NEWUSER)
        become_namespace_root(plan);
    if (setsid() < 0)
        fail(plan, errno, "start a session", NULL);
    /* EDQUOT and ENOSYS are what hosts without keyrings or with strict quotas answer; a container that
     * keeps the caller's keyring would be a hole, so both are errors. One by name could be there
     * already, made by another container and opened to all: without a name it is new. */
    if (!plan->keep_keyring && syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
        fail(plan, errno, "join a new session keyring", NULL);
    if ((plan->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
        fail(plan, errno, "make cgroup namespace", NULL);
    set_names(plan);
    if (plan->namespaces & CLONE_NEWNET) {
        int r = sys_loopback_up();
        if (r < 0)
            fail(plan, r, "bring up", "lo");
    }
}

static void enter_rootfs(const struct init_plan *plan)
{
    struct rootfs_failure f = {.step = "set up root file system"};

    (void)umask(0);
    int r = rootfs_mount_all(plan->rootfs, &f);
    if (r < 0)
        fail(plan, r, f.step, f.subject);
    /* Now, since behind the pivot the root or /dev may be read-only. */
    if (plan->program.terminal) {
        int console = sys_mkfile_in_root(plan->rootfs->root_fd, "/dev/console");
        if (console < 0)
            fail(plan, console, "make", "/dev/console");
        (void)close(console);
    }
    (void)umask(0022);
    f = (struct rootfs_failure){.step = "pivot into root file system"};
    r = rootfs_pivot(plan->rootfs, &f);
    if (r < 0)
        fail(plan, r, f.step, f.subject);
}

_noreturn_ void init_run(const struct init_plan *plan)
{
    /* Nobody who shares a pid namespace with this process may look into it or take its descriptors
     * while it is still the runtime (CVE-2016-9962). execve() sets it back. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    sys_reset_signals();
    program_await(&plan->program, PROGRAM_GO);

    set_up_namespaces(plan);
    enter_rootfs(plan);
    const char *path = program_enter(&plan->program, true);
    program_run(&plan->program, path, NULL, NULL);
}
