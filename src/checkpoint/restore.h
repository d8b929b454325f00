/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "checkpoint/checkpoint.h"
#include "checkpoint/criu/criu.h"
#include "checkpoint/layout.h"
#include "checkpoint/private.h"
#include "checkpoint/progress.h"
#include "checkpoint/record.h"
#include "checkpoint/tool.h"
#include "checkpoint/work.h"
#include "process/bundle.h"
#include "process/guardian.h"
#include "process/join.h"

/* A container on its way back: what is read and compared (restore-plan.c), and what exists of it so
 * far (restore.c), to be taken back when a later step fails. Private to the restore. */
struct restore {
    const struct restore_options *o;
    const struct store *store;
    bool sealed; /* a seal was verified: metadata and host paths can be believed */
    struct checkpoint_layout layout;
    struct checkpoint_metadata metadata;
    bool has_metadata;
    struct checkpoint_record record;
    bool has_record;
    char *id, *name, *bundle;
    struct bundle_config config;
    struct oci_spec *spec; /* config's */
    struct rootfs_plan plan;
    struct rootfs_external *externals;
    size_t n_externals;
    struct criu_pair *mounts; /* what CRIU is given; strings owned */
    size_t n_mounts;
    struct criu_tool tool;
    struct private_mounts private;
    struct stdio_handover handover;
    struct container_cgroup cgroup;
    struct namespace_set joined;
    struct checkpoint_work work;
    struct criu_swrk swrk;
    struct guardian guardian;
    struct state *state;
    struct container_process process;
    enum checkpoint_progress progress;
    bool state_saved, pid_file_made, tmp_made;
};

/* Opens the checkpoint; believed only after its seal was verified. */
int restore_read(struct restore *r, struct error *e);
/* Who it will be: id, name and bundle. */
int restore_choose_identity(struct restore *r, struct error *e);
/* The bundle: what the checkpoint needs must be what the bundle gives. Makes nothing but missing
 * mount points. */
int restore_plan_bundle(struct restore *r, struct error *e);
