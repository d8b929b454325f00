/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <errno.h>

#include "cli/options.h"
#include "process/foreground.h"
#include "state/state.h"

/* A file a command (cmd-NAME.c), each with its row. */
extern const struct command command_checkpoint, command_create, command_delete, command_doctor,
    command_kill, command_list, command_restore, command_run, command_spec, command_start,
    command_state, command_verify, command_version, command_events, command_features, command_pause,
    command_exec, command_ps, command_resume, command_stats, command_update;

/* The store as --root and the environment say. */
int command_open_store(const struct command_context *ctx, bool for_writing, struct store *ret,
                       struct error *e);

/* What commands that make processes of containers begin with: the runtime's binary is put out of
 * their reach (process/protect.h), the store is opened, and where `fg` is not NULL signals are
 * taken from here on. */
int command_begin(const struct command_context *ctx, struct foreground *fg, struct store *ret,
                  struct error *e);

/* --manage-cgroups-mode of checkpoint and restore: NULL or "ignore". CRIU's other modes would have
 * it write to the container's cgroup, which has one owner. */
int command_check_cgroups_mode(const char *mode, struct error *e);
