/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "cgroup/write.h"

/* io.max has a line a device. */
#define LIMIT_FILE_MAX ((size_t)1 << 20)
#define IO_DEVICES_MAX 4096
#define CPU_WEIGHT_DEFAULT 100 /* kernel/sched/core.c, CGROUP_WEIGHT_DFL */

void cgroup_limits_init(struct cgroup_limits *l)
{
    *l = (struct cgroup_limits){
        .memory_bytes = CGROUP_NO_LIMIT,
        .memory_high = CGROUP_NO_LIMIT,
        .memory_swap_max = CGROUP_NO_LIMIT,
        .cpu_quota_us = CGROUP_NO_LIMIT,
        .cpu_period_us = CGROUP_NO_LIMIT,
        .cpu_weight = CGROUP_NO_LIMIT,
        .pids_max = CGROUP_NO_LIMIT,
    };
}

static void io_free(struct cgroup_io_limit *io, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(io[i].device);
    free(io);
}

void cgroup_limits_done(struct cgroup_limits *l)
{
    io_free(l->io, l->n_io);
    cgroup_limits_init(l);
}

bool cgroup_limits_empty(const struct cgroup_limits *l)
{
    return l->memory_bytes == CGROUP_NO_LIMIT && l->memory_high == CGROUP_NO_LIMIT &&
           l->memory_swap_max == CGROUP_NO_LIMIT && l->cpu_quota_us == CGROUP_NO_LIMIT &&
           l->cpu_period_us == CGROUP_NO_LIMIT && l->cpu_weight == CGROUP_NO_LIMIT &&
           l->pids_max == CGROUP_NO_LIMIT && l->n_io == 0;
}

/* --- the formats --------------------------------------------------------------------------- */

/* "max" or a number of `n` characters. UINT64_MAX would be read as max, so it is out of range. */
static int parse_max_n(const char *s, size_t n, uint64_t *ret)
{
    char number[24];

    if (n == 3 && memcmp(s, "max", 3) == 0) {
        *ret = CGROUP_NO_LIMIT;
        return 0;
    }
    if (n >= sizeof(number))
        return -EINVAL;
    memcpy(number, s, n);
    number[n] = '\0';
    return num_parse_u64_max(number, CGROUP_NO_LIMIT - 1, ret);
}

/* Length without the one newline at the end. */
static size_t line_len(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && text[n - 1] == '\n' ? n - 1 : n;
}

int cgroup_parse_max(const char *text, uint64_t *ret)
{
    return parse_max_n(text, line_len(text), ret);
}

int cgroup_parse_cpu_max(const char *text, uint64_t *quota, uint64_t *period)
{
    size_t n = line_len(text), first = strcspn(text, " ");
    uint64_t q, p;

    if (first >= n)
        return -EINVAL;
    int r = parse_max_n(text, first, &q);
    if (r < 0)
        return r;
    r = parse_max_n(text + first + 1, n - first - 1, &p);
    if (r < 0)
        return r;
    if (p == 0 || p == CGROUP_NO_LIMIT)
        return -EINVAL;
    *quota = q;
    *period = p;
    return 0;
}

/* "MAJ:MIN" */
static int parse_device(const char *s, size_t n, char **ret)
{
    _cleanup_free_ char *text = mem_strndup(s, n);
    uint64_t v;

    char *colon = strchr(text, ':');
    if (!colon)
        return -EINVAL;
    *colon = '\0';
    if (num_parse_u64_max(text, UINT32_MAX, &v) < 0 ||
        num_parse_u64_max(colon + 1, UINT32_MAX, &v) < 0)
        return -EINVAL;
    *colon = ':';
    *ret = TAKE_PTR(text);
    return 0;
}

/* One "key=value" of io.max; each key once. */
static int parse_io_pair(const char *s, size_t n, struct cgroup_io_limit *io, unsigned *seen)
{
    const struct {
        const char *name;
        uint64_t *value;
    } keys[] = {
        {"rbps=", &io->rbps},
        {"wbps=", &io->wbps},
        {"riops=", &io->riops},
        {"wiops=", &io->wiops},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        size_t k = strlen(keys[i].name);
        if (n <= k || memcmp(s, keys[i].name, k) != 0)
            continue;
        if (*seen & 1u << i)
            return -EINVAL;
        *seen |= 1u << i;
        return parse_max_n(s + k, n - k, keys[i].value);
    }
    return -EINVAL;
}

/* blk-throttle.c, tg_prfill_limit(): "8:16 rbps=max wbps=1048576 riops=max wiops=max" */
static int parse_io_line(const char *s, size_t n, struct cgroup_io_limit *ret)
{
    struct cgroup_io_limit io = {
        .rbps = CGROUP_NO_LIMIT,
        .wbps = CGROUP_NO_LIMIT,
        .riops = CGROUP_NO_LIMIT,
        .wiops = CGROUP_NO_LIMIT,
    };
    const char *end = s + n, *blank = memchr(s, ' ', n);
    unsigned seen = 0;

    if (!blank)
        return -EINVAL;
    for (const char *p = blank; p;) {
        const char *next = memchr(p + 1, ' ', (size_t)(end - p - 1));
        int r = parse_io_pair(p + 1, (size_t)((next ? next : end) - p - 1), &io, &seen);
        if (r < 0)
            return r;
        p = next;
    }
    int r = parse_device(s, (size_t)(blank - s), &io.device);
    if (r < 0)
        return r;
    *ret = io;
    return 0;
}

static int parse_io_lines(const char *text, struct cgroup_io_limit **io, size_t *n)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (*n == IO_DEVICES_MAX)
            return -E2BIG;
        mem_grow(*io, *n);
        int r = parse_io_line(line, len, &(*io)[*n]);
        if (r < 0)
            return r;
        (*n)++;
        for (size_t i = 0; i + 1 < *n; i++)
            if (streq((*io)[i].device, (*io)[*n - 1].device))
                return -EINVAL;
        line += len + (line[len] == '\n');
    }
    return 0;
}

int cgroup_parse_io_max(const char *text, struct cgroup_io_limit **ret, size_t *ret_n)
{
    struct cgroup_io_limit *io = NULL;
    size_t n = 0;

    int r = parse_io_lines(text, &io, &n);
    if (r < 0) {
        io_free(io, n);
        return r;
    }
    *ret = io;
    *ret_n = n;
    return 0;
}

/* --- reading ------------------------------------------------------------------------------- */

/* cpu.weight reads 0 while cpu.idle is set, a value it does not take back. */
static int parse_weight(const char *text, uint64_t *ret)
{
    uint64_t v;

    int r = cgroup_parse_max(text, &v);
    if (r < 0)
        return r;
    if (v == CGROUP_NO_LIMIT)
        return -EINVAL;
    *ret = v ? v : CGROUP_NO_LIMIT;
    return 0;
}

static int parse_file(const char *name, const char *text, struct cgroup_limits *l)
{
    if (streq(name, "memory.max"))
        return cgroup_parse_max(text, &l->memory_bytes);
    if (streq(name, "memory.high"))
        return cgroup_parse_max(text, &l->memory_high);
    if (streq(name, "memory.swap.max"))
        return cgroup_parse_max(text, &l->memory_swap_max);
    if (streq(name, "cpu.max"))
        return cgroup_parse_cpu_max(text, &l->cpu_quota_us, &l->cpu_period_us);
    if (streq(name, "cpu.weight"))
        return parse_weight(text, &l->cpu_weight);
    if (streq(name, "pids.max"))
        return cgroup_parse_max(text, &l->pids_max);
    return cgroup_parse_io_max(text, &l->io, &l->n_io);
}

static const char *const limit_files[] = {
    "memory.max", "memory.high", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "io.max",
};

static int read_file(int dirfd, const char *path, const char *name, struct cgroup_limits *l,
                     struct error *e)
{
    _cleanup_free_ char *text = NULL, *full = path_join(path, name);

    int r = file_read_at(dirfd, name, 0, LIMIT_FILE_MAX, &text, NULL);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_errno(e, r, "read the limit", full);
    r = parse_file(name, text, l);
    if (r < 0)
        return error_set(e, ERROR_CGROUP, -r, "read the limit", full,
                         "report it with the kernel's version",
                         "'%.200s' is not in the format of cgroup-v2.rst", text);
    return 0;
}

int cgroup_read_limits(const char *path, struct cgroup_limits *ret, struct error *e)
{
    struct cgroup_limits l;

    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "read the limits of the cgroup", path);
    cgroup_limits_init(&l);
    for (size_t i = 0; i < ARRAY_SIZE(limit_files); i++) {
        int r = read_file(fd, path, limit_files[i], &l, e);
        if (r < 0) {
            cgroup_limits_done(&l);
            return r;
        }
    }
    *ret = l;
    return 0;
}

/* --- writing ------------------------------------------------------------------------------- */

static void plan_number(struct cgroup_writes *p, const char *file, uint64_t v, bool optional)
{
    if (v != CGROUP_NO_LIMIT)
        cgroup_writes_add(p, file, str_printf("%llu", (unsigned long long)v))->optional = optional;
}

static void add_io_value(struct strbuf *b, const char *key, uint64_t v)
{
    if (v == CGROUP_NO_LIMIT)
        strbuf_addf(b, " %s=max", key);
    else
        strbuf_addf(b, " %s=%llu", key, (unsigned long long)v);
}

static void plan_io(struct cgroup_writes *p, const struct cgroup_io_limit *io)
{
    struct strbuf b = {0};
    bool is_default = io->rbps == CGROUP_NO_LIMIT && io->wbps == CGROUP_NO_LIMIT &&
                      io->riops == CGROUP_NO_LIMIT && io->wiops == CGROUP_NO_LIMIT;

    strbuf_add(&b, io->device);
    add_io_value(&b, "rbps", io->rbps);
    add_io_value(&b, "wbps", io->wbps);
    add_io_value(&b, "riops", io->riops);
    add_io_value(&b, "wiops", io->wiops);
    cgroup_writes_add(p, "io.max", strbuf_take(&b))->optional = is_default;
}

static void plan_cpu(struct cgroup_writes *p, const struct cgroup_limits *l)
{
    struct strbuf b = {0};
    bool no_quota = l->cpu_quota_us == CGROUP_NO_LIMIT;

    if (no_quota && l->cpu_period_us == CGROUP_NO_LIMIT)
        return;
    if (no_quota)
        strbuf_add(&b, "max");
    else
        strbuf_addf(&b, "%llu", (unsigned long long)l->cpu_quota_us);
    if (l->cpu_period_us != CGROUP_NO_LIMIT)
        strbuf_addf(&b, " %llu", (unsigned long long)l->cpu_period_us);
    cgroup_writes_add(p, "cpu.max", strbuf_take(&b))->optional = no_quota;
}

void cgroup_plan_limits(const struct cgroup_limits *l, struct cgroup_writes *ret)
{
    plan_number(ret, "memory.max", l->memory_bytes, false);
    plan_number(ret, "memory.high", l->memory_high, false);
    plan_number(ret, "memory.swap.max", l->memory_swap_max, false);
    plan_cpu(ret, l);
    plan_number(ret, "cpu.weight", l->cpu_weight, l->cpu_weight == CPU_WEIGHT_DEFAULT);
    plan_number(ret, "pids.max", l->pids_max, false);
    for (size_t i = 0; i < l->n_io; i++)
        plan_io(ret, &l->io[i]);
}

int cgroup_write_limits(const struct cgroup_host *host, const char *path,
                        const struct cgroup_limits *l, struct error *e)
{
    _cleanup_writes_ struct cgroup_writes w = {0};

    cgroup_plan_limits(l, &w);
    return cgroup_write_all(host, path, &w, e);
}
