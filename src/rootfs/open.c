/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/str.h"
#include "rootfs/idmap.h"
#include "sys/fs.h"

/* The parent's part: detached clones of what the child will attach. */

/* Numbers that runtime, child and hooks may use under an unchanged soft limit. */
#define RESERVED_FDS 512

struct opening {
    struct rootfs_plan *plan;
    struct idmap_cache idmaps;
    struct rlimit limit; /* as it was */
    bool raised;
};

static bool is_bound_device(const struct rootfs_plan *plan, const struct rootfs_op *op)
{
    return op->kind == ROOTFS_DEVICE && plan->user_namespace && !S_ISFIFO(op->mode) &&
           !op->must_exist;
}

static bool needs_clone(const struct rootfs_plan *plan, const struct rootfs_op *op)
{
    return op->kind == ROOTFS_MOUNT_BIND || is_bound_device(plan, op);
}

/* Thousands of binds are thousands of descriptors. The soft limit is raised only while they are
 * made, and they are kept at high numbers: what comes after, the container too, has the limit it
 * had, and free numbers under it. */
static int make_room(struct opening *o, struct error *e)
{
    rlim_t n = RESERVED_FDS;

    for (size_t i = 0; i < o->plan->n_ops; i++)
        n += needs_clone(o->plan, &o->plan->ops[i]);
    if (getrlimit(RLIMIT_NOFILE, &o->limit) < 0)
        return error_errno(e, -errno, "get limit of open files", NULL);
    if (n <= o->limit.rlim_cur)
        return 0;
    struct rlimit more = {
        .rlim_cur = MIN(o->limit.rlim_max, n + RESERVED_FDS),
        .rlim_max = o->limit.rlim_max,
    };
    if (setrlimit(RLIMIT_NOFILE, &more) < 0)
        return error_errno(e, -errno, "raise limit of open files", NULL);
    o->raised = true;
    return 0;
}

static int keep_clone(const struct opening *o, int fd)
{
    int high = o->raised ? fcntl(fd, F_DUPFD_CLOEXEC, RESERVED_FDS) : -1;

    if (high < 0)
        return fd;
    fd_close(fd);
    return high;
}

static int open_failed(const struct rootfs_op *op, int r, const char *step, struct error *e)
{
    bool config = r == -ENOENT || r == -ENOTDIR || r == -ELOOP;

    return error_set(e, config ? ERROR_CONFIG : ERROR_SYSTEM, -r, step, op->source,
                     config ? "create it, or remove it from config.json"
                     : r == -EMFILE
                         ? "raise the hard limit of open files (RLIMIT_NOFILE) for nucleus: "
                           "each bind mount takes one while the container is made"
                         : NULL,
                     "%s: %s", op->origin, strerror(-r));
}

/* In a child with a user namespace the clone can also be made there; whether the source is there is
 * said now. */
static int open_later(struct rootfs_op *op)
{
    struct stat st;

    if (stat(op->source, &st) < 0)
        return -errno;
    op->source_is_dir = S_ISDIR(st.st_mode);
    return 0;
}

static int open_bind(struct opening *o, struct rootfs_op *op, struct error *e)
{
    struct stat st;
    int r = 0;
    _cleanup_close_ int fd =
        sys_open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE | (op->recursive ? AT_RECURSIVE : 0u));

    if (fd == -EPERM && op->has_idmap)
        return error_set(e, ERROR_PERMISSION, EPERM, "map ids of bind mount", op->source,
                         "run nucleus as the host's root, or mount it without idmap",
                         "%s: it takes CAP_SYS_ADMIN on the host", op->origin);
    if (fd == -EPERM && o->plan->user_namespace)
        r = open_later(op);
    else if (fd < 0)
        r = fd;
    else if (fstat(fd, &st) < 0)
        r = -errno;
    if (r < 0)
        return open_failed(op, r, "bind", e);
    if (fd < 0)
        return 0;
    op->source_is_dir = S_ISDIR(st.st_mode);
    if (op->has_idmap) {
        r = idmap_apply(op, fd, &o->idmaps, e);
        if (r < 0)
            return r;
    }
    op->source_fd = keep_clone(o, TAKE_FD(fd));
    return 0;
}

static int open_device(struct opening *o, struct rootfs_op *op, struct error *e)
{
    struct stat st;
    _cleanup_close_ int fd = sys_open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE);

    /* The child tries for itself. */
    if (fd == -EPERM)
        return 0;
    if (fd < 0)
        return open_failed(op, fd, "bind device", e);
    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, "look at device", op->source);
    if ((st.st_mode & S_IFMT) != (op->mode & S_IFMT) || st.st_rdev != op->dev)
        return error_set(
            e, op->configured ? ERROR_CONFIG : ERROR_SYSTEM, ENODEV, "bind device", op->source,
            op->configured ? "correct it in config.json: in a user namespace a device is "
                             "the host's at the same path"
                           : "repair the host's /dev",
            "%s: on the host it is not %s device %u:%u", op->origin,
            S_ISBLK(op->mode) ? "block" : "character", major(op->dev), minor(op->dev));
    op->source_fd = keep_clone(o, TAKE_FD(fd));
    return 0;
}

static int open_root(struct rootfs_plan *plan, struct error *e)
{
    if (plan->no_pivot && streq(plan->root, "/"))
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "use as root file system", plan->root,
                         "leave --no-pivot out, or give the container a directory of its own",
                         "without pivot_root it must be another directory than the host's root");
    _cleanup_close_ int tree =
        sys_open_tree(plan->root_fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
    if (tree < 0 && !(tree == -EPERM && plan->user_namespace))
        return error_set(e, tree == -EPERM ? ERROR_PERMISSION : ERROR_SYSTEM, -tree,
                         "clone the root file system", plan->root,
                         tree == -EPERM ? "run as root, or with a user namespace" : NULL, NULL);
    fd_close(plan->tree_fd);
    plan->tree_fd = TAKE_FD(tree);
    return 0;
}

static int open_op(struct opening *o, struct rootfs_op *op, struct error *e)
{
    if (op->kind == ROOTFS_MOUNT_BIND)
        return open_bind(o, op, e);
    return is_bound_device(o->plan, op) ? open_device(o, op, e) : 0;
}

/* Whoever takes things back after a failure needs descriptors, too. */
static void close_clones(struct rootfs_plan *plan)
{
    plan->tree_fd = fd_close(plan->tree_fd);
    for (size_t i = 0; i < plan->n_ops; i++)
        plan->ops[i].source_fd = fd_close(plan->ops[i].source_fd);
}

int rootfs_plan_open(struct rootfs_plan *plan, struct error *e)
{
    struct opening o = {.plan = plan, .idmaps = {.fd = -EBADF}};
    int r = open_root(plan, e);

    if (r == 0)
        r = make_room(&o, e);
    for (size_t i = 0; r == 0 && i < plan->n_ops; i++)
        r = open_op(&o, &plan->ops[i], e);
    idmap_cache_done(&o.idmaps);
    if (o.raised && setrlimit(RLIMIT_NOFILE, &o.limit) < 0 && r == 0)
        r = error_errno(e, -errno, "restore limit of open files", NULL);
    if (r < 0)
        close_clones(plan);
    return r;
}
