/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/init.h"

#include <errno.h>
#include <fcntl.h>
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

/* A process can enter a new time namespace itself, as long as it is alone in its thread group; its
 * offsets can only be set before anybody is in (time_namespaces(7)). */
static void enter_time_namespace(const struct init_plan *plan)
{
    if (unshare(CLONE_NEWTIME) < 0)
        fail(plan, errno, "make time namespace", NULL);
    if (plan->time_offsets) {
        int r = file_write_at(plan->program.procfd, "self/timens_offsets", plan->time_offsets);
        if (r < 0)
            fail(plan, r, "set offsets of time namespace", "linux.timeOffsets");
    }
    _cleanup_close_ int fd =
        openat(plan->program.procfd, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWTIME) < 0)
        fail(plan, errno, "enter time namespace", NULL);
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
    if ((plan->namespaces | plan->joined_namespaces) & CLONE_NEWUSER)
        program_become_root(&plan->program);
    if (plan->namespaces & CLONE_NEWTIME)
        enter_time_namespace(plan);
    program_new_session(&plan->program, plan->keep_keyring);
    if ((plan->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
        fail(plan, errno, "make cgroup namespace", NULL);
    set_names(plan);
    if (plan->namespaces & CLONE_NEWNET) {
        int r = sys_loopback_up();
        if (r < 0)
            fail(plan, r, "bring up", "lo");
    }
}

/* Behind the hooks: they may make the network devices that sysctls speak of. */
static void write_sysctls(const struct init_plan *plan)
{
    const char *key = NULL;
    int r = sysctl_write_all(plan->sysctls, plan->program.procfd, &key);

    if (r < 0)
        fail(plan, r, "set linux.sysctl", key);
}

/* All is mounted, and "/" is the host's still. */
static void run_create_hooks(const struct init_plan *plan)
{
    struct hook_failure f;

    if (plan->tell_mounted) {
        program_send(&plan->program, PROGRAM_MOUNTED, 0, NULL, NULL, -EBADF);
        program_await(&plan->program, PROGRAM_HOOKED);
    }
    if (plan->create_hooks &&
        hooks_run_in_child(OCI_HOOK_CREATE_CONTAINER, plan->create_hooks, plan->create_state,
                           plan->program.sync_fd, &f) <
            0) {
        program_send_failure(&plan->program, f.errnum, HOOK_STEP, f.subject, f.why);
        _exit(EXIT_FAILURE);
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
    run_create_hooks(plan);
    write_sysctls(plan);
    f = (struct rootfs_failure){.step = "pivot into root file system"};
    r = rootfs_pivot(plan->rootfs, &f);
    if (r < 0)
        fail(plan, r, f.step, f.subject);
}

_noreturn_ void init_run(const struct init_plan *plan)
{
    sys_reset_signals();
    program_await(&plan->program, PROGRAM_GO);
    /* Nobody who shares a pid namespace with this process may look into it or take its descriptors
     * while it is still the runtime (CVE-2016-9962). execve() sets it back. Not before the id maps
     * are written, which an ordinary user could not do then; what joins namespaces was made so
     * before (join.c). */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

    set_up_namespaces(plan);
    enter_rootfs(plan);
    const char *path = program_enter(&plan->program, true);
    program_run(&plan->program, path);
}
