/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/stats-json.h"

#include "base/mem.h"
#include "base/str.h"

#define NS_PER_US 1000

static void add(struct json_object *o, const char *key, uint64_t value)
{
    json_object_object_add(o, key, json_object_new_uint64(value));
}

/* In ns, saturated: a counter of µs may be too large for that. */
static void add_usec(struct json_object *o, const char *key, uint64_t usec)
{
    add(o, key, usec > UINT64_MAX / NS_PER_US ? UINT64_MAX : usec * NS_PER_US);
}

static struct json_object *child(struct json_object *o, const char *key)
{
    struct json_object *c = json_object_new_object();

    json_object_object_add(o, key, c);
    return c;
}

/* The kernel's two digits, and no more. */
static void add_hundredths(struct json_object *o, const char *key, uint64_t v)
{
    _cleanup_free_ char *text =
        str_printf("%llu.%02u", (unsigned long long)(v / 100), (unsigned)(v % 100));

    json_object_object_add(o, key, json_object_new_double_s((double)v / 100, text));
}

static void add_share(struct json_object *o, const char *key, const struct cgroup_pressure_share *s)
{
    struct json_object *c = child(o, key);

    add_hundredths(c, "avg10", s->avg10);
    add_hundredths(c, "avg60", s->avg60);
    add_hundredths(c, "avg300", s->avg300);
    add(c, "total", s->total);
}

static void add_pressure(struct json_object *o, const struct cgroup_pressure *p)
{
    if (!p->has)
        return;
    struct json_object *c = child(o, "psi");
    add_share(c, "some", &p->some);
    add_share(c, "full", &p->full);
}

static void add_cpu(struct json_object *o, const struct cgroup_cpu_stats *s)
{
    if (!s->has)
        return;
    struct json_object *cpu = child(o, "cpu"), *usage = child(cpu, "usage");
    add_usec(usage, "total", s->usage_usec);
    add_usec(usage, "kernel", s->system_usec);
    add_usec(usage, "user", s->user_usec);
    if (s->has_throttling) {
        struct json_object *t = child(cpu, "throttling");
        add(t, "periods", s->nr_periods);
        add(t, "throttledPeriods", s->nr_throttled);
        add_usec(t, "throttledTime", s->throttled_usec);
    }
    add_pressure(cpu, &s->pressure);
}

static struct json_object *add_entry(struct json_object *o, const char *key, uint64_t limit,
                                     uint64_t usage, uint64_t failures)
{
    struct json_object *c = child(o, key);

    add(c, "limit", limit);
    add(c, "usage", usage);
    add(c, "failcnt", failures);
    return c;
}

/* a + b, where the result may be "max". */
static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void add_memory(struct json_object *o, const struct cgroup_memory_stats *s)
{
    if (!s->usage.has)
        return;
    struct json_object *m = child(o, "memory");
    add(m, "cache", cgroup_counter_value(&s->counters, "file"));
    struct json_object *usage =
        add_entry(m, "usage", s->usage.max, s->usage.current, s->events.max);
    if (s->usage.has_peak)
        add(usage, "max", s->usage.peak);
    /* As cgroup v1 had it: memory and swap together. */
    (void)add_entry(m, "swap", sum(s->usage.max, s->swap.max),
                    sum(s->usage.current, s->swap.current), 0);
    /* Since Linux 5.18; there is no limit of its own any more. */
    (void)add_entry(m, "kernel", 0, cgroup_counter_value(&s->counters, "kernel"), 0);
    (void)add_entry(m, "kernelTCP", 0, cgroup_counter_value(&s->counters, "sock"), 0);
    struct json_object *raw = child(m, "raw");
    for (size_t i = 0; i < s->counters.n; i++)
        add(raw, s->counters.list[i].name, s->counters.list[i].value);
    add_pressure(m, &s->pressure);
}

static void add_pids(struct json_object *o, const struct cgroup_usage *s)
{
    if (!s->has)
        return;
    struct json_object *p = child(o, "pids");
    add(p, "current", s->current);
    if (s->max != CGROUP_NO_LIMIT)
        add(p, "limit", s->max);
}

static struct json_object *io_entry(const struct cgroup_io_device *d, const char *op,
                                    uint64_t value)
{
    struct json_object *c = json_object_new_object();

    add(c, "major", d->major);
    add(c, "minor", d->minor);
    json_object_object_add(c, "op", json_object_new_string(op));
    add(c, "value", value);
    return c;
}

static void add_io(struct json_object *o, const struct cgroup_io_stats *s)
{
    if (!s->has && !s->pressure.has)
        return;
    struct json_object *io = child(o, "blkio");
    if (s->has) {
        struct json_object *bytes = json_object_new_array(), *ops = json_object_new_array();
        json_object_object_add(io, "ioServiceBytesRecursive", bytes);
        json_object_object_add(io, "ioServicedRecursive", ops);
        for (size_t i = 0; i < s->n; i++) {
            const struct cgroup_io_device *d = &s->list[i];
            json_object_array_add(bytes, io_entry(d, "Read", d->rbytes));
            json_object_array_add(bytes, io_entry(d, "Write", d->wbytes));
            json_object_array_add(ops, io_entry(d, "Read", d->rios));
            json_object_array_add(ops, io_entry(d, "Write", d->wios));
        }
    }
    add_pressure(io, &s->pressure);
}

static void add_hugetlb(struct json_object *o, const struct cgroup_hugetlb_stats *s)
{
    struct json_object *h = s->n > 0 ? child(o, "hugetlb") : NULL;

    for (size_t i = 0; i < s->n; i++) {
        struct json_object *size = child(h, s->list[i].size);
        add(size, "usage", s->list[i].current);
        add(size, "failcnt", s->list[i].failures);
    }
}

static void add_rdma_devices(struct json_object *o, const char *key,
                             const struct cgroup_rdma_stats *s)
{
    struct json_object *list = json_object_new_array();

    json_object_object_add(o, key, list);
    for (size_t i = 0; i < s->n; i++) {
        struct json_object *d = json_object_new_object();
        json_object_object_add(d, "device", json_object_new_string(s->list[i].device));
        add(d, "hca_handles", s->list[i].handles);
        add(d, "hca_objects", s->list[i].objects);
        json_object_array_add(list, d);
    }
}

/* Not among runc's; the names are those its libraries give these numbers elsewhere. */
static void add_rdma(struct json_object *o, const struct cgroup_stats *s)
{
    if (s->rdma_current.n == 0 && s->rdma_max.n == 0)
        return;
    struct json_object *r = child(o, "rdma");
    add_rdma_devices(r, "rdma_current", &s->rdma_current);
    add_rdma_devices(r, "rdma_limit", &s->rdma_max);
}

struct json_object *stats_json(const struct cgroup_stats *s)
{
    struct json_object *o = json_object_new_object();

    add_cpu(o, &s->cpu);
    add_memory(o, &s->memory);
    add_pids(o, &s->pids);
    add_io(o, &s->io);
    add_hugetlb(o, &s->hugetlb);
    add_rdma(o, s);
    /* Those of a container that runc itself had made the network for, which no OCI bundle asks
     * for. */
    json_object_object_add(o, "network_interfaces", NULL);
    return o;
}
