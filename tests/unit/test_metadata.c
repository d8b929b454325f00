/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "checkpoint/metadata.h"

/* What the first versions wrote. */
#define OLD                                                                                        \
    "\"container_id\":\"abc\",\"container_name\":\"web\",\"original_pid\":42,"                     \
    "\"command\":[\"sh\",\"-c\",\"x\"],\"checkpoint_at\":1700000000,\"version\":\"0.3.1\","        \
    "\"using_gvisor\":false,\"rootless\":true"
#define NO_IO "\"io_limits\":[]"

static int parse(const char *text, struct checkpoint_metadata *ret, struct error *e)
{
    return checkpoint_metadata_parse(text, strlen(text), "m.json", ret, e);
}

static void parse_ok(const char *text, struct checkpoint_metadata *ret)
{
    struct error e = {0};
    if (parse(text, ret, &e) < 0)
        fail_msg("%s", error_render(&e));
}

static void parse_bad(const char *text, const char *says)
{
    struct checkpoint_metadata m;
    struct error e = {0};
    if (parse(text, &m, &e) == 0)
        fail_msg("accepted: %s", text);
    assert_int_equal(e.code, ERROR_CHECKPOINT);
    assert_error_says(&e, "m.json:1:");
    assert_error_says(&e, says);
    error_done(&e);
}

static void limits_bad(const char *limits, const char *says)
{
    char *text = str_printf("{" OLD ",\"resource_limits\":%s}", limits);
    parse_bad(text, says);
    free(text);
}

static void test_m1_older_files_load(void **state)
{
    struct checkpoint_metadata m;
    (void)state;

    parse_ok("{" OLD ",\"unknown\":[1]}", &m);
    assert_string_equal(m.container_id, "abc");
    assert_string_equal(m.container_name, "web");
    assert_int_equal(m.original_pid, 42);
    assert_int_equal(strv_len(m.command), 3);
    assert_int_equal(m.checkpoint_at, 1700000000);
    assert_string_equal(m.version, "0.3.1");
    assert_false(m.using_gvisor);
    assert_true(m.rootless);
    assert_null(m.cgroup_path);
    assert_false(m.has_limits);
    checkpoint_metadata_done(&m);
    parse_ok("{" OLD ",\"cgroup_path\":null,\"resource_limits\":null}", &m);
    assert_false(m.has_limits);
    checkpoint_metadata_done(&m);
}

static void test_m1_round_trip(void **state)
{
    struct checkpoint_metadata m, n;
    struct cgroup_limits l;
    (void)state;

    checkpoint_metadata_init(&m);
    m.container_id = mem_strdup("abc");
    m.container_name = mem_strdup("a \"name\"");
    strv_push(&m.command, mem_strdup("sh"));
    m.original_pid = INT32_MAX;
    m.checkpoint_at = 1;
    m.cgroup_path = mem_strdup("/sys/fs/cgroup/nucleus/abc");
    cgroup_limits_init(&l);
    l.memory_bytes = 1 << 20;
    l.memory_high = 0;
    l.cpu_quota_us = 50000;
    l.cpu_period_us = 100000;
    l.cpu_weight = 100;
    l.pids_max = 64;
    l.io = mem_new0(struct cgroup_io_limit);
    l.io[0] = (struct cgroup_io_limit){mem_strdup("8:16"), 1, CGROUP_NO_LIMIT, 3, UINT64_MAX - 1};
    l.n_io = 1;
    checkpoint_metadata_take_limits(&m, &l);
    assert_true(m.has_limits);
    assert_true(cgroup_limits_empty(&l));

    char *text = checkpoint_metadata_render(&m);
    parse_ok(text, &n);
    assert_string_equal(n.version, NUCLEUS_VERSION);
    assert_string_equal(n.container_name, "a \"name\"");
    assert_string_equal(n.cgroup_path, "/sys/fs/cgroup/nucleus/abc");
    assert_int_equal(n.limits.memory_bytes, 1 << 20);
    assert_int_equal(n.limits.memory_high, 0);
    assert_true(n.limits.memory_swap_max == CGROUP_NO_LIMIT);
    assert_int_equal(n.limits.cpu_quota_us, 50000);
    assert_int_equal(n.limits.pids_max, 64);
    assert_int_equal(n.limits.n_io, 1);
    assert_string_equal(n.limits.io[0].device, "8:16");
    assert_int_equal(n.limits.io[0].riops, 1);
    assert_true(n.limits.io[0].wiops == CGROUP_NO_LIMIT);
    assert_true(n.limits.io[0].wbps == UINT64_MAX - 1);
    char *again = checkpoint_metadata_render(&n);
    assert_string_equal(text, again);
    free(text), free(again);

    /* Nothing limited: null. */
    cgroup_limits_init(&l);
    checkpoint_metadata_take_limits(&n, &l);
    assert_false(n.has_limits);
    text = checkpoint_metadata_render(&n);
    assert_non_null(strstr(text, "\"resource_limits\": null"));
    free(text);
    checkpoint_metadata_done(&m);
    checkpoint_metadata_done(&n);
}

static void test_m1_missing_and_wrong_fields_are_errors(void **state)
{
    static const char *const fields[][2] = {
        {"container_id", "\"abc\""}, {"container_name", "\"web\""}, {"original_pid", "42"},
        {"command", "[\"sh\"]"},     {"checkpoint_at", "1"},        {"version", "\"0.3\""},
        {"using_gvisor", "false"},   {"rootless", "false"},
    };
    static const char *const wrong[] = {"null", "{}", "1.5", "-1"};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        for (size_t how = 0; how <= ARRAY_SIZE(wrong); how++) {
            struct strbuf b = {0};
            for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
                if (k == i && how == ARRAY_SIZE(wrong))
                    continue;
                strbuf_addf(&b, "%s\"%s\":%s", b.len ? "," : "{", fields[k][0],
                            k == i ? wrong[how] : fields[k][1]);
            }
            strbuf_addc(&b, '}');
            parse_bad(b.s, fields[i][0]);
            strbuf_done(&b);
        }
}

static void test_m1_what_ends_up_in_a_path_is_checked(void **state)
{
    (void)state;
    parse_bad("{\"container_id\":\"../x\"}", "container_id");
    parse_bad("{" OLD ",\"cgroup_path\":\"relative\"}", "cgroup_path");
    parse_bad("{" OLD ",\"cgroup_path\":\"/sys/../etc\"}", "cgroup_path");
    parse_bad("{" OLD ",\"cgroup_path\":\"/sys/..\"}", "cgroup_path");
    parse_bad("{" OLD ",\"cgroup_path\":\"\"}", "cgroup_path");
    struct checkpoint_metadata m;
    parse_ok("{" OLD ",\"cgroup_path\":\"/sys/..x/y..\"}", &m);
    checkpoint_metadata_done(&m);
    limits_bad("{\"io_limits\":[{\"device\":\"8:0 rbps=max\\n\"}]}",
               "Invalid checkpoint resource limits: ");
}

static void test_m3_invalid_limits(void **state)
{
    static const char says[] = "Invalid checkpoint resource limits: ";
    static const char *const devices[] = {"", ":", "8:", ":0", "8", "8:0:0", "-8:0", "a:b", " 8:0"};
    (void)state;

    limits_bad("{\"cpu_period_us\":0," NO_IO "}", says);
    limits_bad("{\"pids_max\":0," NO_IO "}", says);
    limits_bad("{\"pids_max\":18446744073709551615," NO_IO "}", says);
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
        char *text = str_printf("{\"io_limits\":[{\"device\":\"%s\"}]}", devices[i]);
        limits_bad(text, says);
        free(text);
    }
    limits_bad("{\"io_limits\":[{}]}", "device");
    limits_bad("{\"io_limits\":[null]}", "io_limits");
    limits_bad("{\"io_limits\":{}}", "io_limits");
    limits_bad("{\"memory_bytes\":-1}", "memory_bytes");
    limits_bad("{\"memory_bytes\":\"max\"}", "memory_bytes");
    limits_bad("[]", "resource_limits");

    struct checkpoint_metadata m;
    parse_ok("{" OLD ",\"resource_limits\":{\"pids_max\":18446744073709551614}}", &m);
    assert_true(m.limits.pids_max == UINT64_MAX - 1);
    assert_true(m.has_limits);
    checkpoint_metadata_done(&m);
    parse_ok("{" OLD ",\"resource_limits\":{\"pids_max\":null,\"cpu_period_us\":null}}", &m);
    assert_true(m.limits.pids_max == CGROUP_NO_LIMIT);
    checkpoint_metadata_done(&m);
}

static void test_m4_millicores(void **state)
{
    struct cgroup_limits l;
    uint64_t n = 7;
    (void)state;

    cgroup_limits_init(&l);
    assert_false(checkpoint_cpu_millicores(&l, &n));
    l.cpu_period_us = 100000;
    assert_false(checkpoint_cpu_millicores(&l, &n));
    assert_int_equal(n, 7);
    l.cpu_quota_us = 50000;
    assert_true(checkpoint_cpu_millicores(&l, &n));
    assert_int_equal(n, 500);
    l.cpu_quota_us = UINT64_MAX - 1;
    l.cpu_period_us = 1;
    assert_true(checkpoint_cpu_millicores(&l, &n));
    assert_true(n == UINT64_MAX);
    l.cpu_period_us = 1000;
    assert_true(checkpoint_cpu_millicores(&l, &n));
    assert_true(n == UINT64_MAX - 1);
    l.cpu_period_us = 0;
    assert_false(checkpoint_cpu_millicores(&l, &n));
}

static void minimal(struct checkpoint_metadata *m)
{
    checkpoint_metadata_init(m);
    m->container_id = mem_strdup("abc");
    m->container_name = mem_strdup("web");
}

static void test_m5_save(void **state)
{
    struct temp_dir *d = *state;
    struct checkpoint_metadata m, n;
    struct error e = {0};
    struct stat st;

    minimal(&m);
    temp_text(d, "metadata.json.tmp", "half");
    assert_int_equal(checkpoint_metadata_save(d->fd, d->path, &m, &e), 0);
    assert_false(temp_exists(d, "metadata.json.tmp"));
    assert_int_equal(fstatat(d->fd, "metadata.json", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(checkpoint_metadata_load(d->fd, d->path, &n, &e), 0);
    assert_string_equal(n.container_name, "web");
    checkpoint_metadata_done(&n);

    temp_text(d, "victim", "precious");
    assert_int_equal(symlinkat("victim", d->fd, "metadata.json.tmp"), 0);
    assert_int_equal(checkpoint_metadata_save(d->fd, d->path, &m, &e), -ELOOP);
    assert_int_equal(e.code, ERROR_CHECKPOINT);
    assert_error_says(&e, "symlink");
    assert_int_equal(checkpoint_metadata_load(d->fd, d->path, &n, NULL), 0);
    checkpoint_metadata_done(&n);

    char *big = mem_alloc(CHECKPOINT_METADATA_MAX + 1);
    memset(big, 'x', CHECKPOINT_METADATA_MAX);
    strv_push(&m.command, big);
    assert_int_equal(checkpoint_metadata_save(d->fd, d->path, &m, &e), -EFBIG);
    error_done(&e);
    checkpoint_metadata_done(&m);
}

static void load_bad(const struct temp_dir *d, const char *says)
{
    struct checkpoint_metadata m;
    struct error e = {0};
    assert_true(checkpoint_metadata_load(d->fd, d->path, &m, &e) < 0);
    assert_int_equal(e.code, ERROR_CHECKPOINT);
    assert_error_says(&e, says);
    assert_error_says(&e, "metadata.json");
    error_done(&e);
}

static void test_m6_load_refuses(void **state)
{
    struct temp_dir *d = *state;
    char *big = mem_alloc(CHECKPOINT_METADATA_MAX + 2);

    load_bad(d, "is this a checkpoint?");
    temp_text(d, "real", "{" OLD "}");
    assert_int_equal(symlinkat("real", d->fd, "metadata.json"), 0);
    load_bad(d, "symlink");
    assert_int_equal(unlinkat(d->fd, "metadata.json", 0), 0);
    memset(big, ' ', CHECKPOINT_METADATA_MAX + 1);
    temp_text(d, "metadata.json", big);
    load_bad(d, "larger than 1 MiB");
    temp_text(d, "metadata.json", "{\n\"container_id\": x}");
    load_bad(d, "metadata.json:2:17");
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m1_older_files_load),
        cmocka_unit_test(test_m1_round_trip),
        cmocka_unit_test(test_m1_missing_and_wrong_fields_are_errors),
        cmocka_unit_test(test_m1_what_ends_up_in_a_path_is_checked),
        cmocka_unit_test(test_m3_invalid_limits),
        cmocka_unit_test(test_m4_millicores),
        temp_test(test_m5_save),
        temp_test(test_m6_load_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
