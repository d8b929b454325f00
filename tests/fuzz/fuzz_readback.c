/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/readback.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* A file's name, what is written and what is read, separated by NUL: names and values come from
 * config.json. What a file shows already is what goes back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *file = mem_strndup((const char *)data, size);
    size_t n = strlen(file);
    _cleanup_free_ char *value =
        n < size ? mem_strndup((const char *)data + n + 1, size - n - 1) : mem_strdup("");
    n += 1 + strlen(value);
    _cleanup_free_ char *text =
        n < size ? mem_strndup((const char *)data + n + 1, size - n - 1) : mem_strdup("");

    bool kept = cgroup_value_is_kept(file, value, text);
    _cleanup_free_ char *shown = cgroup_value_shown(file, value, text);
    _cleanup_free_ char *before = cgroup_value_before(file, value, text);
    check(!strchr(shown, '\n'));
    if (streq(file, "io.max"))
        check(!kept || cgroup_value_is_kept(file, before, text));
    int equal = cgroup_sets_equal(value, text);
    check(equal == cgroup_sets_equal(text, value));
    if (equal >= 0)
        check(cgroup_sets_equal(value, value) == 1);
    return 0;
}
