/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.resources" but for the devices' rules and blockIO. */

#define SWAPPINESS_MAX 100  /* config-linux.md, "Memory" */
#define PAGE_SIZE_DIGITS 10 /* fewer than this */

/* 0 is "not set", as Go writes it: engines send it for "no limit", and so runc reads it. Anything
 * below 0 is -1. */
static int decode_quota(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_i64 *opt = out;
    int64_t v = 0;
    int r = decode_i64(d, at, &v);
    if (r < 0)
        return r;
    opt->set = v != 0;
    opt->value = MAX(v, -1);
    return 0;
}

static int decode_limit(struct decoder *d, const struct json_at *at, void *out)
{
    int64_t v = 0;
    int r = json_get_i64(at, -1, INT64_MAX, &v, d->e);
    return r < 0 ? r : decode_quota(d, at, out);
}

static int decode_positive(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_u64 *opt = out;
    int r = decode_u64(d, at, &opt->value);
    if (r < 0)
        return r;
    opt->set = opt->value != 0;
    return 0;
}

static int decode_swappiness(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_u64 *opt = out;
    int r = json_get_u64(at, SWAPPINESS_MAX, &opt->value, d->e);
    if (r < 0)
        return r;
    opt->set = true;
    return 0;
}

static int decode_opt_bool(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_bool *opt = out;
    opt->set = true;
    return decode_bool(d, at, &opt->value);
}

/* bool, and nothing to keep: true is what cgroup v2 always does, false what nobody gets to ask. */
static int decode_use_hierarchy(struct decoder *d, const struct json_at *at, void *out)
{
    bool ignored;
    (void)out;
    return decode_bool(d, at, &ignored);
}

static int decode_memory(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("limit", decode_limit, struct oci_memory, limit),
        FIELD("reservation", decode_limit, struct oci_memory, reservation),
        FIELD("swap", decode_limit, struct oci_memory, swap),
        FIELD("swappiness", decode_swappiness, struct oci_memory, swappiness),
        FIELD("disableOOMKiller", decode_opt_bool, struct oci_memory, disable_oom_killer),
        FIELD("checkBeforeUpdate", decode_bool, struct oci_memory, check_before_update),
        FIELD_WHOLE("useHierarchy", decode_use_hierarchy),
        CGROUP_V1_ONLY("kernel"),
        CGROUP_V1_ONLY("kernelTCP"),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

/* 0, or 1 for SCHED_IDLE. */
static int decode_idle(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_i64 *opt = out;
    int r = json_get_i64(at, 0, 1, &opt->value, d->e);
    if (r < 0)
        return r;
    opt->set = true;
    return 0;
}

static int decode_burst(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_u64 *opt = out;
    opt->set = true;
    return decode_u64(d, at, &opt->value);
}

static int decode_cpu(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("shares", decode_positive, struct oci_cpu, shares),
        FIELD("quota", decode_quota, struct oci_cpu, quota),
        FIELD("period", decode_positive, struct oci_cpu, period),
        FIELD("burst", decode_burst, struct oci_cpu, burst),
        FIELD("idle", decode_idle, struct oci_cpu, idle),
        FIELD("cpus", decode_set_text, struct oci_cpu, cpus),
        FIELD("mems", decode_set_text, struct oci_cpu, mems),
        CGROUP_V1_ONLY("realtimeRuntime"),
        CGROUP_V1_ONLY("realtimePeriod"),
    };
    struct oci_cpu *cpu = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), cpu);
    if (r < 0)
        return r;

    struct json_at burst = json_member(at, "burst");
    if (cpu->burst.set && cpu->quota.set && cpu->quota.value > 0 &&
        cpu->burst.value > (uint64_t)cpu->quota.value)
        return decode_error(d, &burst, "is above the quota, %" PRId64, cpu->quota.value);
    return 0;
}

static int decode_pids_limit(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_i64 *opt = out;
    opt->set = true;
    return decode_i64(d, at, &opt->value);
}

static int decode_pids(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("limit", decode_pids_limit, struct oci_resources, pids_limit),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

/* "64KB", "2MB", "1GB": the part of a file's name, hugetlb.SIZE.max. */
static int decode_page_size(struct decoder *d, const struct json_at *at, void *out)
{
    char **size = out;
    int r = decode_string(d, at, size);
    if (r < 0)
        return r;
    const char *s = *size ? *size : "";
    size_t digits = strspn(s, "0123456789");
    if (digits > 0 && *s != '0' && digits < PAGE_SIZE_DIGITS && s[digits] &&
        strchr("KMG", s[digits]) && streq(s + digits + 1, "B"))
        return 0;
    _cleanup_free_ char *found = json_describe(at);
    return decode_error(d, at, "expected a size like \"2MB\", found %s", found);
}

static int decode_hugepage(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("pageSize", decode_page_size, struct oci_hugepage_limit, page_size),
        NEEDED("limit", decode_u64, struct oci_hugepage_limit, limit),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_hugepages(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_resources *res = out;
    return decode_array(d, at, sizeof(*res->hugepages), decode_hugepage, (void **)&res->hugepages,
                        &res->n_hugepages);
}

static int decode_opt_u32(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_u64 *opt = out;
    int r = json_get_u64(at, UINT32_MAX, &opt->value, d->e);
    if (r < 0)
        return r;
    opt->set = true;
    return 0;
}

static int decode_rdma_device(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("hcaHandles", decode_opt_u32, struct oci_rdma_limit, hca_handles),
        FIELD("hcaObjects", decode_opt_u32, struct oci_rdma_limit, hca_objects),
    };
    struct oci_rdma_limit *l = out;

    /* It becomes the first word of a line of rdma.max. */
    for (const char *p = at->key; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return decode_error(d, at, "is no name of a device");
    if (*at->key == '\0')
        return decode_error(d, at, "is no name of a device");
    l->device = mem_strdup(at->key);
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), l);
    if (r < 0)
        return r;
    if (!l->hca_handles.set && !l->hca_objects.set)
        return decode_error(d, at, "needs hcaHandles or hcaObjects");
    return 0;
}

static int decode_rdma(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_resources *res = out;
    return decode_map(d, at, sizeof(*res->rdma), decode_rdma_device, (void **)&res->rdma,
                      &res->n_rdma);
}

/* A file of a controller, CONTROLLER.PARAMETER. The core's own, cgroup.*, are the runtime's. */
static int check_unified_file(struct decoder *d, const struct json_at *at)
{
    size_t plain = strspn(at->key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "._-");
    const char *dot = strchr(at->key, '.');

    if (strchr(at->key, '/'))
        return decode_error(d, at, "must be a file's name, without a slash");
    if (at->key[plain] != '\0' || strlen(at->key) > NAME_MAX || !dot || dot == at->key || !dot[1] ||
        dot[1] == '.')
        return decode_error(d, at, "is no file of a controller, like \"memory.high\"");
    if (str_after(at->key, "cgroup."))
        return decode_error(d, at, "is the runtime's: no file of a controller");
    return 0;
}

static int decode_unified_file(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_unified *u = out;
    int r = check_unified_file(d, at);
    if (r < 0)
        return r;
    u->file = mem_strdup(at->key);
    r = json_get_string(at, &u->value, d->e);
    return MIN(r, 0);
}

static int decode_unified(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_resources *res = out;
    return decode_map(d, at, sizeof(*res->unified), decode_unified_file, (void **)&res->unified,
                      &res->n_unified);
}

int decode_resources(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD_WHOLE("devices", decode_device_rules),
        FIELD("memory", decode_memory, struct oci_resources, memory),
        FIELD("cpu", decode_cpu, struct oci_resources, cpu),
        FIELD_WHOLE("pids", decode_pids),
        FIELD("blockIO", decode_block_io, struct oci_resources, io),
        FIELD_WHOLE("hugepageLimits", decode_hugepages),
        FIELD_WHOLE("rdma", decode_rdma),
        FIELD_WHOLE("unified", decode_unified),
        CGROUP_V1_ONLY("network"),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_resources_text(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_resources **r = out;

    *r = mem_new0(struct oci_resources);
    return decode_resources(d, at, *r);
}

int oci_resources_parse(const char *text, size_t len, const char *name, struct oci_resources **ret,
                        struct error *e)
{
    _cleanup_resources_ struct oci_resources *resources = NULL;
    int r = decode_text(text, len, name, "use the resources", decode_resources_text, &resources, e);
    if (r == 0)
        *ret = TAKE_PTR(resources);
    return r;
}

static void io_list_done(struct oci_io_list *l)
{
    free(l->list);
}

void oci_resources_done(struct oci_resources *r)
{
    free(r->devices);
    free(r->cpu.cpus);
    free(r->cpu.mems);
    io_list_done(&r->io.weight_device);
    io_list_done(&r->io.read_bps);
    io_list_done(&r->io.write_bps);
    io_list_done(&r->io.read_iops);
    io_list_done(&r->io.write_iops);
    for (size_t i = 0; i < r->n_hugepages; i++)
        free(r->hugepages[i].page_size);
    free(r->hugepages);
    for (size_t i = 0; i < r->n_rdma; i++)
        free(r->rdma[i].device);
    free(r->rdma);
    for (size_t i = 0; i < r->n_unified; i++) {
        free(r->unified[i].file);
        free(r->unified[i].value);
    }
    free(r->unified);
    *r = (struct oci_resources){0};
}

void oci_resources_free(struct oci_resources *r)
{
    if (!r)
        return;
    oci_resources_done(r);
    free(r);
}
