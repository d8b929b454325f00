/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* The statistics of cgroup v2: the first byte chooses the file. */

#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* What could be told of memory.stat says the same after it was printed again. */
static void check_counters(const struct cgroup_counters *c)
{
    struct strbuf b = {0};
    struct cgroup_counters again = {0};

    for (size_t i = 0; i < c->n; i++)
        strbuf_addf(&b, "%s %llu\n", c->list[i].name, (unsigned long long)c->list[i].value);
    check(cgroup_parse_memory_stat(b.s ? b.s : "", &again) == 0 && again.n == c->n);
    for (size_t i = 0; i < c->n; i++)
        check(streq(again.list[i].name, c->list[i].name) &&
              again.list[i].value == c->list[i].value);
    cgroup_stats_done(&(struct cgroup_stats){.memory.counters = again});
    strbuf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cgroup_stats s = {0};
    uint64_t value = 77;

    if (size == 0)
        return 0;
    _cleanup_free_ char *text = mem_strndup((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'c':
        check(cgroup_parse_cpu_stat(text, &s.cpu) == 0 ? s.cpu.has : !s.cpu.has);
        break;
    case 'm':
        if (cgroup_parse_memory_stat(text, &s.memory.counters) == 0)
            check_counters(&s.memory.counters);
        else
            check(s.memory.counters.n == 0);
        break;
    case 'e':
        check(cgroup_parse_memory_events(text, &s.memory.events) == 0 || !s.memory.events.has);
        break;
    case 'p':
        check(cgroup_parse_pressure(text, &s.cpu.pressure) == 0 || !s.cpu.pressure.has);
        break;
    case 'i':
        check(cgroup_parse_io_stat(text, &s.io) == 0 || (!s.io.has && s.io.n == 0));
        break;
    case 'r':
        check(cgroup_parse_rdma(text, &s.rdma_max) == 0 || s.rdma_max.n == 0);
        break;
    default:
        check(cgroup_parse_max_events(text, &value) == 0 || value == 77);
    }
    cgroup_stats_done(&s);
    return 0;
}
