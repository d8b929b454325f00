/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "process/container.h"
#include "seal/seal.h"
#include "state/state.h"

/* Freezing a container into a checkpoint, and bringing it back. */

struct checkpoint_options {
    const char *ref; /* the container */
    const char *dir; /* -o DIR or --image-path DIR */
    bool own_form;   /* -o: images/ below, always sealed; else runc's form */
    bool seal;       /* runc's form: seal too */
    /* NULL: runc's form without a seal: dir; else one that is gone afterwards. */
    const char *work_path;
    bool leave_running, tcp_established, ext_unix_sk, shell_job, file_locks;
    const char *criu; /* --criu, or NULL */
};

/* On success the checkpoint is complete (and sealed), and the container has stopped, or runs on. On
 * failure it runs on as before, and nothing that a restore would accept is left (C8, B5). */
int checkpoint_dump(const struct store *store, const struct checkpoint_options *o,
                    struct error *e);

struct restore_options {
    const char *dir; /* -i DIR or --image-path DIR */
    bool own_form;
    bool require_seal;     /* runc's form: refuse without one; our form always does */
    const char *id;        /* NULL: a new one, name `<old>-restored` (C15); own form only */
    const char *bundle;    /* NULL: that of the original's record; own form only */
    const char *work_path; /* as above */
    const char *pid_file, *console_socket;
    bool keep_console; /* as in container_create_options */
    bool systemd_cgroup; /* likewise */
    bool tcp_established, ext_unix_sk, shell_job, file_locks;
    const char *criu;
};

/* The restored first process is this process's child. *ret_id is newly allocated. On failure no
 * process, cgroup or record is left (C13). */
int checkpoint_restore(const struct store *store, const struct restore_options *o, char **ret_id,
                       struct container_process *ret, struct error *e);

/* `verify`: the seal alone, of our form or runc's. */
struct checkpoint_verified {
    struct seal_info info;
    bool has_metadata;
    struct checkpoint_metadata metadata;
};
int checkpoint_verify(const char *dir, struct checkpoint_verified *ret, struct error *e);
void checkpoint_verified_done(struct checkpoint_verified *v);

/* C4: the capabilities CRIU needs are in effect, or ERROR_PERMISSION names the missing ones. */
int checkpoint_check_privileges(struct error *e);
