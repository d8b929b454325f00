/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/str.h"
#include "process/sysctl.h"
#include "sys/fs.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct sysctl_plan plan_of(const char *key, const char *value)
{
    struct oci_annotation a = {.key = text(key), .value = text(value)};
    struct sysctl_plan plan;
    struct error e = {0};

    if (sysctl_plan_make(&a, 1, &plan, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_int_equal(plan.n, 1);
    return plan;
}

static void test_paths(void **state)
{
    static const char *const rows[][2] = {
        {"net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"},
        {"net.ipv4.conf.eth0/100.forwarding", "sys/net/ipv4/conf/eth0.100/forwarding"},
        {"kernel.sem", "sys/kernel/sem"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct sysctl_plan plan = plan_of(rows[i][0], "1");
        assert_string_equal(plan.list[0].path, rows[i][1]);
        assert_string_equal(plan.list[0].key, rows[i][0]);
        sysctl_plan_done(&plan);
        assert_int_equal(plan.n, 0);
    }
}

static void test_paths_that_lead_elsewhere(void **state)
{
    /* "net/../kernel/panic" and its like, in the notation of keys */
    static const char *const keys[] = {
        "net.//.kernel.panic", "net./.ipv4", "net..ipv4", ".net", "net.", "", "//.sys", "net.//"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct oci_annotation a[] = {{text("kernel.sem"), text("1")}, {text(keys[i]), text("1")}};
        struct sysctl_plan plan = {0};
        struct error e = {0};
        if (sysctl_plan_make(a, 2, &plan, &e) >= 0)
            fail_msg("'%s' was taken, as '%s'", keys[i], plan.list[1].path);
        assert_int_equal(e.code, ERROR_CONFIG);
        assert_error_says(&e, "linux.sysctl");
        assert_null(plan.list);
        error_done(&e);
    }
    /* Three dots are a name. */
    struct sysctl_plan plan = plan_of("net.///.x", "1");
    assert_string_equal(plan.list[0].path, "sys/net/.../x");
    sysctl_plan_done(&plan);
}

/* ---- writing, in namespaces of its own ---- */

struct row {
    const char *key, *value;
    int r;
};

static int value_in(int procfd, const char *path, const char *want)
{
    char *got = NULL;
    int r = file_read_at(procfd, path, 0, 256, &got, NULL);
    int same = r == 0 && str_after(got, want) != NULL;

    free(got);
    return same;
}

static int in_namespaces(int procfd, int (*test)(int procfd, const struct temp_dir *),
                         const struct temp_dir *d)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(100);
        _exit(test(procfd, d));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int write_some(int procfd, const struct temp_dir *d)
{
    struct oci_annotation list[] = {
        {text("net.ipv4.ip_forward"), text("1")},
        {text("net.ipv4.ping_group_range"), text("3 17")},
        {text("kernel.shm_rmid_forced"), text("1")},
        {text("kernel.domainname"), text("inside")},
    };
    struct sysctl_plan plan;
    const char *key = NULL;

    (void)d;
    if (sysctl_plan_make(list, ARRAY_SIZE(list), &plan, NULL) < 0)
        return 1;
    if (sysctl_write_all(&plan, procfd, &key) < 0)
        return 2;
    if (!value_in(procfd, "sys/net/ipv4/ip_forward", "1\n") ||
        !value_in(procfd, "sys/net/ipv4/ping_group_range", "3\t17\n") ||
        !value_in(procfd, "sys/kernel/shm_rmid_forced", "1\n") ||
        !value_in(procfd, "sys/kernel/domainname", "inside\n"))
        return 3;
    sysctl_plan_done(&plan);
    return 0;
}

/* The procfs was opened outside: whose values they are is decided by who writes. */
static void test_values_land_in_the_writers_namespaces(void **state)
{
    static const char *const paths[] = {"sys/net/ipv4/ip_forward", "sys/net/ipv4/ping_group_range",
                                        "sys/kernel/shm_rmid_forced", "sys/kernel/domainname"};
    char *before[ARRAY_SIZE(paths)];
    _cleanup_close_ int procfd = sys_open_private_proc();

    assert_true(procfd >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        assert_int_equal(file_read_at(procfd, paths[i], 0, 256, &before[i], NULL), 0);
    assert_int_equal(in_namespaces(procfd, write_some, *state), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_true(value_in(procfd, paths[i], before[i]));
        free(before[i]);
    }
}

static int write_bad(int procfd, const struct temp_dir *d)
{
    static const struct row rows[] = {
        {"net.ipv4.no_such_thing", "1", -ENOENT},
        {"net.ipv4.ip_forward", "many", -EINVAL},
        {"net.ipv4", "1", -EISDIR},
    };

    (void)d;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_annotation list[] = {
            {text("net.ipv4.ip_forward"), text("1")},
            {text(rows[i].key), text(rows[i].value)},
            {text("net.ipv4.ip_forward"), text("0")}, /* comes too late */
        };
        struct sysctl_plan plan;
        const char *key = NULL;
        if (sysctl_plan_make(list, ARRAY_SIZE(list), &plan, NULL) < 0)
            return 1;
        if (sysctl_write_all(&plan, procfd, &key) != rows[i].r)
            return 2;
        if (!key || strcmp(key, rows[i].key) != 0)
            return 3;
        if (!value_in(procfd, "sys/net/ipv4/ip_forward", "1\n"))
            return 4;
        sysctl_plan_done(&plan);
    }
    return 0;
}

static void test_the_first_failure_is_named(void **state)
{
    _cleanup_close_ int procfd = sys_open_private_proc();

    assert_int_equal(in_namespaces(procfd, write_bad, *state), 0);
}

/* Something mounted over the file, or over a directory on the way, of the procfs that is used. */
static int write_covered(int procfd, const struct temp_dir *d)
{
    static const char *const covers[][2] = {
        {"file", "/proc/sys/net/ipv4/ip_forward"},
        {"dir", "/proc/sys/net/ipv4"},
        {"dir", "/proc/sys"},
    };
    struct sysctl_plan plan = plan_of("net.ipv4.ip_forward", "1");
    const char *key;

    (void)procfd;
    for (size_t i = 0; i < ARRAY_SIZE(covers); i++) {
        char *from = str_printf("%s/%s", d->path, covers[i][0]);
        if (mount(from, covers[i][1], NULL, MS_BIND, NULL) < 0)
            return 1;
        int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (sysctl_write_all(&plan, proc, &key) != -EXDEV)
            return 2;
        if (umount(covers[i][1]) < 0)
            return 3;
        (void)close(proc);
        free(from);
    }
    /* No procfs at all (CVE-2025-52881: a write that was meant for one). */
    return sysctl_write_all(&plan, d->fd, &key) == -EXDEV ? 0 : 4;
}

static void test_what_covers_a_file_is_not_written_to(void **state)
{
    const struct temp_dir *d = *state;
    char *content = NULL;

    temp_text(d, "file", "untouched");
    assert_int_equal(mkdirat(d->fd, "dir", 0755), 0);
    temp_text(d, "dir/ip_forward", "untouched");
    for (const char *p = "sys\0sys/net\0sys/net/ipv4\0"; *p; p += strlen(p) + 1)
        assert_int_equal(mkdirat(d->fd, p, 0755), 0);
    temp_text(d, "sys/net/ipv4/ip_forward", "untouched");

    assert_int_equal(in_namespaces(-EBADF, write_covered, d), 0);
    for (const char *p = "file\0dir/ip_forward\0sys/net/ipv4/ip_forward\0"; *p;
         p += strlen(p) + 1) {
        assert_int_equal(file_read_at(d->fd, p, 0, 64, &content, NULL), 0);
        assert_string_equal(content, "untouched");
        free(content);
    }
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_paths_that_lead_elsewhere),
    };
    const struct CMUnitTest as_root[] = {
        temp_test(test_values_land_in_the_writers_namespaces),
        temp_test(test_the_first_failure_is_named),
        temp_test(test_what_covers_a_file_is_not_written_to),
    };

    int failed = cmocka_run_group_tests(plain, NULL, NULL);
    if (geteuid() != 0) {
        print_message("skipped: writing needs root\n");
        return failed;
    }
    return failed + cmocka_run_group_tests(as_root, NULL, NULL);
}
