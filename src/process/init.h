/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "process/program.h"
#include "process/sysctl.h"
#include "rootfs/rootfs.h"

/* A container's first process, from clone3 to execve. Everything it needs is planned before it
 * exists; in it nothing allocates. */

struct init_plan {
    struct program_plan program;
    uint64_t namespaces;        /* CLONE_NEW*: the new ones; it makes cgroup and time itself */
    uint64_t joined_namespaces; /* CLONE_NEW*: those it finds itself in (join.h) */
    const struct sysctl_plan *sysctls;
    bool tell_mounted; /* say MOUNTED and wait for HOOKED */
    const struct oci_hook_list *create_hooks; /* createContainer; NULL: none */
    const struct hooks_state *create_state;
    char *time_offsets; /* what goes into timens_offsets, or NULL; owned */
    const struct rootfs_plan *rootfs;
    const char *hostname, *domainname; /* NULL: leave */
    bool keep_keyring;                 /* --no-new-keyring */
};

/* The child. Does not return. */
_noreturn_ void init_run(const struct init_plan *plan);
