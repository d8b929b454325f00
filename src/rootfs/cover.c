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

/* Masked and read-only paths. Runs between clone3 and execve: nothing here allocates or takes a
 * lock. */

/* Where the kernel's own files are, and the mount that is there (one child, one thread). */
static struct {
    const char *point;
    int fd;
} held[] = {{"/proc", -EBADF}, {"/sys", -EBADF}};

void cover_forget_mounts(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(held); i++)
        held[i].fd = fd_close(held[i].fd);
}

int cover_hold_mount(const struct rootfs_op *op, int mnt)
{
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
        if (!streq(op->dest, held[i].point))
            continue;
        fd_close(held[i].fd);
        held[i].fd = fcntl(mnt, F_DUPFD_CLOEXEC, 0);
        if (held[i].fd < 0)
            return -errno;
    }
    return 0;
}

/* Below a mount that is held the path is walked from there: by its name, something else of the root
 * file system could be in its place by now, and the kernel's files would stay uncovered
 * (CVE-2019-19921). */
static int open_target(const struct rootfs_plan *plan, const char *dest)
{
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
        const char *below = str_after(dest, held[i].point);
        if (held[i].fd >= 0 && below && (*below == '/' || *below == '\0'))
            return sys_open_in_root(held[i].fd, *below ? below : "/", O_PATH, 0);
    }
    return sys_open_in_root(plan->root_fd, dest, O_PATH, 0);
}

/* Neither is there to be covered. */
static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR;
}

int cover_readonly(const struct rootfs_plan *plan, const struct rootfs_op *op,
                   struct rootfs_failure *f)
{
    _cleanup_close_ int target = open_target(plan, op->dest);
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
    /* The masks of what is in it come later, and go onto what is on top. */
    if (r == 0)
        r = cover_hold_mount(op, mnt);
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
    _cleanup_close_ int target = open_target(plan, op->dest);

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
