/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/macros.h"

/* A growing string, always NUL-terminated once something was added. Start with {0}. */
struct strbuf {
    char *s;
    size_t len;
    size_t cap;
};

void strbuf_add(struct strbuf *b, const char *s);
void strbuf_addn(struct strbuf *b, const char *s, size_t n);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
/* Hands the string over ("" where nothing was added); the buffer is empty afterwards. */
char *strbuf_take(struct strbuf *b) _warn_unused_;
void strbuf_done(struct strbuf *b);
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

char *str_printf(const char *fmt, ...) _printf_(1, 2) _warn_unused_;
char *str_vprintf(const char *fmt, va_list ap) _printf_(1, 0) _warn_unused_;

static inline bool streq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Equal, or both NULL. */
static inline bool streq_ptr(const char *a, const char *b)
{
    return a && b ? streq(a, b) : a == b;
}

/* The rest of `s` behind `prefix`, or NULL where it does not begin so. */
const char *str_after(const char *s, const char *prefix) _pure_;

/* True where the `n` bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms,
 * nothing above U+10FFFF). */
bool str_is_utf8(const char *s, size_t n) _pure_;

/* NULL-terminated arrays of strings, array and strings owned. NULL is an empty one. */
size_t strv_len(char *const *v) _pure_;
bool strv_contains(char *const *v, const char *s) _pure_;
void strv_push(char ***v, char *s); /* takes s */
void strv_free(char **v);
char **strv_dup(char *const *v) _warn_unused_;
/* Joins with `sep` in between; never NULL. */
char *strv_join(char *const *v, const char *sep) _warn_unused_;
DEFINE_CLEANUP(char **, strv_free)
#define _cleanup_strv_ _cleanup_(strv_freep)
