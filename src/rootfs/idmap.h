/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "rootfs/rootfs.h"

/* User namespaces for id-mapped mounts. A mount takes its map from a namespace; one that has just
 * the maps of config.json is made by a process that does nothing else and is gone when the
 * descriptor is there. */

/* The namespace made last, for the next mount with the same maps: usually all have one. Start with
 * {.fd = -EBADF}. */
struct idmap_cache {
    const struct rootfs_idmap *of;
    int fd;
};
void idmap_cache_done(struct idmap_cache *c);

/* Maps the ids of the detached mount `fd`. */
int idmap_apply(const struct rootfs_op *op, int fd, struct idmap_cache *cache, struct error *e);
