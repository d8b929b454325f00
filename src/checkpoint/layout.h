/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* The directories of a checkpoint (docs/checkpoint-format.md, C7, B2).
 *
 * Our form:   DIR/images/…, DIR/metadata.json, DIR/checkpoint.hmac
 * runc's:     everything directly in DIR */
struct checkpoint_layout {
    char *dir;       /* absolute */
    int dir_fd;      /* holds metadata.json and the seal */
    int images_fd;   /* CRIU's images, descriptors.json, nucleus.json; may be a dup of dir_fd */
    bool own_form;
    bool made_dir, made_images; /* by us, and so to be removed on failure */
};

/* For a checkpoint: makes what is missing, 0700. Symlinks, files in the way, and a directory that
 * holds a checkpoint already (metadata.json, checkpoint.hmac or inventory.img) are errors. In our
 * form images/ must be empty. */
int layout_make(const char *dir, bool own_form, struct checkpoint_layout *ret, struct error *e);

/* For a restore: opens, following no symlink in the last place. Where others than the owner (root
 * or the caller) could write to the directories, or to a file in them, the seal could not hold
 * between its check and CRIU's reading: ERROR_PERMISSION, only `checked` (that is, where a seal
 * will be verified). */
int layout_open(const char *dir, bool own_form, bool checked, struct checkpoint_layout *ret,
                struct error *e);

/* After a failure: first what would make it acceptable (seal, metadata, inventory.img), then what
 * we made. Files that were there before are left, and so is dump.log where runc's form has it
 * there. */
void layout_discard(struct checkpoint_layout *l);
/* Only so that no restore would take it; async enough for a guardian. */
void layout_invalidate(const struct checkpoint_layout *l);

void layout_done(struct checkpoint_layout *l);
#define _cleanup_layout_ _cleanup_(layout_done)
