/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "state/record-plain.h"
#include "state/state.h"

/* Every field that has no default. */
#define REQUIRED                                                                                   \
    "\"id\":\"a1\",\"name\":\"n\",\"pid\":7,\"command\":[\"sh\"],\"started_at\":5,"                \
    "\"memory_limit\":null,\"cpu_limit\":null,\"using_gvisor\":false,\"rootless\":false,"          \
    "\"cgroup_path\":null"

static struct state *parse(const char *text, struct error *e)
{
    struct state *s = NULL;
    int r = state_parse(text, strlen(text), "t.json", &s, e);
    assert_int_equal(r == 0, s != NULL);
    return s;
}

static struct state *parse_ok(const char *text)
{
    struct error e = {0};
    struct state *s = parse(text, &e);
    if (!s)
        fail_msg("%s", error_render(&e));
    return s;
}

static void parse_bad(const char *text, const char *says)
{
    struct error e = {0};
    struct state *s = parse(text, &e);
    if (s)
        fail_msg("accepted: %s", text);
    assert_int_equal(e.code, ERROR_STATE);
    assert_error_says(&e, says);
    error_done(&e);
}

static void test_s1_status_without_field_is_stopped(void **state)
{
    (void)state;
    struct state *s = parse_ok("{" REQUIRED "}");
    assert_int_equal(s->status, STATE_STOPPED);
    state_free(s);
}

static void test_s1_every_status_by_name(void **state)
{
    static const struct {
        const char *text;
        enum state_status status;
    } cases[] = {{"creating", STATE_CREATING},
                 {"created", STATE_CREATED},
                 {"running", STATE_RUNNING},
                 {"stopped", STATE_STOPPED}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text = str_printf("{" REQUIRED ",\"status\":\"%s\"}", cases[i].text);
        struct state *s = parse_ok(text);
        assert_int_equal(s->status, cases[i].status);
        assert_string_equal(state_status_name(s->status), cases[i].text);
        state_free(s);
        free(text);
    }
    assert_string_equal(state_status_name(STATE_PAUSED), "paused");
}

static void test_s1_unknown_status_is_an_error(void **state)
{
    (void)state;
    parse_bad("{" REQUIRED ",\"status\":\"asleep\"}", "asleep");
    parse_bad("{" REQUIRED ",\"status\":\"paused\"}", "paused");
    parse_bad("{" REQUIRED ",\"status\":null}", "must not be null");
    parse_bad("{" REQUIRED ",\"status\":3}", "status");
}

static void test_s1_paused_is_never_stored(void **state)
{
    (void)state;
    struct state *s = parse_ok("{" REQUIRED ",\"status\":\"running\"}");
    s->status = STATE_PAUSED;
    char *text = state_render(s);
    assert_non_null(strstr(text, "\"status\": \"running\""));
    free(text);
    state_free(s);
}

static void test_s2_defaults(void **state)
{
    (void)state;
    struct state *s = parse_ok("{" REQUIRED "}");
    assert_null(s->config_hash);
    assert_null(s->bundle_path);
    assert_null(s->cgroup_path);
    assert_int_equal(s->creator_uid, 0);
    assert_int_equal(s->process_uid, 0);
    assert_int_equal(s->process_gid, 0);
    assert_int_equal(s->n_additional_gids, 0);
    assert_int_equal(s->n_annotations, 0);
    assert_int_equal(s->start_ticks, 0);
    assert_false(s->has_memory_limit);
    assert_false(s->has_cpu_limit);
    state_free(s);
}

static void test_s2_unknown_fields_are_ignored(void **state)
{
    (void)state;
    state_free(parse_ok("{" REQUIRED ",\"future\":{\"x\":[1,2]},\"zz\":null}"));
}

static void test_s2_each_missing_field_is_an_error(void **state)
{
    static const char *const fields[] = {
        "\"id\":\"a1\"",        "\"name\":\"n\"",        "\"pid\":7",
        "\"command\":[\"sh\"]", "\"started_at\":5",      "\"memory_limit\":null",
        "\"cpu_limit\":null",   "\"using_gvisor\":true", "\"rootless\":false",
        "\"cgroup_path\":null",
    };
    (void)state;
    for (size_t skip = 0; skip < ARRAY_SIZE(fields); skip++) {
        struct strbuf b = {0};
        char name[32];

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
            if (i != skip)
                strbuf_addf(&b, "%s%s", b.len ? "," : "{", fields[i]);
        strbuf_addc(&b, '}');
        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(fields[skip] + 1, "\""),
                       fields[skip] + 1);
        parse_bad(b.s, name);
        strbuf_done(&b);
    }
}

static void test_s2_wrong_types_and_ranges_are_errors(void **state)
{
    static const char *const bad[] = {
        "\"creator_uid\":4294967296",
        "\"creator_uid\":-1",
        "\"creator_uid\":\"0\"",
        "\"creator_uid\":null",
        "\"additional_gids\":[1,null]",
        "\"additional_gids\":[1,4294967296]",
        "\"additional_gids\":{}",
        "\"start_ticks\":1.5",
        "\"start_ticks\":18446744073709551616",
        "\"annotations\":[]",
        "\"annotations\":{\"a\":1}",
        "\"annotations\":{\"a\":null}",
        "\"bundle_path\":1",
        "\"config_hash\":[]",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *text = str_printf("{" REQUIRED ",%s}", bad[i]);
        parse_bad(text, "t.json:1:");
        free(text);
    }
}

static void test_s2_pid_is_bounded(void **state)
{
    static const struct {
        const char *pid;
        int ok;
    } cases[] = {{"0", 1},     {"2147483647", 1}, {"2147483648", 0}, {"-1", 0},
                 {"\"7\"", 0}, {"null", 0},       {"1e3", 0},        {"4294967303", 0}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text = str_printf("{\"id\":\"a\",\"name\":\"n\",\"pid\":%s,\"command\":[],"
                                "\"started_at\":5,\"memory_limit\":1,\"cpu_limit\":2,"
                                "\"using_gvisor\":false,\"rootless\":false,\"cgroup_path\":null}",
                                cases[i].pid);
        if (cases[i].ok)
            state_free(parse_ok(text));
        else
            parse_bad(text, "pid");
        free(text);
    }
}

static void test_s2_rust_0_3_file_loads(void **state)
{
    /* Set by tests/meson.build; run by hand it is found from the top of the source. */
    const char *data = getenv("NUCLEUS_TEST_DATA");
    struct error e = {0};
    char *text = NULL;
    size_t n;
    (void)state;

    char *path = path_join(data ? data : "tests/data", "state-0.3.json");
    assert_int_equal(file_read_at(AT_FDCWD, path, 0, STATE_FILE_MAX, &text, &n), 0);
    struct state *s = NULL;
    assert_int_equal(state_parse(text, n, path, &s, &e), 0);
    assert_string_equal(s->id, "3f0c9a1be2d4");
    assert_string_equal(s->name, "web");
    assert_int_equal(s->pid, 4242);
    assert_int_equal(strv_len(s->command), 3);
    assert_string_equal(s->command[2], "echo \"hi\" && sleep 100");
    assert_int_equal(s->started_at, 1735689600);
    assert_true(s->has_memory_limit);
    assert_int_equal(s->memory_limit, 536870912);
    assert_false(s->has_cpu_limit);
    assert_false(s->using_gvisor);
    assert_true(s->rootless);
    assert_string_equal(s->cgroup_path, "/sys/fs/cgroup/nucleus-3f0c9a1be2d4");
    assert_string_equal(s->config_hash, "9f86d081884c7d65");
    assert_int_equal(s->creator_uid, 1000);
    assert_int_equal(s->process_uid, 65534);
    assert_int_equal(s->process_gid, 65534);
    assert_int_equal(s->n_additional_gids, 2);
    assert_int_equal(s->additional_gids[1], 20);
    assert_int_equal(s->start_ticks, 987654321);
    assert_int_equal(s->status, STATE_RUNNING);
    assert_null(s->bundle_path);
    assert_int_equal(s->n_annotations, 1);
    assert_string_equal(s->annotations[0].key, "org.example.tier");
    assert_string_equal(s->annotations[0].value, "front");
    /* What it is written as is byte for byte what was read. */
    char *again = state_render(s);
    assert_string_equal(again, text);
    free(again);
    state_free(s);
    free(text);
    free(path);
}

static void test_s2_extreme_values_survive_a_round_trip(void **state)
{
    (void)state;
    struct state *s = parse_ok("{" REQUIRED "}"), *t;
    s->started_at = UINT64_MAX;
    s->start_ticks = UINT64_MAX;
    s->has_memory_limit = s->has_cpu_limit = true;
    s->memory_limit = UINT64_MAX;
    s->cpu_limit = 0;
    s->pid = INT32_MAX;
    s->creator_uid = UINT32_MAX;
    free(s->name);
    s->name = mem_strdup("quote\" back\\ tab\t nl\n del\x7f \xc3\xa4 \xf0\x9f\x90\xa7");
    char *text = state_render(s);
    t = parse_ok(text);
    assert_string_equal(t->name, s->name);
    assert_int_equal(t->started_at, UINT64_MAX);
    assert_int_equal(t->start_ticks, UINT64_MAX);
    assert_true(t->memory_limit == UINT64_MAX && t->has_memory_limit);
    assert_true(t->cpu_limit == 0 && t->has_cpu_limit);
    assert_int_equal(t->pid, INT32_MAX);
    assert_true(t->creator_uid == UINT32_MAX);
    free(text);
    state_free(s);
    state_free(t);
}

static void test_s2_bytes_that_are_no_utf8_stay_loadable(void **state)
{
    (void)state;
    struct state *s = parse_ok("{" REQUIRED "}"), *t;
    free(s->command[0]);
    s->command[0] = mem_strdup("a\xff"
                               "b\xc3");
    char *text = state_render(s);
    t = parse_ok(text);
    assert_string_equal(t->command[0], "a\xef\xbf\xbd"
                                       "b\xef\xbf\xbd");
    free(text);
    state_free(s);
    state_free(t);
}

static void test_s10_ids(void **state)
{
    static const char *const good[] = {"a", "A", "0", "_", "_x", "a.b", "a-b", "a+b_c", "0.1"};
    static const char *const bad[] = {"",    ".",   "..",   "-a",  "+a",       ".a", "a/b", "/",
                                      "a b", "a\n", "../x", "a:b", "\xc3\xa4", "a%", "a\\"};
    char name[STATE_ID_MAX + 2];
    struct error e = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(state_id_check(good[i], &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(state_id_check(bad[i], &e), -EINVAL);
        assert_int_equal(e.code, ERROR_USAGE);
        assert_error_says(&e, "invalid container id");
    }
    /* Every byte, in first and in second place. */
    for (int c = 1; c < 256; c++) {
        char first[] = {(char)c, '\0'}, second[] = {'a', (char)c, '\0'};
        int word =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        assert_int_equal(state_id_check(first, NULL) == 0, word);
        assert_int_equal(state_id_check(second, NULL) == 0,
                         word || c == '-' || c == '.' || c == '+');
    }
    memset(name, 'x', sizeof(name));
    name[STATE_ID_MAX] = '\0';
    assert_int_equal(state_id_check(name, NULL), 0);
    name[STATE_ID_MAX] = 'x';
    name[STATE_ID_MAX + 1] = '\0';
    assert_int_equal(state_id_check(name, &e), -EINVAL);
    error_done(&e);
    parse_bad("{\"id\":\"../etc\",\"name\":\"n\"}", "id");
}

static void test_s13_broken_text_names_line_and_column(void **state)
{
    (void)state;
    parse_bad("", "t.json:1:1");
    parse_bad("[]", "t.json");
    parse_bad("{\n  \"id\": 'x'\n}", "t.json:2:9");
    parse_bad("{" REQUIRED "} x", "t.json:1:");
    parse_bad("{" REQUIRED ",\"id\":\"b\"}", "t.json:1:");
    parse_bad("{\n\"id\":\"a1\",\n\"name\":5}", "t.json:3:8");
}

/* What the short way reads, the long way reads alike. */
static bool same_both_ways(const char *text, size_t len)
{
    struct state *plain = record_parse_plain(text, len), *full = NULL;
    bool read = plain;

    if (read) {
        if (state_parse(text, len, "t.json", &full, NULL) < 0)
            fail_msg("read the short way only: %.*s", (int)len, text);
        char *a = state_render(plain), *b = state_render(full);
        assert_string_equal(a, b);
        assert_int_equal(plain->pid, full->pid);
        free(a);
        free(b);
    }
    state_free(plain);
    state_free(full);
    return read;
}

static void test_the_short_way_reads_what_is_written(void **state)
{
    static const char bytes[] = "\"\\ ,:{}[]019-.enxA\n\x1f\x7f\x80\xc3";
    char *args[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t) "",
                    NULL};
    uint32_t gids[] = {0, UINT32_MAX};
    struct state_annotation notes[] = {{(char *)(uintptr_t) "a", (char *)(uintptr_t) "1"},
                                       {(char *)(uintptr_t) "b", (char *)(uintptr_t) ""}};
    struct state s = {
        .id = (char *)(uintptr_t) "a1",
        .name = (char *)(uintptr_t) "n",
        .pid = 7,
        .started_at = UINT64_MAX,
        .status = STATE_RUNNING,
    };

    (void)state;
    for (int full = 0; full < 2; full++) {
        char *text = state_render(&s);
        size_t len = strlen(text);
        assert_true(same_both_ways(text, len));
        /* Anything else is left to the long way, or means the same there. */
        for (size_t i = 0; i < len; i++) {
            const char was = text[i];
            assert_false(same_both_ways(text, i));
            for (size_t k = 0; k < sizeof(bytes); k++) {
                text[i] = bytes[k];
                (void)same_both_ways(text, len);
            }
            text[i] = was;
        }
        free(text);
        s.command = args;
        s.additional_gids = gids;
        s.n_additional_gids = 2;
        s.annotations = notes;
        s.n_annotations = 2;
        s.has_cpu_limit = s.has_memory_limit = s.rootless = true;
        s.memory_limit = 1;
        s.cgroup_path = s.config_hash = s.bundle_path = s.systemd_unit = (char *)(uintptr_t) "/x y";
    }
    /* A key twice is an error, so it is the long way's. */
    notes[1].key = notes[0].key;
    char *text = state_render(&s);
    assert_false(same_both_ways(text, strlen(text)));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s1_status_without_field_is_stopped),
        cmocka_unit_test(test_s1_every_status_by_name),
        cmocka_unit_test(test_s1_unknown_status_is_an_error),
        cmocka_unit_test(test_s1_paused_is_never_stored),
        cmocka_unit_test(test_s2_defaults),
        cmocka_unit_test(test_s2_unknown_fields_are_ignored),
        cmocka_unit_test(test_s2_each_missing_field_is_an_error),
        cmocka_unit_test(test_s2_wrong_types_and_ranges_are_errors),
        cmocka_unit_test(test_s2_pid_is_bounded),
        cmocka_unit_test(test_s2_rust_0_3_file_loads),
        cmocka_unit_test(test_s2_extreme_values_survive_a_round_trip),
        cmocka_unit_test(test_s2_bytes_that_are_no_utf8_stay_loadable),
        cmocka_unit_test(test_s10_ids),
        cmocka_unit_test(test_s13_broken_text_names_line_and_column),
        cmocka_unit_test(test_the_short_way_reads_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
