/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "seal/crypto.h"
#include "seal/seal.h"

/* Directories in each other, and entries of one directory: far beyond any checkpoint, and what
 * keeps a hostile one from using up the stack or the memory. */
#define TREE_DEPTH_MAX 64
#define TREE_ENTRIES_MAX (1u << 20)

/* Feeds the tree (H1) to `mac`. `rootfd` is open for reading; `name` and `step` are for errors.
 * With `sync` each file and directory, the root too, is fsynced. H2's findings are errors. */
int tree_feed(int rootfd, const char *name, const char *step, bool sync, struct crypto_hmac *mac,
              struct seal_info *ret_info, struct error *e);
