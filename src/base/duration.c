/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/duration.h"

#include <errno.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/num.h"
#include "base/str.h"

/* What comes first wins: "m" would hide "ms". */
static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
    {"\xce\xbcs", 1000},                                         /* U+03BC, Greek letter mu */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60 * 1000000000ULL}, {"h", 3600 * 1000000000ULL},
};

/* Reads digits; beyond 18 of them further ones are too many for an integer and too fine for a
 * fraction. Returns how many there were. */
static size_t read_digits(const char **p, uint64_t *ret_value, uint64_t *ret_scale, bool *ret_more)
{
    size_t n = 0;

    *ret_value = 0;
    *ret_scale = 1;
    *ret_more = false;
    for (; **p >= '0' && **p <= '9'; (*p)++, n++) {
        if (*ret_scale == 1000000000000000000ULL) {
            *ret_more = true;
            continue;
        }
        *ret_value = *ret_value * 10 + (uint64_t)(**p - '0');
        *ret_scale *= 10;
    }
    return n;
}

static uint64_t read_unit(const char **p)
{
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        const char *rest = str_after(*p, units[i].name);
        if (rest) {
            *p = rest;
            return units[i].ns;
        }
    }
    return 0;
}

/* One number with its unit, added. */
static int read_term(const char **p, uint64_t *sum)
{
    uint64_t whole, part = 0, scale, ns;
    bool too_many, too_fine;

    size_t n = read_digits(p, &whole, &scale, &too_many);
    scale = 1;
    if (**p == '.') {
        (*p)++;
        n += read_digits(p, &part, &scale, &too_fine);
    }
    uint64_t unit = n > 0 ? read_unit(p) : 0;
    if (unit == 0)
        return -EINVAL;
    if (too_many || __builtin_mul_overflow(whole, unit, &ns) ||
        __builtin_add_overflow(ns, num_mul_div(part, unit, scale), &ns) ||
        __builtin_add_overflow(*sum, ns, sum) || *sum > INT64_MAX)
        return -ERANGE;
    return 0;
}

int duration_parse_ns(const char *text, int64_t *ret)
{
    bool negative = text[0] == '-';
    const char *p = text + (text[0] == '-' || text[0] == '+');
    bool is_zero = streq(p, "0"); /* the one number without a unit */
    uint64_t sum = 0;

    if (*p == '\0')
        return -EINVAL;
    while (*p && !is_zero) {
        int r = read_term(&p, &sum);
        if (r < 0)
            return r;
    }
    *ret = negative ? -(int64_t)sum : (int64_t)sum;
    return 0;
}
