/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "cgroup/stats.h"

/* The formats of cgroup v2's statistics ("Interface Files" in cgroup-v2.rst): flat keyed files have
 * "KEY VALUE" lines, nested keyed ones "KEY SUB_KEY=VALUE …" lines. */

#define COUNTERS_MAX 1024 /* Linux 6.18 has about 80 lines in memory.stat */
#define DEVICES_MAX 4096

/* A piece of the text that is being parsed. */
struct span {
    const char *s;
    size_t n;
};

static bool span_is(struct span a, const char *text)
{
    return a.n == strlen(text) && memcmp(a.s, text, a.n) == 0;
}

static char *span_dup(struct span a)
{
    return mem_strndup(a.s, a.n);
}

/* Takes what stands before the next `c` off the front; false at the end. */
static bool span_take(struct span *rest, char c, struct span *ret)
{
    if (rest->n == 0)
        return false;
    const char *end = memchr(rest->s, c, rest->n);
    *ret = (struct span){rest->s, end ? (size_t)(end - rest->s) : rest->n};
    size_t used = ret->n + (end ? 1 : 0);
    rest->s += used;
    rest->n -= used;
    return true;
}

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static int span_u64(struct span a, uint64_t *ret)
{
    char number[24];

    if (a.n >= sizeof(number))
        return -EINVAL;
    memcpy(number, a.s, a.n);
    number[a.n] = '\0';
    return num_parse_u64(number, ret);
}

/* "KEY VALUE", both there and nothing else. */
static int flat_line(struct span line, struct span *ret_key, uint64_t *ret_value)
{
    if (!span_take(&line, ' ', ret_key) || ret_key->n == 0)
        return -EINVAL;
    return span_u64(line, ret_value);
}

/* "SUB_KEY=VALUE"; false where there is no '='. */
static bool nested_pair(struct span word, struct span *ret_key, struct span *ret_value)
{
    const char *eq = memchr(word.s, '=', word.n);

    if (!eq)
        return false;
    *ret_key = (struct span){word.s, (size_t)(eq - word.s)};
    *ret_value = (struct span){eq + 1, word.n - ret_key->n - 1};
    return true;
}

/* Where the value of a key goes in a struct. */
struct field {
    const char *key;
    size_t offset;
};

static uint64_t *field_find(const struct field *fields, size_t n, struct span key, void *out)
{
    for (size_t i = 0; i < n; i++)
        if (span_is(key, fields[i].key))
            return (uint64_t *)(void *)((char *)out + fields[i].offset);
    return NULL;
}

/* A flat keyed file into a struct; *ret_seen says which rows there were, as bits. */
static int parse_flat(const char *text, const struct field *fields, size_t n, void *out,
                      unsigned *ret_seen)
{
    struct span rest = span_of(text), line, key;

    *ret_seen = 0;
    while (span_take(&rest, '\n', &line)) {
        uint64_t value;
        int r = flat_line(line, &key, &value);
        if (r < 0)
            return r;
        for (unsigned i = 0; i < n; i++)
            if (span_is(key, fields[i].key)) {
                *(uint64_t *)(void *)((char *)out + fields[i].offset) = value;
                *ret_seen |= 1u << i;
            }
    }
    return 0;
}

int cgroup_parse_cpu_stat(const char *text, void *ret)
{
#define CPU(name)                                                                                  \
    {                                                                                              \
#name, offsetof(struct cgroup_cpu_stats, name)                                             \
    }
    enum { USAGE = 1 << 0, THROTTLED = 1 << 5 };
    static const struct field fields[] = {
        CPU(usage_usec), CPU(user_usec),    CPU(system_usec),
        CPU(nr_periods), CPU(nr_throttled), CPU(throttled_usec),
    };
    struct cgroup_cpu_stats s = {.has = true};
    unsigned seen;

    int r = parse_flat(text, fields, ARRAY_SIZE(fields), &s, &seen);
    if (r < 0)
        return r;
    if (!(seen & USAGE))
        return -EINVAL;
    s.has_throttling = seen & THROTTLED;
    *(struct cgroup_cpu_stats *)ret = s;
    return 0;
}

int cgroup_parse_memory_events(const char *text, void *ret)
{
#define EVENT(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct cgroup_memory_events, name)                                         \
    }
    enum { OOM_KILL = 1 << 0 };
    static const struct field fields[] = {
        EVENT(oom_kill), EVENT(low), EVENT(high), EVENT(max), EVENT(oom), EVENT(oom_group_kill),
    };
    struct cgroup_memory_events events = {.has = true};
    unsigned seen;

    int r = parse_flat(text, fields, ARRAY_SIZE(fields), &events, &seen);
    if (r < 0)
        return r;
    if (!(seen & OOM_KILL))
        return -EINVAL;
    *(struct cgroup_memory_events *)ret = events;
    return 0;
}

int cgroup_parse_max_events(const char *text, void *ret)
{
    static const struct field fields[] = {{"max", 0}};
    uint64_t value = 0;
    unsigned seen;

    int r = parse_flat(text, fields, ARRAY_SIZE(fields), &value, &seen);
    if (r < 0)
        return r;
    if (!seen)
        return -EINVAL;
    *(uint64_t *)ret = value;
    return 0;
}

static void counters_free(struct cgroup_counters *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->list[i].name);
    free(c->list);
}

int cgroup_parse_memory_stat(const char *text, void *ret)
{
    struct span rest = span_of(text), line, key;
    struct cgroup_counters c = {0};
    int r = 0;

    while (r == 0 && span_take(&rest, '\n', &line)) {
        uint64_t value = 0;
        r = c.n == COUNTERS_MAX ? -E2BIG : flat_line(line, &key, &value);
        if (r == 0) {
            mem_grow(c.list, c.n);
            c.list[c.n++] = (struct cgroup_counter){span_dup(key), value};
        }
    }
    if (r < 0) {
        counters_free(&c);
        return r;
    }
    *(struct cgroup_counters *)ret = c;
    return 0;
}

/* "12.34", as the kernel's "%lu.%02lu" has it, in hundredths. */
static int parse_hundredths(struct span a, uint64_t *ret)
{
    struct span whole, rest = a;
    uint64_t v, h;

    if (!span_take(&rest, '.', &whole) || rest.n != 2)
        return -EINVAL;
    int r = span_u64(whole, &v);
    if (r == 0)
        r = span_u64(rest, &h);
    if (r < 0)
        return r;
    if (v > UINT32_MAX)
        return -ERANGE;
    *ret = v * 100 + h;
    return 0;
}

static int parse_share(struct span words, struct cgroup_pressure_share *ret)
{
    static const struct field fields[] = {
        {"avg10", offsetof(struct cgroup_pressure_share, avg10)},
        {"avg60", offsetof(struct cgroup_pressure_share, avg60)},
        {"avg300", offsetof(struct cgroup_pressure_share, avg300)},
        {"total", offsetof(struct cgroup_pressure_share, total)},
    };
    struct span word, key, value;

    while (span_take(&words, ' ', &word)) {
        if (!nested_pair(word, &key, &value))
            return -EINVAL;
        uint64_t *to = field_find(fields, ARRAY_SIZE(fields), key, ret);
        int r = !to ? 0 : to == &ret->total ? span_u64(value, to) : parse_hundredths(value, to);
        if (r < 0)
            return r;
    }
    return 0;
}

int cgroup_parse_pressure(const char *text, void *ret)
{
    struct span rest = span_of(text), line, kind;
    struct cgroup_pressure p = {0};

    while (span_take(&rest, '\n', &line)) {
        int r = span_take(&line, ' ', &kind) ? 0 : -EINVAL;
        if (r == 0 && span_is(kind, "some")) {
            r = parse_share(line, &p.some);
            p.has = true;
        } else if (r == 0 && span_is(kind, "full")) {
            /* Not there in cpu.pressure before Linux 5.13. */
            r = parse_share(line, &p.full);
        }
        if (r < 0)
            return r;
    }
    if (!p.has)
        return -EINVAL;
    *(struct cgroup_pressure *)ret = p;
    return 0;
}

/* "8:16" */
static int parse_device(struct span a, struct cgroup_io_device *ret)
{
    struct span rest = a, major;
    uint64_t x = 0, y = 0;

    if (!span_take(&rest, ':', &major) || span_u64(major, &x) < 0 || span_u64(rest, &y) < 0 ||
        x > UINT32_MAX || y > UINT32_MAX)
        return -EINVAL;
    *ret = (struct cgroup_io_device){.major = (uint32_t)x, .minor = (uint32_t)y};
    return 0;
}

/* One word of io.stat: a device, or a value of the device before it. */
static int io_word(struct span word, struct cgroup_io_stats *io, bool *filled)
{
    static const struct field fields[] = {
        {"rbytes", offsetof(struct cgroup_io_device, rbytes)},
        {"wbytes", offsetof(struct cgroup_io_device, wbytes)},
        {"rios", offsetof(struct cgroup_io_device, rios)},
        {"wios", offsetof(struct cgroup_io_device, wios)},
    };
    struct span key, value;

    if (nested_pair(word, &key, &value)) {
        if (io->n == 0)
            return -EINVAL;
        uint64_t *to = field_find(fields, ARRAY_SIZE(fields), key, &io->list[io->n - 1]);
        *filled |= to != NULL;
        return to ? span_u64(value, to) : 0;
    }
    /* Kernels before 5.16 (blkcg_print_one_stat()) begin a line with the names of devices that have
     * nothing to tell: "8:0 8:16 rbytes=…". */
    if (io->n > 0 && !*filled)
        io->n--;
    if (io->n == DEVICES_MAX)
        return -E2BIG;
    mem_grow(io->list, io->n);
    *filled = false;
    int r = parse_device(word, &io->list[io->n]);
    if (r == 0)
        io->n++;
    return r;
}

int cgroup_parse_io_stat(const char *text, void *ret)
{
    struct span rest = span_of(text), line, word;
    struct cgroup_io_stats io = {.has = true};
    bool filled = false;
    int r = 0;

    while (r == 0 && span_take(&rest, '\n', &line))
        while (r == 0 && span_take(&line, ' ', &word))
            r = word.n > 0 ? io_word(word, &io, &filled) : 0;
    if (r < 0) {
        free(io.list);
        return r;
    }
    if (io.n > 0 && !filled)
        io.n--;
    *(struct cgroup_io_stats *)ret = io;
    return 0;
}

static int parse_rdma_line(struct span line, struct cgroup_rdma_device *ret)
{
    static const struct field fields[] = {
        {"hca_handle", offsetof(struct cgroup_rdma_device, handles)},
        {"hca_object", offsetof(struct cgroup_rdma_device, objects)},
    };
    struct cgroup_rdma_device d = {0};
    struct span name, word, key, value;

    if (!span_take(&line, ' ', &name) || name.n == 0)
        return -EINVAL;
    while (span_take(&line, ' ', &word)) {
        if (word.n == 0)
            continue;
        if (!nested_pair(word, &key, &value))
            return -EINVAL;
        uint64_t *to = field_find(fields, ARRAY_SIZE(fields), key, &d);
        if (to && span_is(value, "max"))
            *to = CGROUP_NO_LIMIT;
        else if (to && span_u64(value, to) < 0)
            return -EINVAL;
    }
    d.device = span_dup(name);
    *ret = d;
    return 0;
}

int cgroup_parse_rdma(const char *text, void *ret)
{
    struct span rest = span_of(text), line;
    struct cgroup_rdma_stats s = {0};
    int r = 0;

    while (r == 0 && span_take(&rest, '\n', &line)) {
        mem_grow(s.list, s.n);
        r = s.n == DEVICES_MAX ? -E2BIG : parse_rdma_line(line, &s.list[s.n]);
        s.n += r == 0;
    }
    if (r < 0) {
        for (size_t i = 0; i < s.n; i++)
            free(s.list[i].device);
        free(s.list);
        return r;
    }
    *(struct cgroup_rdma_stats *)ret = s;
    return 0;
}
