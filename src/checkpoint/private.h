/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "checkpoint/criu/criu.h"

/* The mount namespace CRIU runs in, prepared by descriptor in the parent, put together in the child
 * (criu_spawn's setup).
 *
 * - Where /run is no tmpfs, a tmpfs is laid over it, with everything that was in /run bound into
 * it: CRIU keeps what it learned of the kernel (30 ms of probing) in /run/criu.kdat, only on a
 * tmpfs (it must not outlive a boot). The file is seeded from, and saved to, `<state
 * dir>/criu.kdat`, for this boot only.
 * - For a restore the container's root file system is mounted at `root_path`: CRIU wants a mount
 *   point. It is gone with CRIU. */
struct private_mounts {
    int run_fd; /* detached tmpfs, or -EBADF */
    struct private_entry {
        char *name;
        int tree; /* detached clone of what was there */
    } *entries;
    size_t n_entries;
    int root_tree;  /* detached clone of the root, or -EBADF */
    char *root_path;
    int cache_dir_fd; /* borrowed: the store's directory */
};

int private_mounts_make(int cache_dir_fd, struct private_mounts *ret, struct error *e);
/* Adds the root: a recursive clone of what `root_fd` is open on. */
int private_mounts_add_root(struct private_mounts *p, int root_fd, const char *root_path,
                            struct error *e);
/* For criu_spawn.setup; arg is the struct. */
int private_mounts_setup(void *arg);
/* Saves CRIU's cache, where it is not what was saved before (another boot, another CRIU). */
void private_mounts_save_cache(const struct private_mounts *p);
void private_mounts_done(struct private_mounts *p);
#define _cleanup_private_ _cleanup_(private_mounts_done)
