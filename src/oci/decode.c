/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/decode.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/* More warnings than this help nobody, and a hostile config could ask for a quarter million. */
#define WARNINGS_MAX 20

/* Names that fit into a message. */
#define NAMES_LISTED 12

void decode_warn(struct decoder *d, const struct json_at *at, const char *text)
{
    if (d->n_warnings > WARNINGS_MAX)
        return;
    if (d->n_warnings++ == WARNINGS_MAX) {
        log_warning("%s: more warnings are not shown", at->doc->name);
        return;
    }
    _cleanup_free_ char *path = json_path(at);
    log_warning("%s: %s: %s", at->doc->name, path, text);
}

/* No content; `zero`: numbers that say "none" or "no limit" and false are none either. Bounded by
 * JSON_DEPTH_MAX. */
static bool is_empty(struct json_object *value, bool zero)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return true;
    case json_type_string:
        return json_object_get_string_len(value) == 0;
    case json_type_array:
        return json_object_array_length(value) == 0;
    case json_type_object: {
        json_object_object_foreach(value, key, member)
        {
            (void)key;
            if (!is_empty(member, zero))
                return false;
        }
        return true;
    }
    case json_type_boolean:
        return zero && !json_object_get_boolean(value);
    case json_type_int:
        return zero && (json_object_get_int64(value) == 0 || json_object_get_int64(value) == -1);
    case json_type_double:
        break;
    }
    return false;
}

/* The error at the innermost object's member that has content. */
static int refuse(struct decoder *d, const struct json_at *at, bool zero, const char *remedy,
                  const char *why)
{
    if (is_empty(at->value, zero))
        return 0;
    if (json_object_is_type(at->value, json_type_object)) {
        json_object_object_foreach(at->value, key, value)
        {
            struct json_at member = {
                .doc = at->doc, .parent = at, .key = key, .value = value, .present = true};
            int r = refuse(d, &member, zero, remedy, why);
            if (r < 0)
                return r;
        }
    }
    return json_error(at, d->e, ERROR_UNSUPPORTED, remedy, "%s", why);
}

int decode_unsupported(struct decoder *d, const struct json_at *at)
{
    return refuse(d, at, false, DECODE_REMEDY_UNSUPPORTED, "this nucleus does not honour it");
}

/* Engines fill in zeros, and -1 for "no limit": that asks for nothing. */
static int decode_cgroup_v1_only(struct decoder *d, const struct json_at *at)
{
    return refuse(d, at, true, "remove it", "cgroup v1 only: cgroup v2 has nothing like it");
}

static const struct oci_field *find_field(const struct oci_field *fields, size_t n,
                                          const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (streq(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static int decode_field(struct decoder *d, const struct json_at *at, const struct oci_field *field,
                        void *out)
{
    if (!field) {
        decode_warn(d, at, "unknown property, ignored");
        return 0;
    }
    if (!at->value)
        return 0;
    switch (field->status) {
    case FIELD_SUPPORTED:
    case FIELD_REQUIRED:
        return field->decode(d, at, (char *)out + field->offset);
    case FIELD_CGROUP_V1:
        return decode_cgroup_v1_only(d, at);
    case FIELD_UNSUPPORTED:
        break;
    }
    return decode_unsupported(d, at);
}

int decode_object(struct decoder *d, const struct json_at *at, const struct oci_field *fields,
                  size_t n_fields, void *out)
{
    int r = json_is_object(at, d->e);
    if (r <= 0)
        return r;
    json_object_object_foreach(at->value, key, value)
    {
        struct json_at member = {
            .doc = at->doc, .parent = at, .key = key, .value = value, .present = true};
        r = decode_field(d, &member, find_field(fields, n_fields, key), out);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < n_fields; i++) {
        struct json_at member = json_member(at, fields[i].name);
        if (fields[i].status == FIELD_REQUIRED && (r = json_need(&member, d->e)) < 0)
            return r;
    }
    return 0;
}

int decode_array(struct decoder *d, const struct json_at *at, size_t size, decode_func func,
                 void **ret_array, size_t *ret_n)
{
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r <= 0 || n == 0)
        return r < 0 ? r : 0;
    if (n > DECODE_LIST_MAX)
        return decode_error(d, at, "has %zu elements, more than %d", n, DECODE_LIST_MAX);
    *ret_array = mem_alloc(n * size);
    *ret_n = n;
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        r = json_need(&el, d->e);
        if (r == 0)
            r = func(d, &el, (char *)*ret_array + i * size);
        if (r < 0)
            return r;
    }
    return 0;
}

int decode_map(struct decoder *d, const struct json_at *at, size_t size, decode_func func,
               void **ret_array, size_t *ret_n)
{
    int r = json_is_object(at, d->e);
    if (r <= 0)
        return r;
    size_t n = (size_t)json_object_object_length(at->value), i = 0;
    if (n > DECODE_LIST_MAX)
        return decode_error(d, at, "has %zu members, more than %d", n, DECODE_LIST_MAX);
    if (n == 0)
        return 0;
    *ret_array = mem_alloc(n * size);
    *ret_n = n;
    json_object_object_foreach(at->value, key, value)
    {
        struct json_at member = {
            .doc = at->doc, .parent = at, .key = key, .value = value, .present = true};
        r = json_need(&member, d->e);
        if (r == 0)
            r = func(d, &member, (char *)*ret_array + i++ * size);
        if (r < 0)
            return r;
    }
    return 0;
}

int decode_bool(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_bool(at, out, d->e);
    return MIN(r, 0);
}

int decode_u64(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_u64(at, UINT64_MAX, out, d->e);
    return MIN(r, 0);
}

int decode_i64(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_i64(at, INT64_MIN, INT64_MAX, out, d->e);
    return MIN(r, 0);
}

static int decode_u32_max(struct decoder *d, const struct json_at *at, uint32_t max, uint32_t *ret)
{
    uint64_t v = 0;
    int r = json_get_u64(at, max, &v, d->e);
    if (r < 0)
        return r;
    *ret = (uint32_t)v;
    return 0;
}

int decode_u32(struct decoder *d, const struct json_at *at, void *out)
{
    return decode_u32_max(d, at, UINT32_MAX, out);
}

int decode_id(struct decoder *d, const struct json_at *at, void *out)
{
    return decode_u32_max(d, at, UINT32_MAX - 1, out);
}

int decode_string(struct decoder *d, const struct json_at *at, void *out)
{
    char **s = out;
    int r = json_get_string(at, s, d->e);
    if (r < 0)
        return r;
    if (*s && **s == '\0') {
        free(*s);
        *s = NULL;
    }
    return 0;
}

int decode_strv(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_strv(at, out, d->e);
    return MIN(r, 0);
}

int decode_check_path(struct decoder *d, const struct json_at *at, const char *path)
{
    if (!path || *path == '\0')
        return decode_error(d, at, "must not be empty");
    if (strlen(path) >= PATH_MAX)
        return decode_error(d, at, "is longer than a path can be (%d bytes)", PATH_MAX - 1);
    return 0;
}

int decode_path(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_string(d, at, path);
    return r < 0 ? r : decode_check_path(d, at, *path);
}

int decode_check_absolute(struct decoder *d, const struct json_at *at, const char *path)
{
    int r = decode_check_path(d, at, path);
    if (r < 0 || *path == '/')
        return r;
    _cleanup_free_ char *found = json_describe(at);
    return decode_error(d, at, "expected an absolute path, found %s", found);
}

int decode_absolute_path(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_string(d, at, path);
    return r < 0 ? r : decode_check_absolute(d, at, *path);
}

int decode_absolute_paths(struct decoder *d, const struct json_at *at, void *out)
{
    char ***paths = out;
    int r = decode_strv(d, at, paths);

    for (size_t i = 0; r == 0 && *paths && (*paths)[i]; i++) {
        struct json_at el = json_element(at, i);
        r = decode_check_absolute(d, &el, (*paths)[i]);
    }
    return r;
}

int decode_line(struct decoder *d, const struct json_at *at, void *out)
{
    char **s = out;
    int r = decode_string(d, at, s);
    if (r < 0 || !*s)
        return r;
    for (const char *p = *s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return decode_error(d, at, "must not hold control characters");
    return 0;
}

int decode_name(struct decoder *d, const struct json_at *at, const struct oci_name *names,
                size_t n_names, uint64_t *ret)
{
    _cleanup_free_ char *name = NULL;
    int r = json_get_string(at, &name, d->e);
    if (r < 0)
        return r;
    for (size_t i = 0; name && i < n_names; i++) {
        if (streq(names[i].name, name)) {
            *ret = names[i].value;
            return 0;
        }
    }

    _cleanup_free_ char *found = json_describe(at);
    if (n_names > NAMES_LISTED)
        return decode_error(d, at, "%s is not known", found);
    struct strbuf list = {0};
    for (size_t i = 0; i < n_names; i++) {
        strbuf_add(&list, i && *names[i].name ? ", " : "");
        strbuf_add(&list, names[i].name);
    }
    _cleanup_free_ char *text = strbuf_take(&list);
    return decode_error(d, at, "expected one of %s, found %s", text, found);
}

int decode_name_set(struct decoder *d, const struct json_at *at, const struct oci_name *names,
                    size_t n_names, uint64_t *ret)
{
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        uint64_t v = 0;
        r = json_need(&el, d->e);
        if (r == 0)
            r = decode_name(d, &el, names, n_names, &v);
        if (r < 0)
            return r;
        *ret |= v;
    }
    return 0;
}

int decode_text(const char *text, size_t len, const char *name, const char *step, decode_func func,
                void *out, struct error *e)
{
    struct decoder d = {.e = e};
    struct json_doc doc;
    int r = json_doc_parse(&doc, text, len, name, ERROR_CONFIG, step, e);
    if (r < 0)
        return r;
    struct json_at root = json_root(&doc);
    r = func(&d, &root, out);
    json_doc_done(&doc);
    return r;
}
