/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* What `exec` runs: the container's process with changes, or one from a file. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "base/str.h"
#include "process/exec-process.h"
#include "temp_dir.h"

#define BIT(cap) (UINT64_C(1) << (cap))

static const char container_text[] =
    "{\"terminal\": true, \"consoleSize\": {\"height\": 5, \"width\": 6}, \"cwd\": \"/srv\","
    " \"args\": [\"first\"], \"env\": [\"PATH=/bin\", \"A=1\", \"AB=2\"],"
    " \"user\": {\"uid\": 10, \"gid\": 11, \"umask\": 18, \"additionalGids\": [12, 13]},"
    " \"capabilities\": {\"bounding\": [\"CAP_KILL\"], \"permitted\": [\"CAP_KILL\"],"
    " \"effective\": [\"CAP_KILL\"]},"
    " \"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"soft\": 10, \"hard\": 20}],"
    " \"oomScoreAdj\": 100, \"noNewPrivileges\": true}";

static struct oci_process *parse(const char *text)
{
    struct oci_process *p = NULL;
    struct error e = {0};

    assert_int_equal(oci_process_parse(text, strlen(text), "process", &p, &e), 0);
    return p;
}

static struct oci_process *made(const struct exec_process_options *o)
{
    struct oci_process *p = parse(container_text);
    struct error e = {0};

    assert_int_equal(exec_process_make(&p, o, &e), 0);
    return p;
}

/* It fails, and names what was wrong. */
static void refused(const struct exec_process_options *o, const char *step, const char *subject)
{
    _cleanup_process_ struct oci_process *p = parse(container_text);
    struct error e = {0};

    assert_true(exec_process_make(&p, o, &e) < 0);
    assert_int_equal(e.code, ERROR_USAGE);
    assert_string_equal(e.step, step);
    assert_string_equal(e.subject, subject);
    error_done(&e);
}

static char *const sh[] = {(char *)"sh", (char *)"-c", (char *)"x", NULL};

static void test_the_container_s_process_with_other_arguments(void **state)
{
    (void)state;
    _cleanup_process_ struct oci_process *p = made(&(struct exec_process_options){.args = sh});

    assert_int_equal(strv_len(p->args), 3);
    assert_string_equal(p->args[0], "sh");
    assert_string_equal(p->cwd, "/srv");
    assert_int_equal(p->uid, 10);
    assert_int_equal(p->gid, 11);
    assert_int_equal(p->n_additional_gids, 2);
    assert_int_equal(strv_len(p->env), 3);
    assert_true(p->no_new_privileges);
    assert_int_equal(p->umask, 18);
    assert_int_equal(p->n_rlimits, 1);
    /* The first process's terminal is not this one's. */
    assert_false(p->terminal);
    assert_int_equal(p->console_width, 0);
    assert_int_equal(p->console_height, 0);
}

static void test_user(void **state)
{
    static const char *const bad[] = {"",
                                      "root",
                                      ":",
                                      "1:",
                                      ":1",
                                      "1:2:3",
                                      "-1",
                                      "+1",
                                      "1 ",
                                      "0x1",
                                      "4294967295",
                                      "1:4294967295",
                                      "99999999999999999999"};
    (void)state;

    struct oci_process *p = made(&(struct exec_process_options){.args = sh, .user = "5"});
    assert_int_equal(p->uid, 5);
    assert_int_equal(p->gid, 11);
    oci_process_free(p);
    p = made(&(struct exec_process_options){.args = sh, .user = "4294967294:0"});
    assert_int_equal(p->uid, 4294967294);
    assert_int_equal(p->gid, 0);
    oci_process_free(p);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refused(&(struct exec_process_options){.args = sh, .user = bad[i]}, "use --user", bad[i]);
}

static void test_groups_are_added(void **state)
{
    char *const gids[] = {(char *)"7", (char *)"12", NULL};
    char *const bad[] = {(char *)"7", (char *)"x", NULL};
    (void)state;

    _cleanup_process_ struct oci_process *p =
        made(&(struct exec_process_options){.args = sh, .additional_gids = gids});
    assert_int_equal(p->n_additional_gids, 4);
    assert_int_equal(p->additional_gids[1], 13);
    assert_int_equal(p->additional_gids[2], 7);
    assert_int_equal(p->additional_gids[3], 12);
    refused(&(struct exec_process_options){.args = sh, .additional_gids = bad},
            "use --additional-gids", "x");
}

static void test_a_variable_takes_the_place_of_its_namesake(void **state)
{
    char *const env[] = {(char *)"A=new", (char *)"B=", (char *)"ABC=x=y", (char *)"B=last", NULL};
    static const char *const want[] = {"PATH=/bin", "A=new", "AB=2", "B=last", "ABC=x=y"};
    (void)state;

    _cleanup_process_ struct oci_process *p =
        made(&(struct exec_process_options){.args = sh, .env = env});
    assert_int_equal(strv_len(p->env), ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        assert_string_equal(p->env[i], want[i]);

    static const char *const bad[] = {"A", "", "=1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *const items[] = {(char *)bad[i], NULL};
        refused(&(struct exec_process_options){.args = sh, .env = items}, "use --env", bad[i]);
    }
}

static void test_cve_2022_29162_capabilities_are_not_inheritable(void **state)
{
    char *const caps[] = {(char *)"CAP_NET_ADMIN", (char *)"CAP_KILL", NULL};
    const uint64_t both = BIT(CAP_NET_ADMIN) | BIT(CAP_KILL);
    (void)state;

    _cleanup_process_ struct oci_process *p =
        made(&(struct exec_process_options){.args = sh, .caps = caps});
    assert_true(p->capabilities.bounding == both);
    assert_true(p->capabilities.permitted == both);
    assert_true(p->capabilities.effective == both);
    assert_true(p->capabilities.inheritable == 0);
    assert_true(p->capabilities.ambient == 0);

    char *const bad[] = {(char *)"CAP_NOPE", NULL};
    refused(&(struct exec_process_options){.args = sh, .caps = bad}, "use --cap", "CAP_NOPE");
}

static void test_capabilities_where_the_container_has_none(void **state)
{
    char *const caps[] = {(char *)"CAP_KILL", NULL};
    struct oci_process *p = parse("{\"cwd\": \"/\", \"args\": [\"x\"]}");
    struct error e = {0};
    (void)state;

    assert_false(p->has_capabilities);
    assert_int_equal(
        exec_process_make(&p, &(struct exec_process_options){.args = sh, .caps = caps}, &e), 0);
    assert_true(p->has_capabilities);
    assert_true(p->capabilities.effective == BIT(CAP_KILL));
    oci_process_free(p);
}

static void test_flags_and_strings(void **state)
{
    (void)state;
    struct exec_process_options o = {
        .args = sh, .cwd = "/tmp", .apparmor = "a", .selinux = "s", .terminal = true};
    _cleanup_process_ struct oci_process *p = made(&o);

    assert_string_equal(p->cwd, "/tmp");
    assert_string_equal(p->apparmor_profile, "a");
    assert_string_equal(p->selinux_label, "s");
    assert_true(p->terminal);
    refused(&(struct exec_process_options){.args = sh, .cwd = "tmp"}, "use --cwd", "tmp");
    refused(&(struct exec_process_options){.args = sh, .cwd = ""}, "use --cwd", "");
}

static void test_there_must_be_a_program(void **state)
{
    char *const empty[] = {(char *)"", NULL};
    char *const none[] = {NULL};
    struct error e = {0};
    (void)state;

    refused(&(struct exec_process_options){.args = empty}, "run", "");
    struct oci_process *p = parse(container_text);
    assert_int_equal(exec_process_make(&p, &(struct exec_process_options){.args = none}, &e),
                     -EINVAL);
    assert_string_equal(e.why, "process args cannot be empty");
    error_done(&e);
    oci_process_free(p);
}

static struct oci_process *from_file(void **state, const char *text, struct exec_process_options o)
{
    const struct temp_dir *dir = *state;
    _cleanup_free_ char *path = str_printf("%s/process.json", dir->path);

    temp_text(dir, "process.json", text);
    o.file = path;
    return made(&o);
}

static void test_a_file_inherits_what_limits_the_container(void **state)
{
    _cleanup_process_ struct oci_process *p =
        from_file(state, "{\"cwd\": \"/\", \"args\": [\"x\"]}", (struct exec_process_options){0});

    assert_string_equal(p->args[0], "x");
    assert_string_equal(p->cwd, "/");
    assert_int_equal(strv_len(p->env), 0);
    assert_int_equal(p->uid, 0);
    assert_int_equal(p->n_additional_gids, 0);
    assert_false(p->terminal);
    assert_true(p->has_capabilities);
    assert_true(p->capabilities.effective == BIT(CAP_KILL));
    assert_int_equal(p->n_rlimits, 1);
    assert_int_equal(p->rlimits[0].hard, 20);
    assert_int_equal(p->umask, 18);
    assert_true(p->has_oom_score_adj);
    assert_int_equal(p->oom_score_adj, 100);
}

static void test_a_file_says_all_it_says(void **state)
{
    static const char text[] =
        "{\"terminal\": true, \"consoleSize\": {\"height\": 1, \"width\": 2}, \"cwd\": \"/x\","
        " \"args\": [\"x\"], \"env\": [\"F=1\"], \"user\": {\"uid\": 1, \"gid\": 2, \"umask\": 1},"
        " \"capabilities\": {}, \"oomScoreAdj\": 7,"
        " \"rlimits\": [{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 1}]}";
    char *const env[] = {(char *)"F=2", NULL};
    _cleanup_process_ struct oci_process *p = from_file(
        state, text, (struct exec_process_options){.env = env, .user = "9", .no_new_privs = true});

    assert_true(p->terminal);
    assert_int_equal(p->console_width, 2);
    assert_int_equal(p->console_height, 1);
    assert_string_equal(p->env[0], "F=2");
    assert_int_equal(p->uid, 9);
    assert_int_equal(p->gid, 2);
    assert_int_equal(p->umask, 1);
    assert_true(p->capabilities.bounding == 0);
    assert_int_equal(p->oom_score_adj, 7);
    assert_int_equal(p->rlimits[0].hard, 1);
    assert_true(p->no_new_privileges);
}

static void test_a_file_that_is_not_there(void **state)
{
    (void)state;
    refused(&(struct exec_process_options){.file = "/no/such"}, "read the process from",
            "/no/such");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_container_s_process_with_other_arguments),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_groups_are_added),
        cmocka_unit_test(test_a_variable_takes_the_place_of_its_namesake),
        cmocka_unit_test(test_cve_2022_29162_capabilities_are_not_inheritable),
        cmocka_unit_test(test_capabilities_where_the_container_has_none),
        cmocka_unit_test(test_flags_and_strings),
        cmocka_unit_test(test_there_must_be_a_program),
        temp_test(test_a_file_inherits_what_limits_the_container),
        temp_test(test_a_file_says_all_it_says),
        cmocka_unit_test(test_a_file_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
