/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "oci/resources.h"

/* A resources object on its own, as `update --resources` is given. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What becomes a file's name, or part of one, must be no more than that. */
static void check_names(const struct oci_resources *r)
{
    for (size_t i = 0; i < r->n_unified; i++) {
        const char *file = r->unified[i].file;
        require(!strchr(file, '/') && strchr(file, '.') && file[0] != '.');
        require(!str_after(file, "cgroup.") && r->unified[i].value);
    }
    for (size_t i = 0; i < r->n_hugepages; i++)
        require(strspn(r->hugepages[i].page_size, "0123456789KMGB") ==
                strlen(r->hugepages[i].page_size));
    for (size_t i = 0; i < r->n_rdma; i++)
        require(r->rdma[i].device[0] && !strpbrk(r->rdma[i].device, " \n"));
}

static void check_numbers(const struct oci_resources *r)
{
    require(!r->memory.limit.set || (r->memory.limit.value != 0 && r->memory.limit.value >= -1));
    require(!r->cpu.quota.set || (r->cpu.quota.value != 0 && r->cpu.quota.value >= -1));
    require(!r->io.weight.set || (r->io.weight.value >= 10 && r->io.weight.value <= 1000));
    for (size_t i = 0; i < r->n_devices; i++)
        require(r->devices[i].access != 0 && r->devices[i].major >= -1 &&
                strchr("abc", r->devices[i].type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_resources *r = NULL;
    struct error e = {0};

    if (oci_resources_parse((const char *)data, size, "resources.json", &r, &e) < 0) {
        require(!r && e.code != ERROR_NONE && e.subject && e.why);
        require(!str_after(e.why, "json-c"));
        free(error_render(&e));
    } else {
        check_names(r);
        check_numbers(r);
    }
    oci_resources_free(r);
    error_done(&e);
    return 0;
}
