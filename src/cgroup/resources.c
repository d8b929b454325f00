/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define SHARES_MIN 2       /* kernel/sched/sched.h, MIN_SHARES */
#define SHARES_MAX 262144  /* MAX_SHARES */
#define WEIGHT_MAX 10000   /* include/linux/cgroup.h, CGROUP_WEIGHT_MAX */
#define WEIGHT_DEFAULT 100 /* CGROUP_WEIGHT_DFL */
#define IO_WEIGHT_MIN 10   /* of v1's blkio.weight */

static int refuse(struct error *e, enum error_code code, const char *field, const char *remedy,
                  const char *why)
{
    _cleanup_free_ char *name = str_printf("linux.resources.%s", field);

    return error_set(e, code, code == ERROR_UNSUPPORTED ? ENOTSUP : EINVAL, "set the limit", name,
                     remedy, "%s", why);
}

static char *number(uint64_t v)
{
    return str_printf("%llu", (unsigned long long)v);
}

/* v1's -1 for "no limit". */
static char *number_or_max(int64_t v)
{
    return v < 0 ? mem_strdup("max") : number((uint64_t)v);
}

/* --- memory -------------------------------------------------------------------------------- */

/* memory + swap of v1 as swap alone. */
static int plan_swap(const struct oci_memory *m, struct cgroup_writes *w, struct error *e)
{
    int64_t limit = m->limit.set ? m->limit.value : 0;
    int64_t both = m->swap.set ? m->swap.value : 0;

    /* v1 had to raise it with the memory limit. */
    if (both == 0 && limit == -1)
        both = -1;
    if (both == 0)
        return 0;
    if (both > 0 && limit == 0)
        return refuse(e, ERROR_CONFIG, "memory.swap", "set memory.limit too",
                      "it is memory + swap, and there is no memory limit to subtract");
    if (both > 0 && limit > 0 && both < limit)
        return refuse(e, ERROR_CONFIG, "memory.swap",
                      "set it to the memory limit (no swap) or more, or to -1",
                      "it is memory + swap, and less than memory.limit");
    /* Without a memory limit there is nothing to subtract. */
    int64_t swap = both > 0 && limit > 0 ? both - limit : both;
    cgroup_writes_add(w, "memory.swap.max", number_or_max(swap))->optional = swap < 0;
    return 0;
}

static int plan_memory(const struct oci_memory *m, struct cgroup_writes *w, struct error *e)
{
    if (m->swappiness.set)
        return refuse(e, ERROR_UNSUPPORTED, "memory.swappiness",
                      "leave it out, or set vm.swappiness of the host",
                      "cgroup v2 has no such file");
    if (m->disable_oom_killer.set && m->disable_oom_killer.value)
        return refuse(e, ERROR_UNSUPPORTED, "memory.disableOOMKiller",
                      "leave it out, or set process.oomScoreAdj",
                      "in cgroup v2 the OOM killer can't be turned off");
    /* Swap first: raised, it takes what a lowered memory limit pushes out. */
    int r = plan_swap(m, w, e);
    if (r < 0)
        return r;
    if (m->limit.set && m->limit.value != 0)
        cgroup_writes_add(w, "memory.max", number_or_max(m->limit.value))->optional =
            m->limit.value < 0;
    if (m->reservation.set && m->reservation.value != 0)
        cgroup_writes_add(w, "memory.low", number_or_max(m->reservation.value));
    return 0;
}

/* --- cpu ----------------------------------------------------------------------------------- */

/* ln(1 + t) / (1 - t) is 2 (t + t^3/3 + t^5/5 + …); with m in [1, 2) t is at most 1/3. libm would
 * do this, too, for the price of loading it at each start. */
static double natural_log(double m)
{
    double t = (m - 1) / (m + 1), power = t, sum = 0;

    for (int k = 1; k < 36; k += 2) {
        sum += power / k;
        power *= t * t;
    }
    return 2 * sum;
}

static double natural_exp(double x)
{
    double y = x / 16, term = 1, sum = 1;

    for (int k = 1; k < 24; k++) {
        term *= y / k;
        sum += term;
    }
    for (int i = 0; i < 4; i++)
        sum *= sum;
    return sum;
}

unsigned cgroup_weight_of_shares(uint64_t shares)
{
    static const double ln2 = 0.69314718055994530942, ln10 = 2.30258509299404568402;

    if (shares == 0)
        return 0;
    if (shares <= SHARES_MIN)
        return 1;
    if (shares >= SHARES_MAX)
        return WEIGHT_MAX;
    unsigned bit = 63 - (unsigned)__builtin_clzll(shares);
    double l = bit + natural_log((double)shares / (double)(UINT64_C(1) << bit)) / ln2;
    double weight = natural_exp(((l * l + 125 * l) / 612 - 7.0 / 34) * ln10);
    /* Rounded up. Only at 1024 is it a whole number; all others are 4e-4 and more away from one. */
    return (unsigned)(weight + 1 - 1e-6);
}

/* quota -1 and 0 (unset) are no limit; a quota alone leaves the period as it is. */
static void plan_cpu_max(const struct oci_cpu *c, struct cgroup_writes *w)
{
    int64_t quota = c->quota.set ? c->quota.value : 0;
    uint64_t period = c->period.set ? c->period.value : 0;

    if (quota == 0 && period == 0)
        return;
    _cleanup_free_ char *first = number_or_max(quota > 0 ? quota : -1);
    char *text =
        period > 0 ? str_printf("%s %llu", first, (unsigned long long)period) : TAKE_PTR(first);
    cgroup_writes_add(w, "cpu.max", text)->optional = quota <= 0;
}

static int plan_cpu(const struct oci_cpu *c, struct cgroup_writes *w, struct error *e)
{
    bool idle = c->idle.set && c->idle.value != 0;
    unsigned weight = c->shares.set ? cgroup_weight_of_shares(c->shares.value) : 0;

    if (c->idle.set && c->idle.value != 0 && c->idle.value != 1)
        return refuse(e, ERROR_CONFIG, "cpu.idle", "set it to 0 or 1", "it is neither 0 nor 1");
    if (idle && weight)
        return refuse(e, ERROR_CONFIG, "cpu.idle", "leave out one of the two",
                      "an idle cgroup takes no cpu.shares");
    /* Before the weight, which an idle cgroup would not take. */
    if (c->idle.set)
        cgroup_writes_add(w, "cpu.idle", mem_strdup(idle ? "1" : "0"))->optional = !idle;
    if (weight)
        cgroup_writes_add(w, "cpu.weight", number(weight))->optional = weight == WEIGHT_DEFAULT;
    plan_cpu_max(c, w);
    if (c->burst.set)
        cgroup_writes_add(w, "cpu.max.burst", number(c->burst.value))->optional =
            c->burst.value == 0;
    if (c->cpus && *c->cpus)
        cgroup_writes_add(w, "cpuset.cpus", mem_strdup(c->cpus));
    if (c->mems && *c->mems)
        cgroup_writes_add(w, "cpuset.mems", mem_strdup(c->mems));
    return 0;
}

/* --- io ------------------------------------------------------------------------------------ */

/* blkio.weight of v1 (10 to 1000) stretched to io.weight (1 to 10000), as runc and crun do. bfq's
 * own file has the old range. */
static uint64_t io_weight(uint64_t weight)
{
    return weight <= IO_WEIGHT_MIN ? 1 : 1 + (weight - IO_WEIGHT_MIN) * 9999 / 990;
}

static void plan_io_weight(const char *device, uint64_t weight, struct cgroup_writes *w)
{
    const char *blank = *device ? " " : "";
    char *bfq = str_printf("%s%s%llu", device, blank, (unsigned long long)weight);
    struct cgroup_write *row = cgroup_writes_add(w, "io.bfq.weight", bfq);

    row->other_file = mem_strdup("io.weight");
    row->other_value =
        str_printf("%s %llu", *device ? device : "default", (unsigned long long)io_weight(weight));
}

/* One line a device, for the kernel and for whoever reads the plan: the four lists of OCI together.
 * As in v1, 0 takes a limit away. */
static void plan_io_max(const struct oci_io *io, struct cgroup_writes *w)
{
    const struct {
        const char *key;
        const struct oci_io_list *list;
    } lists[] = {
        {"rbps", &io->read_bps},
        {"wbps", &io->write_bps},
        {"riops", &io->read_iops},
        {"wiops", &io->write_iops},
    };
    size_t first = w->n;

    for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
        for (size_t i = 0; i < lists[k].list->n; i++) {
            const struct oci_io_device *d = &lists[k].list->list[i];
            _cleanup_free_ char *device =
                str_printf("%lld:%lld ", (long long)d->major, (long long)d->minor);
            _cleanup_free_ char *limit = d->value ? number(d->value) : mem_strdup("max");
            size_t row = first;
            while (row < w->n && !str_after(w->list[row].value, device))
                row++;
            if (row == w->n)
                cgroup_writes_add(w, "io.max", mem_strndup(device, strlen(device) - 1));
            char *before = w->list[row].value;
            w->list[row].value = str_printf("%s %s=%s", before, lists[k].key, limit);
            free(before);
        }
}

static void plan_io(const struct oci_io *io, struct cgroup_writes *w)
{
    if (io->weight.set && io->weight.value > 0)
        plan_io_weight("", io->weight.value, w);
    for (size_t i = 0; i < io->weight_device.n; i++) {
        const struct oci_io_device *d = &io->weight_device.list[i];
        _cleanup_free_ char *device =
            str_printf("%lld:%lld", (long long)d->major, (long long)d->minor);
        plan_io_weight(device, d->value, w);
    }
    plan_io_max(io, w);
}

/* --- the rest ------------------------------------------------------------------------------ */

static void plan_hugepages(const struct oci_hugepage_limit *h, struct cgroup_writes *w)
{
    _cleanup_free_ char *file = str_printf("hugetlb.%s.max", h->page_size);
    _cleanup_free_ char *reserved = str_printf("hugetlb.%s.rsvd.max", h->page_size);

    cgroup_writes_add(w, file, number(h->limit));
    /* Since Linux 5.7. Without it a process is only stopped (SIGBUS) when it touches a page. */
    cgroup_writes_add(w, reserved, number(h->limit))->optional = true;
}

static void plan_rdma(const struct oci_rdma_limit *r, struct cgroup_writes *w)
{
    struct strbuf b = {0};

    strbuf_add(&b, r->device);
    if (r->hca_handles.set)
        strbuf_addf(&b, " hca_handle=%llu", (unsigned long long)r->hca_handles.value);
    if (r->hca_objects.set)
        strbuf_addf(&b, " hca_object=%llu", (unsigned long long)r->hca_objects.value);
    cgroup_writes_add(w, "rdma.max", strbuf_take(&b));
}

/* A write a line, as files with a line a device want it. */
static void plan_unified(const struct oci_unified *u, struct cgroup_writes *w)
{
    const char *line = u->value;

    do {
        size_t n = strcspn(line, "\n");
        /* An empty value clears a cpuset; write(2) of nothing would not get there. */
        cgroup_writes_add(w, u->file, n ? mem_strndup(line, n) : mem_strdup("\n"));
        line += n + (line[n] == '\n');
    } while (*line);
}

int cgroup_plan_resources(const struct oci_resources *r, struct cgroup_writes *ret, struct error *e)
{
    _cleanup_writes_ struct cgroup_writes w = {0};

    if (r->pids_limit.set)
        cgroup_writes_add(&w, "pids.max",
                          number_or_max(r->pids_limit.value > 0 ? r->pids_limit.value : -1))
            ->optional = r->pids_limit.value <= 0;
    int ret_memory = plan_memory(&r->memory, &w, e);
    if (ret_memory < 0)
        return ret_memory;
    int ret_cpu = plan_cpu(&r->cpu, &w, e);
    if (ret_cpu < 0)
        return ret_cpu;
    plan_io(&r->io, &w);
    for (size_t i = 0; i < r->n_hugepages; i++)
        plan_hugepages(&r->hugepages[i], &w);
    for (size_t i = 0; i < r->n_rdma; i++)
        plan_rdma(&r->rdma[i], &w);
    for (size_t i = 0; i < r->n_unified; i++)
        plan_unified(&r->unified[i], &w);
    *ret = w;
    w = (struct cgroup_writes){0};
    return 0;
}

/* --- in the light of what is there ----------------------------------------------------------- */

/* CGROUP_NO_LIMIT also where there is no such file. */
static uint64_t read_number(int dirfd, const char *file)
{
    _cleanup_free_ char *text = NULL;
    uint64_t v = CGROUP_NO_LIMIT;

    if (file_read_at(dirfd, file, 0, 64, &text, NULL) == 0)
        (void)cgroup_parse_max(text, &v);
    return v;
}

static void complete_memory(int dirfd, struct oci_memory *m)
{
    if ((m->limit.set && m->limit.value != 0) || !m->swap.set || m->swap.value <= 0)
        return;
    uint64_t limit = read_number(dirfd, "memory.max");
    if (limit <= INT64_MAX)
        m->limit = (struct oci_opt_i64){true, (int64_t)limit};
}

static void complete_cpu(int dirfd, struct oci_cpu *c)
{
    _cleanup_free_ char *text = NULL;
    uint64_t quota, period;

    if ((c->quota.set && c->quota.value != 0) || !c->period.set || c->period.value == 0)
        return;
    if (file_read_at(dirfd, "cpu.max", 0, 64, &text, NULL) == 0 &&
        cgroup_parse_cpu_max(text, &quota, &period) == 0 && quota <= INT64_MAX)
        c->quota = (struct oci_opt_i64){true, (int64_t)quota};
}

static int check_usage(int dirfd, const struct oci_memory *m, struct error *e)
{
    const struct {
        const char *field;
        const struct oci_opt_i64 *limit;
    } rows[] = {{"linux.resources.memory.limit", &m->limit},
                {"linux.resources.memory.swap", &m->swap}};

    if (!m->check_before_update)
        return 0;
    uint64_t usage = read_number(dirfd, "memory.current");
    for (size_t i = 0; i < ARRAY_SIZE(rows) && usage != CGROUP_NO_LIMIT; i++)
        if (rows[i].limit->set && rows[i].limit->value > 0 &&
            (uint64_t)rows[i].limit->value <= usage)
            return error_set(e, ERROR_CGROUP, EBUSY, "set the limit", rows[i].field,
                             "choose a higher one, or leave memory.checkBeforeUpdate out",
                             "it is to be %lld bytes, and %llu are in use",
                             (long long)rows[i].limit->value, (unsigned long long)usage);
    return 0;
}

/* The kernel refuses a quota below the burst and a burst above the quota: where the burst shrinks
 * it goes first. */
static void order_burst(int dirfd, struct cgroup_writes *w)
{
    uint64_t is = read_number(dirfd, "cpu.max.burst"), becomes;

    for (size_t i = 0; i + 1 < w->n; i++) {
        if (!streq(w->list[i].file, "cpu.max") || !streq(w->list[i + 1].file, "cpu.max.burst"))
            continue;
        if (is == CGROUP_NO_LIMIT || cgroup_parse_max(w->list[i + 1].value, &becomes) < 0 ||
            becomes >= is)
            return;
        struct cgroup_write quota = w->list[i];
        w->list[i] = w->list[i + 1];
        w->list[i + 1] = quota;
        return;
    }
}

int cgroup_plan_resources_at(const char *path, const struct oci_resources *r,
                             struct cgroup_writes *ret, struct error *e)
{
    struct oci_resources completed = *r; /* borrows what r owns */

    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "set the limits of the cgroup", path, NULL, NULL);
    complete_memory(fd, &completed.memory);
    complete_cpu(fd, &completed.cpu);
    int ret_check = check_usage(fd, &completed.memory, e);
    if (ret_check < 0)
        return ret_check;
    int ret_plan = cgroup_plan_resources(&completed, ret, e);
    if (ret_plan == 0)
        order_burst(fd, ret);
    return ret_plan;
}

int cgroup_apply_resources(const struct cgroup_host *host, const char *path,
                           const struct oci_resources *r, struct error *e)
{
    _cleanup_writes_ struct cgroup_writes w = {0};

    int ret = cgroup_plan_resources_at(path, r, &w, e);
    return ret < 0 ? ret : cgroup_write_all(host, path, &w, e);
}
