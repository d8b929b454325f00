/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/json-scan.h"

/* What a key or a value may take in a message. */
#define EXCERPT_MAX 60

char *json_excerpt(const char *s, size_t n)
{
    struct strbuf b = {0};
    size_t keep = n;

    if (n > EXCERPT_MAX) {
        keep = EXCERPT_MAX;
        while (keep > 0 && ((unsigned char)s[keep] & 0xc0) == 0x80)
            keep--;
    }
    for (size_t i = 0; i < keep; i++) {
        unsigned char c = (unsigned char)s[i];
        unsigned char next = i + 1 < keep ? (unsigned char)s[i + 1] : 0;
        if (c < 0x20 || c == 0x7f) {
            strbuf_addf(&b, "\\u%04x", c);
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            /* The C1 control characters: U+009B starts an escape sequence. */
            strbuf_addf(&b, "\\u%04x", next);
            i++;
        } else {
            strbuf_addc(&b, s[i]);
        }
    }
    if (keep < n)
        strbuf_add(&b, "...");
    return strbuf_take(&b);
}

static void add_path(struct strbuf *b, const struct json_at *at)
{
    if (!at->parent)
        return;
    add_path(b, at->parent);
    if (!at->key) {
        strbuf_addf(b, "[%zu]", at->index);
        return;
    }
    _cleanup_free_ char *key = json_excerpt(at->key, strlen(at->key));
    size_t plain = strspn(at->key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789_-");
    if (plain > 0 && at->key[plain] == '\0') {
        if (b->len)
            strbuf_addc(b, '.');
        strbuf_add(b, key);
    } else {
        strbuf_addf(b, "[\"%s\"]", key);
    }
}

char *json_path(const struct json_at *at)
{
    struct strbuf b = {0};

    add_path(&b, at);
    return strbuf_take(&b);
}

char *json_describe(const struct json_at *at)
{
    switch (json_object_get_type(at->value)) {
    case json_type_null:
        return mem_strdup(at->present ? "null" : "nothing");
    case json_type_object:
        return mem_strdup("an object");
    case json_type_array:
        return mem_strdup("an array");
    case json_type_string: {
        const char *text = json_object_get_string(at->value);
        _cleanup_free_ char *s = json_excerpt(text, strlen(text));
        return str_printf("\"%s\"", s);
    }
    case json_type_boolean:
    case json_type_int:
    case json_type_double:
        break;
    }
    const char *text = json_object_to_json_string(at->value);
    return json_excerpt(text, strlen(text));
}

/* "NAME:LINE:COLUMN" of a byte offset, both from 1, the column in characters. */
static char *place(const char *name, const char *text, size_t pos)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < pos; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return str_printf("%s:%zu:%zu", name, line, column);
}

int json_doc_parse(struct json_doc *doc, const char *text, size_t len, const char *name,
                   enum error_code code, const char *step, struct error *e)
{
    struct json_fault fault;
    size_t begin, end;

    *doc = (struct json_doc){0};
    if (len > INT_MAX)
        return error_set(e, code, EFBIG, step, name, NULL, NULL);
    int r = json_scan(text, len, &begin, &end, &fault);
    if (r < 0) {
        _cleanup_free_ char *where = place(name, text, fault.pos);
        return error_set(e, code, EINVAL, step, where, NULL, "%s", fault.text);
    }

    /* json-c counts the values inside the innermost container as one more level. */
    struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
    struct json_object *root = NULL;
    const char *why = "out of memory";
    if (tok) {
        json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        root = json_tokener_parse_ex(tok, text + begin, (int)(end - begin));
        why = json_tokener_error_desc(json_tokener_get_error(tok));
        json_tokener_free(tok);
    }
    if (!root)
        return error_set(e, code, EINVAL, step, name, NULL, "json-c: %s", why);

    *doc = (struct json_doc){
        .name = mem_strdup(name),
        .text = text,
        .len = len,
        .root = root,
        .code = code,
        .step = step,
    };
    return 0;
}

void json_doc_done(struct json_doc *doc)
{
    free(doc->name);
    if (doc->root)
        json_object_put(doc->root);
    *doc = (struct json_doc){0};
}

struct json_at json_root(const struct json_doc *doc)
{
    return (struct json_at){.doc = doc, .value = doc->root, .present = true};
}

struct json_at json_member(const struct json_at *at, const char *key)
{
    struct json_at m = {.doc = at->doc, .parent = at, .key = key};

    if (json_object_is_type(at->value, json_type_object))
        m.present = json_object_object_get_ex(at->value, key, &m.value);
    return m;
}

struct json_at json_element(const struct json_at *at, size_t index)
{
    struct json_at m = {.doc = at->doc, .parent = at, .index = index};

    if (json_object_is_type(at->value, json_type_array) &&
        index < json_object_array_length(at->value)) {
        m.present = true;
        m.value = json_object_array_get_idx(at->value, index);
    }
    return m;
}

/* The offset of a value; where it is absent, that of the innermost container that is there. Found
 * by walking the text, so only for errors: json-c does not keep where a value came from. */
static size_t locate(const struct json_at *at)
{
    const char *text = at->doc->text;

    if (!at->parent)
        return strcspn(text, "{");
    size_t pos = locate(at->parent);
    if (!at->present)
        return pos;
    return at->key ? json_scan_find_key(text, pos, at->key)
                   : json_scan_find_index(text, pos, at->index);
}

int json_error(const struct json_at *at, struct error *e, enum error_code code, const char *remedy,
               const char *fmt, ...)
{
    int errnum = code == ERROR_UNSUPPORTED ? ENOTSUP : EINVAL;
    const struct json_doc *doc = at->doc;

    if (!e)
        return -errnum;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = str_vprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *where = place(doc->name, doc->text, locate(at));
    _cleanup_free_ char *path = json_path(at);
    return error_set(e, code, errnum, doc->step, where, remedy, "%s%s%s", path, *path ? ": " : "",
                     text);
}

static int _printf_(3, 4) expected(const struct json_at *at, struct error *e, const char *fmt, ...)
{
    if (!e)
        return -EINVAL;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *what = str_vprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *found = json_describe(at);
    return json_error(at, e, at->doc->code, NULL, "expected %s, found %s", what, found);
}

int json_need(const struct json_at *at, struct error *e)
{
    if (at->value)
        return 0;
    return json_error(at, e, at->doc->code, NULL, "%s",
                      at->present ? "must not be null" : "is required, but missing");
}

int json_get_bool(const struct json_at *at, bool *ret, struct error *e)
{
    if (!at->value)
        return 0;
    if (!json_object_is_type(at->value, json_type_boolean))
        return expected(at, e, "true or false");
    *ret = json_object_get_boolean(at->value);
    return 1;
}

int json_get_u64(const struct json_at *at, uint64_t max, uint64_t *ret, struct error *e)
{
    if (!at->value)
        return 0;
    /* json-c answers 0 to a negative number asked for as unsigned. */
    bool fits = json_object_is_type(at->value, json_type_int) &&
                json_object_get_int64(at->value) >= 0 && json_object_get_uint64(at->value) <= max;
    if (!fits)
        return expected(at, e, "a whole number from 0 to %" PRIu64, max);
    *ret = json_object_get_uint64(at->value);
    return 1;
}

int json_get_i64(const struct json_at *at, int64_t min, int64_t max, int64_t *ret, struct error *e)
{
    if (!at->value)
        return 0;
    bool fits = json_object_is_type(at->value, json_type_int) &&
                json_object_get_uint64(at->value) <= INT64_MAX &&
                json_object_get_int64(at->value) >= min && json_object_get_int64(at->value) <= max;
    if (!fits)
        return expected(at, e, "a whole number from %" PRId64 " to %" PRId64, min, max);
    *ret = json_object_get_int64(at->value);
    return 1;
}

int json_get_string(const struct json_at *at, char **ret, struct error *e)
{
    if (!at->value)
        return 0;
    if (!json_object_is_type(at->value, json_type_string))
        return expected(at, e, "a string");
    *ret = mem_strdup(json_object_get_string(at->value));
    return 1;
}

int json_get_strv(const struct json_at *at, char ***ret, struct error *e)
{
    size_t n;
    int r = json_is_array(at, &n, e);
    if (r <= 0)
        return r;

    _cleanup_strv_ char **v = mem_alloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        r = json_need(&el, e);
        if (r == 0)
            r = json_get_string(&el, &v[i], e);
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(v);
    return 1;
}

int json_is_object(const struct json_at *at, struct error *e)
{
    if (!at->value)
        return 0;
    if (!json_object_is_type(at->value, json_type_object))
        return expected(at, e, "an object");
    return 1;
}

int json_is_array(const struct json_at *at, size_t *ret_n, struct error *e)
{
    if (!at->value)
        return 0;
    if (!json_object_is_type(at->value, json_type_array))
        return expected(at, e, "an array");
    size_t n = json_object_array_length(at->value);
    if (n > JSON_ARRAY_MAX)
        return json_error(at, e, at->doc->code, NULL, "has %zu elements, more than %u", n,
                          JSON_ARRAY_MAX);
    *ret_n = n;
    return 1;
}
