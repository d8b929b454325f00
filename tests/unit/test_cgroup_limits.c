/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

/* A directory with plain files stands for the hierarchy: what is written can be read back as it
 * went out, errors of the kernel's own can't be had here. */

static void assert_file(const struct temp_dir *d, const char *name, const char *text)
{
    char *got = NULL;

    assert_int_equal(file_read_at(d->fd, name, 0, 4096, &got, NULL), 0);
    if (!streq(got, text))
        fail_msg("%s holds '%s', not '%s'", name, got, text);
    free(got);
}

static void test_m2_read_all(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_limits l;
    struct error e = {0};

    temp_text(d, "memory.max", "536870912\n");
    temp_text(d, "memory.high", "max\n");
    temp_text(d, "memory.swap.max", "0\n");
    temp_text(d, "cpu.max", "max 100000\n");
    temp_text(d, "cpu.weight", "79\n");
    temp_text(d, "pids.max", "128\n");
    temp_text(d, "io.max", "8:16 rbps=2097152 wbps=max riops=max wiops=max\n");
    assert_int_equal(cgroup_read_limits(d->path, &l, &e), 0);
    assert_int_equal(l.memory_bytes, 536870912);
    assert_true(l.memory_high == CGROUP_NO_LIMIT);
    assert_int_equal(l.memory_swap_max, 0);
    assert_true(l.cpu_quota_us == CGROUP_NO_LIMIT);
    assert_int_equal(l.cpu_period_us, 100000);
    assert_int_equal(l.cpu_weight, 79);
    assert_int_equal(l.pids_max, 128);
    assert_int_equal(l.n_io, 1);
    assert_string_equal(l.io[0].device, "8:16");
    assert_false(cgroup_limits_empty(&l));
    cgroup_limits_done(&l);
    assert_true(cgroup_limits_empty(&l));
}

static void test_m2_missing_controllers_are_no_limit(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_limits l;

    assert_int_equal(cgroup_read_limits(d->path, &l, NULL), 0);
    assert_true(cgroup_limits_empty(&l));
    assert_true(l.cpu_period_us == CGROUP_NO_LIMIT);
    cgroup_limits_done(&l);

    temp_text(d, "cpu.max", "max 100000\n");
    assert_int_equal(cgroup_read_limits(d->path, &l, NULL), 0);
    assert_false(cgroup_limits_empty(&l));
    cgroup_limits_done(&l);
}

static void test_m2_idle_weight_is_none(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_limits l;

    temp_text(d, "cpu.weight", "0\n");
    assert_int_equal(cgroup_read_limits(d->path, &l, NULL), 0);
    assert_true(l.cpu_weight == CGROUP_NO_LIMIT);
    cgroup_limits_done(&l);
}

static void test_m2_bad_files_are_named(void **state)
{
    static const struct {
        const char *file, *text;
    } rows[] = {
        {"memory.max", "lots\n"},
        {"memory.high", ""},
        {"memory.swap.max", "-1\n"},
        {"cpu.max", "50000\n"},
        {"cpu.max", "50000 0\n"},
        {"cpu.weight", "max\n"},
        {"pids.max", "1 2\n"},
        {"io.max", "8:16 rbps=1 latency=5\n"},
        {"io.max", "8:0 rbps=1\n8:0 rbps=1\n"},
    };
    struct temp_dir *d = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_limits l;
        struct error e = {0};
        temp_text(d, rows[i].file, rows[i].text);
        if (cgroup_read_limits(d->path, &l, &e) >= 0)
            fail_msg("accepted in %s: %s", rows[i].file, rows[i].text);
        assert_int_equal(e.code, ERROR_CGROUP);
        assert_error_says(&e, rows[i].file);
        error_done(&e);
        assert_int_equal(unlinkat(d->fd, rows[i].file, 0), 0);
    }
}

static void test_read_of_a_missing_cgroup(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_limits l;
    struct error e = {0};
    char *path = path_join(d->path, "gone");

    assert_int_equal(cgroup_read_limits(path, &l, &e), -ENOENT);
    assert_error_says(&e, "gone");
    error_done(&e);
    free(path);
}

static struct cgroup_host host_at(const char *mount, const char *controllers)
{
    struct cgroup_host host = {.layout = CGROUP_HYBRID, .mount = mem_strdup(mount)};

    strv_push(&host.v1_controllers, mem_strdup("memory (/sys/fs/cgroup/memory)"));
    strv_push(&host.v1_controllers, mem_strdup("blkio (/sys/fs/cgroup/blkio)"));
    for (const char *p = controllers; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        strv_push(&host.controllers, mem_strndup(p, n));
        p += n;
    }
    return host;
}

static void test_c13_limits_are_written_as_the_kernel_takes_them(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d->path, "");
    struct cgroup_io_limit io = {
        .device = (char *)(uintptr_t) "8:16",
        .rbps = 1048576,
        .wbps = CGROUP_NO_LIMIT,
        .riops = CGROUP_NO_LIMIT,
        .wiops = 10,
    };
    struct cgroup_limits l;
    struct error e = {0};

    assert_int_equal(mkdirat(d->fd, "c", 0755), 0);
    char *path = path_join(d->path, "c");
    temp_text(d, "c/memory.max", "");
    temp_text(d, "c/memory.high", "");
    temp_text(d, "c/memory.swap.max", "");
    temp_text(d, "c/cpu.max", "");
    temp_text(d, "c/cpu.weight", "");
    temp_text(d, "c/pids.max", "");
    temp_text(d, "c/io.max", "");
    cgroup_limits_init(&l);
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), 0);
    assert_file(d, "c/memory.max", "");

    l.memory_bytes = 536870912;
    l.memory_high = 1;
    l.memory_swap_max = 0;
    l.cpu_quota_us = 50000;
    l.cpu_period_us = 100000;
    l.cpu_weight = 79;
    l.pids_max = 128;
    l.io = &io;
    l.n_io = 1;
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), 0);
    assert_file(d, "c/memory.max", "536870912");
    assert_file(d, "c/memory.high", "1");
    assert_file(d, "c/memory.swap.max", "0");
    assert_file(d, "c/cpu.max", "50000 100000");
    assert_file(d, "c/cpu.weight", "79");
    assert_file(d, "c/pids.max", "128");
    assert_file(d, "c/io.max", "8:16 rbps=1048576 wbps=max riops=max wiops=10");

    /* What was read is what is written. */
    struct cgroup_limits back;
    assert_int_equal(cgroup_read_limits(path, &back, &e), 0);
    assert_int_equal(back.memory_bytes, l.memory_bytes);
    assert_int_equal(back.cpu_quota_us, l.cpu_quota_us);
    assert_int_equal(back.io[0].wiops, 10);
    cgroup_limits_done(&back);
    cgroup_host_done(&host);
    free(path);
}

static void test_c13_a_controller_bound_to_v1_is_named(void **state)
{
    static const struct {
        bool io;
        const char *says;
    } rows[] = {{false, "memory (/sys/fs/cgroup/memory)"}, {true, "blkio (/sys/fs/cgroup/blkio)"}};
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d->path, "hugetlb");
    struct cgroup_io_limit io = {.device = (char *)(uintptr_t) "8:16"};

    assert_int_equal(mkdirat(d->fd, "c", 0755), 0);
    char *path = path_join(d->path, "c");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_limits l;
        struct error e = {0};
        cgroup_limits_init(&l);
        if (rows[i].io) {
            l.io = &io;
            l.n_io = 1;
        } else {
            l.memory_bytes = 1 << 20;
        }
        assert_int_equal(cgroup_write_limits(&host, path, &l, &e), -ENOENT);
        assert_int_equal(e.code, ERROR_CGROUP);
        assert_error_says(&e, rows[i].says);
        assert_error_says(&e, rows[i].io ? "io.max" : "memory.max");
        error_done(&e);
    }

    /* One that is nowhere. */
    struct cgroup_limits l;
    struct error e = {0};
    cgroup_limits_init(&l);
    l.pids_max = 5;
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), -ENOENT);
    assert_error_says(&e, "the controller pids is not in the v2 hierarchy");
    error_done(&e);
    cgroup_host_done(&host);
    free(path);
}

static void test_c13_defaults_need_no_controller(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d->path, "");
    struct cgroup_limits l;
    struct error e = {0};

    assert_int_equal(mkdirat(d->fd, "c", 0755), 0);
    char *path = path_join(d->path, "c");
    cgroup_limits_init(&l);
    l.cpu_period_us = 100000;
    l.cpu_weight = 100;
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), 0);
    l.cpu_weight = 99;
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), -ENOENT);
    assert_error_says(&e, "cpu.weight");
    error_done(&e);
    cgroup_host_done(&host);
    free(path);
}

static void test_c13_controllers_are_enabled_down_the_path(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d->path, "cpu memory pids");
    struct cgroup_limits l;
    struct error e = {0};

    assert_int_equal(mkdirat(d->fd, "a", 0755), 0);
    assert_int_equal(mkdirat(d->fd, "a/b", 0755), 0);
    assert_int_equal(mkdirat(d->fd, "a/b/c", 0755), 0);
    char *path = path_join(d->path, "a/b/c");
    temp_text(d, "cgroup.subtree_control", "cpu pids\n"); /* has it */
    temp_text(d, "a/cgroup.subtree_control", "");
    temp_text(d, "a/b/cgroup.subtree_control", "");
    temp_text(d, "a/b/c/cgroup.subtree_control", "");
    cgroup_limits_init(&l);
    l.pids_max = 9;
    /* No kernel here makes pids.max appear. */
    assert_int_equal(cgroup_write_limits(&host, path, &l, &e), -ENOENT);
    assert_error_says(&e, "the controller pids is enabled, yet");
    assert_file(d, "cgroup.subtree_control", "cpu pids\n");
    assert_file(d, "a/cgroup.subtree_control", "+pids");
    assert_file(d, "a/b/cgroup.subtree_control", "+pids");
    assert_file(d, "a/b/c/cgroup.subtree_control", "");
    error_done(&e);
    cgroup_host_done(&host);
    free(path);
}

static void test_write_outside_of_the_mount_is_refused(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at("/somewhere/else", "pids");
    struct cgroup_limits l;
    struct error e = {0};

    cgroup_limits_init(&l);
    l.pids_max = 9;
    assert_int_equal(cgroup_write_limits(&host, d->path, &l, &e), -EINVAL);
    assert_error_says(&e, "/somewhere/else");
    error_done(&e);
    cgroup_host_done(&host);
}

static void test_refusal_of_the_kernel_names_file_and_value(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = host_at(d->path, "");
    struct cgroup_limits l;
    struct error e = {0};

    /* A write that fails with EINVAL, as the kernel's do. */
    if (symlinkat("/proc/self/oom_score_adj", d->fd, "pids.max") < 0)
        fail();
    cgroup_limits_init(&l);
    l.pids_max = 99999;
    assert_int_equal(cgroup_write_limits(&host, d->path, &l, &e), -EINVAL);
    assert_error_says(&e, "pids.max");
    assert_error_says(&e, "'99999'");
    error_done(&e);
    cgroup_host_done(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_m2_read_all),
        temp_test(test_m2_missing_controllers_are_no_limit),
        temp_test(test_m2_idle_weight_is_none),
        temp_test(test_m2_bad_files_are_named),
        temp_test(test_read_of_a_missing_cgroup),
        temp_test(test_c13_limits_are_written_as_the_kernel_takes_them),
        temp_test(test_c13_a_controller_bound_to_v1_is_named),
        temp_test(test_c13_defaults_need_no_controller),
        temp_test(test_c13_controllers_are_enabled_down_the_path),
        temp_test(test_write_outside_of_the_mount_is_refused),
        temp_test(test_refusal_of_the_kernel_names_file_and_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
