/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/systemd-properties.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"

#define INFINITE UINT64_MAX /* "infinity" in systemd's unit files */
#define SET_BITS 8192       /* CONFIG_NR_CPUS of the largest kernels */
#define USEC_PER_SEC 1000000u
#define CPU_MAX_MAX 64
#define PERIOD_DEFAULT 100000 /* µs; kernel/sched/core.c, default_cfs_period() */

void cgroup_systemd_properties_done(struct cgroup_systemd_properties *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->list[i].name);
        gvariant_done(&p->list[i].value);
    }
    free(p->list);
    *p = (struct cgroup_systemd_properties){0};
}

struct systemd_property *systemd_property_put(struct cgroup_systemd_properties *p, const char *name,
                                              struct gvariant value)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!streq(p->list[i].name, name))
            continue;
        gvariant_done(&p->list[i].value);
        p->list[i] = (struct systemd_property){.name = p->list[i].name, .value = value};
        return &p->list[i];
    }
    mem_grow(p->list, p->n);
    p->list[p->n] = (struct systemd_property){.name = mem_strdup(name), .value = value};
    return &p->list[p->n++];
}

/* --- limits -------------------------------------------------------------------------------- */

/* One number, or the two ends of a range. */
static int parse_range(char *word, uint64_t *first, uint64_t *last)
{
    char *dash = strchr(word, '-');

    if (dash)
        *dash++ = '\0';
    int r = num_parse_u64_max(word, SET_BITS - 1, first);
    if (r == 0)
        r = num_parse_u64_max(dash ? dash : word, SET_BITS - 1, last);
    return r < 0 ? r : *first > *last ? -EINVAL : 0;
}

int systemd_parse_set(const char *list, struct gvariant *ret)
{
    _cleanup_free_ char *text = mem_strdup(list);
    uint8_t bytes[SET_BITS / 8] = {0};
    size_t n = 0;

    for (char *word = text, *next; *list && word; word = next) {
        uint64_t first, last;

        next = strchr(word, ',');
        if (next)
            *next++ = '\0';
        int r = parse_range(word, &first, &last);
        if (r < 0)
            return r;
        for (uint64_t i = first; i <= last; i++)
            bytes[i / 8] = (uint8_t)(bytes[i / 8] | 1u << i % 8);
        n = MAX(n, (size_t)last / 8 + 1);
    }
    *ret = gvariant_array("y", n);
    for (size_t i = 0; i < n; i++)
        ret->items[i].number = bytes[i];
    return 0;
}

struct context {
    struct cgroup_systemd_properties *p;
    const char *property, *path;
};

static int add_max(const struct context *c, const char *value)
{
    uint64_t v;

    int r = cgroup_parse_max(value, &v); /* CGROUP_NO_LIMIT is INFINITE */
    if (r == 0)
        (void)systemd_property_put(c->p, c->property, gvariant_u64(v));
    return r;
}

static int add_set(const struct context *c, const char *value)
{
    struct gvariant set;

    int r = systemd_parse_set(value, &set);
    if (r == 0)
        (void)systemd_property_put(c->p, c->property, set);
    return r;
}

/* The period that stays where the quota alone is written. */
static uint64_t period_of(const char *path)
{
    _cleanup_free_ char *file = path ? path_join(path, "cpu.max") : NULL, *text = NULL;
    uint64_t quota, period;

    if (!file || file_read_at(AT_FDCWD, file, 0, CPU_MAX_MAX, &text, NULL) < 0 ||
        cgroup_parse_cpu_max(text, &quota, &period) < 0)
        return PERIOD_DEFAULT;
    return period;
}

static int add_cpu_max(const struct context *c, const char *value)
{
    uint64_t quota, period, per_second = INFINITE;
    int r;

    if (strchr(value, ' ')) {
        r = cgroup_parse_cpu_max(value, &quota, &period);
    } else {
        r = cgroup_parse_max(value, &quota);
        period = period_of(c->path);
    }
    if (r < 0)
        return r;
    if (quota != CGROUP_NO_LIMIT) {
        /* systemd keeps it as whole percents of a CPU. Rounded up, so that it never gives less than
         * what was asked for: that stands in the file. */
        const uint64_t percent = USEC_PER_SEC / 100;
        per_second = num_mul_div(quota, USEC_PER_SEC, period);
        uint64_t rest = per_second % percent;
        if (rest && per_second <= INFINITE - 1 - percent)
            per_second += percent - rest;
    }
    (void)systemd_property_put(c->p, "CPUQuotaPeriodUSec", gvariant_u64(period));
    (void)systemd_property_put(c->p, c->property, gvariant_u64(per_second));
    return 0;
}

/* A weight, which io.weight has as "default 100" or "100". What is set for one device has no
 * property. */
static int add_weight(const struct context *c, const char *value)
{
    const char *number = str_after(value, "default ");
    uint64_t v;

    if (!number && strchr(value, ' '))
        return 0;
    int r = num_parse_u64(number ? number : value, &v);
    if (r == 0)
        (void)systemd_property_put(c->p, c->property, gvariant_u64(v));
    return r;
}

/* Weight 0 is "idle" to systemd; before 252 it knew nothing of it, and left it alone. */
static int add_idle(const struct context *c, const char *value)
{
    uint64_t v;

    int r = num_parse_u64_max(value, 1, &v);
    if (r == 0 && v)
        systemd_property_put(c->p, c->property, gvariant_u64(0))->since = 252;
    return r;
}

/* Scopes have an OOMPolicy since 253. */
static int add_oom_group(const struct context *c, const char *value)
{
    uint64_t v;

    int r = num_parse_u64_max(value, 1, &v);
    if (r < 0)
        return r;
    struct systemd_property *policy =
        systemd_property_put(c->p, c->property, gvariant_string(v ? "kill" : "continue"));
    policy->since = 253;
    policy->start_only = true;
    return 0;
}

/* -EINVAL, -ERANGE: the value is none. Later rows have the last word on a property. */
static const struct {
    const char *file, *property;
    int (*add)(const struct context *c, const char *value);
} conversions[] = {
    {"memory.max", "MemoryMax", add_max},
    {"memory.high", "MemoryHigh", add_max},
    {"memory.low", "MemoryLow", add_max},
    {"memory.min", "MemoryMin", add_max},
    {"memory.swap.max", "MemorySwapMax", add_max},
    {"memory.oom.group", "OOMPolicy", add_oom_group},
    {"pids.max", "TasksMax", add_max},
    {"cpu.max", "CPUQuotaPerSecUSec", add_cpu_max},
    {"cpu.weight", "CPUWeight", add_weight},
    {"cpu.idle", "CPUWeight", add_idle},
    {"cpuset.cpus", "AllowedCPUs", add_set},
    {"cpuset.mems", "AllowedMemoryNodes", add_set},
    {"io.weight", "IOWeight", add_weight},
};

/* A row that says the same for two files counts as the one that systemd knows. */
static const char *value_for(const struct cgroup_write *w, const char *file)
{
    if (streq(w->file, file))
        return w->value;
    return w->other_file && streq(w->other_file, file) ? w->other_value : NULL;
}

int cgroup_systemd_add_limits(struct cgroup_systemd_properties *p,
                              const struct cgroup_writes *limits, const char *path, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(conversions); i++) {
        const struct context c = {p, conversions[i].property, path};
        for (size_t k = 0; k < limits->n; k++) {
            const char *value = value_for(&limits->list[k], conversions[i].file);
            int r = value ? conversions[i].add(&c, value) : 0;
            if (r < 0)
                return error_set(e, ERROR_CONFIG, -r, "give systemd the limit", conversions[i].file,
                                 "write it as Documentation/admin-guide/cgroup-v2.rst has it",
                                 "\"%s\" is no value for systemd's %s", value,
                                 conversions[i].property);
        }
    }
    return 0;
}

/* --- annotations --------------------------------------------------------------------------- */

#define PREFIX "org.systemd.property."

/* What the driver itself depends on. */
static const char *const reserved[] = {"PIDs", "PIDFDs", "Slice", "DefaultDependencies"};

static int refuse(struct error *e, const char *key, const char *why)
{
    return error_set(
        e, ERROR_CONFIG, EINVAL, "read the annotation", key,
        "see systemd.scope(5) and systemd.resource-control(5) for names, and write the value as "
        "GVariant's text format has it, for example uint64 5 or 'text'",
        "%s", why);
}

static int check_name(const char *key, const char *name, struct error *e)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (n < 3 || name[n])
        return refuse(e, key,
                      "that is not the name of a property: three letters or more, nothing else");
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (streq(name, reserved[i]))
            return error_set(e, ERROR_CONFIG, EINVAL, "read the annotation", key, "remove it",
                             "nucleus sets that property itself");
    return 0;
}

/* TimeoutStopSec is TimeoutStopUSec on the bus, in microseconds. */
static bool is_in_seconds(const char *name)
{
    size_t n = strlen(name);

    return n > 3 && streq(name + n - 3, "Sec") && name[n - 4] >= 'a' && name[n - 4] <= 'z';
}

static int to_microseconds(struct gvariant *v)
{
    uint64_t usec;

    if (strlen(v->type) != 1)
        return -EINVAL;
    if (strchr("yqut", v->type[0])) {
        if (__builtin_mul_overflow(v->number, USEC_PER_SEC, &usec))
            return -ERANGE;
    } else if (strchr("nix", v->type[0])) {
        if (v->integer < 0 || __builtin_mul_overflow(v->integer, USEC_PER_SEC, &usec))
            return -ERANGE;
    } else if (v->type[0] == 'd') {
        if (v->real < 0 || v->real >= 1e13)
            return -ERANGE;
        usec = (uint64_t)(v->real * USEC_PER_SEC);
    } else {
        return -EINVAL;
    }
    gvariant_done(v);
    *v = gvariant_u64(usec);
    return 0;
}

static int add_annotation(struct cgroup_systemd_properties *p, const char *key, const char *name,
                          const char *text, struct error *e)
{
    _cleanup_gvariant_ struct gvariant value = {0};
    _cleanup_free_ char *why = NULL, *usec = NULL;

    int r = check_name(key, name, e);
    if (r < 0)
        return r;
    r = gvariant_parse(text, &value, &why);
    if (r < 0)
        return refuse(e, key, why);
    if (is_in_seconds(name)) {
        r = to_microseconds(&value);
        if (r < 0)
            return refuse(e, key, "that is not a number of seconds");
        usec = str_printf("%.*sUSec", (int)(strlen(name) - 3), name);
    }
    (void)systemd_property_put(p, usec ? usec : name, value);
    value = (struct gvariant){0};
    return 0;
}

int cgroup_systemd_add_annotations(struct cgroup_systemd_properties *p,
                                   const struct oci_annotation *annotations, size_t n,
                                   struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = str_after(annotations[i].key, PREFIX);
        int r = name ? add_annotation(p, annotations[i].key, name, annotations[i].value, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}
