/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/readback.h"
#include "cgroup/resources.h"

#define I64(v)                                                                                     \
    {                                                                                              \
        .set = true, .value = (v)                                                                  \
    }
#define TEXT(s) ((char *)(uintptr_t)(s))
#define MIB (INT64_C(1) << 20)

/* --- plans ---------------------------------------------------------------------------------- */

/* "pids.max=7 | memory.max=max?", the question mark for what is optional. */
static char *plan_text(const struct oci_resources *r)
{
    struct cgroup_writes w = {0};
    struct error e = {0};
    struct strbuf b = {0};

    if (cgroup_plan_resources(r, &w, &e) < 0)
        fail_msg("%s", error_render(&e));
    for (size_t i = 0; i < w.n; i++) {
        const struct cgroup_write *row = &w.list[i];
        strbuf_addf(&b, "%s%s=%s%s", i ? " | " : "", row->file, row->value,
                    row->optional ? "?" : "");
        if (row->other_file)
            strbuf_addf(&b, " or %s=%s", row->other_file, row->other_value);
    }
    cgroup_writes_done(&w);
    return strbuf_take(&b);
}

static void check_plan(const struct oci_resources *r, const char *text)
{
    char *got = plan_text(r);

    if (!streq(got, text))
        fail_msg("planned: %s\nexpected: %s", got, text);
    free(got);
}

static void check_refused(const struct oci_resources *r, enum error_code code, const char *says)
{
    struct cgroup_writes w = {0};
    struct error e = {0};

    assert_true(cgroup_plan_resources(r, &w, &e) < 0);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    assert_non_null(e.remedy);
    error_done(&e);
}

static void test_nothing_asked_is_nothing_planned(void **state)
{
    struct oci_resources r = {0};

    (void)state;
    check_plan(&r, "");
    /* What engines send without meaning it. */
    r = (struct oci_resources){
        .memory = {.limit = I64(0),
                   .reservation = I64(0),
                   .swap = I64(0),
                   .disable_oom_killer = {true, false}},
        .cpu = {.shares = I64(0), .quota = I64(0), .period = I64(0), .cpus = TEXT("")},
        .io = {.weight = I64(0)},
    };
    check_plan(&r, "");
}

static void test_memory_and_swap(void **state)
{
    static const struct {
        struct oci_memory m;
        const char *text;
    } rows[] = {
        {{.limit = I64(100 * MIB)}, "memory.max=104857600"},
        {{.limit = I64(-1)}, "memory.swap.max=max? | memory.max=max?"},
        {{.limit = I64(100 * MIB), .swap = I64(300 * MIB)},
         "memory.swap.max=209715200 | memory.max=104857600"},
        {{.limit = I64(100 * MIB), .swap = I64(100 * MIB)},
         "memory.swap.max=0 | memory.max=104857600"},
        {{.limit = I64(100 * MIB), .swap = I64(-1)}, "memory.swap.max=max? | memory.max=104857600"},
        {{.limit = I64(100 * MIB), .swap = I64(0)}, "memory.max=104857600"},
        {{.limit = I64(-1), .swap = I64(300 * MIB)}, "memory.swap.max=314572800 | memory.max=max?"},
        {{.limit = I64(-1), .swap = I64(-1)}, "memory.swap.max=max? | memory.max=max?"},
        {{.swap = I64(-1)}, "memory.swap.max=max?"},
        {{.reservation = I64(50 * MIB)}, "memory.low=52428800"},
        {{.reservation = I64(-1)}, "memory.low=max"},
        {{.limit = I64(INT64_MAX)}, "memory.max=9223372036854775807"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_resources r = {.memory = rows[i].m};
        check_plan(&r, rows[i].text);
    }
}

static void test_memory_that_v2_can_not_say(void **state)
{
    static const struct {
        struct oci_memory m;
        enum error_code code;
        const char *says;
    } rows[] = {
        {{.limit = I64(100 * MIB), .swap = I64(99 * MIB)}, ERROR_CONFIG, "less than memory.limit"},
        {{.swap = I64(99 * MIB)}, ERROR_CONFIG, "linux.resources.memory.swap"},
        {{.limit = I64(0), .swap = I64(99 * MIB)}, ERROR_CONFIG, "set memory.limit too"},
        {{.swappiness = I64(60)}, ERROR_UNSUPPORTED, "linux.resources.memory.swappiness"},
        {{.swappiness = I64(0)}, ERROR_UNSUPPORTED, "linux.resources.memory.swappiness"},
        {{.disable_oom_killer = {true, true}}, ERROR_UNSUPPORTED, "memory.disableOOMKiller"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_resources r = {.memory = rows[i].m};
        check_refused(&r, rows[i].code, rows[i].says);
    }
}

/* Computed once with 50 digits; runc, crun and Kubernetes have the same numbers. */
static void test_shares_become_a_weight(void **state)
{
    static const struct {
        uint64_t shares;
        unsigned weight;
    } rows[] = {
        {0, 0},           {1, 1},
        {2, 1},           {3, 2},
        {4, 2},           {10, 4},
        {25, 6},          {102, 17},
        {256, 35},        {378, 46},
        {512, 59},        {614, 67},
        {1000, 99},       {1011, 99},
        {1023, 100},      {1024, 100},
        {1025, 101},      {2000, 170},
        {2048, 174},      {4096, 303},
        {65536, 3023},    {100000, 4340},
        {262143, 10000},  {262144, 10000},
        {1000000, 10000}, {UINT64_MAX, 10000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (cgroup_weight_of_shares(rows[i].shares) != rows[i].weight)
            fail_msg("%llu shares: %u, not %u", (unsigned long long)rows[i].shares,
                     cgroup_weight_of_shares(rows[i].shares), rows[i].weight);
    for (uint64_t s = 1; s < 262144; s++)
        assert_true(cgroup_weight_of_shares(s) <= cgroup_weight_of_shares(s + 1));
}

static void test_cpu(void **state)
{
    static const struct {
        struct oci_cpu c;
        const char *text;
    } rows[] = {
        {{.shares = I64(512)}, "cpu.weight=59"},
        {{.shares = I64(1024)}, "cpu.weight=100?"},
        {{.quota = I64(50000), .period = I64(100000)}, "cpu.max=50000 100000"},
        {{.quota = I64(50000)}, "cpu.max=50000"},
        {{.period = I64(20000)}, "cpu.max=max 20000?"},
        {{.quota = I64(-1), .period = I64(20000)}, "cpu.max=max 20000?"},
        {{.quota = I64(0), .period = I64(20000)}, "cpu.max=max 20000?"},
        {{.quota = I64(-1)}, "cpu.max=max?"},
        {{.quota = I64(50000), .period = I64(0)}, "cpu.max=50000"},
        {{.quota = I64(50000), .burst = I64(20000)}, "cpu.max=50000 | cpu.max.burst=20000"},
        {{.burst = I64(0)}, "cpu.max.burst=0?"},
        {{.idle = I64(1)}, "cpu.idle=1"},
        {{.idle = I64(0), .shares = I64(2048)}, "cpu.idle=0? | cpu.weight=174"},
        {{.idle = I64(1), .shares = I64(0)}, "cpu.idle=1"},
        {{.cpus = TEXT("0-1,3"), .mems = TEXT("0")}, "cpuset.cpus=0-1,3 | cpuset.mems=0"},
    };
    struct oci_resources bad_idle = {.cpu = {.idle = I64(2)}};
    struct oci_resources both = {.cpu = {.idle = I64(1), .shares = I64(2048)}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_resources r = {.cpu = rows[i].c};
        check_plan(&r, rows[i].text);
    }
    check_refused(&bad_idle, ERROR_CONFIG, "linux.resources.cpu.idle");
    check_refused(&both, ERROR_CONFIG, "an idle cgroup takes no cpu.shares");
}

static void test_pids(void **state)
{
    static const struct {
        int64_t limit;
        const char *text;
    } rows[] = {
        {100, "pids.max=100"}, {1, "pids.max=1"}, {0, "pids.max=max?"}, {-1, "pids.max=max?"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_resources r = {.pids_limit = I64(rows[i].limit)};
        check_plan(&r, rows[i].text);
    }
}

static void test_io(void **state)
{
    struct oci_io_device weights[] = {{8, 0, 500}, {8, 16, 10}};
    struct oci_io_device rbps[] = {{8, 0, 1048576}, {8, 16, 2097152}};
    struct oci_io_device wbps[] = {{8, 0, 0}};
    struct oci_io_device riops[] = {{8, 16, 100}, {253, 1, 5}};
    struct oci_io_device wiops[] = {{8, 0, 7}};
    struct oci_resources r = {.io = {.weight = I64(1000)}};

    (void)state;
    check_plan(&r, "io.bfq.weight=1000 or io.weight=default 10000");
    r.io.weight.value = 10;
    check_plan(&r, "io.bfq.weight=10 or io.weight=default 1");
    r.io.weight.value = 750;
    check_plan(&r, "io.bfq.weight=750 or io.weight=default 7475");
    r = (struct oci_resources){.io = {.weight_device = {weights, 2}}};
    check_plan(&r, "io.bfq.weight=8:0 500 or io.weight=8:0 4950 | "
                   "io.bfq.weight=8:16 10 or io.weight=8:16 1");
    r = (struct oci_resources){.io = {.read_bps = {rbps, 2},
                                      .write_bps = {wbps, 1},
                                      .read_iops = {riops, 2},
                                      .write_iops = {wiops, 1}}};
    check_plan(&r, "io.max=8:0 rbps=1048576 wbps=max wiops=7 | io.max=8:16 rbps=2097152 riops=100"
                   " | io.max=253:1 riops=5");
}

static void test_the_rest(void **state)
{
    struct oci_hugepage_limit huge[] = {{TEXT("2MB"), 4 << 20}, {TEXT("1GB"), 0}};
    struct oci_rdma_limit rdma[] = {{TEXT("mlx5_0"), I64(3), I64(10000)},
                                    {TEXT("mlx5_1"), .hca_objects = I64(1)}};
    struct oci_unified unified[] = {
        {TEXT("memory.high"), TEXT("1073741824")},
        {TEXT("io.max"), TEXT("8:0 rbps=max\n8:16 wbps=7\n")},
        {TEXT("cpuset.cpus"), TEXT("")},
    };
    struct oci_resources r = {.hugepages = huge, .n_hugepages = 2};

    (void)state;
    check_plan(&r, "hugetlb.2MB.max=4194304 | hugetlb.2MB.rsvd.max=4194304? | hugetlb.1GB.max=0 | "
                   "hugetlb.1GB.rsvd.max=0?");
    r = (struct oci_resources){.rdma = rdma, .n_rdma = 2};
    check_plan(&r, "rdma.max=mlx5_0 hca_handle=3 hca_object=10000 | rdma.max=mlx5_1 hca_object=1");
    r = (struct oci_resources){.memory = {.limit = I64(MIB)}, .unified = unified, .n_unified = 3};
    check_plan(&r, "memory.max=1048576 | memory.high=1073741824 | io.max=8:0 rbps=max | "
                   "io.max=8:16 wbps=7 | cpuset.cpus=\n");
}

/* --- what the kernel shows ------------------------------------------------------------------ */

static void test_values_are_recognised(void **state)
{
    static const struct {
        const char *file, *value, *text;
        bool kept;
    } rows[] = {
        {"memory.max", "1048576", "1048576\n", true},
        {"memory.max", "1048577", "1048576\n", true}, /* whole pages */
        {"memory.max", "1052671", "1048576\n", true},
        {"memory.max", "1052672", "1048576\n", false},
        {"memory.max", "1048576", "max\n", false},
        {"memory.max", "max", "max\n", true},
        {"memory.max", "max", "1048576\n", false},
        {"memory.max", "9223372036854775807", "max\n", true},
        {"memory.max", "9223372036854771712", "max\n", true},
        {"memory.max", "9223372036854771711", "max\n", false},
        {"memory.high", "1G", "1073741824\n", true}, /* unified, in the kernel's own way */
        {"memory.high", "1G", "1048576\n", false},
        {"memory.oom.group", "1", "1\n", true},
        {"memory.oom.group", "1", "0\n", false},
        {"hugetlb.2MB.max", "4194305", "4194304\n", true},
        {"hugetlb.2MB.max", "4194304", "2097152\n", false},
        {"hugetlb.1GB.rsvd.max", "1073741825", "1073741824\n", true},
        {"hugetlb.2MB.max", "9223372036854775807", "max\n", true},
        {"cpu.max", "50000 100000", "50000 100000\n", true},
        {"cpu.max", "50000", "50000 100000\n", true},
        {"cpu.max", "max", "max 100000\n", true},
        {"cpu.max", "50000 100000", "max 100000\n", false},
        {"cpu.max", "50000 20000", "50000 100000\n", false},
        {"cpu.weight", "100", "100\n", true},
        {"cpu.weight", "100", "10\n", false},
        {"pids.max", "7", "70\n", false},
        {"io.max", "8:0 rbps=1 wiops=max", "8:16 rbps=9\n8:0 rbps=1 wbps=max riops=max wiops=max\n",
         true},
        {"io.max", "8:0 rbps=1", "8:16 rbps=1 wbps=max\n", false},
        {"io.max", "8:0 rbps=1", "8:0 rbps=2 wbps=max riops=max wiops=max\n", false},
        {"io.max", "8:0 rbps=max", "", true}, /* no limit: no line */
        {"io.max", "8:0 rbps=max wiops=4", "", false},
        {"io.weight", "default 200", "default 200\n8:0 5\n", true},
        {"io.weight", "200", "default 200\n", true},
        {"io.weight", "8:0 200", "default 200\n", false},
        {"io.weight", "8:0 default", "default 200\n", true},
        {"io.bfq.weight", "750", "default 750\n", true},
        {"io.bfq.weight", "8:0 750", "default 100\n8:0 750\n", true},
        {"io.bfq.weight", "750", "default 100\n", false},
        {"rdma.max", "m hca_handle=2", "m hca_handle=2 hca_object=max\n", true},
        {"rdma.max", "m hca_handle=2", "m hca_handle=3 hca_object=max\n", false},
        {"some.file", "a", "b\n", true}, /* not known */
        {"memory.reclaim", "1G", "0\n", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (cgroup_value_is_kept(rows[i].file, rows[i].value, rows[i].text) != rows[i].kept)
            fail_msg("%s: '%s' read back as '%s'", rows[i].file, rows[i].value, rows[i].text);
}

static void test_what_was_there_before(void **state)
{
    static const struct {
        const char *file, *value, *text, *before;
    } rows[] = {
        {"memory.max", "1", "max\n", "max\n"},
        {"cpuset.cpus", "1", "\n", "\n"},
        {"cpuset.cpus", "1", "", "\n"},
        {"io.max", "8:0 rbps=1 wiops=2", "8:16 rbps=1\n", "8:0 rbps=max wiops=max"},
        {"io.max", "8:0 rbps=1", "8:16 rbps=1\n8:0 rbps=5 wbps=6\n", "8:0 rbps=5 wbps=6"},
        {"io.weight", "default 9", "default 100\n8:0 5\n", "default 100"},
        {"io.weight", "8:0 9", "default 100\n", "8:0 default"},
        {"io.bfq.weight", "9", "default 100\n", "100"},
        {"rdma.max", "m hca_handle=2", "m hca_handle=max hca_object=7\n",
         "m hca_handle=max hca_object=7"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *got = cgroup_value_before(rows[i].file, rows[i].value, rows[i].text);
        if (!streq(got, rows[i].before))
            fail_msg("%s '%s': '%s'", rows[i].file, rows[i].value, got);
        free(got);
    }
}

static void test_sets(void **state)
{
    static const struct {
        const char *a, *b;
        int equal;
    } rows[] = {
        {"0-3", "0,1,2,3\n", 1},
        {"0-3", "0-2", 0},
        {"", "\n", 1},
        {"1", "", 0},
        {"0,2", "2,0", 1},
        {"8191", "8191", 1},
        {"8192", "1", -EINVAL},
        {"0-6:2", "0", -EINVAL},
        {"a", "0", -EINVAL},
        {"1-", "1", -EINVAL},
        {"99999999999999", "1", -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (cgroup_sets_equal(rows[i].a, rows[i].b) != rows[i].equal)
            fail_msg("'%s' and '%s'", rows[i].a, rows[i].b);
}

/* --- execution, on plain files -------------------------------------------------------------- */

static struct cgroup_host host_at(const struct temp_dir *d)
{
    return (struct cgroup_host){.layout = CGROUP_UNIFIED, .mount = mem_strdup(d->path)};
}

static void assert_file(const struct temp_dir *d, const char *name, const char *text)
{
    char *got = NULL;

    assert_int_equal(file_read_at(d->fd, name, 0, 4096, &got, NULL), 0);
    if (!streq(got, text))
        fail_msg("%s holds '%s', not '%s'", name, got, text);
    free(got);
}

static void apply(const struct temp_dir *d, const struct oci_resources *r, int expected,
                  const char *says)
{
    struct cgroup_host host = host_at(d);
    struct error e = {0};

    int got = cgroup_apply_resources(&host, d->path, r, &e);
    if (got != expected)
        fail_msg("%d, not %d: %s", got, expected, error_render(&e));
    if (says)
        assert_error_says(&e, says);
    error_done(&e);
    cgroup_host_done(&host);
}

static void test_a_failure_puts_back_what_was_written(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources r = {
        .pids_limit = I64(20),
        .memory = {.limit = I64(512 * MIB)},
        .cpu = {.shares = I64(4096)},
    };

    temp_text(d, "pids.max", "10");
    temp_text(d, "memory.max", "268435456");
    /* A write that fails with EINVAL, as the kernel's do. */
    assert_int_equal(symlinkat("/proc/self/oom_score_adj", d->fd, "cpu.weight"), 0);
    r.cpu.shares.value = 262144; /* weight 10000, beyond oom_score_adj's 1000 */
    apply(d, &r, -EINVAL, "the kernel refuses '10000'");
    assert_file(d, "pids.max", "10");
    assert_file(d, "memory.max", "268435456");
}

static void test_a_value_that_the_kernel_changes_is_an_error(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources r = {.memory = {.limit = I64(512 * MIB)}, .cpu = {.shares = I64(1025)}};

    temp_text(d, "memory.max", "268435456");
    /* It shows in hexadecimal what it took as decimal. */
    assert_int_equal(symlinkat("/proc/self/coredump_filter", d->fd, "cpu.weight"), 0);
    apply(d, &r, -ERANGE, "it was set to '101', and the kernel made that '00000065'");
    assert_file(d, "memory.max", "268435456");
}

static void test_cpus_that_the_cgroup_can_not_have(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources r = {.cpu = {.cpus = TEXT("0-7")}};

    temp_text(d, "cpuset.cpus", "");
    temp_text(d, "cpuset.cpus.effective", "0-3\n");
    apply(d, &r, -ERANGE, "it was set to '0-7', and the kernel made that '0-3'");
    temp_text(d, "cpuset.cpus.effective", "0-7\n");
    apply(d, &r, 0, NULL);
}

static void test_what_is_left_out_is_taken_from_the_cgroup(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources period = {.cpu = {.period = I64(200000)}};
    struct oci_resources swap = {.memory = {.swap = I64(300 * MIB)}};
    struct oci_resources too_little = {.memory = {.swap = I64(99 * MIB)}};

    temp_text(d, "cpu.max", "50000 100000");
    apply(d, &period, 0, NULL);
    assert_file(d, "cpu.max", "50000 200000");

    temp_text(d, "memory.max", "104857600");
    temp_text(d, "memory.swap.max", "max");
    apply(d, &swap, 0, NULL);
    assert_file(d, "memory.swap.max", "209715200");
    assert_file(d, "memory.max", "104857600");
    apply(d, &too_little, -EINVAL, "less than memory.limit");
    temp_text(d, "memory.max", "max");
    apply(d, &swap, -EINVAL, "there is no memory limit to subtract");
}

static void test_check_before_update(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources r = {.memory = {.limit = I64(100 * MIB), .check_before_update = true}};

    temp_text(d, "memory.max", "268435456");
    temp_text(d, "memory.current", "104857600\n");
    apply(d, &r, -EBUSY, "it is to be 104857600 bytes, and 104857600 are in use");
    assert_file(d, "memory.max", "268435456");
    temp_text(d, "memory.current", "104857599\n");
    apply(d, &r, 0, NULL);
    temp_text(d, "memory.current", "204857600\n");
    r.memory.check_before_update = false;
    apply(d, &r, 0, NULL);
}

static void test_a_burst_that_shrinks_goes_first(void **state)
{
    static const struct {
        const char *burst, *first, *second;
    } rows[] = {
        {"40000\n", "cpu.max.burst", "cpu.max"},
        {"10000\n", "cpu.max", "cpu.max.burst"},
        {"5000\n", "cpu.max", "cpu.max.burst"},
    };
    struct oci_resources r = {.cpu = {.quota = I64(20000), .burst = I64(10000)}};
    struct temp_dir *d = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_writes w = {0};
        struct error e = {0};
        temp_text(d, "cpu.max.burst", rows[i].burst);
        assert_int_equal(cgroup_plan_resources_at(d->path, &r, &w, &e), 0);
        assert_int_equal(w.n, 2);
        assert_string_equal(w.list[0].file, rows[i].first);
        assert_string_equal(w.list[1].file, rows[i].second);
        cgroup_writes_done(&w);
    }
}

static void test_a_file_in_place_of_another(void **state)
{
    struct temp_dir *d = *state;
    struct oci_resources r = {.io = {.weight = I64(750)}};

    temp_text(d, "io.weight", "");
    apply(d, &r, 0, NULL);
    assert_file(d, "io.weight", "default 7475");
    temp_text(d, "io.bfq.weight", "");
    temp_text(d, "io.weight", "");
    apply(d, &r, -ERANGE, "io.bfq.weight"); /* a plain file shows no "default 750" */
    assert_file(d, "io.weight", "");
}

static void test_missing_controllers_are_enabled_together(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d);
    struct oci_resources r = {.pids_limit = I64(7),
                              .memory = {.limit = I64(MIB)},
                              .cpu = {.shares = I64(2048), .cpus = TEXT("0")}};
    struct error e = {0};
    char *path = path_join(d->path, "c");

    for (const char *const *c = (const char *const[]){"pids", "memory", "cpu", "cpuset", NULL}; *c;
         c++)
        strv_push(&host.controllers, mem_strdup(*c));
    assert_int_equal(mkdirat(d->fd, "c", 0755), 0);
    temp_text(d, "cgroup.subtree_control", "cpu\n");
    /* No kernel here makes the files appear. */
    assert_int_equal(cgroup_apply_resources(&host, path, &r, &e), -ENOENT);
    assert_error_says(&e, "the controller pids is enabled, yet");
    assert_file(d, "cgroup.subtree_control", "+pids +memory +cpuset");
    error_done(&e);

    /* What is optional asks for none. */
    r = (struct oci_resources){.pids_limit = I64(-1), .cpu = {.shares = I64(1024)}};
    temp_text(d, "cgroup.subtree_control", "");
    assert_int_equal(cgroup_apply_resources(&host, path, &r, &e), 0);
    assert_file(d, "cgroup.subtree_control", "");
    cgroup_host_done(&host);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_asked_is_nothing_planned),
        cmocka_unit_test(test_memory_and_swap),
        cmocka_unit_test(test_memory_that_v2_can_not_say),
        cmocka_unit_test(test_shares_become_a_weight),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_pids),
        cmocka_unit_test(test_io),
        cmocka_unit_test(test_the_rest),
        cmocka_unit_test(test_values_are_recognised),
        cmocka_unit_test(test_what_was_there_before),
        cmocka_unit_test(test_sets),
        temp_test(test_a_failure_puts_back_what_was_written),
        temp_test(test_a_value_that_the_kernel_changes_is_an_error),
        temp_test(test_cpus_that_the_cgroup_can_not_have),
        temp_test(test_what_is_left_out_is_taken_from_the_cgroup),
        temp_test(test_check_before_update),
        temp_test(test_a_burst_that_shrinks_goes_first),
        temp_test(test_a_file_in_place_of_another),
        temp_test(test_missing_controllers_are_enabled_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
