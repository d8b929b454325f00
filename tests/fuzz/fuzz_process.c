/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/spec.h"

/* A process object on its own, as `exec --process` is given: whoever may exec writes it. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_process *p = NULL;
    struct error e = {0};

    int r = oci_process_parse((const char *)data, size, "process.json", &p, &e);
    if (r < 0) {
        require(!p && e.code != ERROR_NONE && e.subject && e.why);
        require(!str_after(e.why, "json-c"));
        free(error_render(&e));
    } else {
        require(p->args[0] && p->args[0][0] && p->cwd[0] == '/' && !e.why);
        require(p->uid != UINT32_MAX && p->gid != UINT32_MAX);
        require(p->scheduler.nice >= -20 && p->scheduler.nice <= 19);
        require(p->scheduler.priority <= 99);
    }
    oci_process_free(p);
    error_done(&e);
    return 0;
}
