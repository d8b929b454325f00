/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/file.h"
#include "base/str.h"
#include "process/rdt-schemata.h"
#include "process/rdt.h"

/* A directory stands for the file system: what the kernel does by itself, the tests do. */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static char *two_lines[] = {(char *)(uintptr_t) "L3:0=7f0;1=1f", (char *)(uintptr_t) "MB:0=20;1=70",
                            NULL};

static void make_group(const struct temp_dir *d, const char *name, const char *schemata)
{
    char *path = str_printf("%s/%s/mon_groups", d->path, name);
    char *tasks = str_printf("%s/tasks", name), *file = str_printf("%s/schemata", name);

    assert_int_equal(dir_make_parents(path, 0755), 0);
    temp_text(d, tasks, "");
    temp_text(d, file, schemata);
    free(path), free(tasks), free(file);
}

static void assert_content(const struct temp_dir *d, const char *name, const char *want)
{
    char *got = NULL;

    assert_int_equal(file_read_at(d->fd, name, 0, 4096, &got, NULL), 0);
    assert_string_equal(got, want);
    free(got);
}

static int prepare(const struct temp_dir *d, const struct oci_intel_rdt *rdt, struct rdt_group *ret,
                   struct error *e)
{
    return rdt_prepare(rdt, "web", d->path, true, ret, e);
}

static void test_a_host_without_it(void **state)
{
    const struct temp_dir *d = *state;
    const struct oci_intel_rdt rdt = {0};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};
    char *missing = str_printf("%s/missing", d->path);

    assert_int_equal(rdt_prepare(&rdt, "web", missing, false, &g, &e), -ENOTSUP);
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_error_says(&e, "linux.intelRdt");
    assert_error_says(&e, "no resctrl file system is mounted at");
    assert_error_says(&e, missing);
    error_done(&e);
    /* A directory is no mount. */
    assert_int_equal(rdt_prepare(&rdt, "web", d->path, false, &g, &e), -ENOTSUP);
    error_done(&e);
    assert_false(temp_exists(d, "web"));
    assert_int_equal(rdt_remove(&rdt, "web", d->path, false, &e), 0);
    free(missing);
}

static void test_a_group_of_its_own(void **state)
{
    const struct temp_dir *d = *state;
    const struct oci_intel_rdt rdt = {0};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};

    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    assert_true(temp_exists(d, "web"));
    assert_true(g.made_clos);
    assert_null(g.monitor);
    /* The kernel's file is missing here: that is told. */
    assert_int_equal(rdt_enter(&g, 77, &e), -ENOENT);
    assert_error_says(&e, "web/tasks");
    error_done(&e);
    temp_text(d, "web/tasks", "");
    assert_int_equal(rdt_enter(&g, 77, &e), 0);
    assert_content(d, "web/tasks", "77\n");
    rdt_group_done(&g);

    assert_int_equal(unlinkat(d->fd, "web/tasks", 0), 0);
    assert_int_equal(rdt_remove(&rdt, "web", d->path, true, &e), 0);
    assert_false(temp_exists(d, "web"));
    assert_int_equal(rdt_remove(&rdt, "web", d->path, true, &e), 0);
}

static void test_what_fails_leaves_nothing(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_intel_rdt rdt = {.schemata = two_lines};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};

    /* No schemata file comes with the directory; the kernel has said why. */
    assert_int_equal(mkdirat(d->fd, "info", 0755), 0);
    temp_text(d, "info/last_cmd_status", "Unknown domain 7\nmore\n");
    assert_int_equal(prepare(d, &rdt, &g, &e), -ENOENT);
    assert_error_says(&e, "the kernel says: Unknown domain 7");
    assert_false(temp_exists(d, "web"));
    error_done(&e);

    /* No monitoring there: mon_groups is missing. */
    rdt = (struct oci_intel_rdt){.enable_monitoring = true};
    assert_int_equal(prepare(d, &rdt, &g, &e), -ENOENT);
    assert_error_says(&e, "web/mon_groups/web");
    assert_false(temp_exists(d, "web"));
    error_done(&e);
    assert_int_equal(g.root_fd, -EBADF);
}

static void test_a_named_class(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_intel_rdt rdt = {.clos_id = text("gold")};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};

    /* Without values it must be there. */
    assert_int_equal(prepare(d, &rdt, &g, &e), -ENOENT);
    assert_int_equal(e.code, ERROR_CONFIG);
    assert_error_says(&e, "linux.intelRdt.closID 'gold'");
    assert_false(temp_exists(d, "gold"));
    error_done(&e);

    make_group(d, "gold", "    L3:0=7f0;1=1f\n    MB:0= 20;1= 70\n");
    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    assert_false(g.made_clos);
    rdt_undo(&g);
    assert_true(temp_exists(d, "gold"));
    rdt_group_done(&g);

    /* With the same values it is used, and not written to. */
    rdt.schemata = two_lines;
    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    assert_int_equal(rdt_enter(&g, 5, &e), 0);
    assert_content(d, "gold/tasks", "5\n");
    assert_content(d, "gold/schemata", "    L3:0=7f0;1=1f\n    MB:0= 20;1= 70\n");
    rdt_group_done(&g);

    temp_text(d, "gold/schemata", "L3:0=7f0;1=1f\nMB:0=20;1=60\n");
    assert_int_equal(prepare(d, &rdt, &g, &e), -EEXIST);
    assert_error_says(&e, "does not have 'MB:0=20;1=70'");
    error_done(&e);
    /* Shared with others: it stays. */
    assert_int_equal(rdt_remove(&rdt, "web", d->path, true, &e), 0);
    assert_true(temp_exists(d, "gold"));
}

static void test_monitoring(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_intel_rdt rdt = {.clos_id = text("gold"), .enable_monitoring = true};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};

    make_group(d, "gold", "");
    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    assert_true(temp_exists(d, "gold/mon_groups/web"));
    rdt_undo(&g);
    assert_false(temp_exists(d, "gold/mon_groups/web"));
    rdt_group_done(&g);

    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    temp_text(d, "gold/mon_groups/web/tasks", "");
    assert_int_equal(rdt_enter(&g, 9, &e), 0);
    assert_content(d, "gold/tasks", "9\n");
    assert_content(d, "gold/mon_groups/web/tasks", "9\n");
    rdt_group_done(&g);
    assert_int_equal(unlinkat(d->fd, "gold/mon_groups/web/tasks", 0), 0);
    assert_int_equal(rdt_remove(&rdt, "web", d->path, true, &e), 0);
    assert_false(temp_exists(d, "gold/mon_groups/web"));
    assert_true(temp_exists(d, "gold"));
}

/* "/" is the class that everything is in by itself. */
static void test_the_root_class(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_intel_rdt rdt = {.clos_id = text("/"), .enable_monitoring = true};
    struct rdt_group g = RDT_GROUP_EMPTY;
    struct error e = {0};

    make_group(d, ".", "L3:0=fff\n");
    assert_int_equal(prepare(d, &rdt, &g, &e), 0);
    assert_int_equal(mkdirat(d->fd, "mon_groups/web", 0755), -1);
    temp_text(d, "mon_groups/web/tasks", "");
    assert_int_equal(rdt_enter(&g, 9, &e), 0);
    assert_content(d, "tasks", "9\n");
    assert_content(d, "mon_groups/web/tasks", "9\n");
    assert_int_equal(unlinkat(d->fd, "mon_groups/web/tasks", 0), 0);
    rdt_undo(&g);
    assert_false(temp_exists(d, "mon_groups/web"));
    assert_true(temp_exists(d, "tasks"));
    rdt_group_done(&g);

    rdt.schemata = two_lines;
    assert_int_equal(prepare(d, &rdt, &g, &e), -EEXIST);
    assert_error_says(&e, "'/'");
    error_done(&e);
}

static void test_each_line_is_written(void **state)
{
    const struct temp_dir *d = *state;
    const char *bad = NULL;

    temp_text(d, "schemata", "");
    int fd = openat(d->fd, "schemata", O_WRONLY | O_CLOEXEC);
    assert_int_equal(rdt_write_lines(fd, two_lines, &bad), 0);
    assert_int_equal(rdt_write_lines(fd, NULL, &bad), 0);
    assert_null(bad);
    (void)close(fd);
    assert_content(d, "schemata", "L3:0=7f0;1=1f\nMB:0=20;1=70\n");
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(rdt_write_lines(fd, two_lines, &bad), -ENOSPC);
    assert_string_equal(bad, two_lines[0]);
    (void)close(fd);
}

static void test_which_values_match(void **state)
{
    static const struct {
        const char *first, *second, *have, *bad;
    } rows[] = {
        {"L3:0=7f0;1=1f", NULL, "L3:0=7f0;1=1f\n", NULL},
        {"L3:0=7f0", NULL, "    MB:0=100\n    L3:0=7f0;1=1f\n", NULL},
        {"L3:0=7F0", NULL, "L3:0=007f0", NULL},
        {" L3 : 0 = 7f0 ; 1=1f", NULL, "L3:0=7f0;1=1f\n", NULL},
        {"L3:00=1", NULL, "L3:0=1\n", NULL},
        {"L3:0=7f0", NULL, "L3:0=7f\n", "L3:0=7f0"},
        {"L3:0=7f", NULL, "L3:0=7f0\n", "L3:0=7f"},
        {"L3:2=1", NULL, "L3:0=1;1=1\n", "L3:2=1"},
        {"L2:0=1", NULL, "L3:0=1\n", "L2:0=1"},
        {"L3CODE:0=1", NULL, "L3:0=1\nL3DATA:0=1\n", "L3CODE:0=1"},
        {"L3:0=1", NULL, "", "L3:0=1"},
        /* Of two the later one holds. */
        {"L3:0=1;1=2", "L3:0=3", "L3:0=3;1=2\n", NULL},
        {"L3:0=1;1=2", "L3:0=3", "L3:0=1;1=2\n", "L3:0=3"},
        {"nonsense", NULL, "L3:0=1\n", "nonsense"},
        {"L3:", NULL, "L3:0=1\n", "L3:"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *lines[] = {text(rows[i].first), text(rows[i].second), NULL};
        const char *bad = NULL;
        if (rdt_lines_match(lines, rows[i].have, &bad) != (rows[i].bad == NULL) ||
            !streq_ptr(bad, rows[i].bad))
            fail_msg("row %zu: %s", i, bad ? bad : "match");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_a_host_without_it),
        temp_test(test_a_group_of_its_own),
        temp_test(test_what_fails_leaves_nothing),
        temp_test(test_a_named_class),
        temp_test(test_monitoring),
        temp_test(test_the_root_class),
        temp_test(test_each_line_is_written),
        cmocka_unit_test(test_which_values_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
