/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* A container's file-system view: planned as plain data in the parent, executed in the child by
 * file descriptors only. */

/* One step of the plan. Every string is owned by the plan. */
enum rootfs_op_kind {
    ROOTFS_MOUNT_FS,   /* a new file system of `type` onto `dest` */
    ROOTFS_MOUNT_BIND, /* `source` (host path, opened before pivoting) onto `dest` */
    ROOTFS_REMOUNT,    /* what is mounted on `dest` gets other options */
    ROOTFS_CGROUP,     /* cgroup2 from the container's own cgroup on */
    ROOTFS_DEVICE,     /* mknod, or a bind of the host's node in a user namespace; a FIFO */
    ROOTFS_SYMLINK,    /* `dest` -> `source` */
    ROOTFS_MASK,       /* /dev/null over a file, an empty read-only tmpfs over a directory */
    ROOTFS_READONLY,   /* a read-only bind of `dest` on itself */
};

/* How an id-mapped bind mount maps (mount options idmap and ridmap): by maps, or by a namespace
 * that is there already. The maps are the spec's own. */
struct rootfs_idmap {
    bool recursive;
    const struct oci_id_map *uids, *gids;
    size_t n_uids, n_gids;
    const char *userns; /* nsfs path of a joined user namespace, else NULL */
};

struct rootfs_op {
    enum rootfs_op_kind kind;
    char *dest;                    /* absolute inside the container */
    char *source;                  /* bind, device: absolute host path; symlink: target */
    char *type;                    /* file-system type */
    char **data;                   /* options for the file system: "key=value" or "flag" */
    bool recursive;                /* rbind */
    bool source_is_dir;            /* binds: known when the plan is made */
    uint64_t attr_set, attr_clear; /* MOUNT_ATTR_* */
    uint64_t tree_set, tree_clear; /* the same for the mount and all below it, after those */
    uint64_t propagation;          /* MS_*, 0: leave */
    bool propagation_recursive;
    bool has_idmap;
    struct rootfs_idmap idmap;
    int source_fd; /* binds: detached clone (open_tree) made by rootfs_plan_open(), else -EBADF */
    mode_t mode;   /* device: S_IF* | bits */
    dev_t dev;
    uid_t uid; /* device: owner, inside */
    gid_t gid;
    bool configured;    /* device: linux.devices asks for it, so mode and owner must be right */
    bool must_exist;    /* device: its directory is the host's and is not written to */
    bool copyup;        /* tmpfs: begins with what the directory holds */
    bool late_readonly; /* made read-only by rootfs_pivot(): more is made inside before that */
    bool replace;       /* symlink: whatever else is at `dest` goes */
    char *origin; /* what asked for it: "mounts[3]", "linux.maskedPaths[0]", "default device" */
};

struct rootfs_plan {
    char *root;  /* absolute, canonical host path of the root directory */
    int root_fd; /* O_PATH on it, taken when the plan is made, so no later rename matters. In the
                  * child, from rootfs_mount_all() on, the same number is the attached root mount:
                  * paths resolved in it see every mount of the container. */
    int tree_fd; /* detached clone of the root made by rootfs_plan_open(), else -EBADF */
    bool readonly;
    uint64_t propagation; /* of the rootfs mount, MS_*; MS_PRIVATE unless the spec says otherwise */
    bool propagation_recursive;
    bool user_namespace; /* new or joined: devices are bound, not made */
    bool joined_mounts; /* the mount namespace is one that was there, with mounts of its own */
    bool network_namespace;
    bool
        cgroup_namespace; /* a new one: its root is the container's cgroup. Else, also with a joined
                            * one, a process that has a new one mounts ROOTFS_CGROUP. */
    char *mount_label;    /* SELinux context of the container's own file systems, or NULL */
    char *mount_context;  /* the same as an option, "context=…" */

    /* To be set by the caller behind rootfs_plan_make(): */
    const char
        *cgroup_path; /* host path of the container's cgroup, borrowed, for rootfs_externals() */
    /* MS_MOVE and chroot in pivot_root's place, for a host whose root can't be pivoted (an
     * initramfs). Weaker: the host's mounts stay in the namespace. Before rootfs_plan_open(). */
    bool no_pivot;

    struct rootfs_op *ops;
    size_t n_ops;
};

/* From a validated spec, which must outlive the plan: mounts in order, default and configured
 * devices and links (runtime-spec, "Default Devices" and "Dev symbolic links"), masked and
 * read-only paths. Unknown mount options are errors that name mounts[i].options. `bundle` is
 * absolute. Touches the file system only to look (root, bind sources). */
int rootfs_plan_make(const struct oci_spec *spec, const char *bundle, struct rootfs_plan *ret,
                     struct error *e);
/* Makes the detached clones of the root and all bind sources (needs CAP_SYS_ADMIN over the caller's
 * mount namespace), still in the parent, and maps the ids of those that ask for it. A source that
 * is not there is an error naming mounts[i]. Without that capability, and with a user namespace in
 * the plan, the clones are left to the child, which has it in its own namespace. A plan with more
 * clones than the soft limit of open files has room for keeps them at high numbers. After an error
 * none is open. */
int rootfs_plan_open(struct rootfs_plan *plan, struct error *e);
/* A plan that is all zeros is fine. */
void rootfs_plan_done(struct rootfs_plan *plan);

/* The i-th mount option that nucleus honours itself, NULL behind the last. */
const char *rootfs_option_name(size_t i) _pure_;

/* The plan as text, an operation a line: for --debug and tests. */
char *rootfs_plan_render(const struct rootfs_plan *plan) _warn_unused_;

/* What failed in the child. `subject` points into the plan (or a static string). */
struct rootfs_failure {
    const char *step; /* static: "mount", "resolve", "mask", … */
    const char *subject;
};

/* In the child, in its own mount namespace (and descriptor table), allocation-free. First part:
 * everything up to and with the mounts, devices and links, inside the new root, which is attached
 * but not yet "/" (so hooks could still see the host). Second part: pivot_root(".", "."), the old
 * root detached, masked and read-only paths, rootfs read-only and its propagation, cwd "/". With
 * `no_pivot` every procfs and sysfs of the host is unmounted, or covered where it can't be, and the
 * root is moved over "/": nothing of them may be left that a new mount in the container could be
 * made after. Negative errno. */
int rootfs_mount_all(const struct rootfs_plan *plan, struct rootfs_failure *f);
int rootfs_pivot(const struct rootfs_plan *plan, struct rootfs_failure *f);

/* For checkpoint (C10): what in the container's view comes from outside. */
struct rootfs_external {
    char *dest;   /* mount point inside, symlinks resolved in the rootfs, normalized */
    char *source; /* host path to bind at restore */
};
/* From the plan: all bind mounts and bound devices, in mount order, and a cgroup2 that a container
 * without a new cgroup namespace has: seen from outside the root of that mount is a directory of
 * the host's. `root_fd` is the root to resolve in (the live container's /proc/PID/root for a dump,
 * the rootfs for a restore). An id-mapped mount is an error (ERROR_UNSUPPORTED). Masked files are
 * not among them: what covers them is the container's own /dev/null, and the host's in its place
 * could be chmod'ed by the container's root. */
int rootfs_externals(const struct rootfs_plan *plan, int root_fd, struct rootfs_external **ret,
                     size_t *ret_n, struct error *e);
void rootfs_externals_free(struct rootfs_external *list, size_t n);

/* For restore: every mount point of the plan that a bare rootfs lacks is made again, inside
 * `root_fd` only, leaving out those that lie on a file system mounted over it. */
int rootfs_make_mountpoints(const struct rootfs_plan *plan, int root_fd, struct error *e);
