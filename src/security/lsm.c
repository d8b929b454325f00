/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "security/security.h"
#include "sys/fs.h"

/* Labels of the security modules. The kernel takes what is written in one call, less than a page of
 * it (proc_pid_attr_write). */
#define LABEL_MAX 4000
#define EXEC "exec " /* AppArmor's word for "at the next execve" */

/* ---- in the parent ---- */

/* Of modules that are compiled in, says which one was chosen at boot. */
static bool apparmor_works(const char *sysfs)
{
    _cleanup_free_ char *path = path_join(sysfs, "module/apparmor/parameters/enabled");
    _cleanup_free_ char *text = NULL;

    return file_read_at(AT_FDCWD, path, 0, 64, &text, NULL) == 0 && text[0] == 'Y';
}

static bool selinux_works(const char *sysfs)
{
    _cleanup_free_ char *path = path_join(sysfs, "fs/selinux/enforce");

    return access(path, F_OK) == 0;
}

static int check_text(const char *field, const char *label, struct error *e)
{
    size_t len = strlen(label);
    bool clean = len > 0 && len <= LABEL_MAX;

    for (size_t i = 0; clean && i < len; i++)
        clean = !iscntrl((unsigned char)label[i]);
    if (clean)
        return 0;
    return error_set(e, ERROR_CONFIG, EINVAL, "use", field, "give the name as the host has it",
                     "it is empty, longer than %d bytes, or has control characters", LABEL_MAX);
}

static int not_there(const char *field, const char *label, const char *module, struct error *e)
{
    return error_set(
        e, ERROR_UNSUPPORTED, ENOTSUP, "apply", label, NULL,
        "%s asks for it, and %s is not at work on this host; take it out, or boot with "
        "that security module",
        field, module);
}

int security_check_labels(const char *sysfs, const struct oci_process *process, struct error *e)
{
    static const char profile_field[] = "process.apparmorProfile",
                      label_field[] = "process.selinuxLabel";
    const char *profile = process->apparmor_profile, *label = process->selinux_label;

    if (profile) {
        int r = check_text(profile_field, profile, e);
        if (r < 0)
            return r;
        if (!streq(profile, "unconfined") && !apparmor_works(sysfs))
            return not_there(profile_field, profile, "AppArmor", e);
    }
    if (label) {
        int r = check_text(label_field, label, e);
        if (r < 0)
            return r;
        if (!selinux_works(sysfs))
            return not_there(label_field, label, "SELinux", e);
    }
    return 0;
}

int security_check_mount_label(const char *sysfs, const char *label, struct error *e)
{
    static const char field[] = "linux.mountLabel";
    int r = label ? check_text(field, label, e) : 0;

    if (r < 0 || !label || selinux_works(sysfs))
        return r;
    return not_there(field, label, "SELinux", e);
}

int security_plan_labels(const char *sysfs, const struct oci_process *process,
                         struct security_plan *plan, struct error *e)
{
    int r = security_check_labels(sysfs, process, e);
    if (r < 0)
        return r;
    /* Without AppArmor everything is unconfined already, and there is no file to say so to. */
    if (process->apparmor_profile && apparmor_works(sysfs))
        plan->apparmor_exec = str_printf(EXEC "%s", process->apparmor_profile);
    plan->selinux_label = process->selinux_label;
    return 0;
}

bool security_needs_proc(const struct security_plan *plan)
{
    return plan->apparmor_exec || plan->selinux_label;
}

const char *security_step_subject(const struct security_plan *plan, enum security_step step)
{
    switch (step) {
    case SECURITY_APPARMOR:
        return plan->apparmor_exec + strlen(EXEC);
    case SECURITY_SELINUX:
    case SECURITY_SELINUX_KEYS:
        return plan->selinux_label;
    case SECURITY_SECCOMP:
        return "linux.seccomp";
    default:
        return NULL;
    }
}

const char *security_step_why(enum security_step step, int errnum)
{
    if (step == SECURITY_APPARMOR && errnum == ENOENT)
        return "no profile of that name is loaded on this host (apparmor_parser(8))";
    if ((step == SECURITY_SELINUX || step == SECURITY_SELINUX_KEYS) && errnum == EINVAL)
        return "this host's policy knows no such label";
    return NULL;
}

/* ---- in the child ---- */

/* The calling thread's file of that name. The kernel says by which path the procfs shows this
 * thread; nothing that is mounted below, and no link, can lead elsewhere on the way. */
static int open_own_attr(int procfd, const char *name)
{
    char self[64], path[128];

    ssize_t n = readlinkat(procfd, "thread-self", self, sizeof(self) - 1);
    if (n < 0)
        return -errno;
    self[n] = '\0';
    (void)snprintf(path, sizeof(path), "%s/attr/%s", self, name);
    _cleanup_close_ int fd = sys_openat2(procfd, path, O_WRONLY, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fd;
    uint64_t magic = 0;
    int r = sys_fs_magic(fd, &magic);
    if (r < 0)
        return r;
    return magic == PROC_SUPER_MAGIC ? TAKE_FD(fd) : -EXDEV;
}

/* The kernel parses each write for itself: all of it goes in one. */
static int write_own_attr(int procfd, const char *name, const char *text)
{
    _cleanup_close_ int fd = open_own_attr(procfd, name);
    if (fd < 0)
        return fd;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int security_label_keys(const struct security_plan *plan, int procfd, bool set,
                        enum security_step *ret_step)
{
    if (!plan->selinux_label)
        return 0;
    *ret_step = SECURITY_SELINUX_KEYS;
    /* A newline alone stands for the default. */
    return write_own_attr(procfd, "keycreate", set ? plan->selinux_label : "\n");
}

int security_apply_labels(const struct security_plan *plan, int procfd,
                          enum security_step *ret_step)
{
    int r = 0;

    if (plan->apparmor_exec) {
        *ret_step = SECURITY_APPARMOR;
        r = write_own_attr(procfd, "apparmor/exec", plan->apparmor_exec);
    }
    if (r == 0 && plan->selinux_label) {
        *ret_step = SECURITY_SELINUX;
        r = write_own_attr(procfd, "exec", plan->selinux_label);
    }
    return r;
}
