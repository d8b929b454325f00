/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/record.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "oci/json.h"

#define RECORD_MAX (1u << 20)
#define FORMAT_VERSION 1

static const struct {
    const char *name;
    size_t offset;
} flags[] = {
    {"tcp_established", offsetof(struct checkpoint_record, tcp_established)},
    {"ext_unix_sk", offsetof(struct checkpoint_record, ext_unix_sk)},
    {"shell_job", offsetof(struct checkpoint_record, shell_job)},
    {"file_locks", offsetof(struct checkpoint_record, file_locks)},
    {"terminal", offsetof(struct checkpoint_record, terminal)},
    {"empty_network", offsetof(struct checkpoint_record, empty_network)},
    {"joined_network", offsetof(struct checkpoint_record, joined_network)},
};

void checkpoint_record_done(struct checkpoint_record *r)
{
    strv_free(r->external_mounts);
    r->external_mounts = NULL;
    stdio_info_done(&r->stdio);
}

static struct json_object *stdio_json(const struct stdio_info *info)
{
    struct json_object *array = json_object_new_array();

    for (int i = 0; i < 3; i++) {
        const struct stdio_end *end = &info->end[i];
        struct json_object *o = json_object_new_object();
        json_object_object_add(o, "kind", json_object_new_string(stdio_kind_name(end->kind)));
        json_object_object_add(o, "target", json_object_new_string(end->target));
        json_object_object_add(o, "key", end->key ? json_object_new_string(end->key) : NULL);
        json_object_object_add(o, "flags", json_object_new_int(end->flags));
        if (end->has_offset)
            json_object_object_add(o, "offset", json_object_new_int64((int64_t)end->offset));
        json_object_array_add(array, o);
    }
    return array;
}

int checkpoint_record_save(const struct checkpoint_record *r, int images_fd, struct error *e)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "format", json_object_new_int(FORMAT_VERSION));
    json_object_object_add(o, "criu_version", json_object_new_int((int)r->criu_version));
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        json_object_object_add(
            o, flags[i].name,
            json_object_new_boolean(*(const bool *)((const char *)r + flags[i].offset)));
    struct json_object *namespaces = json_object_new_array();
    for (int t = 0; t < _OCI_NS_MAX; t++)
        if (r->namespaces & oci_namespace_flag((enum oci_namespace_type)t))
            json_object_array_add(
                namespaces,
                json_object_new_string(oci_namespace_name((enum oci_namespace_type)t)));
    json_object_object_add(o, "namespaces", namespaces);
    struct json_object *mounts = json_object_new_array();
    for (char **m = r->external_mounts; m && *m; m++)
        json_object_array_add(mounts, json_object_new_string(*m));
    json_object_object_add(o, "external_mounts", mounts);
    json_object_object_add(o, "stdio", stdio_json(&r->stdio));

    _cleanup_free_ char *text = str_printf(
        "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
                                                      JSON_C_TO_STRING_SPACED |
                                                      JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
    int ret = file_replace_at(images_fd, CHECKPOINT_RECORD_FILE, text, strlen(text));
    if (ret < 0)
        return error_set(e, ERROR_CHECKPOINT, -ret, "write", CHECKPOINT_RECORD_FILE,
                         ret == -ENOSPC ? "free space there, or choose another directory" : NULL,
                         NULL);
    return 0;
}

static int parse_namespaces(const struct json_at *at, uint64_t *ret, struct error *e)
{
    _cleanup_strv_ char **names = NULL;
    int r = json_get_strv(at, &names, e);

    for (char **n = names; r >= 0 && n && *n; n++) {
        bool known = false;
        for (int t = 0; t < _OCI_NS_MAX; t++)
            if (streq(*n, oci_namespace_name((enum oci_namespace_type)t))) {
                *ret |= oci_namespace_flag((enum oci_namespace_type)t);
                known = true;
            }
        if (!known)
            r = json_error(at, e, ERROR_CHECKPOINT, NULL, "unknown namespace \"%s\"", *n);
    }
    return r;
}

/* A key ends up in CRIU's list of inherited descriptors: only the forms that are written are
 * read. */
static bool key_fits(const struct stdio_end *end)
{
    static const char *const prefix[] = {
        [STDIO_PIPE] = "pipe:[",
        [STDIO_FILE] = "file[",
        [STDIO_TTY] = "tty[",
    };

    if (end->kind == STDIO_INSIDE)
        return !end->key;
    const char *rest = end->key ? str_after(end->key, prefix[end->kind]) : NULL;
    size_t n = rest ? strspn(rest, "0123456789abcdef:") : 0;
    return n > 0 && streq(rest + n, "]");
}

static int parse_end(const struct json_at *at, struct stdio_end *end, struct error *e)
{
    struct json_at kind = json_member(at, "kind"), target = json_member(at, "target"),
                   key = json_member(at, "key"), oflags = json_member(at, "flags"),
                   offset = json_member(at, "offset");
    _cleanup_free_ char *name = NULL;
    int64_t v = 0;
    int r = json_is_object(at, e);

    if (r >= 0)
        r = json_need(&kind, e);
    if (r >= 0)
        r = json_need(&target, e);
    if (r >= 0)
        r = json_get_string(&kind, &name, e);
    if (r >= 0 && stdio_kind_parse(name, &end->kind) < 0)
        r = json_error(&kind, e, ERROR_CHECKPOINT, NULL, "unknown kind \"%s\"", name);
    if (r >= 0)
        r = json_get_string(&target, &end->target, e);
    if (r >= 0)
        r = json_get_string(&key, &end->key, e);
    if (r >= 0 && !key_fits(end))
        r = json_error(&key, e, ERROR_CHECKPOINT, NULL, "the key does not fit the kind");
    if (r >= 0)
        r = json_get_i64(&oflags, 0, INT32_MAX, &v, e);
    end->flags = (int)v;
    if (r >= 0)
        r = json_get_u64(&offset, INT64_MAX, &end->offset, e);
    end->has_offset = r > 0;
    return r;
}

static int parse_members(const struct json_at *root, struct checkpoint_record *ret,
                         struct error *e)
{
    struct json_at format = json_member(root, "format"),
                   version = json_member(root, "criu_version"),
                   namespaces = json_member(root, "namespaces"),
                   mounts = json_member(root, "external_mounts"),
                   stdio = json_member(root, "stdio");
    uint64_t v = 0;
    size_t n = 0;
    int r = json_need(&format, e);

    if (r >= 0)
        r = json_get_u64(&format, UINT32_MAX, &v, e);
    if (r >= 0 && v != FORMAT_VERSION)
        return json_error(&format, e, ERROR_UNSUPPORTED, "restore it with a newer nucleus",
                          "format %llu is not known", (unsigned long long)v);
    v = 0;
    if (r >= 0)
        r = json_get_u64(&version, UINT32_MAX, &v, e);
    ret->criu_version = (uint32_t)v;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(flags); i++) {
        struct json_at at = json_member(root, flags[i].name);
        r = json_get_bool(&at, (bool *)((char *)ret + flags[i].offset), e);
    }
    if (r >= 0)
        r = parse_namespaces(&namespaces, &ret->namespaces, e);
    if (r >= 0)
        r = json_get_strv(&mounts, &ret->external_mounts, e);
    if (r >= 0)
        r = json_need(&stdio, e);
    if (r >= 0)
        r = json_is_array(&stdio, &n, e);
    if (r >= 0 && n != 3)
        r = json_error(&stdio, e, ERROR_CHECKPOINT, NULL, "expected 3 elements");
    for (size_t i = 0; r >= 0 && i < 3; i++) {
        struct json_at at = json_element(&stdio, i);
        r = parse_end(&at, &ret->stdio.end[i], e);
    }
    return r < 0 ? r : 0;
}

int checkpoint_record_parse(const char *text, size_t len, const char *name,
                            struct checkpoint_record *ret, struct error *e)
{
    _cleanup_record_ struct checkpoint_record rec = {0};
    struct json_doc doc;
    int r = json_doc_parse(&doc, text, len, name, ERROR_CHECKPOINT, "read checkpoint", e);
    if (r < 0)
        return r;
    struct json_at root = json_root(&doc);
    r = parse_members(&root, &rec, e);
    json_doc_done(&doc);
    if (r < 0)
        return r;
    *ret = rec;
    rec = (struct checkpoint_record){0};
    return 0;
}

int checkpoint_record_load(int images_fd, const char *dir, struct checkpoint_record *ret,
                           struct error *e)
{
    _cleanup_free_ char *name = str_printf("%s/%s", dir, CHECKPOINT_RECORD_FILE), *text = NULL;
    size_t len;
    int r = file_read_at(images_fd, CHECKPOINT_RECORD_FILE, O_NOFOLLOW, RECORD_MAX, &text, &len);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set(e, ERROR_CHECKPOINT, -r, "read checkpoint", name, NULL, NULL);
    r = checkpoint_record_parse(text, len, name, ret, e);
    return r < 0 ? r : 1;
}
