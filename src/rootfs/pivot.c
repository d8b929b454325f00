/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "rootfs/mountinfo.h"
#include "sys/fs.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */

static int pivot(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    if (fchdir(plan->root_fd) < 0)
        return rootfs_failed(f, -errno, "enter root file system", plan->root);
    /* The old root ends up on top of the new one, pivot_root(2), "pivot_root(".", ".")". */
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return rootfs_failed(f, -errno,
                             errno == EINVAL
                                 ? "pivot into root file system (is the host's root an initramfs?)"
                                 : "pivot into root file system",
                             plan->root);
    if (umount2(".", MNT_DETACH) < 0)
        return rootfs_failed(f, -errno, "detach the host's root", "/");
    if (chdir("/") < 0)
        return rootfs_failed(f, -errno, "enter root file system", "/");
    return 0;
}

/* A procfs or sysfs as a whole, outside the container. */
static bool is_whole_of_host(const struct rootfs_plan *plan, const struct mountinfo *m)
{
    return streq(m->root, "/") && (streq(m->type, "proc") || streq(m->type, "sysfs")) &&
           !path_is_below(m->point, plan->root);
}

/* Where something else was mounted over it, there is nothing to cover any more. */
static int cover_host_mount(const char *point)
{
    uint64_t magic = 0;
    _cleanup_close_ int fd = sys_openat2(AT_FDCWD, point, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, 0);

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = sys_fs_magic(fd, &magic);
    if (r < 0 || (magic != PROC_SUPER_MAGIC && magic != SYSFS_MAGIC))
        return r;
    _cleanup_close_ int empty = sys_fsmount(
        "tmpfs", "tmpfs", NULL,
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);
    return empty < 0 ? empty : sys_move_mount(empty, fd);
}

/* One pass over the mounts of the host; *ret_found counts those that were there to be hidden. One
 * that is locked (it came from another user namespace: EINVAL, EPERM) is covered instead if
 * `cover`. */
static int hide_pass(const struct rootfs_plan *plan, int fd, bool cover, unsigned *ret_found)
{
    static struct mountinfo_reader reader; /* too large for a stack; one child, one thread */
    struct mountinfo m;
    int r;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    reader.fd = fd;
    reader.len = reader.pos = 0;
    *ret_found = 0;
    while ((r = mountinfo_next(&reader, &m)) > 0) {
        if (!is_whole_of_host(plan, &m))
            continue;
        ++*ret_found;
        r = umount2(m.point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
        if ((r == -EINVAL || r == -EPERM) && cover)
            r = cover_host_mount(m.point);
        if (r < 0 && r != -ENOENT && r != -EINVAL && r != -EPERM)
            return r;
    }
    return r;
}

/* Without pivot_root the host's mounts stay in the namespace, out of sight. A procfs or sysfs among
 * them that nothing covers is what the kernel looks for before it lets a user namespace mount
 * another, without the masks of the container's. Unmounting one can bring another to light, so
 * until none is found. */
static int hide_host(const struct rootfs_plan *plan)
{
    unsigned found = 1;
    _cleanup_close_ int proc = sys_open_private_proc();
    if (proc < 0)
        return proc;
    _cleanup_close_ int fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;

    for (int pass = 0; found > 0 && pass < 8; pass++) {
        int r = hide_pass(plan, fd, pass == 7, &found);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Like switch_root: the container's root goes over "/". */
static int move_root(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    int r = hide_host(plan);
    if (r < 0)
        return rootfs_failed(f, r, "hide procfs and sysfs of the host", "/proc/self/mountinfo");
    _cleanup_close_ int slash = sys_openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0);
    if (slash < 0)
        return rootfs_failed(f, slash, "open", "/");
    if (fchdir(plan->root_fd) < 0)
        return rootfs_failed(f, -errno, "enter root file system", plan->root);
    r = sys_move_mount(plan->root_fd, slash);
    if (r < 0)
        return rootfs_failed(f, r, "move root file system over", "/");
    if (chroot(".") < 0)
        return rootfs_failed(f, -errno, "change root to", plan->root);
    if (chdir("/") < 0)
        return rootfs_failed(f, -errno, "enter root file system", "/");
    return 0;
}

static int finish_readonly(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (!op->late_readonly)
            continue;
        _cleanup_close_ int fd = sys_open_in_root(plan->root_fd, op->dest, O_PATH | O_DIRECTORY, 0);
        int r = fd < 0 ? fd : sys_mount_setattr(fd, 0, MOUNT_ATTR_RDONLY, 0, 0);
        if (r < 0)
            return rootfs_failed(f, r, "make read-only", op->dest);
    }
    return 0;
}

/* "rslave" and "rprivate" were said of the whole tree before anything was mounted in it: what a
 * mount asked for itself stays. */
static int set_propagation(const struct rootfs_plan *plan)
{
    bool tree = plan->propagation_recursive &&
                (plan->propagation == MS_SHARED || plan->propagation == MS_UNBINDABLE);

    return sys_mount_setattr(plan->root_fd, tree ? AT_RECURSIVE : 0, 0, 0, plan->propagation);
}

int rootfs_pivot(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    int r = plan->no_pivot ? move_root(plan, f) : pivot(plan, f);
    if (r < 0)
        return r;
    r = finish_readonly(plan, f);
    for (size_t i = 0; r == 0 && i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (op->kind == ROOTFS_READONLY)
            r = cover_readonly(plan, op, f);
        else if (op->kind == ROOTFS_MASK)
            r = cover_mask(plan, op, f);
    }
    if (r < 0)
        return r;
    if (plan->readonly) {
        r = sys_mount_setattr(plan->root_fd, 0, MOUNT_ATTR_RDONLY, 0, 0);
        if (r < 0)
            return rootfs_failed(f, r, "make root file system read-only", "/");
    }
    r = set_propagation(plan);
    if (r < 0)
        return rootfs_failed(f, r, "set propagation of root file system", "/");
    return 0;
}
