/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "sys/fs.h"

static bool is_bound(const struct rootfs_plan *plan, const struct rootfs_op *op)
{
    return op->kind == ROOTFS_MOUNT_BIND || (op->kind == ROOTFS_DEVICE && plan->user_namespace);
}

static int collect(const struct rootfs_plan *plan, int root_fd, struct rootfs_external **list,
                   size_t *n, struct error *e)
{
    char dest[PATH_MAX];

    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (!is_bound(plan, op))
            continue;
        int r = sys_resolve_in_root(root_fd, op->dest, dest);
        if (r < 0)
            return error_errno(e, r, "resolve mount point", op->dest);
        mem_grow(*list, *n);
        (*list)[(*n)++] = (struct rootfs_external){
            .dest = mem_strdup(dest),
            .source = mem_strdup(op->source),
        };
    }
    return 0;
}

int rootfs_externals(const struct rootfs_plan *plan, int root_fd, struct rootfs_external **ret,
                     size_t *ret_n, struct error *e)
{
    struct rootfs_external *list = NULL;
    size_t n = 0;
    int r = collect(plan, root_fd, &list, &n, e);

    if (r < 0) {
        rootfs_externals_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

void rootfs_externals_free(struct rootfs_external *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].dest);
        free(list[i].source);
    }
    free(list);
}

static bool is_mount(const struct rootfs_plan *plan, const struct rootfs_op *op)
{
    return op->kind == ROOTFS_MOUNT_FS || op->kind == ROOTFS_CGROUP || is_bound(plan, op);
}

static int make_mountpoint(const struct rootfs_op *op, int root_fd)
{
    struct stat st;
    bool dir = op->kind == ROOTFS_MOUNT_FS || op->kind == ROOTFS_CGROUP;

    /* A plan that was not opened knows its sources from when it was made. */
    if (op->kind == ROOTFS_MOUNT_BIND)
        dir = stat(op->source, &st) == 0 ? S_ISDIR(st.st_mode) : op->source_is_dir;
    _cleanup_close_ int fd =
        dir ? sys_mkdir_in_root(root_fd, op->dest, 0755) : sys_mkfile_in_root(root_fd, op->dest);
    return fd < 0 ? fd : 0;
}

int rootfs_make_mountpoints(const struct rootfs_plan *plan, int root_fd, struct error *e)
{
    char dest[PATH_MAX];
    _cleanup_strv_ char **covered = NULL;
    int r = 0;
    mode_t mask = umask(0);

    for (size_t i = 0; r == 0 && i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (!is_mount(plan, op))
            continue;
        r = sys_resolve_in_root(root_fd, op->dest, dest);
        bool below = false;
        for (char **c = covered; r == 0 && c && *c; c++)
            below |= !streq(*c, dest) && path_is_below(dest, *c);
        if (r == 0 && !below)
            r = make_mountpoint(op, root_fd);
        if (r < 0)
            error_errno(e, r, "make mount point", op->dest);
        else
            strv_push(&covered, mem_strdup(dest));
    }
    (void)umask(mask);
    return r;
}
