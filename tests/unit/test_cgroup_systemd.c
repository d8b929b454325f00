/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/sd-bus.h"
#include "cgroup/systemd-properties.h"

static void test_unit_names(void **state)
{
    static const char id[] = "web";
    static const struct {
        const char *cgroups_path;
        bool user;
        const char *name, *slice, *path;
    } rows[] = {
        {NULL, false, "nucleus-web.scope", "system.slice", "/system.slice/nucleus-web.scope"},
        {"", true, "nucleus-web.scope", "user.slice", "/user.slice/nucleus-web.scope"},
        {"::x", false, "x.scope", "system.slice", "/system.slice/x.scope"},
        {":libpod:4f", true, "libpod-4f.scope", "user.slice", "/user.slice/libpod-4f.scope"},
        {"-:cri:4f", false, "cri-4f.scope", "-.slice", "/cri-4f.scope"},
        {"-.slice:cri:4f", false, "cri-4f.scope", "-.slice", "/cri-4f.scope"},
        {"a.slice:p:n", false, "p-n.scope", "a.slice", "/a.slice/p-n.scope"},
        {"kube-pod-1.slice:p:n", false, "p-n.scope", "kube-pod-1.slice",
         "/kube.slice/kube-pod.slice/kube-pod-1.slice/p-n.scope"},
        {"a\\x2db_.1.slice:p:n", false, "p-n.scope", "a\\x2db_.1.slice",
         "/a\\x2db_.1.slice/p-n.scope"},
        {"a.slice:p:x.scope", false, "p-x.scope.scope", "a.slice", "/a.slice/p-x.scope.scope"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_systemd_unit u = {0};
        struct error e = {0};
        if (cgroup_systemd_unit_parse(rows[i].cgroups_path, id, rows[i].user, &u, &e) < 0)
            fail_msg("row %zu: %s", i, e.why);
        assert_string_equal(u.name, rows[i].name);
        assert_string_equal(u.slice, rows[i].slice);
        assert_string_equal(u.path, rows[i].path);
        assert_int_equal(u.user, rows[i].user);
        cgroup_systemd_unit_done(&u);
    }
}

static void test_unit_name_of_an_id_is_escaped(void **state)
{
    struct cgroup_systemd_unit u = {0};

    (void)state;
    assert_int_equal(cgroup_systemd_unit_parse(NULL, "a+b.c-d_E", false, &u, NULL), 0);
    assert_string_equal(u.name, "nucleus-a\\x2bb.c-d_E.scope");
    cgroup_systemd_unit_done(&u);
}

static void test_unit_names_that_are_refused(void **state)
{
    static const struct {
        const char *cgroups_path, *says;
    } rows[] = {
        {"/machine/web", "not of the form slice:prefix:name"},
        {"web", "not of the form slice:prefix:name"},
        {"a.slice:p", "not of the form slice:prefix:name"},
        {"a.slice:p:n:m", "more than three parts"},
        {"a.slice:p:", "its name, the third part, is empty"},
        {"::", "its name, the third part, is empty"},
        {"a:p:n", "not the name of a slice"},
        {"a.scope:p:n", "not the name of a slice"},
        {"a b.slice:p:n", "not the name of a slice"},
        {"a.slice/b.slice:p:n", "its slice is a path"},
        {"/a.slice:p:n", "its slice is a path"},
        {".slice:p:n", "a part of its slice's name is empty"},
        {"-a.slice:p:n", "a part of its slice's name is empty"},
        {"a-.slice:p:n", "a part of its slice's name is empty"},
        {"a--b.slice:p:n", "a part of its slice's name is empty"},
        {"--.slice:p:n", "a part of its slice's name is empty"},
        {"a.slice:p:b.slice", "that of a slice, which holds no processes"},
        {"a.slice:p:n/m", "a character that no unit's name can have"},
        {"a.slice:p/..:n", "a character that no unit's name can have"},
        {"a.slice:p:n\n", "a character that no unit's name can have"},
        {"a.slice:p:\xc3\xa9", "a character that no unit's name can have"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cgroup_systemd_unit u = {0};
        struct error e = {0};
        if (cgroup_systemd_unit_parse(rows[i].cgroups_path, "id", false, &u, &e) != -EINVAL)
            fail_msg("'%s' was taken", rows[i].cgroups_path);
        assert_int_equal(e.code, ERROR_CONFIG);
        assert_error_says(&e, rows[i].says);
        assert_non_null(e.remedy);
        assert_null(u.name);
        error_done(&e);
    }
}

static void test_unit_names_have_a_length(void **state)
{
    struct cgroup_systemd_unit u = {0};
    char path[300] = "a.slice:p:";
    size_t prefix = strlen(path), room = 255 - strlen("p-.scope");

    (void)state;
    memset(path + prefix, 'n', room);
    assert_int_equal(cgroup_systemd_unit_parse(path, "id", false, &u, NULL), 0);
    assert_int_equal(strlen(u.name), 255);
    cgroup_systemd_unit_done(&u);
    path[prefix + room] = 'n';
    assert_int_equal(cgroup_systemd_unit_parse(path, "id", false, &u, NULL), -EINVAL);
}

/* --- values -------------------------------------------------------------------------------- */

/* A value as text, with the type of everything, for comparisons. */
static void show(const struct gvariant *v, struct strbuf *b)
{
    if (v->type[0] == 'a' || v->type[0] == '(' || v->type[0] == 'v') {
        strbuf_addf(b, "%s{", v->type);
        for (size_t i = 0; i < v->n_items; i++) {
            strbuf_add(b, i ? " " : "");
            show(&v->items[i], b);
        }
        strbuf_addc(b, '}');
    } else if (strchr("sog", v->type[0])) {
        strbuf_addf(b, "%s'%s'", v->type, v->string);
    } else if (strchr("nix", v->type[0])) {
        strbuf_addf(b, "%s%lld", v->type, (long long)v->integer);
    } else if (v->type[0] == 'd') {
        strbuf_addf(b, "%s%g", v->type, v->real);
    } else if (v->type[0] == 'b') {
        strbuf_addf(b, "%s%d", v->type, v->boolean);
    } else {
        strbuf_addf(b, "%s%llu", v->type, (unsigned long long)v->number);
    }
}

static char *shown(const struct gvariant *v)
{
    struct strbuf b = {0};

    show(v, &b);
    return strbuf_take(&b);
}

static void test_values(void **state)
{
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"true", "b1"},
        {" false ", "b0"},
        {"boolean true", "b1"},
        {"5", "i5"},
        {"-2147483648", "i-2147483648"},
        {"+7", "i7"},
        {"-0", "i0"},
        {"0x1F", "i31"},
        {"010", "i8"},
        {"uint64 123456789", "t123456789"},
        {"uint64 18446744073709551615", "t18446744073709551615"},
        {"@t 5", "t5"},
        {"@t uint64 5", "t5"},
        {"int64 -9223372036854775808", "x-9223372036854775808"},
        {"byte 0xff", "y255"},
        {"int16 -32768", "n-32768"},
        {"uint16 65535", "q65535"},
        {"uint32 4294967295", "u4294967295"},
        {"1.5", "d1.5"},
        {"-1e3", "d-1000"},
        {"double 2", "d2"},
        {"'inactive-or-failed'", "s'inactive-or-failed'"},
        {"\"it's\"", "s'it's'"},
        {"''", "s''"},
        {"'a\\'b\\\\c\\n\\t\\q'", "s'a'b\\c\n\tq'"},
        {"'a\\\nb'", "s'ab'"},
        {"'\\u00e9\\U0001f600'", "s'\xc3\xa9\xf0\x9f\x98\x80'"},
        {"objectpath '/a/b'", "o'/a/b'"},
        {"signature 'as'", "g'as'"},
        {"['a', 'b']", "as{s'a' s'b'}"},
        {"@as []", "as{}"},
        {"@at [1,2]", "at{t1 t2}"},
        {"[uint64 1, 2]", "at{t1 t2}"},
        {"[byte 0x1, 2]", "ay{y1 y2}"},
        {"[['a'],[]]", "aas{as{s'a'} as{}}"},
        {"[('/dev/sda', uint64 100)]", "a(st){(st){s'/dev/sda' t100}}"},
        {"@a(st) [('/dev/sda', 100), ('b', 2)]", "a(st){(st){s'/dev/sda' t100} (st){s'b' t2}}"},
        {"(1,)", "(i){i1}"},
        {"(1, 'a', true)", "(isb){i1 s'a' b1}"},
        {"<uint64 5>", "v{t5}"},
        {"('CPUWeight', <@t 100>)", "(sv){s'CPUWeight' v{t100}}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_gvariant_ struct gvariant v = {0};
        _cleanup_free_ char *why = NULL, *text = NULL;
        if (gvariant_parse(rows[i].text, &v, &why) < 0)
            fail_msg("'%s': %s", rows[i].text, why);
        text = shown(&v);
        assert_string_equal(text, rows[i].value);
    }
}

static void test_values_that_are_none(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "no value"},
        {"infinity", "text stands in quotes"},
        {"True", "text stands in quotes"},
        {"nothing", "text stands in quotes"},
        {"5 6", "something behind the value"},
        {"5s", "not a number"},
        {"0x", "not a number"},
        {"0xg", "not a number"},
        {"08", "not a number"},
        {"-", "not a number"},
        {"1.2.3", "not a finite number"},
        {"1e999", "not a finite number"},
        {"2147483648", "out of its type's range"},
        {"-2147483649", "out of its type's range"},
        {"byte 256", "out of its type's range"},
        {"uint32 -1", "out of its type's range"},
        {"uint64 18446744073709551616", "out of its type's range"},
        {"int64 9223372036854775808", "out of its type's range"},
        {"'a", "does not end"},
        {"'a\\", "does not end"},
        {"'\\u12'", "hexadecimal digit"},
        {"'\\u\020\02041'", "hexadecimal digit"}, /* control characters: digits but for a bit */
        {"'\\u0000'", "no string can hold"},
        {"'\\U00110000'", "no string can hold"},
        {"'\\ud800'", "not UTF-8"},
        {"'\xff'", "not UTF-8"},
        {"[", "at the end"},
        {"[1", "\",\" or \"]\""},
        {"[1 2]", "\",\" or \"]\""},
        {"[]", "an empty array needs its type"},
        {"[1, 'a']", "\"s\" instead of \"i\""},
        {"@as ['a', 1]", "no value of this type"},
        {"@t 'a'", "\"s\" instead of \"t\""},
        {"@t true", "\"b\" instead of \"t\""},
        {"uint64 int32 5", "\"i\" instead of \"t\""},
        {"@t [1]", "instead of \"t\""},
        {"@(st) ('a', 1, 2)", "too many members"},
        {"@(st) ('a')", "instead of \"(st)\""},
        {"()", "an empty tuple"},
        {"@() ()", "a type that no property has"},
        {"@a{sv} {}", "a type that no property has"},
        {"@ 5", "a type that no property has"},
        {"{'a': 1}", "no property is a dictionary"},
        {"<5", "\">\" is expected"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "nested too deep"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct gvariant v = {0};
        _cleanup_free_ char *why = NULL;
        if (gvariant_parse(rows[i].text, &v, &why) != -EINVAL)
            fail_msg("'%s' was taken", rows[i].text);
        assert_null(v.type);
        if (!strstr(why, rows[i].why))
            fail_msg("'%s': %s", rows[i].text, why);
    }
}

static void test_sets(void **state)
{
    static const struct {
        const char *list, *value; /* NULL: refused */
    } rows[] = {
        {"0", "ay{y1}"}, {"0-3,7", "ay{y143}"}, {"8", "ay{y0 y1}"}, {"1,15-16", "ay{y2 y128 y1}"},
        {"", "ay{}"},    {"3-1", NULL},         {"0,", NULL},       {",0", NULL},
        {"0--3", NULL},  {"a", NULL},           {"0 1", NULL},      {"8192", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_gvariant_ struct gvariant v = {0};
        int r = systemd_parse_set(rows[i].list, &v);
        if ((r == 0) != !!rows[i].value)
            fail_msg("'%s': %d", rows[i].list, r);
        _cleanup_free_ char *text = r == 0 ? shown(&v) : NULL;
        if (text)
            assert_string_equal(text, rows[i].value);
    }
}

/* --- properties ---------------------------------------------------------------------------- */

static char *shown_properties(const struct cgroup_systemd_properties *p)
{
    struct strbuf b = {0};

    for (size_t i = 0; i < p->n; i++) {
        strbuf_addf(&b, "%s%s=", i ? " " : "", p->list[i].name);
        show(&p->list[i].value, &b);
        if (p->list[i].since)
            strbuf_addf(&b, "@%u", p->list[i].since);
    }
    return strbuf_take(&b);
}

#define MAX_U64 "18446744073709551615"

static void test_limits(void **state)
{
    static const struct {
        const char *file, *value, *properties; /* NULL: refused */
    } rows[] = {
        {"memory.max", "52428800", "MemoryMax=t52428800"},
        {"memory.max", "max", "MemoryMax=t" MAX_U64},
        {"memory.high", "1", "MemoryHigh=t1"},
        {"memory.low", "0", "MemoryLow=t0"},
        {"memory.min", "7", "MemoryMin=t7"},
        {"memory.swap.max", "0", "MemorySwapMax=t0"},
        {"memory.oom.group", "1", "OOMPolicy=s'kill'@253"},
        {"memory.oom.group", "0", "OOMPolicy=s'continue'@253"},
        {"pids.max", "100", "TasksMax=t100"},
        {"cpu.max", "50000 100000", "CPUQuotaPeriodUSec=t100000 CPUQuotaPerSecUSec=t500000"},
        {"cpu.max", "20000", "CPUQuotaPeriodUSec=t100000 CPUQuotaPerSecUSec=t200000"},
        {"cpu.max", "max 50000", "CPUQuotaPeriodUSec=t50000 CPUQuotaPerSecUSec=t" MAX_U64},
        {"cpu.max", "max", "CPUQuotaPeriodUSec=t100000 CPUQuotaPerSecUSec=t" MAX_U64},
        {"cpu.max", "1001 100000", "CPUQuotaPeriodUSec=t100000 CPUQuotaPerSecUSec=t20000"},
        {"cpu.weight", "39", "CPUWeight=t39"},
        {"cpu.idle", "1", "CPUWeight=t0@252"},
        {"cpu.idle", "0", ""},
        {"cpuset.cpus", "0-1", "AllowedCPUs=ay{y3}"},
        {"cpuset.mems", "0", "AllowedMemoryNodes=ay{y1}"},
        {"io.weight", "default 100", "IOWeight=t100"},
        {"io.weight", "50", "IOWeight=t50"},
        {"io.weight", "8:0 50", ""},
        {"io.max", "8:0 rbps=1", ""},
        {"hugetlb.2MB.max", "0", ""},
        {"memory.max", "50M", NULL},
        {"pids.max", "", NULL},
        {"cpu.max", "1 0", NULL},
        {"cpu.max", "a 1", NULL},
        {"cpu.idle", "2", NULL},
        {"cpuset.cpus", "x", NULL},
        {"memory.oom.group", "2", NULL},
        {"io.weight", "default x", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_writes_ struct cgroup_writes w = {0};
        _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
        struct error e = {0};
        cgroup_writes_add(&w, rows[i].file, mem_strdup(rows[i].value));
        int r = cgroup_systemd_add_limits(&p, &w, NULL, &e);
        if ((r == 0) != !!rows[i].properties)
            fail_msg("%s '%s': %d", rows[i].file, rows[i].value, r);
        if (r == 0) {
            _cleanup_free_ char *text = shown_properties(&p);
            assert_string_equal(text, rows[i].properties);
        } else {
            assert_int_equal(e.code, ERROR_CONFIG);
            assert_error_says(&e, rows[i].file);
        }
        error_done(&e);
    }
}

static void test_limits_together(void **state)
{
    _cleanup_writes_ struct cgroup_writes w = {0};
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};

    (void)state;
    /* Idle wins over a weight, whatever comes first, and the last of two counts. */
    cgroup_writes_add(&w, "cpu.idle", mem_strdup("1"));
    cgroup_writes_add(&w, "cpu.weight", mem_strdup("50"));
    cgroup_writes_add(&w, "memory.max", mem_strdup("1"));
    cgroup_writes_add(&w, "memory.max", mem_strdup("2"));
    struct cgroup_write *weight = cgroup_writes_add(&w, "io.bfq.weight", mem_strdup("1000"));
    weight->other_file = mem_strdup("io.weight");
    weight->other_value = mem_strdup("default 10000");
    assert_int_equal(cgroup_systemd_add_limits(&p, &w, NULL, NULL), 0);
    _cleanup_free_ char *text = shown_properties(&p);
    assert_string_equal(text, "MemoryMax=t2 CPUWeight=t0@252 IOWeight=t10000");
}

static void test_a_quota_alone_goes_with_the_period_that_is_there(void **state)
{
    struct temp_dir *d = *state;
    _cleanup_writes_ struct cgroup_writes w = {0};
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};

    temp_text(d, "cpu.max", "max 50000\n");
    cgroup_writes_add(&w, "cpu.max", mem_strdup("25000"));
    assert_int_equal(cgroup_systemd_add_limits(&p, &w, d->path, NULL), 0);
    _cleanup_free_ char *text = shown_properties(&p);
    assert_string_equal(text, "CPUQuotaPeriodUSec=t50000 CPUQuotaPerSecUSec=t500000");
}

#define KEY "org.systemd.property."

static void test_annotations(void **state)
{
    static const struct {
        const char *key, *value, *properties;
    } rows[] = {
        {KEY "TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec=t123456789"},
        {KEY "CollectMode", "'inactive-or-failed'", "CollectMode=s'inactive-or-failed'"},
        {KEY "Delegate", "true", "Delegate=b1"},
        {KEY "After", "['a.service', 'b.service']", "After=as{s'a.service' s'b.service'}"},
        {KEY "RuntimeMaxSec", "2", "RuntimeMaxUSec=t2000000"},
        {KEY "TimeoutStopSec", "1.5", "TimeoutStopUSec=t1500000"},
        {KEY "TimeoutStopSec", "uint32 3", "TimeoutStopUSec=t3000000"},
        {KEY "CPUQuotaPerSecUSec", "uint64 5", "CPUQuotaPerSecUSec=t5"},
        {"org.example.other", "not GVariant", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_annotation a = {(char *)rows[i].key, (char *)rows[i].value};
        _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
        struct error e = {0};
        if (cgroup_systemd_add_annotations(&p, &a, 1, &e) < 0)
            fail_msg("%s: %s", rows[i].key, e.why);
        _cleanup_free_ char *text = shown_properties(&p);
        assert_string_equal(text, rows[i].properties);
    }
}

static void test_annotations_have_the_last_word(void **state)
{
    struct oci_annotation a = {(char *)KEY "MemorySwapMax", (char *)"uint64 0"};
    _cleanup_writes_ struct cgroup_writes w = {0};
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};

    (void)state;
    cgroup_writes_add(&w, "memory.swap.max", mem_strdup("max"));
    assert_int_equal(cgroup_systemd_add_limits(&p, &w, NULL, NULL), 0);
    assert_int_equal(cgroup_systemd_add_annotations(&p, &a, 1, NULL), 0);
    _cleanup_free_ char *text = shown_properties(&p);
    assert_string_equal(text, "MemorySwapMax=t0");
}

static void test_annotations_that_are_refused(void **state)
{
    static const struct {
        const char *key, *value, *says;
    } rows[] = {
        {KEY, "true", "not the name of a property"},
        {KEY "ab", "true", "not the name of a property"},
        {KEY "Memory_Max", "true", "not the name of a property"},
        {KEY "PIDs", "[uint32 1]", "nucleus sets that property itself"},
        {KEY "Slice", "'a.slice'", "nucleus sets that property itself"},
        {KEY "MemoryMax", "infinity", "text stands in quotes at \"infinity\""},
        {KEY "MemoryMax", "", "no value; text stands in quotes at the end"},
        {KEY "TimeoutStopSec", "'5s'", "not a number of seconds"},
        {KEY "TimeoutStopSec", "-1", "not a number of seconds"},
        {KEY "TimeoutStopSec", "-1.5", "not a number of seconds"},
        {KEY "TimeoutStopSec", "uint64 18446744073709551615", "not a number of seconds"},
        {KEY "TimeoutStopSec", "[1]", "not a number of seconds"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_annotation a = {(char *)rows[i].key, (char *)rows[i].value};
        _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
        struct error e = {0};
        if (cgroup_systemd_add_annotations(&p, &a, 1, &e) != -EINVAL)
            fail_msg("%s '%s' was taken", rows[i].key, rows[i].value);
        assert_int_equal(e.code, ERROR_CONFIG);
        assert_error_says(&e, rows[i].says);
        assert_string_equal(e.subject, rows[i].key);
        error_done(&e);
    }
}

static void test_without_the_library_there_is_a_remedy(void **state)
{
    struct error e = {0};

    (void)state;
    assert_int_equal(sdbus_load_from("libnucleus-has-no-such.so.0", &e), -ENOENT);
    assert_int_equal(e.code, ERROR_CGROUP);
    assert_error_says(&e, "libnucleus-has-no-such.so.0");
    assert_error_says(&e, "install libsystemd0");
    error_done(&e);
    /* One that lacks the functions. */
    assert_int_equal(sdbus_load_from("libc.so.6", &e), -ENOENT);
    assert_error_says(&e, "sd_bus_");
    error_done(&e);
    assert_null(sdbus.call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_names),
        cmocka_unit_test(test_unit_name_of_an_id_is_escaped),
        cmocka_unit_test(test_unit_names_that_are_refused),
        cmocka_unit_test(test_unit_names_have_a_length),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_that_are_none),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_together),
        temp_test(test_a_quota_alone_goes_with_the_period_that_is_there),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_annotations_have_the_last_word),
        cmocka_unit_test(test_annotations_that_are_refused),
        cmocka_unit_test(test_without_the_library_there_is_a_remedy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
