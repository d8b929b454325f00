/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.intelRdt". */

struct rdt {
    struct oci_intel_rdt *rdt;
    char *l3, *bandwidth;
    char **schemata;
    bool cmt, mbm;
};

/* The name of a directory in resctrl, or "/", its root. */
static int decode_clos_id(struct decoder *d, const struct json_at *at, void *out)
{
    struct rdt *t = out;
    int r = decode_line(d, at, &t->rdt->clos_id);
    if (r < 0 || !t->rdt->clos_id || streq(t->rdt->clos_id, "/"))
        return r;
    const char *id = t->rdt->clos_id;
    if (!strchr(id, '/') && !streq(id, ".") && !streq(id, "..") && strlen(id) <= NAME_MAX)
        return 0;
    _cleanup_free_ char *found = json_describe(at);
    return decode_error(d, at, "expected the name of a directory or \"/\", found %s", found);
}

static int decode_bandwidth(struct decoder *d, const struct json_at *at, void *out)
{
    char **schema = out;
    int r = decode_line(d, at, schema);
    if (r < 0 || !*schema || str_after(*schema, "MB:"))
        return r;
    _cleanup_free_ char *found = json_describe(at);
    return decode_error(d, at, "expected a line that begins with \"MB:\", found %s", found);
}

/* An element is a line: with a newline inside it would be two. */
static int decode_schemata(struct decoder *d, const struct json_at *at, void *out)
{
    char ***lines = out;
    int r = decode_strv(d, at, lines);

    for (size_t i = 0; r == 0 && *lines && (*lines)[i]; i++) {
        struct json_at el = json_element(at, i);
        if ((*lines)[i][0] == '\0' || strchr((*lines)[i], '\n'))
            r = decode_error(d, &el, "must be one line");
    }
    return r;
}

static int decode_monitoring(struct decoder *d, const struct json_at *at, void *out)
{
    struct rdt *t = out;
    return decode_bool(d, at, &t->rdt->enable_monitoring);
}

/* The lines in the order in which they take effect: "schemata" overrides what comes before, and
 * memBwSchema the "MB:" lines of l3CacheSchema (config-linux.md). */
static void join_lines(struct rdt *t)
{
    char *save = NULL;

    for (char *line = t->l3 ? strtok_r(t->l3, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (!t->bandwidth || !str_after(line, "MB:"))
            strv_push(&t->rdt->schemata, mem_strdup(line));
    if (t->bandwidth)
        strv_push(&t->rdt->schemata, TAKE_PTR(t->bandwidth));
    for (size_t i = 0; t->schemata && t->schemata[i]; i++)
        strv_push(&t->rdt->schemata, mem_strdup(t->schemata[i]));
    /* What 1.2 had two switches for. */
    t->rdt->enable_monitoring |= t->cmt || t->mbm;
}

int decode_intel_rdt(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD_WHOLE("closID", decode_clos_id),
        FIELD("schemata", decode_schemata, struct rdt, schemata),
        FIELD("l3CacheSchema", decode_string, struct rdt, l3),
        FIELD("memBwSchema", decode_bandwidth, struct rdt, bandwidth),
        FIELD_WHOLE("enableMonitoring", decode_monitoring),
        FIELD("enableCMT", decode_bool, struct rdt, cmt),
        FIELD("enableMBM", decode_bool, struct rdt, mbm),
    };
    struct oci_spec *spec = out;
    struct rdt t = {.rdt = mem_new0(struct oci_intel_rdt)};

    spec->intel_rdt = t.rdt;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), &t);
    if (r == 0)
        join_lines(&t);
    free(t.l3);
    free(t.bandwidth);
    strv_free(t.schemata);
    return r;
}

void oci_intel_rdt_free(struct oci_intel_rdt *rdt)
{
    if (!rdt)
        return;
    free(rdt->clos_id);
    strv_free(rdt->schemata);
    free(rdt);
}
