/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "checkpoint/criu/criu.h"

/* A packet from swrk: no crash, no leak, and either an answer or an error. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *resp = NULL;
    struct error e = {0};

    int r = criu_response_parse(data, size, &resp, &e);
    if ((r >= 0) != (resp != NULL) || (r < 0) != (e.code != ERROR_NONE))
        abort();
    criu_response_free(resp);
    if (r < 0)
        free(error_render(&e));
    error_done(&e);
    return 0;
}
