/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/json_emit.h"

#include <inttypes.h>

static void new_line(struct json_emit *j)
{
    strbuf_addc(&j->out, '\n');
    for (unsigned i = 0; i < j->depth; i++)
        strbuf_add(&j->out, "  ");
}

/* Length of the well-formed UTF-8 sequence at `s`, 0 where there is none. */
static size_t sequence(const char *s)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return strnlen(s, n) == n && str_is_utf8(s, n) ? n : 0;
}

static void add_quoted(struct strbuf *b, const char *s)
{
    strbuf_addc(b, '"');
    while (*s) {
        unsigned char c = (unsigned char)*s;
        size_t n = sequence(s);

        if (n == 0)
            strbuf_add(b, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            strbuf_addf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            strbuf_addf(b, "\\u%04x", c);
        else
            strbuf_addn(b, s, n);
        s += MAX(n, (size_t)1);
    }
    strbuf_addc(b, '"');
}

/* Everything that stands before a value. */
static void begin(struct json_emit *j, const char *key)
{
    if (j->filled)
        strbuf_addc(&j->out, ',');
    if (j->depth > 0)
        new_line(j);
    if (key) {
        add_quoted(&j->out, key);
        strbuf_add(&j->out, ": ");
    }
    j->filled = true;
}

static void open_container(struct json_emit *j, const char *key, char bracket)
{
    begin(j, key);
    strbuf_addc(&j->out, bracket);
    j->depth++;
    j->filled = false;
}

static void close_container(struct json_emit *j, char bracket)
{
    j->depth--;
    if (j->filled)
        new_line(j);
    strbuf_addc(&j->out, bracket);
    j->filled = true;
}

void json_emit_object(struct json_emit *j, const char *key)
{
    open_container(j, key, '{');
}

void json_emit_object_end(struct json_emit *j)
{
    close_container(j, '}');
}

void json_emit_array(struct json_emit *j, const char *key)
{
    open_container(j, key, '[');
}

void json_emit_array_end(struct json_emit *j)
{
    close_container(j, ']');
}

void json_emit_null(struct json_emit *j, const char *key)
{
    begin(j, key);
    strbuf_add(&j->out, "null");
}

void json_emit_string(struct json_emit *j, const char *key, const char *value)
{
    if (!value) {
        json_emit_null(j, key);
        return;
    }
    begin(j, key);
    add_quoted(&j->out, value);
}

void json_emit_u64(struct json_emit *j, const char *key, uint64_t value)
{
    begin(j, key);
    strbuf_addf(&j->out, "%" PRIu64, value);
}

void json_emit_optional_u64(struct json_emit *j, const char *key, bool has, uint64_t value)
{
    if (has)
        json_emit_u64(j, key, value);
    else
        json_emit_null(j, key);
}

void json_emit_bool(struct json_emit *j, const char *key, bool value)
{
    begin(j, key);
    strbuf_add(&j->out, value ? "true" : "false");
}

void json_emit_strv(struct json_emit *j, const char *key, char *const *values)
{
    json_emit_array(j, key);
    for (; values && *values; values++)
        json_emit_string(j, NULL, *values);
    json_emit_array_end(j);
}

char *json_emit_take(struct json_emit *j)
{
    char *s;

    strbuf_addc(&j->out, '\n');
    s = strbuf_take(&j->out);
    *j = (struct json_emit){0};
    return s;
}
