/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <limits.h>
#include <stddef.h>

#include "base/error.h"
#include "oci/json.h"
#include "oci/names.h"
#include "oci/spec.h"

/* From JSON to structs by tables: one a kind of object, one row a property. Private to oci/. */

struct decoder {
    struct error *e;
    unsigned n_warnings;
};

enum oci_field_status {
    FIELD_SUPPORTED,
    FIELD_REQUIRED,
    FIELD_UNSUPPORTED, /* known, not honoured: any content is an error */
};

/* Is given a value that is there and not null, and where its result goes. Returns 0 or negative
 * errno with d->e filled. */
typedef int (*decode_func)(struct decoder *d, const struct json_at *at, void *out);

struct oci_field {
    const char *name;
    enum oci_field_status status;
    decode_func decode;
    size_t offset; /* of the result within the object's struct */
};

/* Rows: the result is one member of the struct, or the function is given the whole of it. */
#define FIELD(name, func, type, member)                                                            \
    {                                                                                              \
        name, FIELD_SUPPORTED, func, offsetof(type, member)                                        \
    }
#define FIELD_WHOLE(name, func)                                                                    \
    {                                                                                              \
        name, FIELD_SUPPORTED, func, 0                                                             \
    }
#define NEEDED(name, func, type, member)                                                           \
    {                                                                                              \
        name, FIELD_REQUIRED, func, offsetof(type, member)                                         \
    }
#define NEEDED_WHOLE(name, func)                                                                   \
    {                                                                                              \
        name, FIELD_REQUIRED, func, 0                                                              \
    }
#define UNSUPPORTED(name)                                                                          \
    {                                                                                              \
        name, FIELD_UNSUPPORTED, NULL, 0                                                           \
    }

/* Each member by its row; null is absent, one without a row is ignored with a warning. `out` is the
 * object's struct. */
int decode_object(struct decoder *d, const struct json_at *at, const struct oci_field *fields,
                  size_t n_fields, void *out);

/* An array of structs of `size` bytes, zeroed, each decoded by `func`. *ret_array and *ret_n are
 * set before the first is decoded, so that the owner frees a half-decoded one. */
int decode_array(struct decoder *d, const struct json_at *at, size_t size, decode_func func,
                 void **ret_array, size_t *ret_n);

int decode_bool(struct decoder *d, const struct json_at *at, void *out); /* bool */
int decode_u64(struct decoder *d, const struct json_at *at, void *out);  /* uint64_t */
int decode_u32(struct decoder *d, const struct json_at *at, void *out);  /* uint32_t */
int decode_id(struct decoder *d, const struct json_at *at, void *out); /* uint32_t, no (uid_t)-1 */
int decode_string(struct decoder *d, const struct json_at *at, void *out); /* char *; "" is NULL */
int decode_strv(struct decoder *d, const struct json_at *at, void *out);   /* char ** */
int decode_path(struct decoder *d, const struct json_at *at, void *out);   /* char *; not empty */
/* char **, each absolute */
int decode_absolute_paths(struct decoder *d, const struct json_at *at, void *out);

/* Empty, or too long for a path. */
int decode_check_path(struct decoder *d, const struct json_at *at, const char *path);

/* A string out of a list. Anything else is an error that names the list where it is short. */
int decode_name(struct decoder *d, const struct json_at *at, const struct oci_name *names,
                size_t n_names, uint64_t *ret);

/* The error for content that is known but not honoured; names the innermost object's member that
 * has any. 0 where there is none: null, "", [], {}, or an object of such. */
int decode_unsupported(struct decoder *d, const struct json_at *at);

/* An ERROR_CONFIG at this place. */
#define decode_error(d, at, ...) json_error((at), (d)->e, ERROR_CONFIG, NULL, __VA_ARGS__)

/* A warning "FILE: PATH: TEXT"; after a few of them the rest is dropped. */
void decode_warn(struct decoder *d, const struct json_at *at, const char *text);

#define DECODE_REMEDY_UNSUPPORTED "remove it, or use a runtime that honours it"

/* The sections (decode_func). */
int decode_process(struct decoder *d, const struct json_at *at, void *out); /* struct oci_spec */
int decode_linux(struct decoder *d, const struct json_at *at, void *out);   /* struct oci_spec */
int decode_seccomp(struct decoder *d, const struct json_at *at,
                   void *out); /* struct oci_seccomp * */

/* What holds between sections, once all are decoded. `root` is the config's root. */
int decode_check_linux(struct decoder *d, const struct json_at *root, const struct oci_spec *spec);

void oci_process_free(struct oci_process *p);
void oci_seccomp_free(struct oci_seccomp *s);
