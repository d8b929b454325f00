/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/json-scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/json.h"

struct key {
    const char *s; /* decoded */
    size_t len;
    size_t pos;  /* of the opening quote */
    char *owned; /* where it had escapes */
};

struct scan {
    const char *text;
    size_t len, pos;
    unsigned depth;
    size_t n_values;
    struct key *keys; /* a stack: those of all open objects, the innermost last */
    size_t n_keys;
    struct json_fault *fault;
};

static int _printf_(3, 4) fail(struct scan *s, size_t pos, const char *fmt, ...)
{
    va_list ap;

    s->fault->pos = pos;
    va_start(ap, fmt);
    (void)vsnprintf(s->fault->text, sizeof(s->fault->text), fmt, ap);
    va_end(ap);
    return -EINVAL;
}

/* The byte at the position, -1 at the end. */
static int peek(const struct scan *s)
{
    return s->pos < s->len ? (unsigned char)s->text[s->pos] : -1;
}

static int fail_unexpected(struct scan *s, const char *expected)
{
    int c = peek(s);

    if (c < 0)
        return fail(s, s->pos, "expected %s, but the text ends here", expected);
    if (c > 0x20 && c < 0x7f)
        return fail(s, s->pos, "expected %s, found '%c'", expected, c);
    return fail(s, s->pos, "expected %s, found byte 0x%02x", expected, (unsigned)c);
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct scan *s)
{
    while (is_blank(peek(s)))
        s->pos++;
}

static int hex_value(int c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at the position; -EINVAL where they are not. */
static int scan_hex4(struct scan *s, uint32_t *ret)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++, s->pos++) {
        int h = hex_value(peek(s));
        if (h < 0)
            return fail_unexpected(s, "four hexadecimal digits behind \\u");
        v = v << 4 | (uint32_t)h;
    }
    *ret = v;
    return 0;
}

/* Behind a backslash. */
static int scan_escape(struct scan *s)
{
    size_t start = s->pos - 1;
    int c = peek(s);

    if (c < 0 || !strchr("\"\\/bfnrtu", c) || c == '\0')
        return fail_unexpected(s, "one of \"\\/bfnrtu behind the backslash");
    s->pos++;
    if (c != 'u')
        return 0;

    uint32_t unit, low = 0;
    int r = scan_hex4(s, &unit);
    if (r < 0)
        return r;
    if (unit == 0)
        return fail(s, start, "\\u0000 is refused: no name or path can hold a NUL");
    if (unit < 0xd800 || unit > 0xdfff)
        return 0;
    if (unit <= 0xdbff && s->len - s->pos >= 6 && s->text[s->pos] == '\\' &&
        s->text[s->pos + 1] == 'u') {
        s->pos += 2;
        r = scan_hex4(s, &low);
        if (r < 0)
            return r;
    }
    if (low < 0xdc00 || low > 0xdfff)
        return fail(s, start, "a lone UTF-16 surrogate stands for no character");
    return 0;
}

/* At the opening quote. *ret_s and *ret_n tell what is between the quotes. */
static int scan_string(struct scan *s, const char **ret_s, size_t *ret_n, bool *ret_escaped)
{
    size_t start = s->pos++;
    bool escaped = false, wide = false;

    for (;;) {
        int c = peek(s);
        if (c < 0)
            return fail(s, start, "this string does not end");
        if (c < 0x20)
            return fail(s, s->pos, "raw control character 0x%02x in a string", (unsigned)c);
        s->pos++;
        if (c == '"')
            break;
        wide = wide || c >= 0x80;
        if (c == '\\') {
            escaped = true;
            int r = scan_escape(s);
            if (r < 0)
                return r;
        }
    }
    *ret_s = s->text + start + 1;
    *ret_n = s->pos - start - 2;
    *ret_escaped = escaped;
    if (wide && !str_is_utf8(*ret_s, *ret_n))
        return fail(s, start, "this string is not valid UTF-8");
    return 0;
}

static int scan_digits(struct scan *s)
{
    if (!is_digit(peek(s)))
        return fail_unexpected(s, "a digit");
    while (is_digit(peek(s)))
        s->pos++;
    return 0;
}

/* json-c clamps an integer it can't hold to the nearest it can; here it is an error. */
static int check_integer(struct scan *s, size_t start)
{
    bool negative = s->text[start] == '-';
    uint64_t v = 0, max = negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX;

    for (size_t i = start + negative; i < s->pos; i++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s->text[i] - '0'), &v) || v > max)
            return fail(s, start, "this number does not fit into 64 bits");
    return 0;
}

static int scan_number(struct scan *s)
{
    size_t start = s->pos;
    bool integer = true;
    int r;

    if (peek(s) == '-')
        s->pos++;
    if (peek(s) == '0') {
        s->pos++;
        if (is_digit(peek(s)))
            return fail(s, start, "a number must not have leading zeros");
    } else if ((r = scan_digits(s)) < 0) {
        return r;
    }
    if (peek(s) == '.') {
        integer = false;
        s->pos++;
        r = scan_digits(s);
        if (r < 0)
            return r;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = false;
        s->pos++;
        if (peek(s) == '+' || peek(s) == '-')
            s->pos++;
        r = scan_digits(s);
        if (r < 0)
            return r;
    }
    return integer ? check_integer(s, start) : 0;
}

static int scan_literal(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if (s->len - s->pos < n || memcmp(s->text + s->pos, word, n) != 0)
        return fail_unexpected(s, "a value");
    s->pos += n;
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int c = memcmp(x->s, y->s, MIN(x->len, y->len));

    if (c != 0)
        return c;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->pos < y->pos ? -1 : 1;
}

static void pop_keys(struct scan *s, size_t first)
{
    for (size_t i = first; i < s->n_keys; i++)
        free(s->keys[i].owned);
    s->n_keys = first;
}

/* The keys of one object are all there: sorted, equal ones are neighbours. */
static int check_keys(struct scan *s, size_t first)
{
    size_t n = s->n_keys - first;
    const struct key *found = NULL;

    if (n < 2)
        return 0;
    struct key *k = s->keys + first;
    qsort(k, n, sizeof(*k), compare_keys);
    for (size_t i = 1; i < n; i++)
        if (k[i].len == k[i - 1].len && memcmp(k[i].s, k[i - 1].s, k[i].len) == 0 &&
            (!found || k[i].pos < found->pos))
            found = &k[i];
    if (!found)
        return 0;

    _cleanup_free_ char *name = json_excerpt(found->s, found->len);
    return fail(s, found->pos, "\"%s\" is there twice in this object", name);
}

static int scan_key(struct scan *s)
{
    struct key k = {.pos = s->pos};
    bool escaped;

    if (peek(s) != '"')
        return fail_unexpected(s, "a key in double quotes");
    int r = scan_string(s, &k.s, &k.len, &escaped);
    if (r < 0)
        return r;
    if (escaped)
        k.s = k.owned = json_scan_unescape(k.s, k.len, &k.len);
    mem_grow(s->keys, s->n_keys);
    s->keys[s->n_keys++] = k;

    skip_blanks(s);
    if (peek(s) != ':')
        return fail_unexpected(s, "':' behind the key");
    s->pos++;
    return 0;
}

static int scan_value(struct scan *s);

/* At '{' or '['. */
static int scan_container(struct scan *s)
{
    bool object = peek(s) == '{';
    int close = object ? '}' : ']';
    size_t first = s->n_keys;
    int r;

    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, s->pos, "nested deeper than %d levels", JSON_DEPTH_MAX);
    s->depth++;
    s->pos++;
    skip_blanks(s);
    if (peek(s) != close) {
        for (;;) {
            skip_blanks(s);
            if (object && (r = scan_key(s)) < 0)
                return r;
            r = scan_value(s);
            if (r < 0)
                return r;
            skip_blanks(s);
            if (peek(s) != ',')
                break;
            s->pos++;
        }
        if (peek(s) != close)
            return fail_unexpected(s, object ? "',' or '}'" : "',' or ']'");
    }
    s->pos++;
    s->depth--;
    r = check_keys(s, first);
    pop_keys(s, first);
    return r;
}

static int scan_value(struct scan *s)
{
    const char *str;
    size_t n;
    bool escaped;

    skip_blanks(s);
    if (++s->n_values > JSON_VALUES_MAX)
        return fail(s, s->pos, "more than %u values", JSON_VALUES_MAX);

    int c = peek(s);
    switch (c) {
    case '{':
    case '[':
        return scan_container(s);
    case '"':
        return scan_string(s, &str, &n, &escaped);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    default:
        if (c == '-' || is_digit(c))
            return scan_number(s);
        return fail_unexpected(s, "a value");
    }
}

int json_scan(const char *text, size_t len, size_t *ret_begin, size_t *ret_end,
              struct json_fault *ret_fault)
{
    struct scan s = {.text = text, .len = len, .fault = ret_fault};
    size_t begin = 0, end = 0;
    int r = 0;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r = fail(&s, 0, "the text begins with a byte order mark, which JSON does not have");
    skip_blanks(&s);
    begin = s.pos;
    if (r == 0 && peek(&s) != '{')
        r = fail_unexpected(&s, "an object");
    if (r == 0)
        r = scan_value(&s);
    if (r == 0) {
        end = s.pos;
        skip_blanks(&s);
        if (s.pos < len)
            r = fail_unexpected(&s, "the end of the text");
    }
    pop_keys(&s, 0);
    free(s.keys);
    if (r < 0)
        return r;
    *ret_begin = begin;
    *ret_end = end;
    return 0;
}

static uint32_t hex4(const char *s)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)hex_value((unsigned char)s[i]);
    return v;
}

static void add_utf8(struct strbuf *b, uint32_t c)
{
    if (c < 0x80) {
        strbuf_addc(b, (char)c);
    } else if (c < 0x800) {
        strbuf_addc(b, (char)(0xc0 | c >> 6));
        strbuf_addc(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        strbuf_addc(b, (char)(0xe0 | c >> 12));
        strbuf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        strbuf_addc(b, (char)(0x80 | (c & 0x3f)));
    } else {
        strbuf_addc(b, (char)(0xf0 | c >> 18));
        strbuf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
        strbuf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        strbuf_addc(b, (char)(0x80 | (c & 0x3f)));
    }
}

char *json_scan_unescape(const char *s, size_t n, size_t *ret_len)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    _cleanup_strbuf_ struct strbuf b = {0};

    for (size_t i = 0; i < n;) {
        if (s[i] != '\\') {
            strbuf_addc(&b, s[i++]);
            continue;
        }
        char c = s[i + 1];
        const char *p = memchr(from, c, sizeof(from) - 1);
        i += 2;
        if (c == 'u') {
            uint32_t unit = hex4(s + i);
            i += 4;
            if (unit >= 0xd800 && unit <= 0xdbff) {
                unit = 0x10000 + ((unit - 0xd800) << 10) + (hex4(s + i + 2) - 0xdc00);
                i += 6;
            }
            add_utf8(&b, unit);
        } else {
            strbuf_addc(&b, p ? to[p - from] : c);
        }
    }
    *ret_len = b.len;
    return strbuf_take(&b);
}

/* In a checked text: behind the string that begins at `pos`. */
static size_t skip_string(const char *text, size_t pos)
{
    for (pos++; text[pos] != '"'; pos++)
        if (text[pos] == '\\')
            pos++;
    return pos + 1;
}

static size_t skip_space(const char *text, size_t pos)
{
    while (is_blank(text[pos]))
        pos++;
    return pos;
}

static size_t skip_value(const char *text, size_t pos)
{
    size_t depth = 0;

    do {
        char c = text[pos];
        if (c == '"') {
            pos = skip_string(text, pos);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        pos++;
        /* A number or literal, whole. */
        if (depth == 0 && c != '}' && c != ']')
            while (!is_blank(text[pos]) && !strchr(",]}", text[pos]))
                pos++;
    } while (depth > 0);
    return pos;
}

size_t json_scan_find_key(const char *text, size_t container, const char *key)
{
    size_t pos = skip_space(text, container + 1), n = strlen(key);

    while (text[pos] == '"') {
        size_t end = skip_string(text, pos), len;
        _cleanup_free_ char *s = json_scan_unescape(text + pos + 1, end - pos - 2, &len);
        pos = skip_space(text, skip_space(text, end) + 1);
        if (len == n && memcmp(s, key, n) == 0)
            return pos;
        pos = skip_space(text, skip_value(text, pos));
        if (text[pos] == ',')
            pos = skip_space(text, pos + 1);
    }
    return container;
}

size_t json_scan_find_index(const char *text, size_t container, size_t index)
{
    size_t pos = skip_space(text, container + 1);

    while (text[pos] != ']') {
        if (index-- == 0)
            return pos;
        pos = skip_space(text, skip_value(text, pos));
        if (text[pos] == ',')
            pos = skip_space(text, pos + 1);
    }
    return container;
}
