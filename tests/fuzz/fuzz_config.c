/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/spec.h"

/* config.json from any text: no crash, no leak, and an error or a spec that holds what spec.h
 * promises. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_spec *spec = NULL;
    struct error e = {0};

    int r = oci_spec_parse((const char *)data, size, "config.json", &spec, &e);
    if (r < 0) {
        require(!spec && e.code != ERROR_NONE && e.subject && e.why);
        /* What the scanner lets through, json-c has to take. */
        require(!str_after(e.why, "json-c"));
        free(error_render(&e));
    } else {
        require(spec->oci_version && spec->root_path && spec->root_path[0] && !e.why);
        require(!spec->process || (spec->process->args[0] && spec->process->cwd[0] == '/'));
    }
    oci_spec_free(spec);
    error_done(&e);
    return 0;
}
