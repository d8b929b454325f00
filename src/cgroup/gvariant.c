/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/gvariant.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Far more than any property needs; D-Bus allows 32 of each kind. */
#define DEPTH_MAX 16
#define TYPE_MAX 64
#define ITEMS_MAX 65536

struct parser {
    const char *p;
    unsigned depth;
    char *why;
};

void gvariant_done(struct gvariant *v)
{
    if (v->type && strchr("sog", v->type[0]))
        free(v->string);
    for (size_t i = 0; i < v->n_items; i++)
        gvariant_done(&v->items[i]);
    free(v->items);
    free(v->type);
    *v = (struct gvariant){0};
}

struct gvariant gvariant_boolean(bool value)
{
    return (struct gvariant){.type = mem_strdup("b"), .boolean = value};
}

struct gvariant gvariant_u32(uint32_t value)
{
    return (struct gvariant){.type = mem_strdup("u"), .number = value};
}

struct gvariant gvariant_u64(uint64_t value)
{
    return (struct gvariant){.type = mem_strdup("t"), .number = value};
}

struct gvariant gvariant_string(const char *value)
{
    return (struct gvariant){.type = mem_strdup("s"), .string = mem_strdup(value)};
}

struct gvariant gvariant_array(const char *element_type, size_t n)
{
    struct gvariant v = {.type = str_printf("a%s", element_type), .n_items = n};

    v.items = mem_new(struct gvariant, n);
    for (size_t i = 0; i < n; i++)
        v.items[i] = (struct gvariant){.type = mem_strdup(element_type)};
    return v;
}

/* --- types --------------------------------------------------------------------------------- */

/* The length of the complete type that `s` begins with; 0 where there is none that can be read. */
static size_t type_len(const char *s, unsigned depth)
{
    size_t n = 1, k;

    if (*s && strchr("bynqiuxtdsogv", *s))
        return 1;
    if (depth == DEPTH_MAX)
        return 0;
    if (*s == 'a') {
        k = type_len(s + 1, depth + 1);
        return k ? k + 1 : 0;
    }
    if (*s != '(' || s[1] == ')')
        return 0;
    while (s[n] != ')') {
        k = type_len(s + n, depth + 1);
        if (k == 0)
            return 0;
        n += k;
    }
    return n + 1;
}

/* What stands before a value in place of "@x". */
static const char *type_of_keyword(const char *word, size_t n)
{
    static const struct {
        const char *word, *type;
    } rows[] = {
        {"boolean", "b"}, {"byte", "y"},   {"int16", "n"},      {"uint16", "q"},
        {"int32", "i"},   {"uint32", "u"}, {"int64", "x"},      {"uint64", "t"},
        {"double", "d"},  {"string", "s"}, {"objectpath", "o"}, {"signature", "g"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strlen(rows[i].word) == n && memcmp(rows[i].word, word, n) == 0)
            return rows[i].type;
    return NULL;
}

/* --- the text ------------------------------------------------------------------------------ */

static int fail(struct parser *s, const char *what)
{
    s->why = *s->p ? str_printf("%s at \"%.20s\"", what, s->p) : str_printf("%s at the end", what);
    return -EINVAL;
}

static void skip_blanks(struct parser *s)
{
    s->p += strspn(s->p, " \t\n\v\f\r");
}

static bool take(struct parser *s, char c)
{
    skip_blanks(s);
    if (*s->p != c)
        return false;
    s->p++;
    return true;
}

/* Letters, digits and what else a number may hold. */
static size_t word_len(const char *p)
{
    return strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
}

/* Whether a value of this type may stand where `expected` is asked for (NULL: anything). */
static int check_expected(struct parser *s, const char *expected, const char *type)
{
    if (!expected || streq(expected, type))
        return 0;
    _cleanup_free_ char *what =
        str_printf("a value of type \"%s\" instead of \"%s\"", type, expected);
    return fail(s, what);
}

static int parse_value(struct parser *s, const char *expected, struct gvariant *v);

/* --- strings ------------------------------------------------------------------------------- */

static int add_code_point(struct parser *s, struct strbuf *b, size_t digits)
{
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    uint32_t c = 0;

    for (size_t i = 0; i < digits; i++) {
        static const char hex[] = "0123456789abcdef";
        if (!isxdigit((unsigned char)*s->p))
            return fail(s, "a hexadecimal digit is expected");
        c = c << 4 | (uint32_t)(strchr(hex, *s->p | 0x20) - hex);
        s->p++;
    }
    if (c == 0 || c > 0x10ffff)
        return fail(s, "a code point that no string can hold, before the text");
    if (c < 0x80) {
        strbuf_addc(b, (char)c);
        return 0;
    }
    unsigned n = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    strbuf_addc(b, (char)(lead[n] | c >> 6 * n));
    while (n-- > 0)
        strbuf_addc(b, (char)(0x80 | (c >> 6 * n & 0x3f)));
    return 0;
}

/* Behind the backslash. */
static int parse_escape(struct parser *s, struct strbuf *b)
{
    static const char names[] = "abfnrtv", codes[] = "\a\b\f\n\r\t\v";
    char c = *s->p;

    if (!c)
        return fail(s, "a string does not end");
    s->p++;
    const char *at = strchr(names, c);
    if (c == 'u' || c == 'U')
        return add_code_point(s, b, c == 'u' ? 4 : 8);
    if (c != '\n') /* which is dropped with its backslash */
        strbuf_addc(b, at ? codes[at - names] : c);
    return 0;
}

static int parse_string(struct parser *s, const char *expected, struct gvariant *v)
{
    _cleanup_strbuf_ struct strbuf b = {0};
    char quote = *s->p++;

    while (*s->p != quote) {
        if (!*s->p)
            return fail(s, "a string does not end");
        if (*s->p == '\\') {
            s->p++;
            int r = parse_escape(s, &b);
            if (r < 0)
                return r;
        } else {
            strbuf_addc(&b, *s->p++);
        }
    }
    s->p++;
    if (b.len > 0 && !str_is_utf8(b.s, b.len))
        return fail(s, "a string that is not UTF-8, before the text");
    const char *type =
        expected && strlen(expected) == 1 && strchr("og", *expected) ? expected : "s";
    int r = check_expected(s, expected, type);
    if (r < 0)
        return r;
    v->string = strbuf_take(&b);
    v->type = mem_strdup(type);
    return 0;
}

/* --- numbers ------------------------------------------------------------------------------- */

/* As C writes integers: decimal, 0x…, 0… */
static int parse_digits(const char *p, size_t n, uint64_t *ret)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (n > 2 && p[0] == '0' && (p[1] | 0x20) == 'x') {
        base = 16;
        p += 2;
        n -= 2;
    } else if (n > 1 && p[0] == '0') {
        base = 8;
    }
    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char c = p[i] | 0x20; /* lower case; digits have the bit set */
        unsigned d = c >= '0' && c <= '9' && c == p[i] ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f'            ? (unsigned)(c - 'a' + 10)
                                                       : 16;
        if (d >= base)
            return -EINVAL;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
            return -ERANGE;
    }
    *ret = v;
    return 0;
}

static int parse_integer(struct parser *s, const char *type, size_t n, struct gvariant *v)
{
    static const struct {
        char type;
        bool is_signed;
        uint64_t max; /* of what follows the sign; one more is allowed behind a minus */
    } rows[] = {
        {'y', false, UINT8_MAX},  {'n', true, INT16_MAX},   {'q', false, UINT16_MAX},
        {'i', true, INT32_MAX},   {'u', false, UINT32_MAX}, {'x', true, INT64_MAX},
        {'t', false, UINT64_MAX},
    };
    bool minus = s->p[0] == '-', has_sign = minus || s->p[0] == '+';
    uint64_t digits;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].type != *type)
            continue;
        int r = parse_digits(s->p + has_sign, n - has_sign, &digits);
        if (r == -EINVAL)
            return fail(s, "not a number");
        if (r < 0 || (minus && !rows[i].is_signed && digits > 0) ||
            digits - (minus && digits > 0) > rows[i].max)
            return fail(s, "a number out of its type's range");
        if (rows[i].is_signed)
            v->integer = (int64_t)(minus ? 0 - digits : digits);
        else
            v->number = digits;
        return 0;
    }
    return fail(s, "no value of this type");
}

static int parse_real(struct parser *s, size_t n, struct gvariant *v)
{
    _cleanup_free_ char *word = mem_strndup(s->p, n);
    char *end;

    v->real = strtod(word, &end);
    if (end == word || *end || !isfinite(v->real))
        return fail(s, "not a finite number");
    return 0;
}

static int parse_number(struct parser *s, const char *expected, struct gvariant *v)
{
    size_t n = word_len(s->p);
    bool hex = memchr(s->p, 'x', n) || memchr(s->p, 'X', n);
    bool real = !hex && (memchr(s->p, '.', n) || memchr(s->p, 'e', n) || memchr(s->p, 'E', n));
    const char *type = expected && strlen(expected) == 1 ? expected : real ? "d" : "i";

    int r = check_expected(s, expected, type);
    if (r == 0)
        r = *type == 'd' ? parse_real(s, n, v) : parse_integer(s, type, n, v);
    if (r < 0)
        return r;
    s->p += n;
    v->type = mem_strdup(type);
    return 0;
}

/* --- containers ---------------------------------------------------------------------------- */

static struct gvariant *add_item(struct gvariant *v)
{
    mem_grow(v->items, v->n_items);
    v->items[v->n_items] = (struct gvariant){0};
    return &v->items[v->n_items++];
}

/* Behind the "[". The first element settles the type of those that follow. */
static int parse_array(struct parser *s, const char *expected, struct gvariant *v)
{
    _cleanup_free_ char *type = NULL;

    if (expected && *expected != 'a')
        return check_expected(s, expected, "a…");
    type = expected ? mem_strdup(expected + 1) : NULL;
    while (!take(s, ']')) {
        if (v->n_items > 0 && !take(s, ','))
            return fail(s, "\",\" or \"]\" is expected");
        if (v->n_items == ITEMS_MAX)
            return fail(s, "too many elements");
        struct gvariant *item = add_item(v);
        int r = parse_value(s, type, item);
        if (r < 0)
            return r;
        if (!type)
            type = mem_strdup(item->type);
    }
    if (!type)
        return fail(s, "an empty array needs its type before it (\"@as []\")");
    if (strlen(type) + 1 > TYPE_MAX)
        return fail(s, "a type too long to be sent");
    v->type = str_printf("a%s", type);
    return 0;
}

/* Behind the "(". */
static int parse_tuple(struct parser *s, const char *expected, struct gvariant *v)
{
    _cleanup_strbuf_ struct strbuf type = {0};
    const char *rest = expected ? expected + 1 : NULL;

    if (expected && *expected != '(')
        return check_expected(s, expected, "(…)");
    strbuf_addc(&type, '(');
    while (!take(s, ')')) {
        if (v->n_items > 0 && !take(s, ','))
            return fail(s, "\",\" or \")\" is expected");
        if (v->n_items == 1 && take(s, ')'))
            break;
        size_t n = rest ? type_len(rest, 0) : 0;
        if ((rest && n == 0) || type.len > TYPE_MAX)
            return fail(s, "too many members of a tuple");
        _cleanup_free_ char *member = rest ? mem_strndup(rest, n) : NULL;
        int r = parse_value(s, member, add_item(v));
        if (r < 0)
            return r;
        strbuf_add(&type, v->items[v->n_items - 1].type);
        rest = rest ? rest + n : NULL;
    }
    strbuf_addc(&type, ')');
    if (v->n_items == 0 || type.len > TYPE_MAX)
        return fail(s, "an empty tuple, or one too large, before the text");
    v->type = strbuf_take(&type);
    return check_expected(s, expected, v->type);
}

/* Behind the "<". */
static int parse_variant(struct parser *s, const char *expected, struct gvariant *v)
{
    int r = check_expected(s, expected, "v");
    if (r == 0)
        r = parse_value(s, NULL, add_item(v));
    if (r < 0)
        return r;
    if (!take(s, '>'))
        return fail(s, "\">\" is expected");
    v->type = mem_strdup("v");
    return 0;
}

/* Behind the "@". */
static int parse_typed(struct parser *s, const char *expected, struct gvariant *v)
{
    size_t n = type_len(s->p, 0);

    if (n == 0 || n > TYPE_MAX)
        return fail(s, "a type that no property has");
    _cleanup_free_ char *type = mem_strndup(s->p, n);
    s->p += n;
    int r = check_expected(s, expected, type);
    return r < 0 ? r : parse_value(s, type, v);
}

static int parse_word(struct parser *s, const char *expected, struct gvariant *v)
{
    size_t n = word_len(s->p);
    const char *type = type_of_keyword(s->p, n);

    if (type) {
        int r = check_expected(s, expected, type);
        s->p += n;
        return r < 0 ? r : parse_value(s, type, v);
    }
    v->boolean = n == 4 && memcmp(s->p, "true", 4) == 0;
    if (!v->boolean && !(n == 5 && memcmp(s->p, "false", 5) == 0))
        return fail(s, "no value; text stands in quotes");
    int r = check_expected(s, expected, "b");
    if (r < 0)
        return r;
    s->p += n;
    v->type = mem_strdup("b");
    return 0;
}

static int parse_any(struct parser *s, const char *expected, struct gvariant *v)
{
    char c = *s->p;

    if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
        return parse_number(s, expected, v);
    switch (c) {
    case '\'':
    case '"':
        return parse_string(s, expected, v);
    case '[':
        s->p++;
        return parse_array(s, expected, v);
    case '(':
        s->p++;
        return parse_tuple(s, expected, v);
    case '<':
        s->p++;
        return parse_variant(s, expected, v);
    case '@':
        s->p++;
        return parse_typed(s, expected, v);
    case '{':
        return fail(s, "no property is a dictionary");
    default:
        return parse_word(s, expected, v);
    }
}

static int parse_value(struct parser *s, const char *expected, struct gvariant *v)
{
    skip_blanks(s);
    if (s->depth == DEPTH_MAX)
        return fail(s, "nested too deep");
    s->depth++;
    int r = parse_any(s, expected, v);
    s->depth--;
    return r;
}

int gvariant_parse(const char *text, struct gvariant *ret, char **ret_why)
{
    struct parser s = {.p = text};
    _cleanup_gvariant_ struct gvariant v = {0};

    int r = parse_value(&s, NULL, &v);
    skip_blanks(&s);
    if (r == 0 && *s.p)
        r = fail(&s, "something behind the value,");
    if (r < 0) {
        *ret_why = s.why;
        return r;
    }
    *ret = v;
    v = (struct gvariant){0};
    return 0;
}
