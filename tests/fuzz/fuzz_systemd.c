/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/systemd-properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* What was read can be sent: every value has a type, and containers have what their types say. */
static void check_value(const struct gvariant *v)
{
    check(v->type && *v->type);
    if (strchr("sog", v->type[0]))
        check(str_is_utf8(v->string, strlen(v->string)));
    check(v->type[0] == 'a' || v->type[0] == '(' || v->type[0] == 'v' || v->n_items == 0);
    check(v->type[0] != 'v' || v->n_items == 1);
    check(v->type[0] != '(' || v->n_items > 0);
    for (size_t i = 0; i < v->n_items; i++) {
        check(v->type[0] != 'a' || streq(v->items[i].type, v->type + 1));
        check_value(&v->items[i]);
    }
}

static void check_unit(const char *text)
{
    struct cgroup_systemd_unit u = {0};

    if (cgroup_systemd_unit_parse(text, "id", false, &u, NULL) < 0)
        return;
    check(strlen(u.name) <= 255 && !strchr(u.name, '/') && strstr(u.name, ".scope"));
    check(u.path[0] == '/' && !strstr(u.path, "//") && !strstr(u.path, "/../"));
    cgroup_systemd_unit_done(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_strndup((const char *)data, size);
    static char key[] = "org.systemd.property.RuntimeMaxSec";
    struct oci_annotation a = {key, text};
    _cleanup_systemd_properties_ struct cgroup_systemd_properties p = {0};
    _cleanup_gvariant_ struct gvariant v = {0}, set = {0};
    _cleanup_free_ char *why = NULL;

    if (gvariant_parse(text, &v, &why) == 0)
        check_value(&v);
    else
        check(why && !v.type);
    if (systemd_parse_set(text, &set) == 0)
        check_value(&set);
    (void)cgroup_systemd_add_annotations(&p, &a, 1, NULL);
    check_unit(text);
    return 0;
}
