/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/spec.h"

/* Every case is the smallest valid config with a patch merged in: objects member by member, "-"
 * removes a member, anything else replaces. To be included after <cmocka.h>. */
static const char smallest[] =
    "{'ociVersion':'1.0.2','process':{'args':['sh'],'cwd':'/'},"
    "'root':{'path':'rootfs'},'linux':{'namespaces':[{'type':'mount'}]}}";

/* JSON with ' for ", which reads better in C. */
static struct json_object *from_text(const char *text)
{
    _cleanup_free_ char *copy = mem_strdup(text);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    struct json_object *o = json_tokener_parse(copy);
    if (!o)
        fail_msg("the test's own JSON is wrong: %s", text);
    return o;
}

static void merge(struct json_object *into, struct json_object *patch)
{
    json_object_object_foreach(patch, key, value)
    {
        struct json_object *old;
        if (json_object_is_type(value, json_type_string) &&
            streq(json_object_get_string(value), "-"))
            json_object_object_del(into, key);
        else if (json_object_is_type(value, json_type_object) &&
                 json_object_object_get_ex(into, key, &old) &&
                 json_object_is_type(old, json_type_object))
            merge(old, value);
        else
            json_object_object_add(into, key, json_object_get(value));
    }
}

static int parse_patched(const char *patch, struct oci_spec **ret, struct error *e)
{
    struct json_object *config = from_text(smallest), *p = from_text(patch);
    merge(config, p);
    _cleanup_free_ char *text = mem_strdup(json_object_to_json_string(config));
    json_object_put(config);
    json_object_put(p);
    return oci_spec_parse(text, strlen(text), "c.json", ret, e);
}

static _unused_ struct oci_spec *accept(const char *patch)
{
    struct oci_spec *spec = NULL;
    struct error e = {0};
    if (parse_patched(patch, &spec, &e) < 0)
        fail_msg("%s: %s: %s", patch, e.subject, e.why);
    return spec;
}

/* `why` is part of the message; with `begins`, its beginning. */
static void expect_refusal(const char *patch, enum error_code code, const char *why, bool begins)
{
    struct oci_spec *spec = NULL;
    struct error e = {0};
    int r = parse_patched(patch, &spec, &e);
    if (r >= 0)
        fail_msg("%s was accepted, expected: %s", patch, why);
    if (e.code != code || !(begins ? str_after(e.why, why) : strstr(e.why, why)))
        fail_msg("%s: %s: %s, expected %s: %s", patch, error_code_name(e.code), e.why,
                 error_code_name(code), why);
    assert_int_equal(r, code == ERROR_UNSUPPORTED ? -ENOTSUP : -EINVAL);
    assert_null(spec);
    assert_non_null(str_after(e.subject, "c.json:1:"));
    error_done(&e);
}

static _unused_ void refuse(const char *patch, enum error_code code, const char *why)
{
    expect_refusal(patch, code, why, false);
}

/* A patch that must be refused, and how the message begins: with the JSON path. */
struct refusal {
    const char *patch, *why;
};

static _unused_ void refuse_all(const struct refusal *cases, size_t n, enum error_code code)
{
    for (size_t i = 0; i < n; i++)
        expect_refusal(cases[i].patch, code, cases[i].why, true);
}
