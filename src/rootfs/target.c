/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/file.h"
#include "rootfs/procfs.h"
#include "sys/fs.h"

int rootfs_failed(struct rootfs_failure *f, int r, const char *step, const char *subject)
{
    f->step = step;
    f->subject = subject;
    return r;
}

static int mount_id(int fd, struct statx *ret)
{
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, ret) < 0)
        return -errno;
    return 0;
}

/* A destination that leads back to the root ("/usr/.." by way of links) would cover the container
 * with a mount that nobody sees. */
int target_check_not_root(const struct rootfs_plan *plan, int target)
{
    struct statx a, b;
    int r = mount_id(plan->root_fd, &a);

    if (r == 0)
        r = mount_id(target, &b);
    if (r < 0)
        return r;
    return a.stx_mnt_id == b.stx_mnt_id && a.stx_ino == b.stx_ino ? -EBUSY : 0;
}

/* procfs and sysfs are what the runtime and the program trust most: no symlink may say where they
 * are (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642). */
static int open_plain_dir(int root, const char *dest)
{
    return sys_openat2(root, dest, O_PATH | O_DIRECTORY, 0,
                       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

void target_done(struct target *t)
{
    t->fd = fd_close(t->fd);
}

static int find(const struct rootfs_plan *plan, const struct rootfs_op *op, bool plain, bool dir,
                struct target *t)
{
    int root = plan->root_fd;

    *t = (struct target){.fd = procfs_open_coverable(root, op->dest)};
    t->coverable = t->fd >= 0;
    if (t->fd != -ENODEV)
        return t->fd;
    t->fd = plain ? open_plain_dir(root, op->dest)
                  : sys_open_in_root(root, op->dest, O_PATH | (dir ? O_DIRECTORY : 0), 0);
    t->made = t->fd == -ENOENT;
    if (!t->made)
        return t->fd;
    t->fd = dir ? sys_mkdir_in_root(root, op->dest, 0755) : sys_mkfile_in_root(root, op->dest);
    if (t->fd < 0 || !plain)
        return t->fd;
    fd_close(t->fd);
    return t->fd = open_plain_dir(root, op->dest);
}

int target_open(const struct rootfs_plan *plan, const struct rootfs_op *op, bool dir,
                struct target *ret, struct rootfs_failure *f)
{
    bool plain = op_is_type(op, "proc") || op_is_type(op, "sysfs");
    int r = find(plan, op, plain, dir, ret);

    if (r >= 0)
        return 0;
    return rootfs_failed(f, r,
                         plain && r == -ELOOP
                             ? "open mount point (a symbolic link in its path is not allowed)"
                             : "open mount point",
                         op->dest);
}

int target_set_propagation(const struct rootfs_op *op, int mnt, struct rootfs_failure *f)
{
    if (!op->propagation)
        return 0;
    int r =
        sys_mount_setattr(mnt, op->propagation_recursive ? AT_RECURSIVE : 0, 0, 0, op->propagation);
    return r < 0 ? rootfs_failed(f, r, "set propagation of mount", op->dest) : 0;
}

int target_attach(const struct rootfs_plan *plan, const struct rootfs_op *op, int mnt,
                  const struct target *t, struct rootfs_failure *f)
{
    int r = target_check_not_root(plan, t->fd);
    if (r < 0)
        return rootfs_failed(f, r, "mount on (it leads to the container's root)", op->dest);
    r = procfs_check_target(op, t->fd, t->coverable, mnt);
    if (r < 0)
        return rootfs_failed(f, r, "mount on (it lies in /proc)", op->dest);
    r = target_set_propagation(op, mnt, f);
    if (r < 0)
        return r;
    r = sys_move_mount(mnt, t->fd);
    if (r == 0)
        r = cover_hold_mount(op, mnt);
    if (r < 0)
        return rootfs_failed(f, r, "mount on", op->dest);
    return 0;
}

int target_open_source(const struct rootfs_op *op, int *ret_own, bool *ret_dir)
{
    struct stat st;
    int fd = op->source_fd;

    if (fd < 0) {
        fd = sys_open_tree(AT_FDCWD, op->source,
                           OPEN_TREE_CLONE | (op->recursive ? AT_RECURSIVE : 0u));
        if (fd < 0)
            return fd;
        *ret_own = fd;
    }
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_dir = S_ISDIR(st.st_mode);
    return fd;
}
