/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"
#include "state/state.h"

/* Where CRIU works while it dumps or restores (B2, B3): its log and statistics go to the work
 * directory
 * (--work-path, else one of our own that is gone afterwards). A log of a failure outlives it in
 * `<state dir>/log/ID-dump.log`, so that an error can name it even where the container's record
 * does not survive. */
struct checkpoint_work {
    char *dir;     /* CRIU's work directory */
    int fd;
    char *scratch; /* <state dir>/ID.work, ours */
    char *root; /* scratch/root: mount point for a restored root, used in CRIU's namespace only */
    const struct store *store;
    char *id, *log_id;
    bool own; /* dir is scratch */
};

/* `log_id` is the container that a kept log is named after: for a restore the original one, so that
 * deleting that one removes it. */
int work_make(const struct store *store, const char *id, const char *log_id,
              const char *work_path, struct checkpoint_work *ret, struct error *e);
/* Keeps `log_file` after a failure, and makes *e name where it is. */
void work_keep_log(struct checkpoint_work *w, const char *log_file, struct error *e);
/* Removes the scratch directory and closes. */
void work_done(struct checkpoint_work *w);
#define _cleanup_work_ _cleanup_(work_done)
