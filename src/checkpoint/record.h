/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "checkpoint/descriptors.h"
#include "rootfs/rootfs.h"

/* nucleus.json beside CRIU's images: what the restore has to know that neither CRIU's images (not
 * ours to parse) nor metadata.json (a fixed format) say. docs/checkpoint-format.md has the fields.
 * Nothing in it widens what the bundle allows: mount points are compared with the bundle's, host
 * paths of stdio are used only under a verified seal. A checkpoint without it (another runtime's)
 * can be restored: then only descriptors.json is known. */

#define CHECKPOINT_RECORD_FILE "nucleus.json"

/* CRIU's name for a network namespace that is not the container's own; runc and crun have the
 * same. */
#define CHECKPOINT_NETNS_KEY "extRootNetNS"

struct checkpoint_record {
    /* As criu_version_number(): an older CRIU can't be relied on to read it. */
    uint32_t criu_version;
    bool tcp_established, ext_unix_sk, shell_job, file_locks, terminal;
    /* The network namespace's contents are not in the images: lo is brought up, the rest is for
     * whoever made it. */
    bool empty_network;
    /* The network namespace was another's, and is the restored bundle's to name. */
    bool joined_network;
    uint64_t namespaces;    /* CLONE_NEW* the container has of its own */
    char **external_mounts; /* mount points inside, in mount order */
    struct stdio_info stdio;
};

int checkpoint_record_save(const struct checkpoint_record *r, int images_fd, struct error *e);
/* 1, or 0 where there is no such file. */
int checkpoint_record_load(int images_fd, const char *dir, struct checkpoint_record *ret,
                           struct error *e);
int checkpoint_record_parse(const char *text, size_t len, const char *name,
                            struct checkpoint_record *ret, struct error *e);
void checkpoint_record_done(struct checkpoint_record *r);
#define _cleanup_record_ _cleanup_(checkpoint_record_done)
