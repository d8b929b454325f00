/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* nucleus.json of a checkpoint that nobody vouches for, and a timerfd's fdinfo. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/record.h"
#include "checkpoint/timers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint_record record = {0};
    struct error e = {0};
    unsigned long long s, ns;
    char *text = malloc(size + 1);

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (checkpoint_record_parse(text, size, "nucleus.json", &record, &e) < 0) {
        if (e.code == ERROR_NONE || record.external_mounts)
            abort();
    } else {
        for (int i = 0; i < 3; i++)
            if (!record.stdio.end[i].target)
                abort();
    }
    (void)timers_parse_fdinfo(text, &s, &ns);
    checkpoint_record_done(&record);
    error_done(&e);
    free(text);
    return 0;
}
