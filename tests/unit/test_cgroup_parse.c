/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

static void test_m2_max(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t value;
    } rows[] = {
        {"max\n", 0, CGROUP_NO_LIMIT},
        {"max", 0, CGROUP_NO_LIMIT},
        {"0\n", 0, 0},
        {"536870912\n", 0, 536870912},
        {"18446744073709551614", 0, UINT64_MAX - 1},
        {"18446744073709551615", -ERANGE, 0}, /* would read as max */
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"\n", -EINVAL, 0},
        {"max\n\n", -EINVAL, 0},
        {"max ", -EINVAL, 0},
        {" 5", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"5 5", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"Max", -EINVAL, 0},
        {"000000000000000000000000000000005", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t v = 77;
        int r = cgroup_parse_max(rows[i].text, &v);
        if (r != rows[i].r || v != (r == 0 ? rows[i].value : 77))
            fail_msg("'%s': %d, %llu", rows[i].text, r, (unsigned long long)v);
    }
}

static void test_m2_cpu_max_is_two_words_exactly(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t quota, period;
    } rows[] = {
        {"max 100000\n", 0, CGROUP_NO_LIMIT, 100000},
        {"50000 100000\n", 0, 50000, 100000},
        {"50000 100000", 0, 50000, 100000},
        {"1000 1", 0, 1000, 1},
        {"50000\n", -EINVAL, 0, 0},
        {"max", -EINVAL, 0, 0},
        {"50000 ", -EINVAL, 0, 0},
        {"50000 100000 7\n", -EINVAL, 0, 0},
        {"50000  100000\n", -EINVAL, 0, 0},
        {" 50000 100000\n", -EINVAL, 0, 0},
        {"50000 0\n", -EINVAL, 0, 0}, /* a period of 0 */
        {"max 0\n", -EINVAL, 0, 0},
        {"50000 max\n", -EINVAL, 0, 0},
        {"x 100000\n", -EINVAL, 0, 0},
        {"99999999999999999999 100000\n", -ERANGE, 0, 0},
        {"", -EINVAL, 0, 0},
        {"\n", -EINVAL, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t q = 77, p = 78;
        int r = cgroup_parse_cpu_max(rows[i].text, &q, &p);
        if (r != rows[i].r || q != (r == 0 ? rows[i].quota : 77) ||
            p != (r == 0 ? rows[i].period : 78))
            fail_msg("'%s': %d, %llu %llu", rows[i].text, r, (unsigned long long)q,
                     (unsigned long long)p);
    }
}

static void io_free(struct cgroup_io_limit *io, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(io[i].device);
    free(io);
}

static void test_m2_io_max_as_the_kernel_prints_it(void **state)
{
    struct cgroup_io_limit *io = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(cgroup_parse_io_max("8:16 rbps=2097152 wbps=max riops=max wiops=120\n"
                                         "253:0 rbps=max wbps=1048576 riops=10 wiops=max\n",
                                         &io, &n),
                     0);
    assert_int_equal(n, 2);
    assert_string_equal(io[0].device, "8:16");
    assert_int_equal(io[0].rbps, 2097152);
    assert_true(io[0].wbps == CGROUP_NO_LIMIT && io[0].riops == CGROUP_NO_LIMIT);
    assert_int_equal(io[0].wiops, 120);
    assert_string_equal(io[1].device, "253:0");
    assert_int_equal(io[1].wbps, 1048576);
    assert_int_equal(io[1].riops, 10);
    io_free(io, n);

    /* Other order, keys left out, no newline at the end. */
    assert_int_equal(cgroup_parse_io_max("8:0 wiops=5 rbps=1", &io, &n), 0);
    assert_int_equal(n, 1);
    assert_true(io[0].wiops == 5 && io[0].rbps == 1 && io[0].wbps == CGROUP_NO_LIMIT);
    io_free(io, n);

    assert_int_equal(cgroup_parse_io_max("", &io, &n), 0);
    assert_int_equal(n, 0);
    assert_null(io);
}

static void test_m2_io_max_refuses(void **state)
{
    static const char *const bad[] = {
        "8:16\n",
        "8:16 \n",
        "8:16 rbps=1 latency=5\n", /* unknown key */
        "8:16 rbps=1 rbps=2\n",
        "8:16 rbps=\n",
        "8:16 rbps=x\n",
        "8:16 rbps\n",
        "8:16  rbps=1\n",
        "8:16 rbps=1 \n",
        "8 rbps=1\n",
        ":16 rbps=1\n",
        "8: rbps=1\n",
        "a:b rbps=1\n",
        "8:16:1 rbps=1\n",
        "8:99999999999 rbps=1\n",
        "rbps=1\n",
        " 8:16 rbps=1\n",
        "8:16 rbps=1\n\n8:0 rbps=1\n",
        "8:16 rbps=1\n8:16 wbps=1\n",
        "8:16 rbps=18446744073709551616\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct cgroup_io_limit *io = (void *)1;
        size_t n = 9;
        if (cgroup_parse_io_max(bad[i], &io, &n) >= 0)
            fail_msg("accepted: '%s'", bad[i]);
        assert_ptr_equal(io, (void *)1);
        assert_int_equal(n, 9);
    }
}

static void test_m2_io_max_devices_are_bounded(void **state)
{
    struct strbuf b = {0};
    struct cgroup_io_limit *io;
    size_t n;

    (void)state;
    for (int i = 0; i < 4097; i++)
        strbuf_addf(&b, "8:%d rbps=1\n", i);
    assert_int_equal(cgroup_parse_io_max(b.s, &io, &n), -E2BIG);
    strbuf_done(&b);
}

static void test_events(void **state)
{
    static const struct {
        const char *text, *key;
        int r;
        bool value;
    } rows[] = {
        {"populated 1\nfrozen 0\n", "populated", 0, true},
        {"populated 1\nfrozen 0\n", "frozen", 0, false},
        {"populated 0\nfrozen 1", "frozen", 0, true},
        {"populated 0\n", "frozen", -ENOENT, false},
        {"", "frozen", -ENOENT, false},
        {"frozen\n", "frozen", -ENOENT, false},
        {"frozen 2\n", "frozen", -EINVAL, false},
        {"frozen 10\n", "frozen", -EINVAL, false},
        {"frozen \n", "frozen", -EINVAL, false},
        {"unfrozen 1\n", "frozen", -ENOENT, false},
        {"frozenx 1\nfrozen 0\n", "frozen", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool v = !rows[i].value;
        int r = cgroup_parse_events(rows[i].text, rows[i].key, &v);
        if (r != rows[i].r || (r == 0 && v != rows[i].value))
            fail_msg("'%s' %s: %d, %d", rows[i].text, rows[i].key, r, v);
    }
}

/* --- mountinfo ------------------------------------------------------------------------------ */

#define ROOT "23 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
#define TMPFS "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
#define V1_CPU "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_MEMORY "35 31 0:32 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n"
#define V1_SYSTEMD "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
#define V2_UNIFIED "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define V2_TOP "42 23 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static void test_mountinfo_layouts(void **state)
{
    static const struct {
        const char *text;
        enum cgroup_layout layout;
        const char *mount;
        const char *v1; /* joined by ", " */
    } rows[] = {
        {"", CGROUP_NONE, NULL, ""},
        {ROOT TMPFS, CGROUP_NONE, NULL, ""},
        {ROOT V2_TOP, CGROUP_UNIFIED, "/sys/fs/cgroup", ""},
        {ROOT TMPFS V1_CPU V1_MEMORY V1_SYSTEMD V2_UNIFIED, CGROUP_HYBRID, "/sys/fs/cgroup/unified",
         "cpu (/sys/fs/cgroup/cpu,cpuacct), cpuacct (/sys/fs/cgroup/cpu,cpuacct), "
         "memory (/sys/fs/cgroup/memory)"},
        {ROOT TMPFS V1_MEMORY, CGROUP_V1, NULL, "memory (/sys/fs/cgroup/memory)"},
        /* A named hierarchy binds no controller. */
        {ROOT TMPFS V1_SYSTEMD V2_UNIFIED, CGROUP_UNIFIED, "/sys/fs/cgroup/unified", ""},
        {ROOT TMPFS V1_SYSTEMD, CGROUP_V1, NULL, ""},
        /* Twice the same v1 hierarchy: the first place. */
        {V1_MEMORY "36 31 0:32 / /mnt rw - cgroup cgroup rw,memory\n", CGROUP_V1, NULL,
         "memory (/sys/fs/cgroup/memory)"},
        /* Several cgroup2 mounts: /sys/fs/cgroup, else the shortest of the whole ones. */
        {V2_UNIFIED V2_TOP, CGROUP_UNIFIED, "/sys/fs/cgroup", ""},
        {V2_TOP V2_UNIFIED, CGROUP_UNIFIED, "/sys/fs/cgroup", ""},
        {V2_UNIFIED "43 23 0:38 / /cg rw - cgroup2 none rw\n"
                    "44 23 0:38 / /cgx rw - cgroup2 none rw\n",
         CGROUP_UNIFIED, "/cg", ""},
        {"43 23 0:38 /sub /cg rw - cgroup2 none rw\n" V2_UNIFIED, CGROUP_UNIFIED,
         "/sys/fs/cgroup/unified", ""},
        {"43 23 0:38 /sub /cg rw - cgroup2 none rw\n", CGROUP_NONE, NULL, ""},
        {"43 23 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 none rw\n", CGROUP_UNIFIED,
         "/sys/fs/cgroup", ""},
        /* Escapes: blank, tab, newline, backslash; what is none stays. */
        {"43 23 0:38 / /a\\040b\\011c\\012d\\134e\\04\\9 rw - cgroup2 none rw\n", CGROUP_UNIFIED,
         "/a b\tc\nd\\e\\04\\9", ""},
        /* An empty source, tags, no newline at the end. */
        {"43 23 0:38 / /cg rw shared:1 master:2 propagate_from:3 - cgroup2  rw", CGROUP_UNIFIED,
         "/cg", ""},
        /* Words in other places mean nothing. */
        {"43 23 0:38 / /cgroup2 rw - ext4 cgroup2 rw,memory\n", CGROUP_NONE, NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_host host = {0};
        struct error e = {0};
        if (cgroup_parse_mountinfo(rows[i].text, &host, &e) < 0)
            fail_msg("row %zu: %s", i, error_render(&e));
        char *v1 = strv_join(host.v1_controllers, ", ");
        if (host.layout != rows[i].layout || !streq_ptr(host.mount, rows[i].mount) ||
            !streq(v1, rows[i].v1))
            fail_msg("row %zu: layout %d, mount %s, v1 %s", i, (int)host.layout,
                     host.mount ? host.mount : "-", v1);
        assert_null(host.controllers);
        free(v1);
        cgroup_host_done(&host);
    }
}

static void test_mountinfo_malformed(void **state)
{
    static const char *const bad[] = {
        "\n",
        "43\n",
        "43 23 0:38 / /cg rw cgroup2 none rw\n",    /* no separator */
        "43 23 0:38 / /cg rw - cgroup2\n",          /* cut off */
        "43 23 0:38 / /cg rw - cgroup2 none\n",     /* cut off */
        "43 23 0:38 / cg rw - cgroup2 none rw\n",   /* relative */
        "43 23 0:38 /  rw - cgroup2 none rw x y\n", /* empty mount point */
        "43 23 0:38 / - cgroup2 none rw\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct cgroup_host host = {0};
        struct error e = {0};
        char *text = str_printf(ROOT "%s", bad[i]);
        if (cgroup_parse_mountinfo(text, &host, &e) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_error_says(&e, "line 2");
        error_done(&e);
        free(text);
    }
}

/* --- probing a made-up procfs ---------------------------------------------------------------- */

static void probe_setup(const struct temp_dir *d, const char *mount, const char *controllers)
{
    char *line = str_printf("41 31 0:38 / %s/%s rw - cgroup2 none rw\n" V1_MEMORY, d->path, mount);

    assert_int_equal(mkdirat(d->fd, "self", 0755), 0);
    assert_int_equal(mkdirat(d->fd, mount, 0755), 0);
    temp_text(d, "self/mountinfo", line);
    if (controllers) {
        char *name = path_join(mount, "cgroup.controllers");
        temp_text(d, name, controllers);
        free(name);
    }
    free(line);
}

static void test_probe_reads_controllers(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = {0};
    struct error e = {0};

    probe_setup(d, "cg", "cpuset cpu io pids\n");
    assert_int_equal(cgroup_host_probe(d->fd, &host, &e), 0);
    assert_int_equal(host.layout, CGROUP_HYBRID);
    assert_int_equal(strv_len(host.controllers), 4);
    assert_string_equal(host.controllers[2], "io");
    assert_string_equal(host.controllers[3], "pids");
    assert_string_equal(host.v1_controllers[0], "memory (/sys/fs/cgroup/memory)");
    cgroup_host_done(&host);
    assert_null(host.mount);
}

static void test_probe_without_controllers(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = {0};

    probe_setup(d, "cg", "\n");
    assert_int_equal(cgroup_host_probe(d->fd, &host, NULL), 0);
    assert_int_equal(strv_len(host.controllers), 0);
    cgroup_host_done(&host);
}

static void test_probe_sees_a_hidden_mount(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = {0};

    probe_setup(d, "cg", NULL);
    assert_int_equal(cgroup_host_probe(d->fd, &host, NULL), 0);
    assert_int_equal(host.layout, CGROUP_V1);
    assert_null(host.mount);
    cgroup_host_done(&host);
}

static void test_probe_without_procfs(void **state)
{
    struct temp_dir *d = *state;
    struct cgroup_host host = {0};
    struct error e = {0};

    assert_int_equal(cgroup_host_probe(d->fd, &host, &e), -ENOENT);
    assert_error_says(&e, "/proc/self/mountinfo");
    error_done(&e);
}

static void test_probe_this_host(void **state)
{
    struct cgroup_host host = {0};
    struct error e = {0};

    (void)state;
    assert_int_equal(cgroup_host_probe(AT_FDCWD, &host, &e), 0);
    assert_int_equal(host.mount != NULL,
                     host.layout == CGROUP_UNIFIED || host.layout == CGROUP_HYBRID);
    cgroup_host_done(&host);
}

/* --- choosing a path ------------------------------------------------------------------------- */

static void test_choose_path(void **state)
{
    static const struct {
        const char *cgroups_path, *id, *path; /* NULL: refused */
        enum error_code code;
    } rows[] = {
        {NULL, "web", "/cg/nucleus/web", 0},
        {"/machine/web", "x", "/cg/machine/web", 0},
        {"/machine//./web/", "x", "/cg/machine/web", 0},
        {"web", "x", "/cg/nucleus/web", 0},
        {"a/b", "x", "/cg/nucleus/a/b", 0},
        {"/kubepods/burstable/pod1/cri:x:y", "x", "/cg/kubepods/burstable/pod1/cri:x:y", 0},
        {"a:b", "x", "/cg/nucleus/a:b", 0},
        {"system.slice:crio:web", "x", NULL, ERROR_CONFIG},
        {":crio:web", "x", NULL, ERROR_CONFIG},
        {"", "x", NULL, ERROR_CONFIG},
        {"/", "x", NULL, ERROR_CONFIG},
        {".", "x", NULL, ERROR_CONFIG},
        {"/./", "x", NULL, ERROR_CONFIG},
        {"..", "x", NULL, ERROR_CONFIG},
        {"/a/../b", "x", NULL, ERROR_CONFIG},
        {"a/..", "x", NULL, ERROR_CONFIG},
        {"/a/..b", "x", "/cg/a/..b", 0},
        {"/a\nb", "x", NULL, ERROR_CONFIG},
        {"/a\x1b[2J", "x", NULL, ERROR_CONFIG},
        {NULL, "..", NULL, ERROR_CONFIG},
        {NULL, "", NULL, ERROR_CONFIG},
    };
    struct cgroup_host host = {.layout = CGROUP_UNIFIED, .mount = mem_strdup("/cg")};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error e = {0};
        char *path = NULL;
        int r = cgroup_choose_path(&host, rows[i].cgroups_path, rows[i].id, &path, &e);
        if (!streq_ptr(path, rows[i].path) || (r < 0) != !rows[i].path || e.code != rows[i].code)
            fail_msg("row %zu: %d, %s", i, r, path ? path : error_render(&e));
        free(path);
        error_done(&e);
    }

    char long_name[300] = "/";
    struct error e = {0};
    char *path = NULL;
    memset(long_name + 1, 'a', 256);
    assert_true(cgroup_choose_path(&host, long_name, "x", &path, &e) < 0);
    error_done(&e);
    cgroup_host_done(&host);
}

static void test_choose_path_without_v2_says_how_to_mount_it(void **state)
{
    struct cgroup_host host = {.layout = CGROUP_V1};
    struct error e = {0};
    char *path = NULL;

    (void)state;
    assert_int_equal(cgroup_choose_path(&host, NULL, "web", &path, &e), -ENOENT);
    assert_int_equal(e.code, ERROR_CGROUP);
    assert_error_says(&e, "mount -t cgroup2 none /sys/fs/cgroup/unified");
    assert_error_says(&e, "only cgroup v1");
    host.layout = CGROUP_NONE;
    assert_int_equal(cgroup_choose_path(&host, NULL, "web", &path, &e), -ENOENT);
    assert_error_says(&e, "mount -t cgroup2 none /sys/fs/cgroup");
    error_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m2_max),
        cmocka_unit_test(test_m2_cpu_max_is_two_words_exactly),
        cmocka_unit_test(test_m2_io_max_as_the_kernel_prints_it),
        cmocka_unit_test(test_m2_io_max_refuses),
        cmocka_unit_test(test_m2_io_max_devices_are_bounded),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_mountinfo_layouts),
        cmocka_unit_test(test_mountinfo_malformed),
        temp_test(test_probe_reads_controllers),
        temp_test(test_probe_without_controllers),
        temp_test(test_probe_sees_a_hidden_mount),
        temp_test(test_probe_without_procfs),
        cmocka_unit_test(test_probe_this_host),
        cmocka_unit_test(test_choose_path),
        cmocka_unit_test(test_choose_path_without_v2_says_how_to_mount_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
