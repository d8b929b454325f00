/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/str.h"
#include "rootfs/rootfs.h"

/* What the parts of the child's side share: where a mount goes, and putting it there. Runs between
 * clone3 and execve, so nothing allocates or takes a lock. */

/* Fills *f and returns r. */
int rootfs_failed(struct rootfs_failure *f, int r, const char *step, const char *subject);

static inline bool op_is_type(const struct rootfs_op *op, const char *type)
{
    return op->type && streq(op->type, type);
}

/* Where a mount goes. */
struct target {
    int fd;
    bool made;      /* just now */
    bool coverable; /* one of the files of /proc that may be covered */
};
void target_done(struct target *t);

/* Opens op->dest in the container's root, made where it is missing. */
int target_open(const struct rootfs_plan *plan, const struct rootfs_op *op, bool dir,
                struct target *ret, struct rootfs_failure *f);

/* -EBUSY where `target` is the container's root. */
int target_check_not_root(const struct rootfs_plan *plan, int target);

int target_set_propagation(const struct rootfs_op *op, int mnt, struct rootfs_failure *f);

/* Sets the mount's propagation and attaches it. */
int target_attach(const struct rootfs_plan *plan, const struct rootfs_op *op, int mnt,
                  const struct target *t, struct rootfs_failure *f);

/* The mount to bind: made by rootfs_plan_open(), or else here, while "/" is the host's still; then
 * it is in *ret_own, to be closed. */
int target_open_source(const struct rootfs_op *op, int *ret_own, bool *ret_dir);

/* Copies what directory `from` holds (readable descriptors, or O_PATH) into the empty directory
 * `to`: files with their holes, directories, symlinks, FIFOs, sockets and device nodes, with mode,
 * owner, times and extended attributes, as far as the file system `to` is on can hold them. An
 * owner that the user namespace has no number for becomes its root. Other mounts below `from` are
 * left out: their mount point comes empty. -ELOOP where directories are nested too deep. */
int copyup(int from, int to);

/* The parts of rootfs_mount_all() and rootfs_pivot() that have a file of their own. */
int make_device(const struct rootfs_plan *plan, const struct rootfs_op *op,
                struct rootfs_failure *f);
int make_symlink(const struct rootfs_plan *plan, const struct rootfs_op *op,
                 struct rootfs_failure *f);

/* Masked and read-only paths below /proc and /sys are looked for on the mount that was made there,
 * which is held from its making on: whatever its name leads to later is not what must be covered. A
 * negative errno where it can't be held. */
int cover_hold_mount(const struct rootfs_op *op, int mnt);
void cover_forget_mounts(void);
int cover_readonly(const struct rootfs_plan *plan, const struct rootfs_op *op,
                   struct rootfs_failure *f);
int cover_mask(const struct rootfs_plan *plan, const struct rootfs_op *op,
               struct rootfs_failure *f);
