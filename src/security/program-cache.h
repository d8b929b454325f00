/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* Private to security/: compiled seccomp programs on disk, so that libseccomp need not make the
 * same one for each container (docs/architecture.md, "Compiled seccomp programs are cached"). It is
 * a cache and nothing else: whatever goes wrong is a miss, with a debug message, never an error. */

/* Raised when the compiler makes another program of the same key, or the file's form changes. */
#define PROGRAM_CACHE_FORMAT 1u
/* Of a key, and of the names. What is longer is not cached. */
#define PROGRAM_CACHE_TEXT_MAX (256u << 10)
#define PROGRAM_CACHE_FILES_MAX 64
/* In the state directory, 0700. */
#define PROGRAM_CACHE_DIRECTORY "seccomp"

struct cached_program {
    struct sock_filter *code; /* owned */
    size_t n;
    char *skipped; /* owned; the names that libseccomp did not know, each with its NUL */
    size_t skipped_len;
};
void cached_program_done(struct cached_program *p);

/* The program that was saved under exactly this key. `statefd` is the state directory, or negative.
 * 0, or negative errno: -ENOENT where there is none. */
int program_cache_load(int statefd, const char *key, size_t key_len, struct cached_program *ret);

/* Replaces what there is under the key; of too many files the oldest go. */
void program_cache_save(int statefd, const char *key, size_t key_len,
                        const struct cached_program *p);

/* The name of the file that holds a key's program: 16 digits. Newly allocated. */
char *program_cache_name(const char *key, size_t key_len) _warn_unused_;

/* A file's content, newly allocated; and back. -EBADMSG for one that is torn or no such file,
 * -ENOENT for another key's, -EINVAL for a program that can't be one. */
char *program_cache_encode(const char *key, size_t key_len, const struct cached_program *p,
                           size_t *ret_len) _warn_unused_;
int program_cache_decode(const char *file, size_t len, const char *key, size_t key_len,
                         struct cached_program *ret);

/* Whether it is one that the compiler could have made: instructions that it uses, reading within
 * struct seccomp_data, every jump inside, a return at the end. The kernel checks again. */
bool program_is_valid(const struct sock_filter *code, size_t n) _pure_;
