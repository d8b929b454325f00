/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "cli/commands.h"
#include "process/update.h"

#define RESOURCES_MAX ((size_t)1 << 20)
#define WEIGHT_MIN 10 /* config-linux.md, "blockIO" */
#define WEIGHT_MAX 1000

struct values {
    const char *resources;
    const char *memory, *memory_reservation, *memory_swap;
    const char *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_idle;
    const char *cpuset_cpus, *cpuset_mems, *pids_limit, *blkio_weight;
    const char *l3_cache_schema, *mem_bw_schema;
    const char *cpu_rt_period, *cpu_rt_runtime, *kernel_memory, *kernel_memory_tcp;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'r', "resources", OPTION_STRING, VALUE(resources), "FILE",
     "a file with linux.resources as JSON, - for standard input; alone"},
    {0, "memory", OPTION_STRING, VALUE(memory), "BYTES", "memory limit (512M); -1: none"},
    {0, "memory-reservation", OPTION_STRING, VALUE(memory_reservation), "BYTES",
     "memory that is reclaimed last"},
    {0, "memory-swap", OPTION_STRING, VALUE(memory_swap), "BYTES",
     "limit of memory and swap together; -1: no limit for swap"},
    {0, "cpu-period", OPTION_STRING, VALUE(cpu_period), "USEC", "period of the CPU quota"},
    {0, "cpu-quota", OPTION_STRING, VALUE(cpu_quota), "USEC", "CPU time a period; -1: no limit"},
    {0, "cpu-burst", OPTION_STRING, VALUE(cpu_burst), "USEC",
     "unused CPU time that may be saved up"},
    {0, "cpu-share", OPTION_STRING, VALUE(cpu_share), "SHARES",
     "share of a busy CPU, 2 to 262144, relative to others"},
    {0, "cpu-idle", OPTION_STRING, VALUE(cpu_idle), "NUMBER",
     "1: run only when nobody else wants to"},
    {0, "cpuset-cpus", OPTION_STRING, VALUE(cpuset_cpus), "LIST", "CPUs to run on (0-3,7)"},
    {0, "cpuset-mems", OPTION_STRING, VALUE(cpuset_mems), "LIST", "memory nodes to use"},
    {0, "pids-limit", OPTION_STRING, VALUE(pids_limit), "NUMBER",
     "most processes and threads; -1: no limit"},
    {0, "blkio-weight", OPTION_STRING, VALUE(blkio_weight), "NUMBER",
     "share of a busy disk, 10 to 1000, relative to others"},
    {0, "l3-cache-schema", OPTION_STRING, VALUE(l3_cache_schema), "SCHEMA",
     "refused: set linux.intelRdt in config.json"},
    {0, "mem-bw-schema", OPTION_STRING, VALUE(mem_bw_schema), "SCHEMA",
     "refused: set linux.intelRdt in config.json"},
    {0, "cpu-rt-period", OPTION_STRING, VALUE(cpu_rt_period), "USEC", "refused: cgroup v1 only"},
    {0, "cpu-rt-runtime", OPTION_STRING, VALUE(cpu_rt_runtime), "USEC", "refused: cgroup v1 only"},
    {0, "kernel-memory", OPTION_STRING, VALUE(kernel_memory), "BYTES", "refused: cgroup v1 only"},
    {0, "kernel-memory-tcp", OPTION_STRING, VALUE(kernel_memory_tcp), "BYTES",
     "refused: cgroup v1 only"},
    {0},
};

/* --- values -------------------------------------------------------------------------------- */

static int parse_signed(const char *text, void *out)
{
    struct oci_opt_i64 *opt = out;

    opt->set = true;
    return num_parse_i64(text, &opt->value);
}

static int parse_unsigned(const char *text, void *out)
{
    struct oci_opt_u64 *opt = out;

    opt->set = true;
    return num_parse_u64(text, &opt->value);
}

static int parse_bytes(const char *text, void *out)
{
    struct oci_opt_i64 *opt = out;
    uint64_t bytes;

    opt->set = true;
    opt->value = -1;
    if (streq(text, "-1"))
        return 0;
    int r = num_parse_size(text, &bytes);
    if (r < 0)
        return r;
    if (bytes > INT64_MAX)
        return -ERANGE;
    opt->value = (int64_t)bytes;
    return 0;
}

static int parse_weight(const char *text, void *out)
{
    struct oci_opt_u64 *opt = out;

    int r = parse_unsigned(text, out);
    if (r == 0 && opt->value != 0 && (opt->value < WEIGHT_MIN || opt->value > WEIGHT_MAX))
        return -ERANGE;
    return r;
}

static int parse_list(const char *text, void *out)
{
    char **list = out;

    *list = mem_strdup(text);
    return 0;
}

/* What an option's value becomes. */
static const struct {
    size_t from;
    int (*parse)(const char *text, void *out);
    size_t to;
    const char *form;
} rows[] = {
#define ROW(field, parse, to, form)                                                                \
    {                                                                                              \
        VALUE(field), parse, offsetof(struct oci_resources, to), form                              \
    }
#define BYTES "give a number of bytes, or one with K, M or G behind it, or -1"
#define NUMBER "give a number"
    ROW(memory, parse_bytes, memory.limit, BYTES),
    ROW(memory_reservation, parse_bytes, memory.reservation, BYTES),
    ROW(memory_swap, parse_bytes, memory.swap, BYTES),
    ROW(cpu_period, parse_unsigned, cpu.period, NUMBER),
    ROW(cpu_quota, parse_signed, cpu.quota, NUMBER),
    ROW(cpu_burst, parse_unsigned, cpu.burst, NUMBER),
    ROW(cpu_share, parse_unsigned, cpu.shares, NUMBER),
    ROW(cpu_idle, parse_signed, cpu.idle, "give 0 or 1"),
    ROW(cpuset_cpus, parse_list, cpu.cpus, NULL),
    ROW(cpuset_mems, parse_list, cpu.mems, NULL),
    ROW(pids_limit, parse_signed, pids_limit, NUMBER),
    ROW(blkio_weight, parse_weight, io.weight, "give a number from 10 to 1000"),
};

static const char *option_name(size_t offset)
{
    for (const struct option_def *o = options; o->name; o++)
        if (o->offset == offset)
            return o->name;
    return "";
}

static const char *value_at(const struct values *v, size_t offset)
{
    return *(const char *const *)((const char *)v + offset);
}

/* runc's options that have no meaning here. */
static int refuse_others(const struct values *v, struct error *e)
{
    static const struct {
        size_t from;
        const char *remedy, *why;
    } refused[] = {
        {VALUE(l3_cache_schema), "set linux.intelRdt.schemata in config.json",
         "the schemata of a container that exists stay as they are"},
        {VALUE(mem_bw_schema), "set linux.intelRdt.schemata in config.json",
         "the schemata of a container that exists stay as they are"},
        {VALUE(cpu_rt_period), "leave it out", "cgroup v2 has no real-time budgets"},
        {VALUE(cpu_rt_runtime), "leave it out", "cgroup v2 has no real-time budgets"},
        {VALUE(kernel_memory), "use --memory, which counts the kernel's memory too",
         "cgroup v2 has no limit of its own for it"},
        {VALUE(kernel_memory_tcp), "use --memory, which counts the kernel's memory too",
         "cgroup v2 has no limit of its own for it"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (value_at(v, refused[i].from)) {
            _cleanup_free_ char *step = str_printf("use --%s", option_name(refused[i].from));
            return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, step, value_at(v, refused[i].from),
                             refused[i].remedy, "%s", refused[i].why);
        }
    return 0;
}

static int from_options(const struct values *v, struct oci_resources *ret, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *text = value_at(v, rows[i].from);
        if (!text)
            continue;
        int r = rows[i].parse(text, (char *)ret + rows[i].to);
        if (r < 0) {
            _cleanup_free_ char *step = str_printf("use --%s", option_name(rows[i].from));
            return error_set(e, ERROR_USAGE, -r, step, text, rows[i].form,
                             r == -ERANGE ? "it is out of range" : "it is no number");
        }
    }
    return 0;
}

/* --- --resources --------------------------------------------------------------------------- */

static int refuse_mixture(const struct values *v, struct error *e)
{
    for (const struct option_def *o = options; o->name; o++)
        if (o->offset != VALUE(resources) && value_at(v, o->offset)) {
            _cleanup_free_ char *step = str_printf("use --%s", o->name);
            return error_set(e, ERROR_USAGE, EINVAL, step, value_at(v, o->offset),
                             "put it into the file", "--resources says all there is to change");
        }
    return 0;
}

static int from_file(const char *path, struct oci_resources **ret, struct error *e)
{
    _cleanup_free_ char *text = NULL;
    bool is_stdin = streq(path, "-");
    const char *name = is_stdin ? "standard input" : path;
    size_t len;

    int r = is_stdin ? fd_read_all(STDIN_FILENO, RESOURCES_MAX, &text, &len)
                     : file_read_at(AT_FDCWD, path, 0, RESOURCES_MAX, &text, &len);
    if (r < 0)
        return error_set(e, ERROR_USAGE, -r, "read the resources from", name,
                         "give a file with a JSON object, or - for standard input", NULL);
    return oci_resources_parse(text, len, name, ret, e);
}

/* --- the command --------------------------------------------------------------------------- */

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    _cleanup_resources_ struct oci_resources *resources = NULL;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r;

    if (v->resources) {
        r = refuse_mixture(v, e);
        if (r == 0)
            r = from_file(v->resources, &resources, e);
    } else {
        resources = mem_new0(struct oci_resources);
        r = refuse_others(v, e);
        if (r == 0)
            r = from_options(v, resources, e);
    }
    if (r == 0)
        r = command_open_store(ctx, true, &store, e);
    return r < 0 ? r : container_update(&store, args[0], resources, e);
}

const struct command command_update = {
    .name = "update",
    .usage = "[options] ID",
    .summary = "Change the limits of a container that exists",
    .details = "What no option names stays as it is. When one limit can't be set, none is changed.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
