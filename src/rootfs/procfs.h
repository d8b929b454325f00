/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/macros.h"
#include "rootfs/rootfs.h"

/* What may be mounted over a procfs: almost nothing (CVE-2019-16884, CVE-2019-19921). Nothing here
 * allocates. */

/* True for the files of /proc that something (lxcfs, CRIU) may lie on; the list is runc's. `path`
 * is absolute and normalized. */
bool procfs_may_cover(const char *path) _pure_;

/* Opens one of them (O_PATH) where /proc in `root_fd` is a procfs and no symlink; -ENODEV where it
 * is not, or where `dest` is none of them. */
int procfs_open_coverable(int root_fd, const char *dest);

/* Whether `op` may be mounted on `target`, which procfs_open_coverable() opened or something else
 * did; `source` is the mount that goes there. Looks at descriptors only: below /proc/net a second
 * lookup makes the first one's dentry unusable. 0, or -EPERM. */
int procfs_check_target(const struct rootfs_op *op, int target, bool coverable, int source);
