/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "process/program.h"
#include "rootfs/rootfs.h"

/* A container's first process, from clone3 to execve. Everything it needs is planned before it
 * exists; in it nothing allocates. */

struct init_plan {
    struct program_plan program;
    uint64_t namespaces; /* CLONE_NEW*: the new ones; all but CLONE_NEWCGROUP are given to clone3 */
    const struct rootfs_plan *rootfs;
    const char *hostname, *domainname; /* NULL: leave */
    bool keep_keyring;                 /* --no-new-keyring */
};

/* The child. Does not return. */
_noreturn_ void init_run(const struct init_plan *plan);
