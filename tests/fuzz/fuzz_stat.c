/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "sys/process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same answer, found from the other end: the fields behind the last ')' by cutting. */
static int expected(char *text, uint64_t *ret)
{
    char *p = NULL;

    for (char *q = text; *q; q++)
        if (*q == ')')
            p = q;
    if (!p || p[1] != ' ')
        return -1;
    p += 2;
    for (int field = 3;; field++) {
        char *end = strchr(p, ' ');
        if (field == 22) {
            size_t n = strcspn(p, " \n");
            p[n] = '\0';
            return n < 32 ? num_parse_u64(p, ret) : -1;
        }
        if (!end)
            return -1;
        p = end + 1;
    }
}

/* /proc/PID/stat (S3). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    uint64_t a = 1, b = 1;

    int r = sys_parse_start_ticks(text, &a);
    int want = expected(text, &b);
    if ((r == 0) != (want == 0) || a != b)
        abort();
    free(text);
    return 0;
}
