/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "sys/fs.h"

/* Masked and read-only paths. Runs between clone3 and execve: nothing here allocates or takes a lock. */

/* Neither is there to be covered. */
static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR;
}

int cover_readonly(const struct rootfs_plan *plan, const struct rootfs_op *op,
                   struct rootfs_failure *f)
{
    _cleanup_close_ int target = sys_open_in_root(plan->root_fd, op->dest, O_PATH, 0);
    if (is_absent(target))
        return 0;
    if (target < 0)
        return rootfs_failed(f, target, "open read-only path", op->dest);
    int r = target_check_not_root(plan, target);
    if (r < 0)
        return rootfs_failed(f, r, "make read-only (it leads to the container's root)", op->dest);
    _cleanup_close_ int mnt =
        sys_open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
    if (mnt < 0)
        return rootfs_failed(f, mnt, "clone read-only path", op->dest);
    /* Adds to the flags it has; what is mounted below was mounted so on purpose. */
    r = sys_mount_setattr(mnt, 0, MOUNT_ATTR_RDONLY, 0, 0);
    if (r == 0)
        r = sys_move_mount(mnt, target);
    if (r < 0)
        return rootfs_failed(f, r, "make read-only", op->dest);
    return 0;
}

/* The container's own null device. What the image calls /dev/null is looked at after it was opened,
 * and that very thing is bound: a symlink or a file there would turn the mask into a hole
 * (CVE-2025-31133). */
static int clone_null(const struct rootfs_plan *plan)
{
    struct stat st;
    _cleanup_close_ int null = sys_openat2(plan->root_fd, "/dev/null", O_PATH | O_NOFOLLOW, 0,
                                           RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (null < 0)
        return null;
    if (fstat(null, &st) < 0)
        return -errno;
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        return -ENODEV;
    return sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
}

int cover_mask(const struct rootfs_plan *plan, const struct rootfs_op *op, struct rootfs_failure *f)
{
    const char *const empty[] = {"nr_blocks=1", "nr_inodes=1", "mode=0755", plan->mount_context,
                                 NULL};
    struct stat st;
    _cleanup_close_ int target = sys_open_in_root(plan->root_fd, op->dest, O_PATH, 0);

    if (is_absent(target))
        return 0;
    if (target < 0)
        return rootfs_failed(f, target, "open masked path", op->dest);
    if (fstat(target, &st) < 0)
        return rootfs_failed(f, -errno, "open masked path", op->dest);
    int r = target_check_not_root(plan, target);
    if (r < 0)
        return rootfs_failed(f, r, "mask (it leads to the container's root)", op->dest);

    _cleanup_close_ int mnt = -EBADF;
    if (S_ISDIR(st.st_mode)) {
        mnt = sys_fsmount(
            "tmpfs", "tmpfs", empty,
            MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);
        if (mnt < 0)
            return rootfs_failed(f, mnt, "make an empty tmpfs over", op->dest);
    } else {
        mnt = clone_null(plan);
        if (mnt < 0)
            return rootfs_failed(f, mnt, "mask (the container's /dev/null is not the null device)",
                                 op->dest);
    }
    r = sys_move_mount(mnt, target);
    if (r < 0)
        return rootfs_failed(f, r, "mask", op->dest);
    return 0;
}
