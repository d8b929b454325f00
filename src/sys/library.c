/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"

int sys_library_load(const char *soname, const struct sys_symbol *symbols, size_t n, void *table,
                     char **ret_why)
{
    _cleanup_free_ void **found = mem_new(void *, n);

    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; library && i < n; i++) {
        found[i] = dlsym(library, symbols[i].name);
        if (!found[i])
            library = NULL;
    }
    if (!library) {
        *ret_why = mem_strdup(dlerror());
        return -ENOENT;
    }
    for (size_t i = 0; i < n; i++)
        memcpy((char *)table + symbols[i].offset, &found[i], sizeof(found[i]));
    return 0;
}
