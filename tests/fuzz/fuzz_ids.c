/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a container's /etc/passwd and /proc/PID/uid_map may hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "process/home.h"
#include "process/idmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct oci_id_map maps[] = {{0, 100000, 65536}, {70000, 1, 1}};
    static const uint32_t uids[] = {0, 1000, UINT32_MAX};
    char *text = mem_strndup((const char *)data, size);
    size_t len;

    for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
        const char *home = home_parse((const char *)data, size, uids[i], &len);
        if (home && (home[0] != '/' || home < (const char *)data ||
                     home + len > (const char *)data + size || len >= HOME_ROOM - strlen("HOME=")))
            abort();
    }
    (void)idmap_text_equals(text, maps, ARRAY_SIZE(maps));
    free(text);
    return 0;
}
