/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/stats-table.h"

#include <stdlib.h>

#include "base/mem.h"

#define ID_WIDTH_MIN 12

void usage_table_done(struct usage_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->rows[i].id);
        free(t->rows[i].name);
    }
    free(t->rows);
    *t = (struct usage_table){0};
}

static int64_t clamp(uint64_t v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static int64_t value(bool has, uint64_t v)
{
    return has ? clamp(v) : USAGE_UNKNOWN;
}

void usage_table_add(struct usage_table *t, const char *id, const char *name, int64_t at_usec,
                     const struct cgroup_stats *s)
{
    uint64_t read = 0, written = 0;

    for (size_t i = 0; i < s->io.n; i++) {
        read += s->io.list[i].rbytes;
        written += s->io.list[i].wbytes;
    }
    mem_grow(t->rows, t->n);
    t->rows[t->n++] = (struct usage_row){
        .id = mem_strdup(id),
        .name = mem_strdup(name),
        .cpu_usec = value(s->cpu.has, s->cpu.usage_usec),
        .at_usec = at_usec,
        .cpu_tenths = USAGE_UNKNOWN,
        .memory = value(s->memory.usage.has, s->memory.usage.current),
        .memory_limit = value(s->memory.usage.has, s->memory.usage.max),
        .tasks = value(s->pids.has, s->pids.current),
        .io_read = value(s->io.has, read),
        .io_write = value(s->io.has, written),
    };
}

void usage_table_compare(struct usage_table *t, const struct usage_table *before)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < before->n; k++) {
            struct usage_row *now = &t->rows[i];
            const struct usage_row *then = &before->rows[k];
            int64_t passed = now->at_usec - then->at_usec;
            /* A counter that went back is another container's of the same name. */
            if (streq(now->id, then->id) && passed > 0 && then->cpu_usec >= 0 &&
                now->cpu_usec >= then->cpu_usec)
                now->cpu_tenths = (now->cpu_usec - then->cpu_usec) * 1000 / passed;
        }
}

/* "512B", "1.5KiB", "3.2GiB" */
static char *bytes_text(int64_t v)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double d = (double)v;
    size_t i = 0;

    if (v == USAGE_UNKNOWN)
        return str_printf("-");
    if (v < 1024)
        return str_printf("%lldB", (long long)v);
    for (d /= 1024; d >= 1024 && i + 1 < ARRAY_SIZE(units); d /= 1024)
        i++;
    return str_printf("%.1f%s", d, units[i]);
}

static char *limit_text(int64_t v)
{
    return v == INT64_MAX ? str_printf("max") : bytes_text(v);
}

static char *percent_text(int64_t tenths)
{
    if (tenths == USAGE_UNKNOWN)
        return str_printf("-");
    return str_printf("%lld.%d%%", (long long)(tenths / 10), (int)(tenths % 10));
}

static char *count_text(int64_t v)
{
    return v == USAGE_UNKNOWN ? str_printf("-") : str_printf("%lld", (long long)v);
}

static void print_row(struct strbuf *out, int width, const struct usage_row *row, const char *eol)
{
    _cleanup_free_ char *cpu = percent_text(row->cpu_tenths);
    _cleanup_free_ char *memory = bytes_text(row->memory);
    _cleanup_free_ char *limit = limit_text(row->memory_limit);
    _cleanup_free_ char *tasks = count_text(row->tasks);
    _cleanup_free_ char *read = bytes_text(row->io_read);
    _cleanup_free_ char *written = bytes_text(row->io_write);

    strbuf_addf(out, "%-*s %8s %9s / %-9s %6s %9s / %-9s%s", width, row->id, cpu, memory, limit,
                tasks, read, written, eol);
}

void usage_table_print(const struct usage_table *t, const char *eol, struct strbuf *out)
{
    size_t width = ID_WIDTH_MIN;

    for (size_t i = 0; i < t->n; i++)
        width = MAX(width, strlen(t->rows[i].id));
    strbuf_addf(out, "%-*s %8s %9s / %-9s %6s %9s / %-9s%s", (int)width, "ID", "CPU", "MEMORY",
                "LIMIT", "TASKS", "READ", "WRITTEN", eol);
    for (size_t i = 0; i < t->n; i++)
        print_row(out, (int)width, &t->rows[i], eol);
}

static struct json_object *number(int64_t v)
{
    return v == USAGE_UNKNOWN ? NULL : json_object_new_int64(v);
}

struct json_object *usage_row_json(const struct usage_row *row)
{
    _cleanup_free_ char *percent =
        str_printf("%lld.%d", (long long)(row->cpu_tenths / 10), (int)(row->cpu_tenths % 10));
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "id", json_object_new_string(row->id));
    json_object_object_add(o, "name", json_object_new_string(row->name));
    json_object_object_add(o, "cpu_percent",
                           row->cpu_tenths == USAGE_UNKNOWN
                               ? NULL
                               : json_object_new_double_s((double)row->cpu_tenths / 10, percent));
    json_object_object_add(o, "cpu_usage_usec", number(row->cpu_usec));
    json_object_object_add(o, "memory_usage", number(row->memory));
    json_object_object_add(o, "memory_limit",
                           row->memory_limit == INT64_MAX ? NULL : number(row->memory_limit));
    json_object_object_add(o, "tasks", number(row->tasks));
    json_object_object_add(o, "io_read", number(row->io_read));
    json_object_object_add(o, "io_written", number(row->io_write));
    return o;
}
