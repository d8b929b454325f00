/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "rootfs/procfs.h"
#include "sys/fs.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */

static int failed(struct rootfs_failure *f, int r, const char *step, const char *subject)
{
    f->step = step;
    f->subject = subject;
    return r;
}

static bool is_slave_or_shared(uint64_t propagation)
{
    return propagation == MS_SLAVE || propagation == MS_SHARED;
}

/* Nothing made from here on may reach the host. Whether the host's mounts still come in is what a
 * root or a bind (one that is cloned in this namespace) with slave or shared propagation needs. */
static int leave_host(const struct rootfs_plan *plan)
{
    bool slave = is_slave_or_shared(plan->propagation);

    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].source_fd < 0 && is_slave_or_shared(plan->ops[i].propagation))
            slave = true;
    if (mount(NULL, "/", NULL, MS_REC | (slave ? MS_SLAVE : MS_PRIVATE), NULL) < 0)
        return -errno;
    return 0;
}

/* Where the root goes: the directory at the root's path in this mount namespace, which must be the
 * one the plan was made for. A user namespace's root may not be able to get there (a bundle below
 * somebody's 0700 directory): "/" does as well, and only hooks see a difference. */
static int open_place(const struct rootfs_plan *plan)
{
    struct stat planned, found;
    uint64_t flags = O_PATH | O_DIRECTORY;
    _cleanup_close_ int fd =
        sys_openat2(AT_FDCWD, plan->root, flags, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

    if (fd == -EACCES && plan->tree_fd >= 0)
        return sys_openat2(AT_FDCWD, "/", flags, 0, 0);
    if (fd < 0)
        return fd;
    if (fstat(plan->root_fd, &planned) < 0 || fstat(fd, &found) < 0)
        return -errno;
    if (planned.st_dev != found.st_dev || planned.st_ino != found.st_ino)
        return -ESTALE;
    return TAKE_FD(fd);
}

static int attach_root(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    _cleanup_close_ int place = open_place(plan);
    if (place < 0)
        return failed(f, place,
                      place == -ESTALE || place == -ELOOP
                          ? "open root file system (it was replaced meanwhile)"
                          : "open root file system",
                      plan->root);

    _cleanup_close_ int own = -EBADF;
    int tree = plan->tree_fd;
    if (tree < 0) {
        own = sys_open_tree(place, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
        if (own < 0)
            return failed(f, own, "clone root file system", plan->root);
        tree = own;
    }
    /* Not shared yet, whatever the plan says: pivot_root() refuses that. */
    int r = sys_mount_setattr(tree, AT_RECURSIVE, 0, 0,
                              is_slave_or_shared(plan->propagation) ? MS_SLAVE : MS_PRIVATE);
    if (r < 0)
        return failed(f, r, "set propagation of root file system", plan->root);
    r = sys_move_mount(tree, place);
    if (r < 0)
        return failed(f, r, "attach root file system", plan->root);
    /* This process's own table, so the plan's number can name the mount from here on. */
    if (dup3(tree, plan->root_fd, O_CLOEXEC) < 0)
        return failed(f, -errno, "keep root file system", plan->root);
    return 0;
}

static int mount_id(int fd, struct statx *ret)
{
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, ret) < 0)
        return -errno;
    return 0;
}

/* A destination that leads back to the root ("/usr/.." by way of links) would cover the container
 * with a mount that nobody sees. */
static int check_not_root(const struct rootfs_plan *plan, int target)
{
    struct statx a, b;
    int r = mount_id(plan->root_fd, &a);

    if (r == 0)
        r = mount_id(target, &b);
    if (r < 0)
        return r;
    return a.stx_mnt_id == b.stx_mnt_id && a.stx_ino == b.stx_ino ? -EBUSY : 0;
}

static bool is_type(const struct rootfs_op *op, const char *type)
{
    return op->type && streq(op->type, type);
}

/* procfs and sysfs are what the runtime and the program trust most: no symlink may say where they
 * are (CVE-2019-19921, CVE-2023-27561). */
static int open_plain_dir(int root, const char *dest)
{
    return sys_openat2(root, dest, O_PATH | O_DIRECTORY, 0,
                       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

/* Where a mount goes. */
struct target {
    int fd;
    bool made;      /* just now */
    bool coverable; /* one of the files of /proc that may be covered */
};

static void target_done(struct target *t)
{
    t->fd = fd_close(t->fd);
}

static int open_target(const struct rootfs_plan *plan, const struct rootfs_op *op, bool dir,
                       struct target *t)
{
    bool plain = is_type(op, "proc") || is_type(op, "sysfs");
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

static const char *target_step(const struct rootfs_op *op, int r)
{
    if (r == -ELOOP && (is_type(op, "proc") || is_type(op, "sysfs")))
        return "open mount point (a symbolic link in its path is not allowed)";
    return "open mount point";
}

static int attach(const struct rootfs_plan *plan, const struct rootfs_op *op, int mnt,
                  const struct target *t, struct rootfs_failure *f)
{
    int r = check_not_root(plan, t->fd);
    if (r < 0)
        return failed(f, r, "mount on (it leads to the container's root)", op->dest);
    r = procfs_check_target(op, t->fd, t->coverable, mnt);
    if (r < 0)
        return failed(f, r, "mount on (it lies in /proc)", op->dest);
    if (op->propagation) {
        r = sys_mount_setattr(mnt, op->propagation_recursive ? AT_RECURSIVE : 0, 0, 0,
                              op->propagation);
        if (r < 0)
            return failed(f, r, "set propagation of mount", op->dest);
    }
    r = sys_move_mount(mnt, t->fd);
    if (r < 0)
        return failed(f, r, "mount on", op->dest);
    return 0;
}

static bool has_mode(const struct rootfs_op *op)
{
    for (char **d = op->data; d && *d; d++)
        if (str_after(*d, "mode="))
            return true;
    return false;
}

static const char *fs_step(const struct rootfs_plan *plan, const struct rootfs_op *op, int r)
{
    if (r == -ENODEV)
        return "mount (the kernel has no file system of its type)";
    if (r != -EPERM || !plan->user_namespace)
        return "mount";
    if (is_type(op, "sysfs") && !plan->network_namespace)
        return "mount sysfs (in a user namespace it takes a network namespace, too)";
    if (is_type(op, "proc"))
        return "mount procfs (in a user namespace it takes a pid namespace, too, and a /proc of "
               "the "
               "host without anything over it)";
    return "mount in a user namespace";
}

static int mount_fs(const struct rootfs_plan *plan, const struct rootfs_op *op,
                    struct rootfs_failure *f)
{
    const char *bad = NULL;
    struct stat st;
    uint64_t attr = op->attr_set;

    if (op->late_readonly)
        attr &= ~(uint64_t)MOUNT_ATTR_RDONLY;

    _cleanup_(target_done) struct target t = {.fd = -EBADF};
    int r = open_target(plan, op, true, &t);
    if (r < 0)
        return failed(f, r, target_step(op, r), op->dest);
    _cleanup_close_ int mnt =
        sys_fsmount(op->type, op->source, (const char *const *)op->data, attr, &bad);
    if (mnt < 0 && bad)
        return failed(f, mnt, "use mount option", bad);
    if (mnt < 0)
        return failed(f, mnt, fs_step(plan, op, mnt), op->dest);

    /* As runc: a tmpfs without mode= looks like the directory it covers. */
    if (is_type(op, "tmpfs") && !t.made && !has_mode(op) && !(attr & MOUNT_ATTR_RDONLY)) {
        if (fstat(t.fd, &st) < 0 || fchmodat(mnt, ".", st.st_mode & 07777, 0) < 0)
            return failed(f, -errno, "set mode of tmpfs", op->dest);
    }
    return attach(plan, op, mnt, &t, f);
}

/* The mount to bind: made by rootfs_plan_open(), or else here, while "/" is the host's still. */
static int open_source(const struct rootfs_op *op, int *ret_own, bool *ret_dir)
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

static int mount_bind(const struct rootfs_plan *plan, const struct rootfs_op *op,
                      struct rootfs_failure *f)
{
    bool dir = false;
    _cleanup_close_ int own = -EBADF;
    int mnt = open_source(op, &own, &dir);

    if (mnt < 0)
        return failed(f, mnt, "bind", op->source);
    _cleanup_(target_done) struct target t = {.fd = -EBADF};
    int r = open_target(plan, op, dir, &t);
    if (r < 0)
        return failed(f, r, target_step(op, r), op->dest);
    if (op->attr_set | op->attr_clear) {
        r = sys_mount_setattr(mnt, 0, op->attr_set, op->attr_clear, 0);
        if (r < 0)
            return failed(f, r, "set options of bind mount", op->dest);
    }
    return attach(plan, op, mnt, &t, f);
}

/* The directory of `dest`, made where it is missing, and the name in it. */
static int open_parent(int root, const char *dest, const char **ret_name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(dest, '/');
    size_t n = (size_t)(slash - dest);

    if (n >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, dest, n);
    parent[n] = '\0';
    *ret_name = slash + 1;
    return sys_mkdir_in_root(root, n ? parent : "/", 0755);
}

static bool is_device(const struct stat *st, dev_t dev)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == dev;
}

static int bind_device(const struct rootfs_op *op, int dir, const char *name,
                       struct rootfs_failure *f)
{
    struct stat st;
    bool is_dir;
    _cleanup_close_ int own = -EBADF;
    int mnt = open_source(op, &own, &is_dir);

    if (mnt < 0)
        return failed(f, mnt, "bind device", op->source);
    if (fstat(mnt, &st) < 0)
        return failed(f, -errno, "look at device", op->source);
    if (!is_device(&st, op->dev))
        return failed(f, -ENODEV, "bind device (it is not the device it should be)", op->source);

    int made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (made < 0 && errno != EEXIST)
        return failed(f, -errno, "make mount point of device", op->dest);
    fd_close(made);
    _cleanup_close_ int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return failed(f, -errno, "open mount point of device", op->dest);
    if (fstat(target, &st) < 0)
        return failed(f, -errno, "open mount point of device", op->dest);
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        return failed(f, -EEXIST, "make device (something else is there)", op->dest);

    int r = sys_mount_setattr(mnt, 0, 0, 0, MS_PRIVATE);
    if (r == 0)
        r = sys_move_mount(mnt, target);
    if (r < 0)
        return failed(f, r, "bind device", op->dest);
    return 0;
}

static int make_device(const struct rootfs_plan *plan, const struct rootfs_op *op,
                       struct rootfs_failure *f)
{
    const char *name;
    struct stat st;
    _cleanup_close_ int dir = open_parent(plan->root_fd, op->dest, &name);

    if (dir < 0)
        return failed(f, dir, "open directory of device", op->dest);
    if (plan->user_namespace)
        return bind_device(op, dir, name, f);
    if (mknodat(dir, name, op->mode, op->dev) < 0 && errno != EEXIST) {
        /* Without CAP_MKNOD, inside another container. */
        if (errno == EPERM)
            return bind_device(op, dir, name, f);
        return failed(f, -errno, "make device", op->dest);
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(f, -errno, "look at device", op->dest);
    if (!is_device(&st, op->dev))
        return failed(f, -EEXIST, "make device (something else is there)", op->dest);
    return 0;
}

static int remove_other(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    return -errno;
}

static int make_symlink(const struct rootfs_plan *plan, const struct rootfs_op *op,
                        struct rootfs_failure *f)
{
    char now[PATH_MAX];
    const char *name;
    _cleanup_close_ int dir = open_parent(plan->root_fd, op->dest, &name);

    if (dir < 0)
        return failed(f, dir, "open directory of link", op->dest);
    if (symlinkat(op->source, dir, name) == 0)
        return 0;
    if (errno != EEXIST)
        return failed(f, -errno, "make link", op->dest);
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
        return failed(f, r, "replace by a link", op->dest);
    return 0;
}

static int run_op(const struct rootfs_plan *plan, const struct rootfs_op *op,
                  struct rootfs_failure *f)
{
    switch (op->kind) {
    case ROOTFS_MOUNT_FS:
    case ROOTFS_CGROUP:
        return mount_fs(plan, op, f);
    case ROOTFS_MOUNT_BIND:
        return mount_bind(plan, op, f);
    case ROOTFS_DEVICE:
        return make_device(plan, op, f);
    case ROOTFS_SYMLINK:
        return make_symlink(plan, op, f);
    case ROOTFS_MASK:
    case ROOTFS_READONLY:
        break;
    }
    return 0;
}

int rootfs_mount_all(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    int r = leave_host(plan);
    if (r < 0)
        return failed(f, r, "cut the mount namespace off from the host's", "/");
    r = attach_root(plan, f);
    if (r < 0)
        return r;

    /* Modes are those of the plan, and 0755 for mount points. */
    mode_t mask = umask(0);
    for (size_t i = 0; r == 0 && i < plan->n_ops; i++)
        r = run_op(plan, &plan->ops[i], f);
    (void)umask(mask);
    return r;
}

static int pivot(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    if (fchdir(plan->root_fd) < 0)
        return failed(f, -errno, "enter root file system", plan->root);
    /* The old root ends up on top of the new one, pivot_root(2), "pivot_root(".", ".")". */
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return failed(f, -errno, "pivot into root file system", plan->root);
    if (umount2(".", MNT_DETACH) < 0)
        return failed(f, -errno, "detach the host's root", "/");
    if (chdir("/") < 0)
        return failed(f, -errno, "enter root file system", "/");
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
            return failed(f, r, "make read-only", op->dest);
    }
    return 0;
}

/* Neither is there to be covered. */
static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR;
}

static int cover_readonly(const struct rootfs_plan *plan, const struct rootfs_op *op,
                          struct rootfs_failure *f)
{
    _cleanup_close_ int target = sys_open_in_root(plan->root_fd, op->dest, O_PATH, 0);
    if (is_absent(target))
        return 0;
    if (target < 0)
        return failed(f, target, "open read-only path", op->dest);
    int r = check_not_root(plan, target);
    if (r < 0)
        return failed(f, r, "make read-only (it leads to the container's root)", op->dest);
    _cleanup_close_ int mnt =
        sys_open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
    if (mnt < 0)
        return failed(f, mnt, "clone read-only path", op->dest);
    /* Adds to the flags it has; what is mounted below was mounted so on purpose. */
    r = sys_mount_setattr(mnt, 0, MOUNT_ATTR_RDONLY, 0, 0);
    if (r == 0)
        r = sys_move_mount(mnt, target);
    if (r < 0)
        return failed(f, r, "make read-only", op->dest);
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
    if (!is_device(&st, makedev(1, 3)))
        return -ENODEV;
    return sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
}

static int cover_mask(const struct rootfs_plan *plan, const struct rootfs_op *op,
                      struct rootfs_failure *f)
{
    static const char *const empty[] = {"nr_blocks=1", "nr_inodes=1", "mode=0755", NULL};
    struct stat st;
    _cleanup_close_ int target = sys_open_in_root(plan->root_fd, op->dest, O_PATH, 0);

    if (is_absent(target))
        return 0;
    if (target < 0)
        return failed(f, target, "open masked path", op->dest);
    if (fstat(target, &st) < 0)
        return failed(f, -errno, "open masked path", op->dest);
    int r = check_not_root(plan, target);
    if (r < 0)
        return failed(f, r, "mask (it leads to the container's root)", op->dest);

    _cleanup_close_ int mnt = -EBADF;
    if (S_ISDIR(st.st_mode)) {
        mnt = sys_fsmount(
            "tmpfs", "tmpfs", empty,
            MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);
        if (mnt < 0)
            return failed(f, mnt, "make an empty tmpfs over", op->dest);
    } else {
        mnt = clone_null(plan);
        if (mnt < 0)
            return failed(f, mnt, "mask (the container's /dev/null is not the null device)",
                          op->dest);
    }
    r = sys_move_mount(mnt, target);
    if (r < 0)
        return failed(f, r, "mask", op->dest);
    return 0;
}

int rootfs_pivot(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    int r = pivot(plan, f);
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
            return failed(f, r, "make root file system read-only", "/");
    }
    r = sys_mount_setattr(plan->root_fd, 0, 0, 0, plan->propagation);
    if (r < 0)
        return failed(f, r, "set propagation of root file system", "/");
    return 0;
}
