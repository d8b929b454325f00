/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Libraries that are loaded when they are needed, since to load them would cost every command. */

/* Where a function's pointer goes in the caller's table. */
struct sys_symbol {
    const char *name;
    size_t offset;
};

/* dlopen(3) and the table filled in. -ENOENT: the library, or a function in it, is not there;
 * *ret_why is the loader's text, newly allocated, and the table is untouched. The library is never
 * unloaded: what it leaves in the process (threads' keys, handlers) must not outlive its code. */
int sys_library_load(const char *soname, const struct sys_symbol *symbols, size_t n, void *table,
                     char **ret_why);

/* What packagers' tools read in place of the DT_NEEDED that is not there: an ELF note as laid out
 * by the UAPI group's "ELF dlopen metadata" specification (owner "FDO", type 0x407c0c0a, a JSON
 * array). */
#define SYS_DLOPEN_NOTE(variable, json)                                                            \
    static const struct {                                                                          \
        uint32_t name_size, text_size, type;                                                       \
        char name[sizeof("FDO")];                                                                  \
        _Alignas(uint32_t) char text[sizeof(json)];                                                \
    } variable __attribute__((used, section(".note.dlopen"), aligned(sizeof(uint32_t)))) = {       \
        sizeof("FDO"), sizeof(json), 0x407c0c0a, "FDO", json,                                      \
    }
