/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/fs.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */

/* The directory of `dest`, made where it is missing, and the name in it. A symlink of the image may
 * lead there, but not into a procfs or sysfs: what lies there is the kernel's. */
static int open_parent(int root, const char *dest, const char **ret_name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(dest, '/');
    size_t n = (size_t)(slash - dest);
    uint64_t magic = 0;

    if (n >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, dest, n);
    parent[n] = '\0';
    *ret_name = slash + 1;
    _cleanup_close_ int fd = sys_mkdir_in_root(root, n ? parent : "/", 0755);
    if (fd < 0)
        return fd;
    int r = sys_fs_magic(fd, &magic);
    if (r < 0)
        return r;
    return magic == PROC_SUPER_MAGIC || magic == SYSFS_MAGIC ? -EPERM : TAKE_FD(fd);
}

static bool is_node(const struct stat *st, const struct rootfs_op *op)
{
    if ((st->st_mode & S_IFMT) != (op->mode & S_IFMT))
        return false;
    return S_ISFIFO(op->mode) || st->st_rdev == op->dev;
}

static int bind_device(const struct rootfs_op *op, int dir, const char *name,
                       struct rootfs_failure *f)
{
    struct stat st;
    bool is_dir;
    _cleanup_close_ int own = -EBADF;
    int mnt = target_open_source(op, &own, &is_dir);

    if (mnt < 0)
        return rootfs_failed(f, mnt, "bind device", op->source);
    if (fstat(mnt, &st) < 0)
        return rootfs_failed(f, -errno, "look at device", op->source);
    if (!is_node(&st, op))
        return rootfs_failed(f, -ENODEV, "bind device (it is not the device it should be)",
                             op->source);

    int made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (made < 0 && errno != EEXIST)
        return rootfs_failed(f, -errno, "make mount point of device", op->dest);
    fd_close(made);
    _cleanup_close_ int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return rootfs_failed(f, -errno, "open mount point of device", op->dest);
    if (fstat(target, &st) < 0)
        return rootfs_failed(f, -errno, "open mount point of device", op->dest);
    if (!S_ISREG(st.st_mode) && !is_node(&st, op))
        return rootfs_failed(f, -EEXIST, "make device (something else is there)", op->dest);

    int r = sys_mount_setattr(mnt, 0, 0, 0, MS_PRIVATE);
    if (r == 0)
        r = sys_move_mount(mnt, target);
    if (r < 0)
        return rootfs_failed(f, r, "bind device", op->dest);
    return 0;
}

/* Owner by the descriptor of what was just looked at: chown(2) of a name could meet something
 * else. */
static int make_node(const struct rootfs_op *op, int dir, const char *name)
{
    struct stat st;

    if (mknodat(dir, name, op->mode, op->dev) < 0)
        return -errno;
    if (op->uid == 0 && op->gid == 0)
        return 0;
    _cleanup_close_ int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!is_node(&st, op))
        return -ESTALE;
    return fchownat(fd, "", op->uid, op->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Something is there: the same node is fine, but one from config.json has the mode and owner it
 * says. */
static int check_there(const struct rootfs_op *op, int dir, const char *name,
                       struct rootfs_failure *f)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return rootfs_failed(f, -errno,
                             op->must_exist
                                 ? "find device (/dev is a bind mount, so none is made in it)"
                                 : "look at device",
                             op->dest);
    if (!is_node(&st, op))
        return rootfs_failed(f, -EEXIST, "make device (something else is there)", op->dest);
    if (!op->configured || op->must_exist ||
        ((st.st_mode & 07777) == (op->mode & 07777) && st.st_uid == op->uid &&
         st.st_gid == op->gid))
        return 0;
    int r = unlinkat(dir, name, 0) < 0 ? -errno : make_node(op, dir, name);
    return r < 0 ? rootfs_failed(f, r, "replace device", op->dest) : 0;
}

int make_device(const struct rootfs_plan *plan, const struct rootfs_op *op,
                struct rootfs_failure *f)
{
    const char *name;
    _cleanup_close_ int dir = open_parent(plan->root_fd, op->dest, &name);

    if (dir < 0)
        return rootfs_failed(f, dir, "open directory of device", op->dest);
    if (op->must_exist)
        return check_there(op, dir, name, f);
    if (plan->user_namespace && !S_ISFIFO(op->mode))
        return bind_device(op, dir, name, f);
    int r = make_node(op, dir, name);
    if (r == -EEXIST)
        return check_there(op, dir, name, f);
    /* Without CAP_MKNOD, inside another container. */
    if (r == -EPERM && !S_ISFIFO(op->mode))
        return bind_device(op, dir, name, f);
    return r < 0 ? rootfs_failed(f, r, "make device", op->dest) : 0;
}

static int remove_other(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    return -errno;
}

int make_symlink(const struct rootfs_plan *plan, const struct rootfs_op *op,
                 struct rootfs_failure *f)
{
    char now[PATH_MAX];
    const char *name;
    _cleanup_close_ int dir = open_parent(plan->root_fd, op->dest, &name);

    if (dir < 0)
        return rootfs_failed(f, dir, "open directory of link", op->dest);
    if (symlinkat(op->source, dir, name) == 0)
        return 0;
    if (errno != EEXIST)
        return rootfs_failed(f, -errno, "make link", op->dest);
    if (!op->replace)
        return 0;
    ssize_t n = readlinkat(dir, name, now, sizeof(now) - 1);
    if (n >= 0) {
        now[n] = '\0';
        if (streq(now, op->source))
            return 0;
    }
    int r = remove_other(dir, name);
    if (r == 0 && symlinkat(op->source, dir, name) < 0)
        r = -errno;
    if (r < 0)
        return rootfs_failed(f, r, "replace by a link", op->dest);
    return 0;
}
