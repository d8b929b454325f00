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
    FIELD_CGROUP_V1,   /* only cgroup v1 can: content that asks for something is an error */
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

#define CGROUP_V1_ONLY(name)                                                                       \
    {                                                                                              \
        name, FIELD_CGROUP_V1, NULL, 0                                                             \
    }

/* More elements than this, in whatever list, are an error. */
#define DECODE_LIST_MAX 16384

/* Each member by its row; null is absent, one without a row is ignored with a warning. `out` is the
 * object's struct. */
int decode_object(struct decoder *d, const struct json_at *at, const struct oci_field *fields,
                  size_t n_fields, void *out);

/* An array of structs of `size` bytes, zeroed, each decoded by `func`. *ret_array and *ret_n are
 * set before the first is decoded, so that the owner frees a half-decoded one. */
int decode_array(struct decoder *d, const struct json_at *at, size_t size, decode_func func,
                 void **ret_array, size_t *ret_n);
/* The same for an object whose members' names are data: `func` finds its own in at->key. */
int decode_map(struct decoder *d, const struct json_at *at, size_t size, decode_func func,
               void **ret_array, size_t *ret_n);

int decode_bool(struct decoder *d, const struct json_at *at, void *out); /* bool */
int decode_u64(struct decoder *d, const struct json_at *at, void *out);  /* uint64_t */
int decode_i64(struct decoder *d, const struct json_at *at, void *out);  /* int64_t */
int decode_u32(struct decoder *d, const struct json_at *at, void *out);  /* uint32_t */
int decode_id(struct decoder *d, const struct json_at *at, void *out); /* uint32_t, no (uid_t)-1 */
int decode_string(struct decoder *d, const struct json_at *at, void *out); /* char *; "" is NULL */
int decode_strv(struct decoder *d, const struct json_at *at, void *out);   /* char ** */
int decode_path(struct decoder *d, const struct json_at *at, void *out);   /* char *; not empty */
int decode_absolute_path(struct decoder *d, const struct json_at *at, void *out); /* char * */
/* char **, each absolute */
int decode_absolute_paths(struct decoder *d, const struct json_at *at, void *out);

/* Empty, or too long for a path; or not absolute. */
int decode_check_path(struct decoder *d, const struct json_at *at, const char *path);
int decode_check_absolute(struct decoder *d, const struct json_at *at, const char *path);

/* char *; "" is NULL; a control character is an error: for text that becomes a line of a file. */
int decode_line(struct decoder *d, const struct json_at *at, void *out);
/* struct oci_set: a list like "0-3,7"; "" is none. */
int decode_set(struct decoder *d, const struct json_at *at, void *out);
/* char *, as written; the syntax is that of decode_set(), and "" is NULL. */
int decode_set_text(struct decoder *d, const struct json_at *at, void *out);

/* A string out of a list. Anything else is an error that names the list where it is short. */
int decode_name(struct decoder *d, const struct json_at *at, const struct oci_name *names,
                size_t n_names, uint64_t *ret);
/* An array of such strings, whose numbers are ORed into *ret. */
int decode_name_set(struct decoder *d, const struct json_at *at, const struct oci_name *names,
                    size_t n_names, uint64_t *ret);

/* The error for content that is known but not honoured; names the innermost object's member that
 * has any. 0 where there is none: null, "", [], {}, or an object of such. */
int decode_unsupported(struct decoder *d, const struct json_at *at);

/* A text that is one object: parsed as JSON, its root given to `func` with `out`. */
int decode_text(const char *text, size_t len, const char *name, const char *step, decode_func func,
                void *out, struct error *e);

/* An ERROR_CONFIG at this place. */
#define decode_error(d, at, ...) json_error((at), (d)->e, ERROR_CONFIG, NULL, __VA_ARGS__)

/* A warning "FILE: PATH: TEXT"; after a few of them the rest is dropped. */
void decode_warn(struct decoder *d, const struct json_at *at, const char *text);

#define DECODE_REMEDY_UNSUPPORTED "remove it, or use a runtime that honours it"

/* The sections (decode_func), each with what it decodes into. */
int decode_process(struct decoder *d, const struct json_at *at, void *out);     /* oci_process * */
int decode_env(struct decoder *d, const struct json_at *at, void *out);         /* char ** */
int decode_scheduler(struct decoder *d, const struct json_at *at, void *out);   /* oci_process */
int decode_io_priority(struct decoder *d, const struct json_at *at, void *out); /* oci_process */
int decode_exec_affinity(struct decoder *d, const struct json_at *at, void *out); /* oci_process */
int decode_mounts(struct decoder *d, const struct json_at *at, void *out);        /* oci_spec */
int decode_hooks(struct decoder *d, const struct json_at *at, void *out);         /* oci_spec */
int decode_linux(struct decoder *d, const struct json_at *at, void *out);         /* oci_spec */
int decode_namespaces(struct decoder *d, const struct json_at *at, void *out);    /* oci_spec */
int decode_time_offsets(struct decoder *d, const struct json_at *at, void *out);  /* oci_spec */
int decode_devices(struct decoder *d, const struct json_at *at, void *out);       /* oci_spec */
int decode_sysctls(struct decoder *d, const struct json_at *at, void *out);       /* oci_spec */
int decode_net_devices(struct decoder *d, const struct json_at *at, void *out);   /* oci_spec */
int decode_personality(struct decoder *d, const struct json_at *at, void *out);   /* oci_spec */
int decode_memory_policy(struct decoder *d, const struct json_at *at, void *out); /* oci_spec */
int decode_intel_rdt(struct decoder *d, const struct json_at *at, void *out);     /* oci_spec */
int decode_seccomp(struct decoder *d, const struct json_at *at, void *out);   /* oci_seccomp * */
int decode_resources(struct decoder *d, const struct json_at *at, void *out); /* oci_resources */
int decode_block_io(struct decoder *d, const struct json_at *at, void *out);  /* oci_io */
/* resources.devices */
int decode_device_rules(struct decoder *d, const struct json_at *at, void *out); /* oci_resources */

/* An array of id mappings, checked: sizes, limits, overlaps. */
int decode_id_maps(struct decoder *d, const struct json_at *at, struct oci_id_map **maps,
                   size_t *n_maps);

/* What holds between sections, once all are decoded. `root` is the config's root. */
int decode_check_namespaces(struct decoder *d, const struct json_at *root,
                            const struct oci_spec *spec);
int decode_check_sysctls(struct decoder *d, const struct json_at *root,
                         const struct oci_spec *spec);

void oci_seccomp_free(struct oci_seccomp *s);
void oci_intel_rdt_free(struct oci_intel_rdt *rdt);
void oci_hook_list_done(struct oci_hook_list *l);
void oci_mount_done(struct oci_mount *m);
/* Pairs of strings. */
void oci_annotations_free(struct oci_annotation *pairs, size_t n);
