/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/json-scan.h"
#include "oci/json.h"

#define parse(doc, text, len, e)                                                                   \
    json_doc_parse((doc), (text), (len), "f", ERROR_STATE, "parse", (e))

/* Refused texts: where ("f:LINE:COLUMN") and a part of the reason. */
static void check_refused(const char *text, size_t len, const char *where, const char *why)
{
    struct json_doc doc;
    struct error e = {0};
    /* An exact copy, so that the sanitizer sees any read behind it. */
    _cleanup_free_ char *copy = mem_dup(text, len);

    int r = parse(&doc, copy, len, &e);
    if (r == 0 || !e.subject || !streq(e.subject, where) || !strstr(e.why, why))
        fail_msg("'%s' gave %d, %s: %s; expected %s: %s", text, r, e.subject, e.why, where, why);
    assert_int_equal(r, -EINVAL);
    assert_int_equal(e.code, ERROR_STATE);
    assert_null(doc.root);
    json_doc_done(&doc);
    error_done(&e);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where, *why;
    } cases[] = {
        /* style.md section 3, where json-c is lenient even in strict mode */
        {"{\"a\":1,\"a\":2}", "f:1:8", "\"a\" is there twice"},
        {"{\"a\":99999999999999999999999}", "f:1:6", "64 bits"},
        {"{\"a\":010}", "f:1:6", "leading zeros"},
        {"{\"a\":[1,]}", "f:1:9", "expected a value, found ']'"},
        {"{\"a\":1,}", "f:1:8", "key in double quotes, found '}'"},
        {"{/* c */}", "f:1:2", "found '/'"},
        {"{\"a\":1} // c", "f:1:9", "expected the end of the text, found '/'"},
        {"{\"a\":True}", "f:1:6", "expected a value, found 'T'"},
        {"{} {}", "f:1:4", "expected the end"},
        {"{'a':1}", "f:1:2", "found '''"},
        {"{\"a\":NaN}", "f:1:6", "found 'N'"},
        {"{\"a\":Infinity}", "f:1:6", "found 'I'"},
        {"{\"a\":-Infinity}", "f:1:7", "expected a digit"},
        {"{\"a\":\"x\ny\"}", "f:1:8", "control character 0x0a"},
        {"{\"a\\u0000b\":1}", "f:1:4", "NUL"},
        {"{\"a\":\"\\u0000\"}", "f:1:7", "NUL"},
        {"{\"a\":\"\\ud800\"}", "f:1:7", "surrogate"},
        {"{\"a\":\"\\ud800\\u0041\"}", "f:1:7", "surrogate"},
        {"{\"a\":\"\\udc00\"}", "f:1:7", "surrogate"},
        {"{\"a\":\"\xff\"}", "f:1:6", "UTF-8"},
        {"{\"a\":\"\xc0\x80\"}", "f:1:6", "UTF-8"},
        {"{\"a\":\"\xed\xa0\x80\"}", "f:1:6", "UTF-8"},
        {"{\"\xc3\":1}", "f:1:2", "UTF-8"},
        /* the rest */
        {"", "f:1:1", "expected an object, but the text ends here"},
        {"  \n ", "f:2:2", "but the text ends here"},
        {"[]", "f:1:1", "expected an object, found '['"},
        {"null", "f:1:1", "expected an object"},
        {"\xef\xbb\xbf{}", "f:1:1", "byte order mark"},
        {"{", "f:1:2", "ends here"},
        {"{\"a\"", "f:1:5", "':'"},
        {"{\"a\":", "f:1:6", "expected a value"},
        {"{\"a\":1", "f:1:7", "',' or '}'"},
        {"{\"a\":[1", "f:1:8", "',' or ']'"},
        {"{\"a\":[1}", "f:1:8", "',' or ']', found '}'"},
        {"{\"a\":\"x", "f:1:6", "does not end"},
        {"{\"a\":\"\\", "f:1:8", "behind the backslash"},
        {"{\"a\":\"\\x\"}", "f:1:8", "behind the backslash, found 'x'"},
        {"{\"a\":\"\\u12g4\"}", "f:1:11", "hexadecimal"},
        {"{\"a\":tru}", "f:1:6", "expected a value"},
        {"{\"a\":nullx}", "f:1:10", "',' or '}'"},
        {"{\"a\":-}", "f:1:7", "digit"},
        {"{\"a\":1.}", "f:1:8", "digit"},
        {"{\"a\":.5}", "f:1:6", "value"},
        {"{\"a\":+1}", "f:1:6", "value"},
        {"{\"a\":1e}", "f:1:8", "digit"},
        {"{\"a\":0x10}", "f:1:7", "',' or '}'"},
        {"{\"a\":18446744073709551616}", "f:1:6", "64 bits"},
        {"{\"a\":-9223372036854775809}", "f:1:6", "64 bits"},
        {"{\"a\":1\v}", "f:1:7", "byte 0x0b"},
        {"{\"b\":{\"a\":1,\"c\":2,\n\"\\u0061\":3}}", "f:2:1", "\"a\" is there twice"},
        {"{\"\":1,\"\":2}", "f:1:7", "\"\" is there twice"},
        {"{\"\\ud83d\\ude00\":1,\n  \"\xf0\x9f\x98\x80\":2}", "f:2:3", "twice"},
        {"{\"x\":3,\"b\":1,\"b\":1,\"a\":1,\"a\":1}", "f:1:14", "\"b\" is there twice"},
        {"{\"\xc3\xa4\":\n\"\xc3\xa4\xc3\xb6\" 1}", "f:2:6", "',' or '}'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_refused(cases[i].text, strlen(cases[i].text), cases[i].where, cases[i].why);

    check_refused("{\"a\":\0 1}", 9, "f:1:6", "byte 0x00");
    check_refused("{\"a\":\"\0\"}", 9, "f:1:7", "control character 0x00");
    check_refused("{}\0", 3, "f:1:3", "byte 0x00");
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{}",
        " \t\r\n{ } \n",
        "{\"a\":{},\"b\":[],\"c\":[[],{}]}",
        "{\"a\":[0,-0,1.5,-1.5e-3,1E+2,0e1,true,false,null,\"\"]}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"}",
        "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}",
        "{\"a\":\"\x7f\xc3\xa4\xf0\x9f\x98\x80\"}",
        "{\"\":0,\"a\":0,\"A\":0,\"aa\":0}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;
        struct error e = {0};
        size_t len = strlen(cases[i]);
        _cleanup_free_ char *copy = mem_dup(cases[i], len);
        if (parse(&doc, copy, len, &e) < 0)
            fail_msg("'%s': %s: %s", cases[i], e.subject, e.why);
        json_doc_done(&doc);
    }
}

/* {"a":[[[…]]]}, `depth` levels in all. */
static char *nested(size_t depth)
{
    struct strbuf b = {0};
    strbuf_add(&b, "{\"a\":");
    for (size_t i = 1; i < depth; i++)
        strbuf_addc(&b, '[');
    if (depth == 1)
        strbuf_addc(&b, '1');
    for (size_t i = 1; i < depth; i++)
        strbuf_addc(&b, ']');
    strbuf_addc(&b, '}');
    return strbuf_take(&b);
}

static void test_depth(void **state)
{
    (void)state;
    struct json_doc doc;
    _cleanup_free_ char *most = nested(JSON_DEPTH_MAX), *over = nested(JSON_DEPTH_MAX + 1),
                        *far = nested(100000);

    assert_int_equal(parse(&doc, most, strlen(most), NULL), 0);
    json_doc_done(&doc);
    check_refused(over, strlen(over), "f:1:69", "deeper than 64 levels");
    check_refused(far, strlen(far), "f:1:69", "deeper than 64 levels");
}

static char *repeated(size_t n, const char *element)
{
    struct strbuf b = {0};
    strbuf_add(&b, "{\"a\":[");
    for (size_t i = 0; i < n; i++) {
        strbuf_add(&b, i ? "," : "");
        strbuf_add(&b, element);
    }
    strbuf_add(&b, "]}");
    return strbuf_take(&b);
}

static void test_count_bounds(void **state)
{
    (void)state;
    struct json_doc doc;
    struct error e = {0};
    size_t n;

    _cleanup_free_ char *values = repeated(JSON_VALUES_MAX - 2, "0");
    assert_int_equal(parse(&doc, values, strlen(values), NULL), 0);
    struct json_at root = json_root(&doc), a = json_member(&root, "a");
    assert_int_equal(json_is_array(&a, &n, &e), -EINVAL);
    assert_non_null(strstr(e.why, "a: has 262142 elements, more than 65536"));
    json_doc_done(&doc);
    error_done(&e);

    _cleanup_free_ char *more = repeated(JSON_VALUES_MAX - 1, "0");
    assert_int_equal(parse(&doc, more, strlen(more), &e), -EINVAL);
    assert_non_null(strstr(e.why, "more than 262144 values"));
    error_done(&e);

    _cleanup_free_ char *most = repeated(JSON_ARRAY_MAX, "\"\"");
    assert_int_equal(parse(&doc, most, strlen(most), NULL), 0);
    root = json_root(&doc);
    a = json_member(&root, "a");
    _cleanup_strv_ char **v = NULL;
    assert_int_equal(json_get_strv(&a, &v, &e), 1);
    assert_int_equal(strv_len(v), JSON_ARRAY_MAX);
    json_doc_done(&doc);
}

/* As many keys as are allowed, with a long common beginning: quadratic work would take minutes. */
static void test_many_keys_take_no_quadratic_time(void **state)
{
    (void)state;
    struct strbuf b = {0};
    for (unsigned i = 0; i < JSON_VALUES_MAX - 1; i++)
        strbuf_addf(&b, "%c\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%u\":0", i ? ',' : '{',
                    i == 200000 ? 7 : i);
    strbuf_addc(&b, '}');

    struct json_doc doc;
    struct error e = {0};
    assert_int_equal(parse(&doc, b.s, b.len, &e), -EINVAL);
    assert_non_null(strstr(e.why, "aaaa7\" is there twice"));
    error_done(&e);
    strbuf_done(&b);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool u64, i64;
        uint64_t u;
        int64_t i;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"-0", true, true, 0, 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0}, /* RLIM_INFINITY */
        {"9007199254740993", true, true, 9007199254740993, 9007199254740993},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-1", false, true, 0, -1},
        {"1e3", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"\"123\"", false, false, 0, 0},
        {"true", false, false, 0, 0},
        {"[1]", false, false, 0, 0},
        {"{}", false, false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;
        struct error e = {0};
        uint64_t u = 77;
        int64_t s = 77;
        _cleanup_free_ char *text = str_printf("{\"n\":%s}", cases[i].value);
        assert_int_equal(parse(&doc, text, strlen(text), NULL), 0);
        struct json_at root = json_root(&doc), n = json_member(&root, "n");

        assert_int_equal(json_get_u64(&n, UINT64_MAX, &u, &e), cases[i].u64 ? 1 : -EINVAL);
        assert_int_equal(u, cases[i].u64 ? cases[i].u : 77);
        assert_int_equal(json_get_i64(&n, INT64_MIN, INT64_MAX, &s, &e),
                         cases[i].i64 ? 1 : -EINVAL);
        assert_int_equal(s, cases[i].i64 ? cases[i].i : 77);
        error_done(&e);
        json_doc_done(&doc);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    static const char text[] = "{\"n\": 10, \"m\": -10}";
    struct json_doc doc;
    struct error e = {0};
    uint64_t u;
    int64_t i;
    assert_int_equal(parse(&doc, text, strlen(text), NULL), 0);
    struct json_at root = json_root(&doc), n = json_member(&root, "n"), m = json_member(&root, "m");

    assert_int_equal(json_get_u64(&n, 10, &u, &e), 1);
    assert_int_equal(json_get_u64(&n, 9, &u, &e), -EINVAL);
    assert_string_equal(e.why, "n: expected a whole number from 0 to 9, found 10");
    assert_string_equal(e.subject, "f:1:7");
    assert_int_equal(json_get_i64(&m, -10, 0, &i, &e), 1);
    assert_int_equal(json_get_i64(&m, -9, 0, &i, &e), -EINVAL);
    assert_string_equal(e.why, "m: expected a whole number from -9 to 0, found -10");
    assert_int_equal(json_get_i64(&n, -9, 9, &i, &e), -EINVAL);
    error_done(&e);
    json_doc_done(&doc);
}

static void test_types(void **state)
{
    (void)state;
    static const char text[] = "{\"s\":\"x\",\"b\":true,\"v\":[\"p\",\"q\"],\"bad\":[\"p\",\n 1],"
                               "\"hole\":[null],\"o\":{},\"nil\":null,\"esc\":\"\\u00e4\\n\"}";
    struct json_doc doc;
    struct error e = {0};
    bool b = false;
    size_t n = 9;
    _cleanup_free_ char *s = NULL, *esc = NULL;
    _cleanup_strv_ char **v = NULL;
    char **untouched = NULL;
    assert_int_equal(parse(&doc, text, strlen(text), NULL), 0);
    struct json_at root = json_root(&doc);
    struct json_at at = json_member(&root, "s");

    assert_int_equal(json_get_string(&at, &s, &e), 1);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_bool(&at, &b, &e), -EINVAL);
    assert_string_equal(e.why, "s: expected true or false, found \"x\"");
    assert_int_equal(json_is_object(&at, &e), -EINVAL);
    assert_int_equal(json_is_array(&at, &n, &e), -EINVAL);
    assert_int_equal(json_get_strv(&at, &untouched, &e), -EINVAL);

    at = json_member(&root, "b");
    assert_int_equal(json_get_bool(&at, &b, &e), 1);
    assert_true(b);
    assert_int_equal(json_get_string(&at, &s, &e), -EINVAL);
    assert_string_equal(e.why, "b: expected a string, found true");

    at = json_member(&root, "v");
    assert_int_equal(json_get_strv(&at, &v, &e), 1);
    assert_int_equal(strv_len(v), 2);
    assert_string_equal(v[1], "q");
    assert_int_equal(json_is_array(&at, &n, &e), 1);
    assert_int_equal(n, 2);

    at = json_member(&root, "bad");
    assert_int_equal(json_get_strv(&at, &untouched, &e), -EINVAL);
    assert_string_equal(e.why, "bad[1]: expected a string, found 1");
    assert_string_equal(e.subject, "f:2:2");
    at = json_member(&root, "hole");
    assert_int_equal(json_get_strv(&at, &untouched, &e), -EINVAL);
    assert_string_equal(e.why, "hole[0]: must not be null");
    assert_null(untouched);

    at = json_member(&root, "o");
    assert_int_equal(json_is_object(&at, &e), 1);
    assert_int_equal(json_get_string(&at, &s, &e), -EINVAL);
    assert_string_equal(e.why, "o: expected a string, found an object");

    at = json_member(&root, "esc");
    assert_int_equal(json_get_string(&at, &esc, &e), 1);
    assert_string_equal(esc, "\xc3\xa4\n");
    error_done(&e);
    json_doc_done(&doc);
}

static void test_absent_and_null(void **state)
{
    (void)state;
    static const char text[] = "{\"nil\":null,\n\"o\":{}}";
    struct json_doc doc;
    struct error e = {0};
    assert_int_equal(parse(&doc, text, strlen(text), NULL), 0);
    struct json_at root = json_root(&doc), o = json_member(&root, "o");
    struct json_at cases[] = {json_member(&root, "nil"), json_member(&root, "none"),
                              json_member(&o, "x"), json_element(&root, 3)};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool b = true;
        uint64_t u = 7;
        int64_t s = 7;
        size_t n = 7;
        char *str = NULL, **v = NULL;
        assert_int_equal(json_get_bool(&cases[i], &b, &e), 0);
        assert_int_equal(json_get_u64(&cases[i], 1, &u, &e), 0);
        assert_int_equal(json_get_i64(&cases[i], 0, 1, &s, &e), 0);
        assert_int_equal(json_get_string(&cases[i], &str, &e), 0);
        assert_int_equal(json_get_strv(&cases[i], &v, &e), 0);
        assert_int_equal(json_is_object(&cases[i], &e), 0);
        assert_int_equal(json_is_array(&cases[i], &n, &e), 0);
        assert_true(b && u == 7 && s == 7 && n == 7 && !str && !v);
        assert_int_equal(json_need(&cases[i], &e), -EINVAL);
    }
    assert_true(cases[0].present);
    assert_false(cases[1].present);

    /* Below something absent, and where an error about it points: the innermost that is there. */
    struct json_at deep = json_member(&cases[2], "y");
    assert_int_equal(json_need(&deep, &e), -EINVAL);
    assert_string_equal(e.subject, "f:2:5");
    assert_string_equal(e.why, "o.x.y: is required, but missing");
    assert_int_equal(json_need(&cases[0], &e), -EINVAL);
    assert_string_equal(e.subject, "f:1:8");
    assert_string_equal(e.why, "nil: must not be null");
    error_done(&e);
    json_doc_done(&doc);
}

static void test_error_place(void **state)
{
    (void)state;
    static const char text[] =
        " { \"skip\": [{\"\\\"}\": \"]\\\\\"}, -1.5e3, true , {}],\n"
        "   \"\\u0061\\n\" : [ 1 , [ 2, {\"d.e\": \"\xc3\xa4\", \"f\" :9}] ]\n}";
    struct json_doc doc;
    struct error e = {0};
    assert_int_equal(parse(&doc, text, strlen(text), NULL), 0);
    struct json_at root = json_root(&doc), a = json_member(&root, "a\n"), l = json_element(&a, 1),
                   o = json_element(&l, 1), d = json_member(&o, "d.e"), f = json_member(&o, "f"),
                   skip = json_member(&root, "skip"), last = json_element(&skip, 3);
    const struct {
        const struct json_at *at;
        const char *where, *why;
    } cases[] = {
        {&root, "f:1:2", "no"},
        {&a, "f:2:17", "[\"a\\u000a\"]: no"},
        {&l, "f:2:23", "[\"a\\u000a\"][1]: no"},
        {&d, "f:2:36", "[\"a\\u000a\"][1][1][\"d.e\"]: no"},
        {&f, "f:2:46", "[\"a\\u000a\"][1][1].f: no"},
        {&last, "f:1:44", "skip[3]: no"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(json_error(cases[i].at, &e, ERROR_CONFIG, "do", "n%c", 'o'), -EINVAL);
        assert_string_equal(e.subject, cases[i].where);
        assert_string_equal(e.why, cases[i].why);
        assert_string_equal(e.remedy, "do");
        assert_int_equal(e.code, ERROR_CONFIG);
    }
    assert_int_equal(json_error(&f, &e, ERROR_UNSUPPORTED, NULL, "no"), -ENOTSUP);
    assert_int_equal(e.errnum, ENOTSUP);
    assert_null(e.remedy);
    assert_int_equal(json_error(&f, NULL, ERROR_UNSUPPORTED, NULL, "no"), -ENOTSUP);
    error_done(&e);
    json_doc_done(&doc);
}

static void test_excerpt(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"plain \xc3\xa4", "plain \xc3\xa4"},
        {"\x1b[31m\x7f\n", "\\u001b[31m\\u007f\\u000a"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"},
        {"012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789"},
        {"01234567890123456789012345678901234567890123456789012345678\xc3\xa4",
         "01234567890123456789012345678901234567890123456789012345678..."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *s = json_excerpt(cases[i].in, strlen(cases[i].in));
        assert_string_equal(s, cases[i].out);
    }
}

static void test_unescape(void **state)
{
    (void)state;
    static const char in[] = "a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e4\\u20ac\\uD83D\\uDE00z";
    size_t len;
    _cleanup_free_ char *s = json_scan_unescape(in, strlen(in), &len);
    assert_string_equal(s, "a\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
    assert_int_equal(len, strlen(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_count_bounds),
        cmocka_unit_test(test_many_keys_take_no_quadratic_time),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_absent_and_null),
        cmocka_unit_test(test_error_place),
        cmocka_unit_test(test_excerpt),
        cmocka_unit_test(test_unescape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
