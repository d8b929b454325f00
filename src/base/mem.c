/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

static _noreturn_ void out_of_memory(void)
{
    static const char text[] = "nucleus: out of memory\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(EXIT_FAILURE);
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *mem_realloc_array(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n ? n : 1, size);
    if (!q)
        out_of_memory();
    return q;
}

void *mem_dup(const void *p, size_t size)
{
    void *q = mem_alloc(size);
    if (size)
        memcpy(q, p, size);
    return q;
}

char *mem_strdup(const char *s)
{
    return s ? mem_dup(s, strlen(s) + 1) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *q = mem_alloc(len + 1);
    memcpy(q, s, len);
    return q;
}
