/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/rdt-schemata.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

int rdt_write_lines(int fd, char *const *lines, const char **ret_bad)
{
    for (; lines && *lines; lines++) {
        /* The kernel takes nothing without a newline. */
        _cleanup_free_ char *text = str_printf("%s\n", *lines);
        size_t len = strlen(text);
        ssize_t n = write(fd, text, len);
        if (n == (ssize_t)len)
            continue;
        *ret_bad = *lines;
        return n < 0 ? -errno : -EIO;
    }
    return 0;
}

/* A piece of a text: a resource, a domain or a value, without blanks and zeros in front. */
struct piece {
    const char *s;
    size_t n;
};

static struct piece take(const char *s, size_t n, const char *in_front)
{
    while (n > 0 && strchr(in_front, *s)) {
        s++;
        n--;
    }
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    return (struct piece){s, n};
}

static bool same(struct piece a, struct piece b)
{
    return a.n == b.n && strncasecmp(a.s, b.s, a.n) == 0;
}

/* One "DOMAIN=VALUE" of a line. */
struct value {
    struct piece resource, domain, value;
};

/* The next of the line (*at NULL: the first): false behind the last. */
static bool next_value(const char *line, const char **at, struct value *ret)
{
    size_t len = strcspn(line, "\n"), colon = strcspn(line, ":\n");
    const char *end = line + len;

    if (!*at) {
        if (colon == len)
            return false;
        *at = line + colon + 1;
    }
    if (*at >= end)
        return false;
    size_t n = MIN(strcspn(*at, ";\n"), (size_t)(end - *at)), equals = strcspn(*at, "=;\n");
    ret->resource = take(line, colon, " \t");
    ret->domain = take(*at, MIN(equals, n), " \t0");
    ret->value = equals < n ? take(*at + equals + 1, n - equals - 1, " \t0") : take("", 0, "");
    *at += n + 1;
    return true;
}

static bool is_same_domain(const struct value *a, const struct value *b)
{
    return same(a->resource, b->resource) && same(a->domain, b->domain);
}

static bool line_speaks_of(const char *line, const struct value *wanted)
{
    const char *at = NULL;
    struct value v;

    while (next_value(line, &at, &v))
        if (is_same_domain(&v, wanted))
            return true;
    return false;
}

static bool has(const char *text, const struct value *wanted)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = NULL;
        struct value v;
        while (next_value(line, &at, &v))
            if (is_same_domain(&v, wanted))
                return same(v.value, wanted->value);
    }
    return false;
}

static bool is_overridden(char *const *later, const struct value *v)
{
    for (; *later; later++)
        if (line_speaks_of(*later, v))
            return true;
    return false;
}

bool rdt_lines_match(char *const *lines, const char *have, const char **ret_bad)
{
    for (; lines && *lines; lines++) {
        const char *at = NULL;
        struct value v;
        /* A line without any value asks for what no file has. */
        bool fits = false;
        while (next_value(*lines, &at, &v)) {
            fits = is_overridden(lines + 1, &v) || has(have, &v);
            if (!fits)
                break;
        }
        if (!fits) {
            *ret_bad = *lines;
            return false;
        }
    }
    return true;
}
