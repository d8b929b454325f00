/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/stats.h"
#include "cgroup/watch.h"

/* What Linux 6.1 and 6.18 print, and what no kernel should. */

static void test_cpu_stat(void **state)
{
    struct cgroup_cpu_stats s = {0};

    (void)state;
    assert_int_equal(cgroup_parse_cpu_stat("usage_usec 123456\nuser_usec 100000\n"
                                           "system_usec 23456\nnice_usec 0\n"
                                           "core_sched.force_idle_usec 0\nnr_periods 10\n"
                                           "nr_throttled 4\nthrottled_usec 777\nnr_bursts 0\n"
                                           "burst_usec 0\n",
                                           &s),
                     0);
    assert_true(s.has && s.has_throttling);
    assert_int_equal(s.usage_usec, 123456);
    assert_int_equal(s.user_usec, 100000);
    assert_int_equal(s.system_usec, 23456);
    assert_int_equal(s.nr_periods, 10);
    assert_int_equal(s.nr_throttled, 4);
    assert_int_equal(s.throttled_usec, 777);

    /* Without the controller. */
    s = (struct cgroup_cpu_stats){0};
    assert_int_equal(cgroup_parse_cpu_stat("usage_usec 5\nuser_usec 3\nsystem_usec 2\n", &s), 0);
    assert_true(s.has && !s.has_throttling);
    assert_int_equal(s.usage_usec, 5);
}

static void test_flat_files_refuse(void **state)
{
    static const struct {
        const char *text;
        int r;
    } rows[] = {
        {"", -EINVAL},
        {"\n", -EINVAL},
        {"user_usec 3\n", -EINVAL},
        {"usage_usec\n", -EINVAL},
        {"usage_usec \n", -EINVAL},
        {"usage_usec -1\n", -EINVAL},
        {"usage_usec 1 2\n", -EINVAL},
        {"usage_usec 1\n\nuser_usec 1\n", -EINVAL},
        {" usage_usec 1\n", -EINVAL},
        {"usage_usec 0000000000000000000000001\n", -EINVAL},
        {"usage_usec 18446744073709551616\n", -ERANGE},
        {"usage_usec 1\nother x\n", -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_cpu_stats s = {.usage_usec = 77};
        int r = cgroup_parse_cpu_stat(rows[i].text, &s);
        if (r != rows[i].r || s.usage_usec != 77)
            fail_msg("'%s': %d", rows[i].text, r);
    }
}

static void test_memory_events(void **state)
{
    struct cgroup_memory_events events = {0};

    (void)state;
    assert_int_equal(cgroup_parse_memory_events("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n"
                                                "oom_group_kill 6\nsock_throttled 7\n",
                                                &events),
                     0);
    assert_true(events.has);
    assert_int_equal(events.low, 1);
    assert_int_equal(events.high, 2);
    assert_int_equal(events.max, 3);
    assert_int_equal(events.oom, 4);
    assert_int_equal(events.oom_kill, 5);
    assert_int_equal(events.oom_group_kill, 6);
    assert_int_equal(cgroup_parse_memory_events("low 0\nhigh 0\nmax 0\noom 0\n", &events), -EINVAL);
    assert_int_equal(events.oom_kill, 5);
}

static void test_max_events(void **state)
{
    uint64_t v = 7;

    (void)state;
    assert_int_equal(cgroup_parse_max_events("max 12\n", &v), 0);
    assert_int_equal(v, 12);
    assert_int_equal(cgroup_parse_max_events("maximum 13\n", &v), -EINVAL);
    assert_int_equal(cgroup_parse_max_events("max\n", &v), -EINVAL);
    assert_int_equal(v, 12);
}

static void counters_free(struct cgroup_counters *c)
{
    struct cgroup_stats s = {.memory.counters = *c};
    cgroup_stats_done(&s);
}

static void test_memory_stat(void **state)
{
    struct cgroup_counters c = {0};

    (void)state;
    assert_int_equal(cgroup_parse_memory_stat("anon 4096\nfile 8192\nkernel 512", &c), 0);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.list[1].name, "file");
    assert_int_equal(cgroup_counter_value(&c, "file"), 8192);
    assert_int_equal(cgroup_counter_value(&c, "kernel"), 512);
    assert_int_equal(cgroup_counter_value(&c, "fil"), 0);
    counters_free(&c);

    c = (struct cgroup_counters){.n = 99};
    assert_int_equal(cgroup_parse_memory_stat("anon 4096\nfile\n", &c), -EINVAL);
    struct strbuf many = {0};
    for (int i = 0; i < 1025; i++)
        strbuf_addf(&many, "key%d 1\n", i);
    assert_int_equal(cgroup_parse_memory_stat(many.s, &c), -E2BIG);
    assert_int_equal(c.n, 99);
    strbuf_done(&many);
}

static void test_pressure(void **state)
{
    struct cgroup_pressure p = {0};

    (void)state;
    assert_int_equal(cgroup_parse_pressure("some avg10=1.23 avg60=0.05 avg300=100.00 total=9876\n"
                                           "full avg10=0.00 avg60=0.01 avg300=0.10 total=5\n",
                                           &p),
                     0);
    assert_true(p.has);
    assert_int_equal(p.some.avg10, 123);
    assert_int_equal(p.some.avg60, 5);
    assert_int_equal(p.some.avg300, 10000);
    assert_int_equal(p.some.total, 9876);
    assert_int_equal(p.full.avg300, 10);
    assert_int_equal(p.full.total, 5);

    /* cpu.pressure before 5.13, and words of a kernel to come. */
    p = (struct cgroup_pressure){0};
    assert_int_equal(cgroup_parse_pressure("some avg10=0.50 total=3 new=x\nmost avg10=?\n", &p), 0);
    assert_int_equal(p.some.avg10, 50);
    assert_int_equal(p.full.total, 0);
}

static void test_pressure_refuses(void **state)
{
    static const char *const rows[] = {
        "",
        "full avg10=0.00 total=0\n",
        "some avg10=1 total=0\n",
        "some avg10=1.2 total=0\n",
        "some avg10=1.234 total=0\n",
        "some avg10=-1.00 total=0\n",
        "some avg10=1.00 total=0.5\n",
        "some avg10\n",
        "some avg10=4294967296.00\n",
        "some  avg10=1.00\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_pressure p = {.some.avg10 = 77};
        int r = cgroup_parse_pressure(rows[i], &p);
        if (r >= 0 || p.some.avg10 != 77)
            fail_msg("'%s': %d", rows[i], r);
    }
}

static void test_io_stat(void **state)
{
    struct cgroup_io_stats io = {0};

    (void)state;
    assert_int_equal(cgroup_parse_io_stat(
                         "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 "
                         "dios=0\n253:0 rbytes=90430464 wbytes=0 rios=8950 wios=0 cost.usage=1\n",
                         &io),
                     0);
    assert_true(io.has);
    assert_int_equal(io.n, 2);
    assert_int_equal(io.list[0].major, 8);
    assert_int_equal(io.list[0].minor, 16);
    assert_int_equal(io.list[0].rbytes, 1459200);
    assert_int_equal(io.list[0].wbytes, 314773504);
    assert_int_equal(io.list[0].rios, 192);
    assert_int_equal(io.list[0].wios, 353);
    assert_int_equal(io.list[1].major, 253);
    assert_int_equal(io.list[1].rios, 8950);
    free(io.list);

    /* Linux 5.10: devices without a value, before, between and behind. */
    assert_int_equal(cgroup_parse_io_stat("7:0 7:1 8:0 rbytes=1 wbytes=2 rios=3 wios=4\n7:2 "
                                          "8:16 rbytes=5 wbytes=6 rios=7 wios=8\n7:3 \n",
                                          &io),
                     0);
    assert_int_equal(io.n, 2);
    assert_int_equal(io.list[0].major, 8);
    assert_int_equal(io.list[0].minor, 0);
    assert_int_equal(io.list[1].minor, 16);
    assert_int_equal(io.list[1].wios, 8);
    free(io.list);

    assert_int_equal(cgroup_parse_io_stat("", &io), 0);
    assert_int_equal(io.n, 0);
    free(io.list);
}

static void test_io_stat_refuses(void **state)
{
    static const char *const rows[] = {
        "rbytes=1\n",
        "8 rbytes=1\n",
        "8:0:1 rbytes=1\n",
        ":0 rbytes=1\n",
        "8: rbytes=1\n",
        "a:b rbytes=1\n",
        "8:0 rbytes=x\n",
        "8:0 rbytes=\n",
        "8:4294967296 rbytes=1\n",
        "8:0 rbytes=-1\n",
        "8:0 rbytes=1\n8:1 wbytes\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_io_stats io = {.n = 77};
        int r = cgroup_parse_io_stat(rows[i], &io);
        if (r >= 0 || io.n != 77)
            fail_msg("'%s': %d", rows[i], r);
    }
    struct cgroup_io_stats io = {.n = 77};
    struct strbuf many = {0};
    for (int i = 0; i < 4097; i++)
        strbuf_addf(&many, "8:%d rbytes=1\n", i);
    assert_int_equal(cgroup_parse_io_stat(many.s, &io), -E2BIG);
    strbuf_done(&many);
}

static void test_rdma(void **state)
{
    struct cgroup_rdma_stats s = {0};

    (void)state;
    assert_int_equal(cgroup_parse_rdma("mlx4_0 hca_handle=2 hca_object=2000\n"
                                       "ocrdma1 hca_handle=3 hca_object=max\n",
                                       &s),
                     0);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.list[0].device, "mlx4_0");
    assert_int_equal(s.list[0].handles, 2);
    assert_int_equal(s.list[0].objects, 2000);
    assert_true(s.list[1].objects == CGROUP_NO_LIMIT);
    struct cgroup_stats all = {.rdma_max = s};
    cgroup_stats_done(&all);
    s.n = 77;
    assert_int_equal(cgroup_parse_rdma("mlx4_0 hca_handle=2\nmlx4_1 hca_handle\n", &s), -EINVAL);
    assert_int_equal(cgroup_parse_rdma("mlx4_0 hca_handle=many\n", &s), -EINVAL);
    assert_int_equal(cgroup_parse_rdma(" hca_handle=2\n", &s), -EINVAL);
    assert_int_equal(s.n, 77);
}

static void test_read_every_controller(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_stats s = {0};
    struct error e = {0};

    temp_text(d, "cpu.stat", "usage_usec 10\nuser_usec 6\nsystem_usec 4\n");
    temp_text(d, "cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n");
    temp_text(d, "memory.current", "4096\n");
    temp_text(d, "memory.max", "max\n");
    temp_text(d, "memory.peak", "8192\n");
    temp_text(d, "memory.swap.current", "0\n");
    temp_text(d, "memory.swap.max", "1024\n");
    temp_text(d, "memory.stat", "anon 1\nfile 2\n");
    temp_text(d, "memory.events", "low 0\nhigh 0\nmax 0\noom 1\noom_kill 1\n");
    temp_text(d, "pids.current", "3\n");
    temp_text(d, "pids.max", "77\n");
    temp_text(d, "io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n");
    temp_text(d, "hugetlb.2MB.current", "2097152\n");
    temp_text(d, "hugetlb.2MB.events", "max 9\n");
    temp_text(d, "hugetlb.2MB.rsvd.current", "5\n");
    temp_text(d, "hugetlb.1GB.current", "0\n");
    temp_text(d, "hugetlb.1GB.events", "max 0\n");
    temp_text(d, "rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n");

    assert_int_equal(cgroup_read_stats(d->path, &s, &e), 0);
    assert_int_equal(s.cpu.usage_usec, 10);
    assert_true(s.cpu.pressure.has);
    assert_true(s.memory.usage.has && s.memory.usage.has_peak);
    assert_true(s.memory.usage.max == CGROUP_NO_LIMIT);
    assert_int_equal(s.memory.usage.peak, 8192);
    assert_true(s.memory.swap.has && !s.memory.swap.has_peak);
    assert_int_equal(s.memory.swap.max, 1024);
    assert_int_equal(s.memory.counters.n, 2);
    assert_int_equal(s.memory.events.oom_kill, 1);
    assert_false(s.memory.pressure.has);
    assert_int_equal(s.pids.current, 3);
    assert_int_equal(s.pids.max, 77);
    assert_int_equal(s.io.n, 1);
    assert_int_equal(s.hugetlb.n, 2);
    assert_string_equal(s.hugetlb.list[0].size, "1GB");
    assert_string_equal(s.hugetlb.list[1].size, "2MB");
    assert_int_equal(s.hugetlb.list[1].failures, 9);
    assert_int_equal(s.rdma_current.n, 1);
    assert_int_equal(s.rdma_max.n, 0);
    cgroup_stats_done(&s);
}

static void test_read_no_controller(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_stats s = {0};
    struct error e = {0};

    assert_int_equal(cgroup_read_stats(d->path, &s, &e), 0);
    assert_false(s.cpu.has || s.memory.usage.has || s.pids.has || s.io.has);
    assert_int_equal(s.hugetlb.n, 0);
    cgroup_stats_done(&s);
}

static void test_read_names_what_it_does_not_understand(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_stats s = {.pids.current = 77};
    struct error e = {0};

    temp_text(d, "memory.stat", "anon 1\n");
    temp_text(d, "pids.current", "three\n");
    assert_int_equal(cgroup_read_stats(d->path, &s, &e), -EINVAL);
    assert_int_equal(e.code, ERROR_CGROUP);
    assert_error_says(&e, "/pids.current'");
    assert_int_equal(s.pids.current, 77);
    error_done(&e);

    char *gone = str_printf("%s/gone", d->path);
    assert_int_equal(cgroup_read_stats(gone, &s, &e), -ENOENT);
    assert_error_says(&e, gone);
    error_done(&e);
    free(gone);
}

static void test_oom_kills(void **state)
{
    struct temp_dir *d = *state;
    uint64_t n = 77;

    assert_int_equal(cgroup_oom_kills(d->path, &n), -ENOENT);
    temp_text(d, "memory.events", "oom_kill nothing\n");
    assert_int_equal(cgroup_oom_kills(d->path, &n), -EINVAL);
    assert_int_equal(n, 77);
    temp_text(d, "memory.events", "oom 3\noom_kill 2\n");
    assert_int_equal(cgroup_oom_kills(d->path, &n), 0);
    assert_int_equal(n, 2);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_watch_counts_from_its_beginning(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_watch w = {.fd = -1};
    struct error e = {0};
    uint64_t kills = 77;

    temp_text(d, "memory.events", "oom 3\noom_kill 2\n");
    assert_int_equal(cgroup_watch_open(d->path, &w, &e), 0);
    assert_false(readable(w.fd));
    assert_int_equal(cgroup_watch_read(&w, &kills, &e), 0);
    assert_int_equal(kills, 0);

    int fd = openat(d->fd, "memory.events", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "oom 5\noom_kill 5\n", 17, 0), 17);
    (void)close(fd);
    assert_true(readable(w.fd));
    assert_int_equal(cgroup_watch_read(&w, &kills, &e), 0);
    assert_int_equal(kills, 3);
    assert_false(readable(w.fd));
    assert_int_equal(cgroup_watch_read(&w, &kills, &e), 0);
    assert_int_equal(kills, 0);

    /* The cgroup goes: no news. */
    assert_int_equal(unlinkat(d->fd, "memory.events", 0), 0);
    assert_int_equal(cgroup_watch_read(&w, &kills, &e), 0);
    assert_int_equal(kills, 0);
    cgroup_watch_done(&w);
}

static void test_watch_without_a_memory_controller(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_watch w = {.fd = -1};
    struct error e = {0};
    uint64_t kills = 77;

    assert_int_equal(cgroup_watch_open(d->path, &w, &e), 0);
    assert_int_equal(cgroup_watch_read(&w, &kills, &e), 0);
    assert_int_equal(kills, 0);
    cgroup_watch_done(&w);

    char *gone = str_printf("%s/gone", d->path);
    assert_int_equal(cgroup_watch_open(gone, &w, &e), -ENOENT);
    assert_error_says(&e, gone);
    error_done(&e);
    free(gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_stat),
        cmocka_unit_test(test_flat_files_refuse),
        cmocka_unit_test(test_memory_events),
        cmocka_unit_test(test_max_events),
        cmocka_unit_test(test_memory_stat),
        cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_pressure_refuses),
        cmocka_unit_test(test_io_stat),
        cmocka_unit_test(test_io_stat_refuses),
        cmocka_unit_test(test_rdma),
        temp_test(test_read_every_controller),
        temp_test(test_read_no_controller),
        temp_test(test_read_names_what_it_does_not_understand),
        temp_test(test_oom_kills),
        temp_test(test_watch_counts_from_its_beginning),
        temp_test(test_watch_without_a_memory_controller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
