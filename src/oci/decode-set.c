/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "oci/decode.h"

/* Lists of CPUs and NUMA nodes, "0-3,7": the "List format" of cpuset(7) without its extensions. */

#define BITS_PER_WORD (8 * sizeof(unsigned long))

/* The number at *s, which moves behind it. -EINVAL where there is none, -ERANGE beyond the set. */
static int parse_member(const char **s, size_t *ret)
{
    size_t n = strspn(*s, "0123456789"), v = 0;

    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (size_t)((*s)[i] - '0');
        if (v >= OCI_SET_BITS)
            return -ERANGE;
    }
    *s += n;
    *ret = v;
    return 0;
}

static int parse_range(const char **s, size_t *ret_first, size_t *ret_last)
{
    int r = parse_member(s, ret_first);
    if (r < 0)
        return r;
    *ret_last = *ret_first;
    if (**s == '-') {
        (*s)++;
        r = parse_member(s, ret_last);
        if (r == 0 && *ret_last < *ret_first)
            return -EINVAL;
    }
    return r;
}

static int parse_set(const char *s, struct oci_set *ret)
{
    for (;;) {
        size_t first, last;
        int r = parse_range(&s, &first, &last);
        if (r < 0)
            return r;
        for (size_t i = first; i <= last; i++)
            ret->bits[i / BITS_PER_WORD] |= 1UL << (i % BITS_PER_WORD);
        if (*s == '\0')
            break;
        if (*s++ != ',')
            return -EINVAL;
    }
    ret->present = true;
    return 0;
}

static int check_set(struct decoder *d, const struct json_at *at, const char *text,
                     struct oci_set *ret)
{
    int r = parse_set(text, ret);
    if (r == 0)
        return 0;
    _cleanup_free_ char *found = json_describe(at);
    if (r == -ERANGE)
        return decode_error(d, at, "goes beyond %d: %s", OCI_SET_BITS - 1, found);
    return decode_error(d, at, "expected a list like \"0-3,7\", found %s", found);
}

int decode_set(struct decoder *d, const struct json_at *at, void *out)
{
    _cleanup_free_ char *text = NULL;
    int r = decode_string(d, at, &text);
    return r < 0 || !text ? r : check_set(d, at, text, out);
}

int decode_set_text(struct decoder *d, const struct json_at *at, void *out)
{
    char **text = out;
    struct oci_set set = {0};
    int r = decode_string(d, at, text);
    return r < 0 || !*text ? r : check_set(d, at, *text, &set);
}
