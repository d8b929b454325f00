/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/num.h"

#include <errno.h>

/* Reads digits of `base` up to the first other character; returns how many there were. */
static int digits(const char *s, unsigned base, uint64_t *ret)
{
    uint64_t v = 0;
    int n = 0;

    for (; s[n] >= '0' && s[n] < (char)('0' + base); n++)
        if (__builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[n] - '0'), &v))
            return -ERANGE;
    if (n == 0)
        return -EINVAL;
    *ret = v;
    return n;
}

int num_parse_u64(const char *s, uint64_t *ret)
{
    uint64_t v;
    int n = digits(s, 10, &v);
    if (n < 0)
        return n;
    if (s[n] != '\0')
        return -EINVAL;
    *ret = v;
    return 0;
}

int num_parse_u64_max(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    int r = num_parse_u64(s, &v);
    if (r < 0)
        return r;
    if (v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

int num_parse_i64(const char *s, int64_t *ret)
{
    uint64_t v;
    int negative = s[0] == '-';
    int r = num_parse_u64_max(s + negative, (uint64_t)INT64_MAX + (uint64_t)negative, &v);
    if (r < 0)
        return r;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

int num_parse_octal(const char *s, uint32_t *ret)
{
    uint64_t v;
    int n = digits(s, 8, &v);
    if (n < 0)
        return n;
    if (s[n] != '\0')
        return -EINVAL;
    if (v > UINT32_MAX)
        return -ERANGE;
    *ret = (uint32_t)v;
    return 0;
}

int num_parse_size(const char *s, uint64_t *ret)
{
    uint64_t v;
    unsigned shift = 0;
    int n = digits(s, 10, &v);
    if (n < 0)
        return n;
    s += n;

    switch (*s) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    case 't':
    case 'T':
        shift = 40;
        break;
    default:
        break;
    }
    if (shift) {
        s++;
        if (*s == 'i')
            s++;
    }
    if (*s == 'B' || *s == 'b')
        s++;
    if (*s != '\0')
        return -EINVAL;
    if (v > UINT64_MAX >> shift)
        return -ERANGE;
    *ret = v << shift;
    return 0;
}

int num_parse_millicores(const char *s, uint64_t *ret)
{
    uint64_t whole, frac = 0;
    int n = digits(s, 10, &whole);
    if (n < 0)
        return n;
    s += n;
    if (*s == '.') {
        s++;
        int k = digits(s, 10, &frac);
        if (k < 0)
            return -EINVAL;
        if (k > 3 || s[k] != '\0')
            return -EINVAL;
        for (; k < 3; k++)
            frac *= 10;
    } else if (*s != '\0') {
        return -EINVAL;
    }
    if (whole > (UINT64_MAX - 999) / 1000)
        return -ERANGE;
    uint64_t v = whole * 1000 + frac;
    if (v == 0)
        return -ERANGE;
    *ret = v;
    return 0;
}

uint64_t num_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    __extension__ unsigned __int128 v = (__extension__(unsigned __int128) a) * b / c;
    return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}
