/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* The seal of a checkpoint: an HMAC-SHA256 over its whole tree (docs/checkpoint-format.md, H1 to
 * H7). The only place that touches cryptography. libcrypto is loaded by dlopen(3) on first use, so
 * commands that don't seal don't pay for it. */

#define SEAL_FILE "checkpoint.hmac"
#define SEAL_KEY_MIN 32   /* bytes, H5 */
#define SEAL_KEY_MAX 4096 /* larger key files are refused */

struct seal_key {
    unsigned char *data; /* wiped by seal_key_done() */
    size_t len;
    char *path;
};
void seal_key_done(struct seal_key *key);
#define _cleanup_key_ _cleanup_(seal_key_done)

/* What the place of the key depends on (H4). */
struct seal_env {
    const char *env_key_file; /* NUCLEUS_CHECKPOINT_HMAC_KEY_FILE */
    const char *xdg_data_home, *home;
    const char *var_lib; /* "/var/lib", a seam for tests */
    uid_t euid;
    /* The random source, a seam for tests: fills `n` bytes or returns negative errno. */
    int (*random)(void *data, size_t n);
};
void seal_env_from_process(struct seal_env *env);

/* Reads the key, with H5's checks. Where it is missing: made when `create` (directory 0700 with
 * parents, O_EXCL 0600, fsync of file and directory), else an error that names the path. Two who
 * make it at once end with the same key. */
int seal_key_load(const struct seal_env *env, bool create, struct seal_key *ret, struct error *e);

struct seal_info {
    uint64_t files, dirs, bytes; /* covered; bytes are file contents */
};

/* Loads what the rest of this file needs, so that what is missing is found before anything depends
 * on it, and costs nothing later. */
int seal_prepare(struct error *e);

/* Computes H1 over the tree and writes checkpoint.hmac (H7). With `sync`, every file and directory
 * covered is fsynced first. H2's findings are errors. `name` is what errors call the tree. */
int seal_write(int treefd, const char *name, const struct seal_key *key, bool sync,
               struct seal_info *ret_info, struct error *e);

/* H3, H6: 0 only where the tree is exactly what was sealed with this key. A file that changes its
 * length while it is read is an error. */
int seal_verify(int treefd, const char *name, const struct seal_key *key,
                struct seal_info *ret_info, struct error *e);

/* True where a file (of any kind) stands at the seal's name. */
bool seal_present(int treefd);

/* SHA-256 of a buffer as lower-case hex, newly allocated (config_hash). */
int seal_sha256_hex(const void *data, size_t n, char **ret, struct error *e);
