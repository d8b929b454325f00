/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/str.h"

#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"

static void strbuf_room(struct strbuf *b, size_t n)
{
    size_t need = b->len + n + 1;

    if (need <= b->cap)
        return;
    b->cap = MAX(need, b->cap * 2);
    b->s = mem_realloc_array(b->s, b->cap, 1);
}

void strbuf_addn(struct strbuf *b, const char *s, size_t n)
{
    strbuf_room(b, n);
    if (n)
        memcpy(b->s + b->len, s, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const char *s)
{
    strbuf_addn(b, s, strlen(s));
}

void strbuf_addc(struct strbuf *b, char c)
{
    strbuf_addn(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *s = str_vprintf(fmt, ap);
    va_end(ap);
    strbuf_add(b, s);
}

char *strbuf_take(struct strbuf *b)
{
    strbuf_room(b, 0);
    b->s[b->len] = '\0';
    char *s = b->s;
    *b = (struct strbuf){0};
    return s;
}

void strbuf_done(struct strbuf *b)
{
    free(b->s);
    *b = (struct strbuf){0};
}

char *str_vprintf(const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n < 0)
        n = 0;
    char *s = mem_alloc((size_t)n + 1);
    if ((size_t)n < sizeof(small))
        memcpy(s, small, (size_t)n);
    else
        (void)vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

char *str_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = str_vprintf(fmt, ap);
    va_end(ap);
    return s;
}

const char *str_after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_is_utf8(const char *str, size_t n)
{
    const unsigned char *s = (const unsigned char *)str;

    for (size_t i = 0; i < n;) {
        unsigned char c = s[i];
        size_t more;
        uint32_t cp, least;

        if (c < 0x80) {
            i++;
            continue;
        }
        if (c >= 0xc2 && c <= 0xdf) {
            more = 1, cp = c & 0x1f, least = 0x80;
        } else if (c >= 0xe0 && c <= 0xef) {
            more = 2, cp = c & 0x0f, least = 0x800;
        } else if (c >= 0xf0 && c <= 0xf4) {
            more = 3, cp = c & 0x07, least = 0x10000;
        } else {
            return false;
        }
        if (n - i <= more)
            return false;
        for (size_t k = 1; k <= more; k++) {
            if ((s[i + k] & 0xc0) != 0x80)
                return false;
            cp = cp << 6 | (s[i + k] & 0x3f);
        }
        if (cp < least || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
            return false;
        i += more + 1;
    }
    return true;
}

size_t strv_len(char *const *v)
{
    size_t n = 0;
    while (v && v[n])
        n++;
    return n;
}

bool strv_contains(char *const *v, const char *s)
{
    for (; v && *v; v++)
        if (streq(*v, s))
            return true;
    return false;
}

void strv_push(char ***v, char *s)
{
    size_t n = strv_len(*v);
    *v = mem_realloc_array(*v, n + 2, sizeof(char *));
    (*v)[n] = s;
    (*v)[n + 1] = NULL;
}

void strv_free(char **v)
{
    for (char **p = v; p && *p; p++)
        free(*p);
    free(v);
}

char **strv_dup(char *const *v)
{
    size_t n = strv_len(v);
    char **d = mem_new(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        d[i] = mem_strdup(v[i]);
    d[n] = NULL;
    return d;
}

char *strv_join(char *const *v, const char *sep)
{
    struct strbuf b = {0};
    for (size_t i = 0; v && v[i]; i++) {
        if (i)
            strbuf_add(&b, sep);
        strbuf_add(&b, v[i]);
    }
    return strbuf_take(&b);
}
