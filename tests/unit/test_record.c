/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* nucleus.json, descriptors.json, and the timers that have to be started again. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "checkpoint/record.h"
#include "checkpoint/timers.h"
#include "temp_dir.h"

#define STDIO_INSIDE_3                                                                             \
    "[{\"kind\":\"inside\",\"target\":\"/dev/null\",\"key\":null,\"flags\":0},"                    \
    "{\"kind\":\"inside\",\"target\":\"/dev/null\",\"key\":null,\"flags\":1},"                     \
    "{\"kind\":\"inside\",\"target\":\"/dev/null\",\"key\":null,\"flags\":1}]"

static int parse(const char *text, struct checkpoint_record *ret, struct error *e)
{
    return checkpoint_record_parse(text, strlen(text), "nucleus.json", ret, e);
}

static void test_c11_record_survives_save_and_load(void **state)
{
    const struct temp_dir *d = *state;
    const char *dir = d->path;
    int fd = d->fd;
    struct error e = {0};
    struct checkpoint_record out = {
        .criu_version = 40201,
        .tcp_established = true,
        .terminal = true,
        .namespaces = CLONE_NEWPID | CLONE_NEWNET,
    };
    strv_push(&out.external_mounts, mem_strdup("/data"));
    strv_push(&out.external_mounts, mem_strdup("/with \"quotes\""));
    out.stdio.end[0] =
        (struct stdio_end){STDIO_TTY, mem_strdup("/dev/pts/3"), mem_strdup("tty[8803:15]"), O_RDWR};
    out.stdio.end[1] =
        (struct stdio_end){STDIO_PIPE, mem_strdup("pipe:[42]"), mem_strdup("pipe:[42]"), O_WRONLY};
    out.stdio.end[2] = (struct stdio_end){STDIO_FILE, mem_strdup("/var/log/x"),
                                          mem_strdup("file[1f:a03]"), O_WRONLY | O_APPEND};
    out.stdio.end[2].has_offset = true;
    out.stdio.end[2].offset = 1ull << 40;

    assert_int_equal(checkpoint_record_save(&out, fd, &e), 0);
    struct checkpoint_record in = {0};
    assert_int_equal(checkpoint_record_load(fd, dir, &in, &e), 1);
    assert_int_equal(in.criu_version, 40201);
    assert_true(in.tcp_established && in.terminal && !in.shell_job);
    assert_true(in.namespaces == (CLONE_NEWPID | CLONE_NEWNET));
    assert_int_equal(strv_len(in.external_mounts), 2);
    assert_string_equal(in.external_mounts[1], "/with \"quotes\"");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(in.stdio.end[i].kind, out.stdio.end[i].kind);
        assert_string_equal(in.stdio.end[i].target, out.stdio.end[i].target);
        assert_string_equal(in.stdio.end[i].key, out.stdio.end[i].key);
        assert_int_equal(in.stdio.end[i].flags, out.stdio.end[i].flags);
        assert_int_equal(in.stdio.end[i].has_offset, out.stdio.end[i].has_offset);
        assert_int_equal(in.stdio.end[i].offset, out.stdio.end[i].offset);
    }
    checkpoint_record_done(&in);

    assert_int_equal(stdio_save_descriptors(&out.stdio, fd, &e), 0);
    _cleanup_stdio_ struct stdio_info info = {0};
    assert_int_equal(stdio_load_descriptors(fd, dir, &info, &e), 0);
    assert_string_equal(info.end[0].target, "/dev/pts/3");
    assert_int_equal(info.end[0].kind, STDIO_INSIDE);
    assert_int_equal(info.end[1].kind, STDIO_PIPE);
    assert_string_equal(info.end[1].key, "pipe:[42]");
    checkpoint_record_done(&out);
}

static void test_record_absent_is_no_error(void **state)
{
    const struct temp_dir *d = *state;
    const char *dir = d->path;
    int fd = d->fd;
    struct checkpoint_record in = {0};
    struct error e = {0};

    assert_int_equal(checkpoint_record_load(fd, dir, &in, &e), 0);
    assert_true(stdio_load_descriptors(fd, dir, &in.stdio, &e) < 0);
    assert_int_equal(e.code, ERROR_CHECKPOINT);
    error_done(&e);
}

static void test_record_refuses_what_was_never_written(void **state)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"format\":1}",
        "{\"format\":2,\"stdio\":" STDIO_INSIDE_3 "}",
        "{\"format\":1,\"stdio\":[]}",
        "{\"format\":1,\"tcp_established\":1,\"stdio\":" STDIO_INSIDE_3 "}",
        "{\"format\":1,\"criu_version\":-1,\"stdio\":" STDIO_INSIDE_3 "}",
        "{\"format\":1,\"namespaces\":[\"net\"],\"stdio\":" STDIO_INSIDE_3 "}",
        "{\"format\":1,\"external_mounts\":[5],\"stdio\":" STDIO_INSIDE_3 "}",
        /* a key that is none of CRIU's names, or not of its kind */
        "{\"format\":1,\"stdio\":[{\"kind\":\"file\",\"target\":\"/"
        "x\",\"key\":\"pipe:[1]\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"file\",\"target\":\"/x\",\"key\":\"file[]\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"file\",\"target\":\"/"
        "x\",\"key\":\"file[1:2]x\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"inside\",\"target\":\"/"
        "x\",\"key\":\"file[1:2]\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"pipe\",\"target\":\"/x\",\"key\":null},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"socket\",\"target\":\"/x\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"inside\"},{},{}]}",
        "{\"format\":1,\"stdio\":[{\"kind\":\"file\",\"target\":\"/"
        "x\",\"key\":\"file[1:2]\",\"offset\":-1},{},{}]}",
        "{\"format\":1,\"stdio\":[5,5,5]}",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct checkpoint_record in = {0};
        struct error e = {0};
        if (parse(wrong[i], &in, &e) >= 0)
            fail_msg("accepted: %s", wrong[i]);
        assert_true(e.code == ERROR_CHECKPOINT || e.code == ERROR_UNSUPPORTED);
        assert_null(in.external_mounts);
        error_done(&e);
    }
    struct checkpoint_record in = {0};
    struct error e = {0};
    assert_int_equal(parse("{\"format\":1,\"future\":{},\"stdio\":" STDIO_INSIDE_3 "}", &in, &e),
                     0);
    checkpoint_record_done(&in);
}

static void test_descriptors_must_be_three_strings(void **state)
{
    static const char *const wrong[] = {
        "",
        "{}",
        "[]",
        "[\"a\",\"b\"]",
        "[\"a\",\"b\",\"c\",\"d\"]",
        "[1,2,3]",
        "[\"a\",\"b\",null]",
        "[\"a\",\"b\",\"c\"",
        "[\"a\",\"b\",\"c\"]}",
        "\"abc\"",
    };
    const struct temp_dir *d = *state;
    const char *dir = d->path;
    int fd = d->fd;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct stdio_info info = {0};
        struct error e = {0};
        assert_int_equal(file_replace_at(fd, STDIO_DESCRIPTORS_FILE, wrong[i], strlen(wrong[i])),
                         0);
        if (stdio_load_descriptors(fd, dir, &info, &e) >= 0)
            fail_msg("accepted: %s", wrong[i]);
        error_done(&e);
    }
}

/* An untrusted record names a file of the host: the caller's own descriptor takes its place. */
static void test_c16_host_file_is_opened_only_when_trusted(void **state)
{
    const struct temp_dir *d = *state;
    const char *dir = d->path;
    _cleanup_free_ char *log = str_printf("%s/log", dir);
    struct error e = {0};
    struct stdio_info info = {0};

    for (int i = 0; i < 3; i++)
        info.end[i] = (struct stdio_end){STDIO_INSIDE, mem_strdup("/dev/null"), NULL, 0};
    free(info.end[1].target);
    info.end[1] =
        (struct stdio_end){STDIO_FILE, mem_strdup(log), mem_strdup("file[1:2]"), O_WRONLY};

    struct stdio_handover h;
    assert_int_equal(stdio_hand_over(&info, false, &h, &e), 0);
    assert_int_equal(h.n, 2);
    assert_int_equal(h.item[0].fd, 1);
    assert_false(h.item[0].own);
    assert_int_equal(access(log, F_OK), -1);
    stdio_handover_done(&h);

    int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "12345", 5), 5);
    (void)close(fd);
    assert_int_equal(stdio_hand_over(&info, true, &h, &e), 0);
    assert_true(h.item[0].own && h.item[0].fd > 2);
    assert_string_equal(h.item[0].key, "ile[1:2]");
    assert_string_equal(h.item[1].key, "file[1:2]");
    assert_int_equal(lseek(h.item[0].fd, 0, SEEK_CUR), 5);
    stdio_handover_done(&h);

    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink("/etc/passwd", log), 0);
    assert_true(stdio_hand_over(&info, true, &h, &e) < 0);
    error_done(&e);
    stdio_info_done(&info);
}

static void test_timers_only_expired_periodic_ones(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"pos:\t0\nclockid: 1\nticks: 1\nsettime flags: 00\nit_value: (0, 0)\n"
         "it_interval: (0, 50000000)\n",
         1},
        {"pos:\t0\nclockid: 1\nticks: 0\nsettime flags: 00\nit_value: (0, 0)\n"
         "it_interval: (0, 50000000)\n",
         0},
        {"pos:\t0\nclockid: 1\nticks: 1\nsettime flags: 00\nit_value: (0, 7)\n"
         "it_interval: (0, 50000000)\n",
         0},
        {"pos:\t0\nclockid: 1\nticks: 3\nsettime flags: 00\nit_value: (0, 0)\n"
         "it_interval: (0, 0)\n",
         0},
        {"pos:\t0\nclockid: 1\nticks: 1\nit_value: (0, 0)\nit_interval: (0, 1000000000)\n", -1},
        {"pos:\t0\nclockid: 1\nticks: 1\n", -1},
        {"", -1},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned long long s = 9, ns = 9;
        int r = timers_parse_fdinfo(cases[i].text, &s, &ns);
        assert_int_equal(r < 0 ? -1 : r, cases[i].want);
        if (r == 1) {
            assert_int_equal(s, 0);
            assert_int_equal(ns, 50000000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_c11_record_survives_save_and_load, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_record_absent_is_no_error, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_record_refuses_what_was_never_written, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_must_be_three_strings, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_c16_host_file_is_opened_only_when_trusted,
                                        temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_timers_only_expired_periodic_ones, temp_dir_setup,
                                        temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
