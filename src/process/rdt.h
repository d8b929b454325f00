/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* linux.intelRdt (runtime-spec 1.3): a class of service (CLOS) of cache and memory bandwidth, and a
 * group that counts their use, in the file system of the kernel's
 * Documentation/filesystems/resctrl.rst. */

#define RDT_ROOT "/sys/fs/resctrl"

/* Groups are named by directories below the root, "" for the root itself. */
struct rdt_group {
    int root_fd;   /* O_PATH of the file system's root; -EBADF: nothing was asked for */
    char *clos;    /* "" (closID "/"), "web" */
    char *monitor; /* "mon_groups/ID" below it; NULL: none */
    bool made_clos, made_monitor; /* by rdt_prepare() */
};
#define RDT_GROUP_EMPTY                                                                            \
    {                                                                                              \
        .root_fd = -EBADF                                                                          \
    }
void rdt_group_done(struct rdt_group *g);
#define _cleanup_rdt_ _cleanup_(rdt_group_done)

/* `root` is RDT_ROOT, and must be the root of a resctrl file system: where it is not, the error
 * says so (ERROR_UNSUPPORTED, "linux.intelRdt"). A test gives another directory and `any_fs`.
 *
 * The group is made where it is missing, and the schemata are written to it line by line. One of
 * that name that is there must have the same values already; without schemata it must be there
 * (closID) or is made (no closID: named by the container's id). When something fails nothing is
 * left. */
int rdt_prepare(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
                struct rdt_group *ret, struct error *e);

/* Moves a process (that still has one thread) in, and into the monitoring group. Its children
 * follow. */
int rdt_enter(const struct rdt_group *g, pid_t pid, struct error *e);

/* Takes back what rdt_prepare() made; for a creation that failed. */
void rdt_undo(const struct rdt_group *g);

/* At `delete`: removes the group that is named by the container's id, and its monitoring group. One
 * with a closID stays: other containers may be in it (as runc has it). What is not there is
 * fine. */
int rdt_remove(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
               struct error *e);
