/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define STATS_FILE_MAX ((size_t)1 << 20)
#define HUGETLB_SIZES_MAX 64

static void rdma_done(struct cgroup_rdma_stats *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->list[i].device);
    free(r->list);
}

void cgroup_stats_done(struct cgroup_stats *s)
{
    for (size_t i = 0; i < s->memory.counters.n; i++)
        free(s->memory.counters.list[i].name);
    free(s->memory.counters.list);
    free(s->io.list);
    for (size_t i = 0; i < s->hugetlb.n; i++)
        free(s->hugetlb.list[i].size);
    free(s->hugetlb.list);
    rdma_done(&s->rdma_current);
    rdma_done(&s->rdma_max);
    *s = (struct cgroup_stats){0};
}

uint64_t cgroup_counter_value(const struct cgroup_counters *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (streq(c->list[i].name, name))
            return c->list[i].value;
    return 0;
}

/* What is being read, for all files of one cgroup. */
struct reader {
    int dirfd;
    const char *path;
    struct error *e;
};

static int fail(const struct reader *rd, int r, const char *file)
{
    _cleanup_free_ char *path = path_join(rd->path, file);

    /* ENODEV: it was removed after it had been opened. */
    if (r == -ENODEV)
        return error_set(rd->e, ERROR_CGROUP, ENOENT, "read the statistics of the cgroup", rd->path,
                         NULL, "it is gone");
    return error_set(rd->e, ERROR_CGROUP, -r, "read the statistics of the cgroup", path, NULL,
                     NULL);
}

/* 1, or 0 where the file is not there: no controller, an older kernel, or (EOPNOTSUPP) pressure
 * that is switched off. */
static int read_text(const struct reader *rd, const char *file, char **ret)
{
    int r = file_read_at(rd->dirfd, file, 0, STATS_FILE_MAX, ret, NULL);

    if (r == -ENOENT || r == -EOPNOTSUPP)
        return 0;
    return r < 0 ? fail(rd, r, file) : 1;
}

typedef int (*parse_func)(const char *text, void *ret);

static int parse_value(const char *text, void *ret)
{
    return cgroup_parse_max(text, ret);
}

/* Likewise, and parsed. */
static int read_part(const struct reader *rd, const char *file, parse_func parse, void *ret)
{
    _cleanup_free_ char *text = NULL;

    int found = read_text(rd, file, &text);
    if (found <= 0)
        return found;
    int r = parse(text, ret);
    return r < 0 ? fail(rd, r, file) : 1;
}

/* `what`.current, .max and .peak. */
static int read_usage(const struct reader *rd, const char *what, struct cgroup_usage *ret)
{
    _cleanup_free_ char *current = str_printf("%s.current", what);
    _cleanup_free_ char *max = str_printf("%s.max", what);
    _cleanup_free_ char *peak = str_printf("%s.peak", what);

    int r = read_part(rd, current, parse_value, &ret->current);
    if (r <= 0)
        return r;
    ret->has = true;
    ret->max = CGROUP_NO_LIMIT;
    r = read_part(rd, max, parse_value, &ret->max);
    if (r < 0)
        return r;
    r = read_part(rd, peak, parse_value, &ret->peak);
    ret->has_peak = r > 0;
    return r;
}

/* hugetlb.SIZE.current and .events; `name` is the former. */
static int read_hugetlb_size(const struct reader *rd, const char *name,
                             struct cgroup_hugetlb_stats *h)
{
    const char *size = str_after(name, "hugetlb.");
    const char *dot = size ? strchr(size, '.') : NULL;

    if (!dot || !streq(dot, ".current"))
        return 0;
    if (h->n == HUGETLB_SIZES_MAX)
        return fail(rd, -E2BIG, name);

    uint64_t current = 0, failures = 0;
    int r = read_part(rd, name, parse_value, &current);
    if (r <= 0)
        return r;
    _cleanup_free_ char *events = str_printf("hugetlb.%.*s.events", (int)(dot - size), size);
    r = read_part(rd, events, cgroup_parse_max_events, &failures);
    if (r < 0)
        return r;
    mem_grow(h->list, h->n);
    h->list[h->n++] = (struct cgroup_hugetlb){
        .size = mem_strndup(size, (size_t)(dot - size)),
        .current = current,
        .failures = failures,
    };
    return 0;
}

static int compare_sizes(const void *a, const void *b)
{
    return strcmp(((const struct cgroup_hugetlb *)a)->size,
                  ((const struct cgroup_hugetlb *)b)->size);
}

/* Which page sizes there are is the machine's, so the directory is asked. */
static int read_hugetlb(const struct reader *rd, struct cgroup_hugetlb_stats *ret)
{
    _cleanup_close_ int fd = openat(rd->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return fail(rd, -errno, ".");
    TAKE_FD(fd);

    for (const struct dirent *entry; (entry = readdir(d));) {
        int r = read_hugetlb_size(rd, entry->d_name, ret);
        if (r < 0)
            return r;
    }
    if (ret->n > 0)
        qsort(ret->list, ret->n, sizeof(*ret->list), compare_sizes);
    return 0;
}

static int read_all(const struct reader *rd, struct cgroup_stats *s)
{
    const struct {
        const char *file;
        parse_func parse;
        void *to;
    } parts[] = {
        {"cpu.stat", cgroup_parse_cpu_stat, &s->cpu}, /* before its pressure: it sets the struct */
        {"cpu.pressure", cgroup_parse_pressure, &s->cpu.pressure},
        {"memory.stat", cgroup_parse_memory_stat, &s->memory.counters},
        {"memory.events", cgroup_parse_memory_events, &s->memory.events},
        {"memory.pressure", cgroup_parse_pressure, &s->memory.pressure},
        {"io.stat", cgroup_parse_io_stat, &s->io},
        {"io.pressure", cgroup_parse_pressure, &s->io.pressure},
        {"rdma.current", cgroup_parse_rdma, &s->rdma_current},
        {"rdma.max", cgroup_parse_rdma, &s->rdma_max},
    };
    const struct {
        const char *what;
        struct cgroup_usage *to;
    } usages[] = {
        {"memory", &s->memory.usage},
        {"memory.swap", &s->memory.swap},
        {"pids", &s->pids},
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        int r = read_part(rd, parts[i].file, parts[i].parse, parts[i].to);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < ARRAY_SIZE(usages); i++) {
        int r = read_usage(rd, usages[i].what, usages[i].to);
        if (r < 0)
            return r;
    }
    return read_hugetlb(rd, &s->hugetlb);
}

int cgroup_read_stats(const char *path, struct cgroup_stats *ret, struct error *e)
{
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "read the statistics of the cgroup", path, NULL,
                         NULL);
    struct reader rd = {.dirfd = fd, .path = path, .e = e};
    struct cgroup_stats s = {0};
    int r = read_all(&rd, &s);
    if (r < 0) {
        cgroup_stats_done(&s);
        return r;
    }
    *ret = s;
    return 0;
}

int cgroup_oom_kills(const char *path, uint64_t *ret)
{
    _cleanup_free_ char *file = path_join(path, "memory.events");
    _cleanup_free_ char *text = NULL;
    struct cgroup_memory_events events;

    int r = file_read_at(AT_FDCWD, file, 0, STATS_FILE_MAX, &text, NULL);
    if (r == 0)
        r = cgroup_parse_memory_events(text, &events);
    if (r < 0)
        return r == -ENODEV ? -ENOENT : r;
    *ret = events.oom_kill;
    return 0;
}
