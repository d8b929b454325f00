/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/fs.h"
#include "sys/process.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */

static bool is_slave_or_shared(uint64_t propagation)
{
    return propagation == MS_SLAVE || propagation == MS_SHARED;
}

/* Nothing made from here on may reach the host. Whether the host's mounts still come in is what a
 * root or a bind (one that is cloned in this namespace) with slave or shared propagation needs. */
static int leave_host(const struct rootfs_plan *plan)
{
    /* Those that stay in the namespace must not keep busy what the host unmounts. */
    bool slave = plan->no_pivot || is_slave_or_shared(plan->propagation);

    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].source_fd < 0 && is_slave_or_shared(plan->ops[i].propagation))
            slave = true;
    if (mount(NULL, "/", NULL, MS_REC | (slave ? MS_SLAVE : MS_PRIVATE), NULL) < 0)
        return -errno;
    return 0;
}

/* Where the root goes: the directory at the root's path in this mount namespace, which must be the
 * one the plan was made for. A user namespace's root may not be able to get there (a bundle below
 * somebody's 0700 directory), and in a mount namespace that was joined the path may lead elsewhere:
 * "/" does as well, and only hooks see a difference. */
static int open_place(const struct rootfs_plan *plan)
{
    struct stat planned, found;
    uint64_t flags = O_PATH | O_DIRECTORY;
    _cleanup_close_ int fd =
        sys_openat2(AT_FDCWD, plan->root, flags, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

    /* Not with no_pivot, which tells the container's mounts from the host's by that path. */
    bool anywhere = plan->tree_fd >= 0 && !plan->no_pivot;
    if (anywhere && (fd == -EACCES || (fd < 0 && plan->joined_mounts)))
        return sys_openat2(AT_FDCWD, "/", flags, 0, 0);
    if (fd < 0)
        return fd;
    if (fstat(plan->root_fd, &planned) < 0 || fstat(fd, &found) < 0)
        return -errno;
    if (planned.st_dev == found.st_dev && planned.st_ino == found.st_ino)
        return TAKE_FD(fd);
    return anywhere && plan->joined_mounts ? sys_openat2(AT_FDCWD, "/", flags, 0, 0) : -ESTALE;
}

static int attach_root(const struct rootfs_plan *plan, struct rootfs_failure *f)
{
    _cleanup_close_ int place = open_place(plan);
    if (place < 0)
        return rootfs_failed(f, place,
                             place == -ESTALE || place == -ELOOP
                                 ? "open root file system (it was replaced meanwhile)"
                                 : "open root file system",
                             plan->root);

    _cleanup_close_ int own = -EBADF;
    int tree = plan->tree_fd;
    if (tree < 0) {
        own = sys_open_tree(place, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
        if (own < 0)
            return rootfs_failed(f, own, "clone root file system", plan->root);
        tree = own;
    }
    /* Not shared yet, whatever the plan says: pivot_root() refuses that. */
    int r = sys_mount_setattr(tree, AT_RECURSIVE, 0, 0,
                              is_slave_or_shared(plan->propagation) ? MS_SLAVE : MS_PRIVATE);
    if (r < 0)
        return rootfs_failed(f, r, "set propagation of root file system", plan->root);
    r = sys_move_mount(tree, place);
    if (r < 0)
        return rootfs_failed(f, r, "attach root file system", plan->root);
    /* This process's own table, so the plan's number can name the mount from here on. */
    if (dup3(tree, plan->root_fd, O_CLOEXEC) < 0)
        return rootfs_failed(f, -errno, "keep root file system", plan->root);
    return 0;
}

static bool has_option(const struct rootfs_op *op, const char *prefix)
{
    for (char **d = op->data; d && *d; d++)
        if (str_after(*d, prefix))
            return true;
    return false;
}

/* As runc: a tmpfs without mode= looks like the directory it covers. One that begins with what is
 * in that directory has its owner, too. */
static int fill_tmpfs(const struct rootfs_op *op, int mnt, const struct target *t,
                      struct rootfs_failure *f)
{
    struct stat st;

    if (t->made)
        return 0;
    if (fstat(t->fd, &st) < 0)
        return rootfs_failed(f, -errno, "look at mount point of tmpfs", op->dest);
    uid_t uid = has_option(op, "uid=") ? (uid_t)-1 : st.st_uid;
    gid_t gid = has_option(op, "gid=") ? (gid_t)-1 : st.st_gid;
    /* EINVAL: a user namespace that has no number for them. */
    if (op->copyup && fchownat(mnt, "", uid, gid, AT_EMPTY_PATH) < 0 && errno != EINVAL)
        return rootfs_failed(f, -errno, "set owner of tmpfs", op->dest);
    if (!has_option(op, "mode=") && fchmodat(mnt, ".", st.st_mode & 07777, 0) < 0)
        return rootfs_failed(f, -errno, "set mode of tmpfs", op->dest);
    int r = op->copyup ? copyup(t->fd, mnt) : 0;
    if (r < 0)
        return rootfs_failed(f, r,
                             r == -ENOSPC ? "copy what a tmpfs covers (is its size= too small?)"
                             : r == -ELOOP
                                 ? "copy what a tmpfs covers (its directories are nested too deep)"
                                 : "copy what a tmpfs covers",
                             op->dest);
    return 0;
}

static const char *fs_step(const struct rootfs_plan *plan, const struct rootfs_op *op, int r)
{
    if (r == -ENODEV)
        return "mount (the kernel has no file system of its type)";
    if (r != -EPERM || !plan->user_namespace)
        return "mount";
    if (op_is_type(op, "sysfs") && !plan->network_namespace)
        return "mount sysfs (in a user namespace it takes a network namespace, too)";
    if (op_is_type(op, "proc"))
        return "mount procfs (it takes a pid namespace and a /proc of the host that shows all)";
    return "mount in a user namespace";
}

/* A queue's root takes its label as an attribute: kernels refuse the option for it. */
static int label_queue(const struct rootfs_plan *plan, int mnt)
{
    _cleanup_close_ int root = sys_openat2(mnt, ".", O_RDONLY | O_DIRECTORY, 0, 0);
    if (root < 0)
        return root;
    return fsetxattr(root, "security.selinux", plan->mount_label, strlen(plan->mount_label) + 1,
                     0) < 0
               ? -errno
               : 0;
}

static int finish_fs(const struct rootfs_plan *plan, const struct rootfs_op *op, int mnt,
                     const struct target *t, struct rootfs_failure *f)
{
    if (plan->mount_label && op_is_type(op, "mqueue")) {
        int r = label_queue(plan, mnt);
        if (r < 0)
            return rootfs_failed(f, r, "set SELinux label of", op->dest);
    }
    if (!op_is_type(op, "tmpfs"))
        return 0;
    int r = fill_tmpfs(op, mnt, t, f);
    if (r < 0 || op->late_readonly || !(op->attr_set & MOUNT_ATTR_RDONLY))
        return r;
    r = sys_mount_setattr(mnt, 0, MOUNT_ATTR_RDONLY, 0, 0);
    return r < 0 ? rootfs_failed(f, r, "make read-only", op->dest) : 0;
}

/* A cgroup2 shows the tree from the cgroup on that its cgroup namespace was made in. A container
 * without a new one would see the whole tree of whoever's namespace it is; so a process that makes
 * one mounts it, into the descriptor table that both have. It needs no path: what the process is
 * in, nobody can name wrongly. */
static int mount_own_cgroup(const struct rootfs_op *op, uint64_t attr)
{
    int pidfd = -EBADF, status = 0;
    _cleanup_close_ int place = sys_openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0);
    if (place < 0)
        return place;
    pid_t pid = sys_clone3(CLONE_NEWCGROUP | CLONE_FILES, -EBADF, &pidfd);
    if (pid < 0)
        return (int)pid;
    if (pid == 0) {
        int mnt = sys_fsmount(op->type, op->source, (const char *const *)op->data, attr, NULL);
        if (mnt < 0 || dup3(mnt, place, O_CLOEXEC) < 0)
            _exit(mnt < 0 ? -mnt : errno);
        fd_close(mnt);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    fd_close(pidfd);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
    return TAKE_FD(place);
}

static int mount_fs(const struct rootfs_plan *plan, const struct rootfs_op *op,
                    struct rootfs_failure *f)
{
    const char *bad = NULL;
    uint64_t attr = op->attr_set;

    /* Something is written to it first. */
    if (op_is_type(op, "tmpfs"))
        attr &= ~(uint64_t)MOUNT_ATTR_RDONLY;
    _cleanup_(target_done) struct target t = {.fd = -EBADF};
    int r = target_open(plan, op, true, &t, f);
    if (r < 0)
        return r;
    _cleanup_close_ int mnt =
        op->kind == ROOTFS_CGROUP && !plan->cgroup_namespace
            ? mount_own_cgroup(op, attr)
            : sys_fsmount(op->type, op->source, (const char *const *)op->data, attr, &bad);
    if (mnt < 0 && bad)
        return rootfs_failed(f, mnt, "use mount option", bad);
    if (mnt < 0)
        return rootfs_failed(f, mnt, fs_step(plan, op, mnt), op->dest);
    r = finish_fs(plan, op, mnt, &t, f);
    return r < 0 ? r : target_attach(plan, op, mnt, &t, f);
}

/* Flags that the source has stay unless an option takes them away; where the kernel has locked
 * them, since the mount came from another user namespace, that fails. */
static int set_options(const struct rootfs_plan *plan, const struct rootfs_op *op, int mnt,
                       struct rootfs_failure *f)
{
    int r = 0;

    if (op->attr_set | op->attr_clear)
        r = sys_mount_setattr(mnt, 0, op->attr_set, op->attr_clear, 0);
    if (r == 0 && (op->tree_set | op->tree_clear))
        r = sys_mount_setattr(mnt, AT_RECURSIVE, op->tree_set, op->tree_clear, 0);
    if (r == 0)
        return 0;
    return rootfs_failed(f, r,
                         r == -EPERM && plan->user_namespace
                             ? "set options of mount (the host has locked what one would change)"
                             : "set options of mount",
                         op->dest);
}

static int mount_bind(const struct rootfs_plan *plan, const struct rootfs_op *op,
                      struct rootfs_failure *f)
{
    bool dir = false;
    _cleanup_close_ int own = -EBADF;
    int mnt = target_open_source(op, &own, &dir);

    if (mnt < 0)
        return rootfs_failed(f, mnt,
                             mnt == -EINVAL && plan->user_namespace && !op->recursive
                                 ? "bind (what is mounted below must come along: use rbind)"
                                 : "bind",
                             op->source);
    _cleanup_(target_done) struct target t = {.fd = -EBADF};
    int r = target_open(plan, op, dir, &t, f);
    if (r == 0)
        r = set_options(plan, op, mnt, f);
    return r < 0 ? r : target_attach(plan, op, mnt, &t, f);
}

static int remount(const struct rootfs_plan *plan, const struct rootfs_op *op,
                   struct rootfs_failure *f)
{
    const char *bad = NULL;
    _cleanup_close_ int fd = sys_open_in_root(plan->root_fd, op->dest, O_PATH, 0);
    int r = fd < 0 ? fd : target_check_not_root(plan, fd);

    if (r < 0)
        return rootfs_failed(f, r, "open mount", op->dest);
    r = sys_is_mount_root(fd);
    if (r <= 0)
        return rootfs_failed(f, r < 0 ? r : -EINVAL, "remount (nothing is mounted there)",
                             op->dest);
    if (op->data) {
        r = sys_fsreconfigure(fd, (const char *const *)op->data, &bad);
        if (r < 0)
            return rootfs_failed(f, r, bad ? "use mount option" : "remount", bad ? bad : op->dest);
    }
    r = set_options(plan, op, fd, f);
    return r < 0 ? r : target_set_propagation(op, fd, f);
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
    case ROOTFS_REMOUNT:
        return remount(plan, op, f);
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
    cover_forget_mounts();
    int r = leave_host(plan);
    if (r < 0)
        return rootfs_failed(f, r, "cut the mount namespace off from the host's", "/");
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
