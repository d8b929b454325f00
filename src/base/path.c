/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/path.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

char *path_join(const char *a, const char *b)
{
    size_t n = strlen(a);

    while (n > 0 && a[n - 1] == '/')
        n--;
    while (*b == '/')
        b++;
    size_t len = strlen(b);
    char *joined = mem_alloc(n + len + 2);
    memcpy(joined, a, n);
    joined[n] = '/';
    memcpy(joined + n + 1, b, len + 1);
    return joined;
}

char *path_normalize(const char *path)
{
    bool absolute = path[0] == '/';
    struct strbuf b = {0};

    while (*path) {
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            char *cut = b.len ? strrchr(b.s, '/') : NULL;
            bool kept =
                b.len >= 2 && streq(b.s + b.len - 2, "..") && (b.len == 2 || b.s[b.len - 3] == '/');
            if (kept || (!absolute && b.len == 0)) {
                strbuf_add(&b, b.len ? "/.." : "..");
            } else if (b.len) {
                b.len = cut ? (size_t)(cut - b.s) : 0;
                b.s[b.len] = '\0';
            }
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            if (absolute || b.len)
                strbuf_addc(&b, '/');
            strbuf_addn(&b, path, n);
        }
        path += n;
        path += strspn(path, "/");
    }
    if (b.len == 0)
        strbuf_addc(&b, absolute ? '/' : '.');
    return strbuf_take(&b);
}

bool path_is_below(const char *path, const char *base)
{
    if (streq(base, "/"))
        return path[0] == '/';
    const char *rest = str_after(path, base);
    return rest && (*rest == '\0' || *rest == '/');
}
