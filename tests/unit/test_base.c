/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"

/* error.h */

static void test_error_render(void **state)
{
    (void)state;
    static const struct {
        const char *line, *step, *subject, *why, *remedy, *log;
        int errnum;
    } cases[] = {
        {""},
        {"cannot open file '/a': no such file or directory", "open file", "/a", .errnum = ENOENT},
        {"cannot open file '/a': it is gone", "open file", "/a", "it is gone", .errnum = ENOENT},
        {"cannot s: w; do this (log: /l)", "s", NULL, "w", "do this", "/l"},
        {"'x': w", NULL, "x", "w"},
        {"w", .why = "w"},
        {"cannot s 'a; b\\x1b[31m\\x7f\\x09': w\\x0d", "s", "a\nb\x1b[31m\x7f\t", "w\r"},
        {"\xc3\xa4", .why = "\xc3\xa4"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error e = {
            .errnum = cases[i].errnum,
            .step = mem_strdup(cases[i].step),
            .subject = mem_strdup(cases[i].subject),
            .why = mem_strdup(cases[i].why),
            .remedy = mem_strdup(cases[i].remedy),
            .log = mem_strdup(cases[i].log),
        };
        _cleanup_free_ char *line = error_render(&e);
        assert_string_equal(line, cases[i].line);
        error_done(&e);
    }
}

static void test_error_set(void **state)
{
    (void)state;
    struct error e = {0}, other = {0};

    assert_int_equal(error_set(&e, ERROR_CONFIG, ENOENT, "s", "x", "r", "n%d", 1), -ENOENT);
    assert_int_equal(e.code, ERROR_CONFIG);
    assert_int_equal(e.errnum, ENOENT);
    assert_string_equal(e.why, "n1");
    /* Its own strings may be arguments. */
    assert_int_equal(error_set(&e, ERROR_STATE, 0, e.subject, e.step, NULL, "%s!", e.why), -EINVAL);
    assert_string_equal(e.step, "x");
    assert_string_equal(e.subject, "s");
    assert_string_equal(e.why, "n1!");
    assert_null(e.remedy);
    error_move(&other, &e);
    assert_null(e.step);
    assert_string_equal(other.step, "x");
    assert_int_equal(error_errno(&other, -EPERM, "t", NULL), -EPERM);
    assert_int_equal(other.code, ERROR_SYSTEM);
    assert_null(other.why);
    assert_int_equal(error_set(NULL, ERROR_STATE, EBUSY, "s", NULL, NULL, NULL), -EBUSY);
    error_done(&other);
    error_done(&other);
    error_done(NULL);
}

static void test_error_code_names(void **state)
{
    (void)state;
    for (int a = 0; a < _ERROR_CODE_MAX; a++) {
        const char *name = error_code_name((enum error_code)a);
        assert_non_null(name);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(name, error_code_name((enum error_code)b));
    }
    assert_string_equal(error_code_name(ERROR_NOT_FOUND), "not-found");
    assert_string_equal(error_code_name(_ERROR_CODE_MAX), "internal");
}

/* log.h */

static unsigned n_logged;
static char logged[64];

static void log_to_test(enum log_level level, const char *text)
{
    n_logged++;
    (void)snprintf(logged, sizeof(logged), "%d %s", (int)level, text);
}

static void test_log(void **state)
{
    (void)state;
    log_warning("dropped");
    log_set_sink(log_to_test, LOG_WARNING_);
    log_debug("below");
    assert_int_equal(n_logged, 0);
    errno = ENOTTY;
    log_warning("a%d", 5);
    assert_int_equal(errno, ENOTTY);
    assert_string_equal(logged, "1 a5");
    log_set_sink(log_to_test, LOG_DEBUG_);
    log_debug("b");
    assert_int_equal(n_logged, 2);
    log_set_sink(NULL, LOG_DEBUG_);
    log_warning("dropped");
    assert_int_equal(n_logged, 2);
}

/* str.h, mem.h */

static void test_strbuf(void **state)
{
    (void)state;
    struct strbuf b = {0};
    _cleanup_free_ char *empty = strbuf_take(&b);
    assert_string_equal(empty, "");
    strbuf_add(&b, "ab");
    strbuf_addn(&b, "cdef", 2);
    strbuf_addn(&b, NULL, 0);
    strbuf_addc(&b, 'e');
    strbuf_addf(&b, "%s%d", "f", 7);
    assert_int_equal(b.len, 7);
    assert_string_equal(b.s, "abcdef7");
    for (int i = 0; i < 10000; i++)
        strbuf_addc(&b, 'x');
    assert_int_equal(strlen(b.s), 10007);
    _cleanup_free_ char *s = strbuf_take(&b);
    assert_null(b.s);
    strbuf_done(&b);
    assert_int_equal(strlen(s), 10007);
}

static void test_strings(void **state)
{
    (void)state;
    assert_string_equal(str_after("abc", "ab"), "c");
    assert_string_equal(str_after("abc", ""), "abc");
    assert_string_equal(str_after("abc", "abc"), "");
    assert_null(str_after("abc", "abcd"));
    assert_null(str_after("abc", "b"));
    assert_true(streq_ptr(NULL, NULL) && streq_ptr("a", "a"));
    assert_false(streq_ptr(NULL, "a") || streq_ptr("a", NULL) || streq_ptr("a", "b"));
    assert_null(mem_strdup(NULL));
    _cleanup_free_ char *a = mem_strndup("abc", 2), *b = mem_strndup("abc", 9),
                        *c = mem_dup("x", 2);
    assert_string_equal(a, "ab");
    assert_string_equal(b, "abc");
    assert_string_equal(c, "x");

    int *v = NULL;
    for (int i = 0; i < 100; i++) {
        mem_grow(v, (size_t)i);
        v[i] = i;
    }
    assert_int_equal(v[99], 99);
    free(v);
    _cleanup_free_ int *zero = mem_new0(int);
    assert_int_equal(*zero, 0);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain\x7f", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},         /* overlong NUL */
        {"\xc1\xbf", false},         /* overlong */
        {"\xe0\x9f\xbf", false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", false}, /* overlong */
        {"\xed\xa0\x80", false},     /* surrogates */
        {"\xed\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\xc2", false}, /* cut */
        {"\xe2\x82", false},
        {"\xf0\x9f\x98", false},
        {"\xc2"
         "a",
         false},
        {"\xe2\x82"
         "a",
         false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = strlen(cases[i].s);
        _cleanup_free_ char *exact = mem_dup(cases[i].s, n);
        if (str_is_utf8(exact, n) != cases[i].valid)
            fail_msg("case %zu", i);
    }
    assert_true(str_is_utf8("a\0b", 3));
}

static void test_strv(void **state)
{
    (void)state;
    _cleanup_strv_ char **v = NULL;
    assert_int_equal(strv_len(NULL), 0);
    assert_false(strv_contains(NULL, "a"));
    _cleanup_free_ char *none = strv_join(NULL, ",");
    assert_string_equal(none, "");
    strv_push(&v, mem_strdup("a"));
    strv_push(&v, mem_strdup(""));
    strv_push(&v, mem_strdup("c"));
    assert_int_equal(strv_len(v), 3);
    assert_true(strv_contains(v, "c") && strv_contains(v, ""));
    assert_false(strv_contains(v, "b"));
    _cleanup_strv_ char **copy = strv_dup(v), **empty = strv_dup(NULL);
    _cleanup_free_ char *joined = strv_join(copy, ", ");
    assert_string_equal(joined, "a, , c");
    assert_null(empty[0]);
    strv_free(NULL);
}

/* num.h */

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int r;
        uint64_t v;
    } cases[] = {
        {"0", 0, 0},
        {"007", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1\n", -EINVAL, 0},
        {"0x1", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"a", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t v = 42;
        assert_int_equal(num_parse_u64(cases[i].s, &v), cases[i].r);
        assert_true(v == (cases[i].r ? 42 : cases[i].v));
    }
    uint64_t u;
    assert_int_equal(num_parse_u64_max("10", 10, &u), 0);
    assert_int_equal(num_parse_u64_max("11", 10, &u), -ERANGE);
    assert_int_equal(num_parse_u64_max("x", 10, &u), -EINVAL);
}

static void test_signed_and_octal(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int r;
        int64_t v;
    } cases[] = {
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775807", 0, INT64_MAX},
        {"-0", 0, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"9223372036854775808", -ERANGE, 0},
        {"-", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t v = 42;
        assert_int_equal(num_parse_i64(cases[i].s, &v), cases[i].r);
        assert_true(v == (cases[i].r ? 42 : cases[i].v));
    }
    uint32_t o;
    assert_int_equal(num_parse_octal("0755", &o), 0);
    assert_int_equal(o, 0755);
    assert_int_equal(num_parse_octal("37777777777", &o), 0);
    assert_int_equal(o, UINT32_MAX);
    assert_int_equal(num_parse_octal("40000000000", &o), -ERANGE);
    assert_int_equal(num_parse_octal("8", &o), -EINVAL);
    assert_int_equal(num_parse_octal("0o7", &o), -EINVAL);
    assert_int_equal(num_parse_octal("", &o), -EINVAL);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int r;
        uint64_t v;
    } cases[] = {
        {"0", 0, 0},
        {"10", 0, 10},
        {"10B", 0, 10},
        {"10b", 0, 10},
        {"1k", 0, 1024},
        {"1K", 0, 1024},
        {"1KB", 0, 1024},
        {"512M", 0, 512u << 20},
        {"512Mi", 0, 512u << 20},
        {"512MiB", 0, 512u << 20},
        {"2g", 0, UINT64_C(2) << 30},
        {"3T", 0, UINT64_C(3) << 40},
        {"16777215T", 0, UINT64_C(16777215) << 40},
        {"16777216T", -ERANGE, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"M", -EINVAL, 0},
        {"1P", -EINVAL, 0},
        {"1i", -EINVAL, 0},
        {"1iB", -EINVAL, 0},
        {"1MM", -EINVAL, 0},
        {"1MBi", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},
        {"-1M", -EINVAL, 0},
        {"1 M", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t v = 42;
        if (num_parse_size(cases[i].s, &v) != cases[i].r)
            fail_msg("'%s'", cases[i].s);
        assert_true(v == (cases[i].r ? 42 : cases[i].v));
    }
}

static void test_millicores(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int r;
        uint64_t v;
    } cases[] = {
        {"1", 0, 1000},
        {"0.5", 0, 500},
        {"2.25", 0, 2250},
        {"0.001", 0, 1},
        {"64.125", 0, 64125},
        {"0", -ERANGE, 0},
        {"0.0", -ERANGE, 0},
        {"1.", -EINVAL, 0},
        {".5", -EINVAL, 0},
        {"1.2345", -EINVAL, 0},
        {"1,5", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1.x", -EINVAL, 0},
        {"1.5x", -EINVAL, 0},
        {"18446744073709551", -ERANGE, 0},
        {"18446744073709550.999", 0, UINT64_C(18446744073709550999)},
        {"18446744073709551616", -ERANGE, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t v = 42;
        if (num_parse_millicores(cases[i].s, &v) != cases[i].r)
            fail_msg("'%s'", cases[i].s);
        assert_true(v == (cases[i].r ? 42 : cases[i].v));
    }
}

static void test_mul_div(void **state)
{
    (void)state;
    assert_true(num_mul_div(50000, 1000, 100000) == 500);
    assert_true(num_mul_div(UINT64_MAX, 1000, 1000) == UINT64_MAX);
    assert_true(num_mul_div(UINT64_MAX, 1000, 1) == UINT64_MAX);
    assert_true(num_mul_div(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_MAX);
    assert_true(num_mul_div(0, 5, 3) == 0);
    assert_true(num_mul_div(7, 1, 2) == 3);
}

/* path.h */

static void test_path_normalize(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "."},
        {".", "."},
        {"/", "/"},
        {"//", "/"},
        {"/.", "/"},
        {"/..", "/"},
        {"/../..", "/"},
        {"a", "a"},
        {"a/", "a"},
        {"./a", "a"},
        {"a/.", "a"},
        {"a//b", "a/b"},
        {"/a/../b", "/b"},
        {"/a/..", "/"},
        {"a/..", "."},
        {"..", ".."},
        {"../..", "../.."},
        {"../a/..", ".."},
        {"a/../..", ".."},
        {"/a/b/../../..", "/"},
        {"/a..", "/a.."},
        {"/a../..", "/"},
        {"/..a/b", "/..a/b"},
        {"a../..", "."},
        {"...", "..."},
        {"/.../..", "/"},
        {"//a///b//", "/a/b"},
        {"../a../..", ".."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *s = path_normalize(cases[i][0]);
        if (!streq(s, cases[i][1]))
            fail_msg("'%s' gave '%s', expected '%s'", cases[i][0], s, cases[i][1]);
    }
}

static void test_path_join_and_below(void **state)
{
    (void)state;
    static const char *const joins[][3] = {
        {"/a", "b", "/a/b"},   {"/a/", "/b", "/a/b"}, {"/", "b", "/b"},
        {"a//", "//b", "a/b"}, {"/a", "", "/a/"},     {".", "config.json", "./config.json"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(joins); i++) {
        _cleanup_free_ char *s = path_join(joins[i][0], joins[i][1]);
        assert_string_equal(s, joins[i][2]);
    }
    assert_true(path_is_below("/a", "/a") && path_is_below("/a/b", "/a"));
    assert_true(path_is_below("/a", "/") && path_is_below("/", "/"));
    assert_false(path_is_below("/ab", "/a") || path_is_below("/", "/a"));
    assert_false(path_is_below("/a", "/a/b"));
}

/* file.h */

static int setup_dir(void **state)
{
    char *dir = mem_strdup("/tmp/nucleus-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    if (chdir(dir) < 0)
        return -1;
    *state = dir;
    return 0;
}

/* Tests leave nothing behind, so this proves it. */
static int teardown_dir(void **state)
{
    _cleanup_free_ char *dir = *state;
    if (chdir("/") < 0)
        return -1;
    return rmdir(dir);
}

static int here(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void expect_content(const char *name, const char *expected)
{
    _cleanup_free_ char *data = NULL;
    size_t len;
    assert_int_equal(file_read_at(AT_FDCWD, name, O_NOFOLLOW, 1 << 20, &data, &len), 0);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(data, expected);
}

static void test_file_replace(void **state)
{
    (void)state;
    _cleanup_close_ int dir = here();
    struct stat st;

    assert_int_equal(file_replace_at(dir, "f", "one", 3), 0);
    expect_content("f", "one");
    assert_int_equal(lstat("f", &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(file_replace_at(dir, "f", "", 0), 0);
    expect_content("f", "");
    assert_int_equal(lstat("f.tmp", &st), -1);

    /* A stale temp file of a killed process, whatever its mode. */
    _cleanup_close_ int stale = open("f.tmp", O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    assert_int_equal(fd_write_all(stale, "half", 4), 0);
    assert_int_equal(file_replace_at(dir, "f", "two", 3), 0);
    expect_content("f", "two");
    assert_int_equal(lstat("f", &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(unlink("f"), 0);
}

static void test_file_replace_refuses_symlink_at_temp(void **state)
{
    (void)state;
    _cleanup_close_ int dir = here();
    struct stat st;

    assert_int_equal(file_replace_at(dir, "f", "old", 3), 0);
    assert_int_equal(file_replace_at(dir, "victim", "safe", 4), 0);
    assert_int_equal(symlink("victim", "f.tmp"), 0);
    assert_int_equal(file_replace_at(dir, "f", "new", 3), -ELOOP);
    assert_int_equal(unlink("f.tmp"), 0);
    /* A dangling one must not create its target. */
    assert_int_equal(symlink("made", "f.tmp"), 0);
    assert_int_equal(file_replace_at(dir, "f", "new", 3), -ELOOP);
    assert_int_equal(lstat("made", &st), -1);
    assert_int_equal(lstat("f.tmp", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink("f.tmp"), 0);
    /* Anything else that is not a file. */
    assert_int_equal(mkdir("f.tmp", 0700), 0);
    assert_int_equal(file_replace_at(dir, "f", "new", 3), -EEXIST);
    assert_int_equal(rmdir("f.tmp"), 0);
    assert_int_equal(mkfifo("f.tmp", 0600), 0);
    assert_int_equal(file_replace_at(dir, "f", "new", 3), -EEXIST);
    assert_int_equal(unlink("f.tmp"), 0);

    expect_content("f", "old");
    expect_content("victim", "safe");
    assert_int_equal(unlink("f"), 0);
    assert_int_equal(unlink("victim"), 0);
}

static void test_file_replace_leaves_no_temp_after_failure(void **state)
{
    (void)state;
    _cleanup_close_ int dir = here();
    struct stat st;

    /* A directory in the way fails the rename. */
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(file_replace_at(dir, "d", "x", 1), -EISDIR);
    assert_int_equal(lstat("d.tmp", &st), -1);
    assert_int_equal(rmdir("d"), 0);
    assert_int_equal(file_replace_at(-EBADF, "f", "x", 1), -EBADF);
}

static void test_fd_read_all_bounds(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 100000};
    _cleanup_close_ int dir = here();

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t n = sizes[i], len = 77;
        _cleanup_free_ char *in = mem_alloc(n + 1), *out = NULL, *none = NULL, *all = NULL;
        memset(in, 'a', n);
        assert_int_equal(file_replace_at(dir, "f", in, n), 0);

        assert_int_equal(file_read_at(dir, "f", 0, n, &out, &len), 0);
        assert_int_equal(len, n);
        assert_string_equal(out, in);
        assert_int_equal(file_read_at(dir, "f", 0, 1 << 20, &all, NULL), 0);
        assert_string_equal(all, in);
        if (n > 0) {
            assert_int_equal(file_read_at(dir, "f", 0, n - 1, &none, &len), -EFBIG);
            assert_null(none);
        }
    }
    assert_int_equal(unlink("f"), 0);
}

static void test_file_read(void **state)
{
    (void)state;
    char *data = NULL;
    size_t len;

    assert_int_equal(file_read_at(AT_FDCWD, "none", 0, 10, &data, NULL), -ENOENT);
    assert_int_equal(file_read_at(AT_FDCWD, ".", 0, 10, &data, NULL), -EISDIR);
    assert_int_equal(symlink("/etc/passwd", "l"), 0);
    assert_int_equal(file_read_at(AT_FDCWD, "l", O_NOFOLLOW, 10, &data, NULL), -ELOOP);
    assert_int_equal(unlink("l"), 0);
    assert_null(data);
    /* A FIFO nobody writes to does not block. */
    assert_int_equal(mkfifo("p", 0600), 0);
    assert_int_equal(file_read_at(AT_FDCWD, "p", 0, 10, &data, &len), 0);
    assert_int_equal(len, 0);
    free(data);
    assert_int_equal(unlink("p"), 0);
    /* procfs reports size 0. */
    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/stat", 0, 4096, &data, &len), 0);
    assert_true(len > 0);
    free(data);
}

static void test_fd_io(void **state)
{
    (void)state;
    int p[2];
    char text[8] = "";
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(fd_write_all(p[1], "abcdef", 6), 0);
    assert_int_equal(fd_read_full(p[0], text, 4), 4);
    assert_string_equal(text, "abcd");
    p[1] = fd_close(p[1]);
    assert_int_equal(p[1], -EBADF);
    assert_int_equal(fd_read_full(p[0], text, 4), 2);
    assert_int_equal(fd_read_full(p[0], text, 4), 0);
    errno = ENOTTY;
    fd_closep(&p[0]);
    assert_int_equal(p[0], -EBADF);
    assert_int_equal(fd_close(-EBADF), -EBADF);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(fd_read_full(-EBADF, text, 1), -EBADF);
    assert_int_equal(fd_write_all(-EBADF, text, 1), -EBADF);

    _cleanup_close_ int dir = here();
    assert_int_equal(file_write_at(dir, "f", "x"), -ENOENT);
    assert_int_equal(file_replace_at(dir, "f", "abc", 3), 0);
    assert_int_equal(file_write_at(dir, "f", "x"), 0);
    expect_content("f", "xbc");
    assert_int_equal(unlink("f"), 0);
}

static void test_dir_make_parents(void **state)
{
    (void)state;
    struct stat st;
    char cwd[4096];
    mode_t old = umask(0);

    assert_int_equal(dir_make_parents("a/b//c/", 0700), 0);
    assert_int_equal(stat("a/b/c", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    assert_int_equal(dir_make_parents("a/b/c", 0755), 0);
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    assert_int_equal(dir_make_parents("/", 0700), 0);
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    _cleanup_free_ char *absolute = path_join(cwd, "a/x");
    assert_int_equal(dir_make_parents(absolute, 0700), 0);

    _cleanup_close_ int dir = here();
    assert_int_equal(file_replace_at(dir, "f", "", 0), 0);
    assert_int_equal(dir_make_parents("f", 0700), -ENOTDIR);
    assert_int_equal(dir_make_parents("f/g", 0700), -ENOTDIR);
    assert_int_equal(unlink("f"), 0);
    assert_int_equal(rmdir("a/x"), 0);
    assert_int_equal(rmdir("a/b/c"), 0);
    assert_int_equal(rmdir("a/b"), 0);
    assert_int_equal(rmdir("a"), 0);
    umask(old);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, setup_dir, teardown_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_render),
        cmocka_unit_test(test_error_set),
        cmocka_unit_test(test_error_code_names),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_strbuf),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_strv),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_signed_and_octal),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_millicores),
        cmocka_unit_test(test_mul_div),
        cmocka_unit_test(test_path_normalize),
        cmocka_unit_test(test_path_join_and_below),
        IN_DIR(test_file_replace),
        IN_DIR(test_file_replace_refuses_symlink_at_temp),
        IN_DIR(test_file_replace_leaves_no_temp_after_failure),
        IN_DIR(test_fd_read_all_bounds),
        IN_DIR(test_file_read),
        IN_DIR(test_fd_io),
        IN_DIR(test_dir_make_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
