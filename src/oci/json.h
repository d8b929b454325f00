/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The one decoding layer over json-c. The text is first checked against RFC 8259 as written, which
 * json-c does not do even in strict mode: single quotes, NaN, raw control characters, duplicate
 * keys, "\u0000", numbers that don't fit, bad UTF-8, and nesting deeper than JSON_DEPTH_MAX are
 * errors with line and column. Then json-c builds the tree, and each value is asked for with its
 * exact type and range; a wrong one is reported with its path, line and column. */

#define JSON_DEPTH_MAX 64
/* json-c needs up to 1 KiB for a value of two bytes, so their number is bounded before the tree is
 * built, and that of an array's elements with it. */
#define JSON_VALUES_MAX (1u << 18)
#define JSON_ARRAY_MAX 65536u

struct json_doc {
    char *name;       /* what errors call the text: a path */
    const char *text; /* borrowed; must outlive the doc */
    size_t len;
    struct json_object *root; /* owned */
    enum error_code code;     /* ERROR_CONFIG, ERROR_STATE, … for every error made here */
    const char *step;         /* static: "parse config.json" */
};

/* Parses; the root must be an object. */
int json_doc_parse(struct json_doc *doc, const char *text, size_t len, const char *name,
                   enum error_code code, const char *step, struct error *e);
void json_doc_done(struct json_doc *doc);

/* Where a value is: a chain on the stack from the value up to the root. */
struct json_at {
    const struct json_doc *doc;
    const struct json_at *parent; /* NULL for the root */
    const char *key;              /* member of parent, or NULL */
    size_t index;                 /* element of parent where key is NULL */
    struct json_object *value;    /* borrowed; NULL where absent or null */
    bool present;                 /* the key is there, even if its value is null */
};

struct json_at json_root(const struct json_doc *doc);
/* A member of an object; absent gives value NULL. `at->value` must be an object or NULL. */
struct json_at json_member(const struct json_at *at, const char *key);
struct json_at json_element(const struct json_at *at, size_t index);

/* An error at this place; returns negative errno (-EINVAL, or for ERROR_UNSUPPORTED -ENOTSUP).
 * `remedy` may be NULL. Rendered like "FILE:LINE:COL: process.user.uid: TEXT". */
int json_error(const struct json_at *at, struct error *e, enum error_code code, const char *remedy,
               const char *fmt, ...) _printf_(5, 6);

/* Typed access. An absent or null value leaves *ret as it was and returns 0; a present one of the
 * right type and range sets it and returns 1; anything else is an error. json_need() before makes
 * absence an error. */
int json_need(const struct json_at *at, struct error *e);
int json_get_bool(const struct json_at *at, bool *ret, struct error *e);
int json_get_u64(const struct json_at *at, uint64_t max, uint64_t *ret, struct error *e);
int json_get_i64(const struct json_at *at, int64_t min, int64_t max, int64_t *ret, struct error *e);
int json_get_string(const struct json_at *at, char **ret, struct error *e); /* newly allocated */
int json_get_strv(const struct json_at *at, char ***ret, struct error *e);  /* newly allocated */
/* Checks for the container types; 1 when present. *ret_n is the array's length, at most
 * JSON_ARRAY_MAX: more is an error. */
int json_is_object(const struct json_at *at, struct error *e);
int json_is_array(const struct json_at *at, size_t *ret_n, struct error *e);

/* "process.user.uid", "mounts[2].options[0]", "annotations[\"a.b\"]"; "" for the root. Long keys
 * are cut and control characters escaped: it is fit for one line on a terminal. */
char *json_path(const struct json_at *at) _warn_unused_;
/* The value for a message: a string in quotes (an excerpt), a number, "an object", … */
char *json_describe(const struct json_at *at) _warn_unused_;
/* The beginning of a text of `n` bytes of UTF-8, escaped likewise. */
char *json_excerpt(const char *s, size_t n) _warn_unused_;
