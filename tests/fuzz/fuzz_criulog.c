/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "checkpoint/criu/criu.h"

/* A log that says anything: what comes of it is never empty, short, one printable line. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *why = NULL, *remedy = NULL;

    criu_explain_log((const char *)data, size, &why, &remedy);
    size_t n = why ? strlen(why) : 0;
    if (n == 0 || n > 4096 || !str_is_utf8(why, n))
        abort();
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)why[i] < 0x20 || why[i] == 0x7f)
            abort();
    free(why);
    free(remedy);
    return 0;
}
