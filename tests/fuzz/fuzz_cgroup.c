/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* What parsed as io.max says the same after it was printed again. */
static void check_io(const struct cgroup_io_limit *io, size_t n)
{
    struct strbuf b = {0};
    struct cgroup_io_limit *again = NULL;
    size_t n_again = 0;

    for (size_t i = 0; i < n; i++) {
        const struct {
            const char *key;
            uint64_t value;
        } values[] = {{"rbps", io[i].rbps},
                      {"wbps", io[i].wbps},
                      {"riops", io[i].riops},
                      {"wiops", io[i].wiops}};
        strbuf_add(&b, io[i].device);
        for (size_t k = 0; k < ARRAY_SIZE(values); k++)
            if (values[k].value == CGROUP_NO_LIMIT)
                strbuf_addf(&b, " %s=max", values[k].key);
            else
                strbuf_addf(&b, " %s=%llu", values[k].key, (unsigned long long)values[k].value);
        strbuf_addc(&b, '\n');
    }
    check(cgroup_parse_io_max(b.s ? b.s : "", &again, &n_again) == 0 && n_again == n);
    for (size_t i = 0; i < n; i++) {
        check(streq(io[i].device, again[i].device) && io[i].rbps == again[i].rbps &&
              io[i].wbps == again[i].wbps && io[i].riops == again[i].riops &&
              io[i].wiops == again[i].wiops);
        free(again[i].device);
    }
    free(again);
    strbuf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_strndup((const char *)data, size);
    uint64_t a = 7, b = 7;
    bool flag;
    struct cgroup_io_limit *io = NULL;
    size_t n = 0;

    check(cgroup_parse_max(text, &a) == 0 || a == 7);
    a = 7;
    check(cgroup_parse_cpu_max(text, &a, &b) == 0 ? b != 0 && b != CGROUP_NO_LIMIT
                                                  : a == 7 && b == 7);
    (void)cgroup_parse_events(text, "frozen", &flag);
    (void)cgroup_parse_events(text, "populated", &flag);
    if (cgroup_parse_io_max(text, &io, &n) == 0) {
        check_io(io, n);
        for (size_t i = 0; i < n; i++)
            free(io[i].device);
        free(io);
    } else {
        check(!io && n == 0);
    }
    return 0;
}
