/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "cgroup/systemd.h"

/* Real scopes. They need a systemd, so tests/vm runs this: as root with the system's, and as a user
 * with a manager of its own ($NUCLEUS_TEST_SYSTEMD: system, user). Without it nothing is tested. */

#define TIMEOUT_MS 10000

static struct cgroup_host host;
static bool user;

#define ok(expression)                                                                             \
    do {                                                                                           \
        struct error _e = {0};                                                                     \
        struct error *e = &_e;                                                                     \
        if ((expression) < 0)                                                                      \
            fail_msg("%s", error_render(e));                                                       \
    } while (0)

static struct cgroup_systemd_unit unit_of(const char *cgroups_path)
{
    struct cgroup_systemd_unit u = {0};

    ok(cgroup_systemd_unit_parse(cgroups_path, "x", user, &u, e));
    return u;
}

/* Each ends with this program, whatever becomes of it. */
static pid_t spawn_sleeper(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    return pid;
}

static void end(const struct cgroup_systemd_unit *u, char *path, pid_t pid)
{
    ok(cgroup_kill(path, TIMEOUT_MS, e));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ok(cgroup_systemd_stop(u->name, user, e));
    ok(cgroup_remove(&host, path, false, TIMEOUT_MS, e));
    assert_int_equal(access(path, F_OK), -1);
    free(path);
}

static char *cgroup_of(pid_t pid)
{
    _cleanup_free_ char *file = str_printf("/proc/%d/cgroup", (int)pid), *text = NULL;

    assert_int_equal(file_read_at(AT_FDCWD, file, 0, 4096, &text, NULL), 0);
    const char *below = strstr(text, "0::");
    assert_non_null(below);
    _cleanup_free_ char *line = mem_strndup(below + 3, strcspn(below + 3, "\n"));
    return path_join(host.mount, line);
}

static void assert_file(const char *path, const char *file, const char *text)
{
    _cleanup_free_ char *name = path_join(path, file), *content = NULL;

    if (file_read_at(AT_FDCWD, name, 0, 4096, &content, NULL) < 0)
        fail_msg("%s can't be read", name);
    content[strcspn(content, "\n")] = '\0';
    if (!streq(content, text))
        fail_msg("%s is \"%s\", not \"%s\"", name, content, text);
}

/* As systemd itself sees it. */
static void assert_property(const char *unit, const char *name, const char *text)
{
    _cleanup_free_ char *command = str_printf("systemctl %s show --value -p %s '%s'",
                                              user ? "--user" : "--system", name, unit);
    char line[256] = "";
    FILE *f = popen(command, "re");

    assert_non_null(f);
    (void)!fgets(line, sizeof(line), f);
    (void)pclose(f);
    line[strcspn(line, "\n")] = '\0';
    if (!streq(line, text))
        fail_msg("%s of %s is \"%s\", not \"%s\"", name, unit, line, text);
}

static void limit(struct cgroup_systemd_properties *p, const char *file, const char *value)
{
    _cleanup_writes_ struct cgroup_writes w = {0};

    cgroup_writes_add(&w, file, mem_strdup(value));
    ok(cgroup_systemd_add_limits(p, &w, NULL, e));
}

static void annotate(struct cgroup_systemd_properties *p, const char *name, const char *value)
{
    _cleanup_free_ char *key = str_printf("org.systemd.property.%s", name);
    struct oci_annotation a = {key, (char *)value};

    ok(cgroup_systemd_add_annotations(p, &a, 1, e));
}

static void test_scope_is_made_limited_changed_and_removed(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of("a-b.slice:t:life");
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0}, change = {0};
    char *path = NULL;
    pid_t pid = spawn_sleeper();

    (void)state;
    limit(&p, "memory.max", "52428800");
    limit(&p, "memory.high", "41943040");
    limit(&p, "memory.swap.max", "0");
    limit(&p, "pids.max", "33");
    limit(&p, "cpu.max", "20000 50000");
    limit(&p, "cpu.weight", "39");
    limit(&p, "memory.oom.group", "1"); /* 252 does not have it: left out */
    annotate(&p, "TimeoutStopSec", "7");
    annotate(&p, "Documentation", "['https://a.example', 'https://b.example']");
    ok(cgroup_systemd_start(&host, &u, "web", pid, &p, &path, e));

    const char *below = strstr(path, u.path);
    assert_non_null(below);
    assert_string_equal(below, u.path); /* it ends so */
    _cleanup_free_ char *in = cgroup_of(pid);
    assert_string_equal(in, path);
    assert_file(path, "memory.max", "52428800");
    assert_file(path, "memory.high", "41943040");
    assert_file(path, "memory.swap.max", "0");
    assert_file(path, "pids.max", "33");
    assert_file(path, "cpu.max", "20000 50000");
    assert_file(path, "cpu.weight", "39");
    assert_property(u.name, "Description", "nucleus container web");
    assert_property(u.name, "Slice", "a-b.slice");
    assert_property(u.name, "Delegate", "yes");
    assert_property(u.name, "CollectMode", "inactive-or-failed");
    assert_property(u.name, "TimeoutStopUSec", "7s");
    assert_property(u.name, "Documentation", "https://a.example https://b.example");

    limit(&change, "memory.max", "31457280");
    limit(&change, "pids.max", "max");
    limit(&change, "cpu.idle", "1");
    limit(&change, "memory.oom.group", "1");
    ok(cgroup_systemd_set(u.name, user, &change, e));
    assert_file(path, "memory.max", "31457280");
    assert_file(path, "pids.max", "max");
    assert_file(path, "cpu.idle", "1");
    assert_file(path, "memory.high", "41943040");
    assert_property(u.name, "MemoryMax", "31457280");
    assert_property(u.name, "TasksMax", "infinity");

    end(&u, path, pid);
    assert_property(u.name, "LoadState", "not-found");
    ok(cgroup_systemd_stop(u.name, user, e)); /* again: fine */
}

static void test_scope_has_no_limits_of_its_own(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(NULL);
    const struct cgroup_systemd_properties none = {0};
    char *path = NULL;
    pid_t pid = spawn_sleeper();

    (void)state;
    ok(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, e));
    assert_file(path, "pids.max", "max");
    assert_file(path, "memory.max", "max");
    assert_property(u.name, "Slice", user ? "user.slice" : "system.slice");
    /* It is ours from here on: a cgroup below, and controllers for it. */
    _cleanup_free_ char *inner = path_join(path, "inner"),
                        *procs = path_join(inner, "cgroup.procs");
    _cleanup_free_ char *control = path_join(path, "cgroup.subtree_control");
    _cleanup_free_ char *number = str_printf("%d", (int)pid);
    assert_int_equal(mkdir(inner, 0755), 0);
    assert_int_equal(file_write_at(AT_FDCWD, procs, number), 0);
    assert_int_equal(file_write_at(AT_FDCWD, control, "+memory +pids"), 0);
    assert_file(inner, "memory.max", "max");
    end(&u, path, pid);
}

static void test_cpus(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:cpus");
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
    char *path = NULL;

    (void)state;
    if (user)
        skip(); /* user managers are not given the cpuset controller */
    pid_t pid = spawn_sleeper();
    limit(&p, "cpuset.cpus", "0");
    limit(&p, "cpuset.mems", "0");
    limit(&p, "io.weight", "default 200");
    ok(cgroup_systemd_start(&host, &u, "x", pid, &p, &path, e));
    assert_file(path, "cpuset.cpus", "0");
    assert_file(path, "cpuset.mems", "0");
    assert_property(u.name, "IOWeight", "200");
    end(&u, path, pid);
}

static void test_active_unit_is_not_taken(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:taken");
    const struct cgroup_systemd_properties none = {0};
    char *path = NULL, *other = NULL;
    pid_t pid = spawn_sleeper(), second = spawn_sleeper();
    struct error said = {0};

    (void)state;
    ok(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, e));
    assert_int_equal(cgroup_systemd_start(&host, &u, "x", second, &none, &other, &said), -EEXIST);
    assert_int_equal(said.code, ERROR_EXISTS);
    assert_error_says(&said, "t-taken.scope");
    error_done(&said);
    _cleanup_free_ char *in = cgroup_of(second);
    assert_string_not_equal(in, path);
    (void)kill(second, SIGKILL);
    assert_int_equal(waitpid(second, NULL, 0), second);
    end(&u, path, pid);
}

static void test_unit_that_failed_gives_way(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:failed");
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
    const struct cgroup_systemd_properties none = {0};
    char *path = NULL;
    pid_t pid = spawn_sleeper();

    (void)state;
    /* Stopped by systemd, which keeps what failed. */
    annotate(&p, "RuntimeMaxSec", "0.1");
    annotate(&p, "CollectMode", "'inactive'");
    ok(cgroup_systemd_start(&host, &u, "x", pid, &p, &path, e));
    free(path);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    _cleanup_free_ char *wait = str_printf("until systemctl %s -q is-failed %s; do sleep 0.1; done",
                                           user ? "--user" : "--system", u.name);
    assert_int_equal(system(wait), 0);

    pid = spawn_sleeper();
    ok(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, e));
    end(&u, path, pid);
}

static void test_same_name_again_and_again(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:again");
    const struct cgroup_systemd_properties none = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        char *path = NULL;
        pid_t pid = spawn_sleeper();
        ok(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, e));
        end(&u, path, pid);
    }
}

static void test_process_is_attached(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:attach");
    const struct cgroup_systemd_properties none = {0};
    char *path = NULL;
    pid_t pid = spawn_sleeper(), second = spawn_sleeper(), third = spawn_sleeper();

    (void)state;
    ok(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, e));
    ok(cgroup_systemd_attach(u.name, user, NULL, second, e));
    _cleanup_free_ char *deeper = path_join(path, "deep/er");
    assert_int_equal(dir_make_parents(deeper, 0755), 0);
    ok(cgroup_systemd_attach(u.name, user, "/deep/er", third, e));
    _cleanup_free_ char *in = cgroup_of(second), *deep = cgroup_of(third);
    assert_string_equal(in, path);
    assert_string_equal(deep, deeper);
    ok(cgroup_kill(path, TIMEOUT_MS, e));
    assert_int_equal(waitpid(second, NULL, 0), second);
    assert_int_equal(waitpid(third, NULL, 0), third);
    end(&u, path, pid);
}

static void test_what_systemd_refuses_is_told(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:refused");
    static const struct {
        const char *name, *value, *says;
    } rows[] = {
        {"NoSuchProperty", "true", "NoSuchProperty"},
        {"MemoryMax", "'text'", "systemd says:"},
        {"After", "['not a unit']", "not a unit"},
    };
    char *path = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
        struct error said = {0};
        pid_t pid = spawn_sleeper();
        annotate(&p, rows[i].name, rows[i].value);
        assert_true(cgroup_systemd_start(&host, &u, "x", pid, &p, &path, &said) < 0);
        assert_error_says(&said, rows[i].says);
        assert_error_says(&said, "org.systemd.property");
        assert_int_equal(said.code, ERROR_CONFIG);
        error_done(&said);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_property(u.name, "LoadState", "not-found");
    }
}

static void test_missing_unit(void **state)
{
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
    struct error said = {0};

    (void)state;
    limit(&p, "pids.max", "5");
    assert_true(cgroup_systemd_set("t-nobody.scope", user, &p, &said) < 0);
    assert_error_says(&said, "t-nobody.scope");
    error_done(&said);
    assert_true(cgroup_systemd_attach("t-nobody.scope", user, NULL, getpid(), &said) < 0);
    assert_error_says(&said, "t-nobody.scope");
    error_done(&said);
}

static void test_process_that_is_gone(void **state)
{
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = unit_of(":t:gone");
    const struct cgroup_systemd_properties none = {0};
    pid_t pid = spawn_sleeper();
    char *path = NULL;
    struct error said = {0};

    (void)state;
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(cgroup_systemd_start(&host, &u, "x", pid, &none, &path, &said) < 0);
    assert_error_says(&said, "t-gone.scope");
    error_done(&said);
    ok(cgroup_systemd_stop(u.name, user, e));
    assert_property(u.name, "LoadState", "not-found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scope_is_made_limited_changed_and_removed),
        cmocka_unit_test(test_scope_has_no_limits_of_its_own),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_active_unit_is_not_taken),
        cmocka_unit_test(test_unit_that_failed_gives_way),
        cmocka_unit_test(test_same_name_again_and_again),
        cmocka_unit_test(test_process_is_attached),
        cmocka_unit_test(test_what_systemd_refuses_is_told),
        cmocka_unit_test(test_missing_unit),
        cmocka_unit_test(test_process_that_is_gone),
    };
    const char *which = getenv("NUCLEUS_TEST_SYSTEMD");
    struct error e = {0};

    if (!which) {
        puts("1..1\nok 1 - live # SKIP no systemd was promised; tests/vm has one");
        return 0;
    }
    user = streq(which, "user");
    if (cgroup_host_probe(AT_FDCWD, &host, &e) < 0 || !host.mount) {
        puts("no cgroup2 mount");
        return 1;
    }
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    cgroup_host_done(&host);
    return r;
}
