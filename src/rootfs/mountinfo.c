/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/mountinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

/* The next field, cut off in place; NULL at the end. */
static char *next_field(char **rest)
{
    char *field = *rest;

    if (!field || !*field)
        return NULL;
    char *end = strchr(field, ' ');
    if (end)
        *end++ = '\0';
    *rest = end;
    return field;
}

static bool is_octal(const char *p)
{
    return p[0] >= '0' && p[0] <= '3' && p[1] >= '0' && p[1] <= '7' && p[2] >= '0' && p[2] <= '7';
}

/* The kernel writes space, tab, newline, '\' and '#' as \ooo. */
static void unescape(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (*s == '\\' && is_octal(s + 1)) {
            *to++ = (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

int mountinfo_parse(char *line, struct mountinfo *ret)
{
    char *rest = line, *field = NULL, *root = NULL, *point = NULL;

    /* id, parent, device, root, mount point, options; then optional ones up to a dash */
    for (int i = 0; i < 6; i++) {
        field = next_field(&rest);
        root = i == 3 ? field : root;
        point = i == 4 ? field : point;
    }
    while (field && !streq(field, "-"))
        field = next_field(&rest);
    char *type = next_field(&rest);
    if (!field || !type)
        return -EINVAL;
    unescape(root);
    unescape(point);
    unescape(type);
    *ret = (struct mountinfo){.root = root, .point = point, .type = type};
    return 0;
}

/* Moves what is left to the front and reads more: its length, 0 at the end. */
static ssize_t fill(struct mountinfo_reader *r)
{
    ssize_t n;

    memmove(r->buf, r->buf + r->pos, r->len - r->pos);
    r->len -= r->pos;
    r->pos = 0;
    if (r->len == sizeof(r->buf))
        return -E2BIG;
    do
        n = read(r->fd, r->buf + r->len, sizeof(r->buf) - r->len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    r->len += (size_t)n;
    return n;
}

int mountinfo_next(struct mountinfo_reader *r, struct mountinfo *ret)
{
    for (;;) {
        char *line = r->buf + r->pos;
        char *end = memchr(line, '\n', r->len - r->pos);
        if (end) {
            *end = '\0';
            r->pos = (size_t)(end + 1 - r->buf);
            int n = mountinfo_parse(line, ret);
            return n < 0 ? n : 1;
        }
        ssize_t n = fill(r);
        if (n <= 0)
            return n < 0 ? (int)n : r->len ? -EINVAL : 0;
    }
}
