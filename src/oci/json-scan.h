/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* The check of a text against RFC 8259 that comes before json-c (oci/json.h says what and why), and
 * walking through a text that passed it. */

struct json_fault {
    size_t pos;     /* byte offset */
    char text[120]; /* what is wrong there */
};

/* 0 where the text is one object and nothing but blanks around it, *ret_begin the offset of its '{'
 * and *ret_end of what follows its '}'; -EINVAL with *ret_fault. Takes O(n log n) whatever the text
 * is. */
int json_scan(const char *text, size_t len, size_t *ret_begin, size_t *ret_end,
              struct json_fault *ret_fault);

/* The bytes of a checked string, given what stands between its quotes. Newly allocated. */
char *json_scan_unescape(const char *s, size_t n, size_t *ret_len) _warn_unused_;

/* In a checked text: the offset of a member's value, or of an element, given the offset of the
 * object's '{' or the array's '['. The container's own offset where there is none. */
size_t json_scan_find_key(const char *text, size_t pos, const char *key);
size_t json_scan_find_index(const char *text, size_t pos, size_t index) _pure_;
