/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "sys/fs.h"

static bool is_bound(const struct rootfs_plan *plan, const struct rootfs_op *op)
{
    switch (op->kind) {
    case ROOTFS_MOUNT_BIND:
        return true;
    case ROOTFS_CGROUP:
        return !plan->cgroup_namespace;
    case ROOTFS_DEVICE:
        return plan->user_namespace && !S_ISFIFO(op->mode) && !op->must_exist;
    default:
        return false;
    }
}

static int collect(const struct rootfs_plan *plan, int root_fd, struct rootfs_external **list,
                   size_t *n, struct error *e)
{
    char dest[PATH_MAX];

    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (!is_bound(plan, op))
            continue;
        /* It would come back as the source is: other ids would own the files. */
        if (op->has_idmap)
            return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "checkpoint bind mount", op->dest,
                             "mount it without idmap", "%s: CRIU does not keep maps of ids",
                             op->origin);
        const char *source = op->kind == ROOTFS_CGROUP ? plan->cgroup_path : op->source;
        if (!source)
            return error_set(e, ERROR_INTERNAL, EINVAL, "find cgroup bound on", op->dest, NULL,
                             "nobody said which it is");
        int r = sys_resolve_in_root(root_fd, op->dest, dest);
        if (r < 0)
            return error_errno(e, r, "resolve mount point", op->dest);
        mem_grow(*list, *n);
        (*list)[(*n)++] = (struct rootfs_external){
            .dest = mem_strdup(dest),
            .source = mem_strdup(source),
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

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Whether something is mounted above `path`. */
static bool is_covered(void *const *mounted, const char *path)
{
    char above[PATH_MAX];
    size_t n = strlen(path);

    memcpy(above, path, n + 1);
    while (n > 1) {
        if (above[--n] != '/')
            continue;
        above[n ? n : 1] = '\0';
        if (tfind(above, mounted, compare_text))
            return true;
    }
    return false;
}

static int make_mountpoints(const struct rootfs_plan *plan, int root_fd, void **mounted,
                            struct error *e)
{
    char dest[PATH_MAX];

    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct rootfs_op *op = &plan->ops[i];
        if (!is_mount(plan, op))
            continue;
        int r = sys_resolve_in_root(root_fd, op->dest, dest);
        if (r == 0 && !is_covered(mounted, dest))
            r = make_mountpoint(op, root_fd);
        if (r < 0)
            return error_errno(e, r, "make mount point", op->dest);
        if (!tfind(dest, mounted, compare_text) &&
            !tsearch(mem_strdup(dest), mounted, compare_text))
            abort();
    }
    return 0;
}

int rootfs_make_mountpoints(const struct rootfs_plan *plan, int root_fd, struct error *e)
{
    void *mounted = NULL; /* tsearch(3): there may be thousands */
    mode_t mask = umask(0);
    int r = make_mountpoints(plan, root_fd, &mounted, e);

    (void)umask(mask);
    tdestroy(mounted, free);
    return r;
}
