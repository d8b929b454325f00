/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "process/bundle.h"
#include "process/container-cgroup.h"
#include "process/container.h"
#include "process/idmap.h"
#include "process/init.h"
#include "process/join.h"
#include "process/rdt.h"
#include "process/sysctl.h"

/* A container on its way: what is planned (create-plan.c) and what exists of it so far (create.c),
 * to be taken back when a later step fails. Private to `create`. */
struct creation {
    const struct store *store;
    const struct container_create_options *o;

    char *bundle;
    struct bundle_config config;
    struct rootfs_plan rootfs;
    struct security_plan security;
    struct init_plan init;
    struct idmap_plan idmap;
    struct namespace_set joined;
    struct container_cgroup cgroup;
    struct sysctl_plan sysctls;

    char *fifo, *report;
    int fifo_fd, report_fd;
    int procfd; /* sys_open_private_proc(), where something needs it, else -EBADF */
    struct hooks_state create_state, start_state; /* for the hooks that the child runs */
    struct rdt_group rdt;
    struct join_plan spawn;
    struct state *record;
    struct container_process process;
    bool fifo_made, report_made, record_saved, pid_file_made, rdt_made;
    bool hold; /* stop before execve: as asked, or for hooks on the way there */
    /* The parent has nothing to do for the child while it sets itself up: it has been told to go on
     * before it asks. */
    bool unattended;
    bool hooked; /* hooks have run: poststop belongs to it when the creation is taken back */
};

/* Reads the bundle and decides everything that can be decided before anything is made. */
int creation_plan(struct creation *c, struct error *e);
