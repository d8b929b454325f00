/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* metadata.json: what loads holds M3, and is written so that it loads again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint_metadata m, again;
    struct error e = {0};
    uint64_t cores;

    if (checkpoint_metadata_parse((const char *)data, size, "fuzz.json", &m, &e) < 0) {
        char *line = error_render(&e);
        if (e.code != ERROR_CHECKPOINT || strchr(line, '\n') || strlen(line) > 4096)
            abort();
        free(line);
        error_done(&e);
        return 0;
    }
    if (m.limits.cpu_period_us == 0 || m.limits.pids_max == 0)
        abort();
    (void)checkpoint_cpu_millicores(&m.limits, &cores);
    for (size_t i = 0; i < m.limits.n_io; i++)
        if (strspn(m.limits.io[i].device, "0123456789:") != strlen(m.limits.io[i].device))
            abort();
    char *text = checkpoint_metadata_render(&m);
    if (checkpoint_metadata_parse(text, strlen(text), "again.json", &again, &e) < 0)
        abort();
    char *text_again = checkpoint_metadata_render(&again);
    if (strcmp(text, text_again) != 0)
        abort();
    free(text);
    free(text_again);
    checkpoint_metadata_done(&m);
    checkpoint_metadata_done(&again);
    return 0;
}
