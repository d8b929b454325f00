/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Mount options of config.json (runtime-spec, "Linux mount options"), from text to what the mount
 * API takes. */

enum rootfs_option_kind {
    ROOTFS_OPTION_ATTR,       /* sets MOUNT_ATTR_* `value` */
    ROOTFS_OPTION_ATTR_CLEAR, /* clears it */
    ROOTFS_OPTION_TREE_ATTR,  /* sets it on the mount and all below it */
    ROOTFS_OPTION_TREE_ATTR_CLEAR,
    ROOTFS_OPTION_PROPAGATION, /* MS_* `value`, with MS_REC or without */
    ROOTFS_OPTION_BIND,        /* `value` MS_REC: recursive */
    ROOTFS_OPTION_IDMAP,       /* `value` MS_REC: recursive */
    ROOTFS_OPTION_SUPER,       /* a flag of the superblock: `name` goes to fsconfig */
    ROOTFS_OPTION_SUPER_CLEAR, /* takes the flag `off` away again */
    ROOTFS_OPTION_REMOUNT,     /* changes the mount that is there already */
    ROOTFS_OPTION_COPYUP,      /* a tmpfs begins with what it covers */
    ROOTFS_OPTION_NOTHING,     /* the default, or without a meaning in the mount API */
    ROOTFS_OPTION_GONE,        /* no kernel that nucleus runs on has it */
};

struct rootfs_option {
    const char *name;
    enum rootfs_option_kind kind;
    uint64_t value;
    const char *off; /* SUPER_CLEAR: the name it cancels */
};

/* The table; its last element has no name. */
extern const struct rootfs_option rootfs_option_table[];

struct rootfs_options {
    bool bind, recursive, remount, copyup;
    bool idmap, idmap_recursive;
    uint64_t attr_set, attr_clear;
    uint64_t tree_set, tree_clear; /* of the mount and all below it; applied after attr_* */
    uint64_t propagation;          /* MS_* without MS_REC, 0: none asked for */
    bool propagation_recursive;
    char **data; /* for the file system, in order; NULL for a bind */
};

/* Later options win over earlier ones. `bind` says that the mount is one by its type already; what
 * is found in options is added in ret->bind. `where` ("mounts[2].options") names them in errors.
 * For a bind an unknown option is an error; for a file system it becomes data. */
int rootfs_options_parse(char *const *options, bool bind, const char *where,
                         struct rootfs_options *ret, struct error *e);
void rootfs_options_done(struct rootfs_options *o);
