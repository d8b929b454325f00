/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Writes JSON for people: two spaces a level, a member or element a line, members in the order they
 * are emitted. Needs no tree, so it can't fail half-way. Strings come out as valid UTF-8 whatever
 * goes in: each byte that is none is replaced by U+FFFD, for a file that can't be read back is
 * worse than a command line that shows a replacement character. Start with {0}. */
struct json_emit {
    struct strbuf out;
    unsigned depth;
    bool filled; /* something stands in the innermost object or array */
};

/* `key` is NULL for an element of an array and for the root. */
void json_emit_object(struct json_emit *j, const char *key);
void json_emit_object_end(struct json_emit *j);
void json_emit_array(struct json_emit *j, const char *key);
void json_emit_array_end(struct json_emit *j);

void json_emit_string(struct json_emit *j, const char *key, const char *value); /* NULL: null */
void json_emit_u64(struct json_emit *j, const char *key, uint64_t value);
void json_emit_bool(struct json_emit *j, const char *key, bool value);
void json_emit_null(struct json_emit *j, const char *key);
/* The value, or null where not `has`. */
void json_emit_optional_u64(struct json_emit *j, const char *key, bool has, uint64_t value);
/* NULL is an empty array. */
void json_emit_strv(struct json_emit *j, const char *key, char *const *values);

/* The text with a newline at its end; *j is empty afterwards. */
char *json_emit_take(struct json_emit *j) _warn_unused_;
