/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>

#include "base/duration.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_strndup((const char *)data, size);
    int64_t ns = 77;

    if (duration_parse_ns(text, &ns) < 0 ? ns != 77 : (ns < 0) != (text[0] == '-' && ns != 0))
        __builtin_trap();
    return 0;
}
