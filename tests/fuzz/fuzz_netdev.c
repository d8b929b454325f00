/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* What the kernel says of network devices and their addresses, and what a schemata file of resctrl
 * holds. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "process/rdt-schemata.h"
#include "sys/netdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct netdev_addresses list = {0};
    uint32_t index = 0, flags = 0;
    char name[IFNAMSIZ] = "";
    const char *bad;

    /* Exactly as long as what was received, and aligned as the receive buffer is. */
    char *packet = malloc(size ? size : 1);
    if (!packet)
        abort();
    memcpy(packet, data, size);
    (void)netdev_parse_addresses(packet, size, 1, &list);
    if (list.n > NETDEV_ADDRESSES_MAX)
        abort();
    if (netdev_parse_link(packet, size, &index, &flags, name) == 0 &&
        (index == 0 || strnlen(name, sizeof(name)) == sizeof(name)))
        abort();
    free(packet);

    /* As what is asked for, and as what is there. */
    char *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    char *lines[] = {text, (char *)(uintptr_t) "L3:0=7f0;1=1f", NULL};
    (void)rdt_lines_match(lines, "L3:0=7f0;1=1f\nMB:0=100\n", &bad);
    (void)rdt_lines_match(lines + 1, text, &bad);
    free(text);
    return 0;
}
