/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* What the kernel says of a task and of network links. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/policy.h"
#include "sys/netns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_status status;
    /* malloc aligns as the receive buffer is aligned. */
    char *text = malloc(size + 1);

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    (void)sys_netns_parse_links(text, size);
    (void)policy_parse_status(text, &status);
    free(text);
    return 0;
}
