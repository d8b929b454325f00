/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

#include "base/macros.h"

/* Allocation that succeeds or ends the process with one line on stderr and status 1 (see
 * docs/architecture.md, "memory"). Never used between clone3 and execve. */

void *mem_alloc(size_t size) __attribute__((malloc, warn_unused_result)); /* zeroed */
void *mem_realloc_array(void *p, size_t n, size_t size) _warn_unused_;    /* overflow checked */
void *mem_dup(const void *p, size_t size) _warn_unused_;
char *mem_strdup(const char *s) _warn_unused_; /* NULL gives NULL */
char *mem_strndup(const char *s, size_t n) _warn_unused_;

#define mem_new(type, n) ((type *)mem_realloc_array(NULL, (n), sizeof(type)))
#define mem_new0(type) ((type *)mem_alloc(sizeof(type)))

/* Makes room for one more element at the end of a growing array. `array` is any pointer variable,
 * `n` the number in use; capacity doubles at powers of two. */
#define mem_grow(array, n)                                                                         \
    do {                                                                                           \
        size_t _n = (n);                                                                           \
        if ((_n & (_n - 1)) == 0)                                                                  \
            (array) = mem_realloc_array((array), _n ? _n * 2 : 1, sizeof(*(array)));               \
    } while (0)
