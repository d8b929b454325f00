/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/sched.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.namespaces" and "linux.timeOffsets", and what needs a namespace. */

#define NSEC_MAX 999999999

struct ns_entry {
    enum oci_namespace_type type;
    char *path;
};

static int decode_namespace_type(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_name names[_OCI_NS_MAX];
    uint64_t v = 0;

    for (uint64_t i = 0; i < _OCI_NS_MAX; i++)
        names[i] = (struct oci_name){oci_namespace_name((enum oci_namespace_type)i), i};
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    *(enum oci_namespace_type *)out = (enum oci_namespace_type)v;
    return 0;
}

/* "" is what Go makes of none. */
static int decode_namespace_path(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_string(d, at, path);
    return r < 0 || !*path ? r : decode_check_absolute(d, at, *path);
}

static int decode_namespace(struct decoder *d, const struct json_at *at, struct oci_spec *spec)
{
    static const struct oci_field fields[] = {
        NEEDED("type", decode_namespace_type, struct ns_entry, type),
        FIELD("path", decode_namespace_path, struct ns_entry, path),
    };
    struct ns_entry ns = {0};
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), &ns);
    _cleanup_free_ char *path = ns.path;
    if (r < 0)
        return r;

    uint64_t flag = oci_namespace_flag(ns.type);
    if (oci_spec_isolates(spec, flag))
        return decode_error(d, at, "this type is there twice");
    if (!path) {
        spec->new_namespaces |= flag;
        return 0;
    }
    spec->joined_namespaces |= flag;
    spec->namespace_paths[ns.type] = TAKE_PTR(path);
    return 0;
}

int decode_namespaces(struct decoder *d, const struct json_at *at, void *out)
{
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        r = json_need(&el, d->e);
        if (r == 0)
            r = decode_namespace(d, &el, out);
        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_nanosecs(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = json_get_u64(at, NSEC_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_time_offset(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("secs", decode_i64, struct oci_time_offset, secs),
        FIELD("nanosecs", decode_nanosecs, struct oci_time_offset, nanosecs),
    };
    struct oci_time_offset *o = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), o);
    o->set = o->secs != 0 || o->nanosecs != 0;
    return r;
}

int decode_time_offsets(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    int r = json_is_object(at, d->e);
    if (r <= 0)
        return r;
    json_object_object_foreach(at->value, key, value)
    {
        struct json_at member = {
            .doc = at->doc, .parent = at, .key = key, .value = value, .present = true};
        bool monotonic = streq(key, "monotonic");
        if (!monotonic && !streq(key, "boottime"))
            return decode_error(d, &member,
                                "only the clocks monotonic and boottime can have an offset");
        if (value)
            r = decode_time_offset(d, &member,
                                   monotonic ? &spec->time_monotonic : &spec->time_boottime);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_maps(struct decoder *d, const struct json_at *lnx, const char *key, size_t n,
                      const struct oci_spec *spec)
{
    struct json_at maps = json_member(lnx, key);

    if (n > 0 && !oci_spec_isolates(spec, CLONE_NEWUSER))
        return json_error(&maps, d->e, ERROR_CONFIG, "add {\"type\": \"user\"} to linux.namespaces",
                          "ids can only be mapped in a new user namespace");
    if (n == 0 && (spec->new_namespaces & CLONE_NEWUSER))
        return decode_error(d, &maps, "a new user namespace needs at least one mapping");
    return 0;
}

static int check_user(struct decoder *d, const struct json_at *lnx, const struct oci_spec *spec)
{
    int r = check_maps(d, lnx, "uidMappings", spec->n_uid_maps, spec);
    if (r == 0)
        r = check_maps(d, lnx, "gidMappings", spec->n_gid_maps, spec);
    if (r < 0 || (spec->n_uid_maps > 0) == (spec->n_gid_maps > 0))
        return r;
    struct json_at maps = json_member(lnx, spec->n_uid_maps ? "gidMappings" : "uidMappings");
    return decode_error(d, &maps, "give both uidMappings and gidMappings, or none of them");
}

static int check_uts(struct decoder *d, const struct json_at *root, const struct oci_spec *spec)
{
    const struct {
        const char *key, *value;
    } names[] = {{"hostname", spec->hostname}, {"domainname", spec->domainname}};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct json_at name = json_member(root, names[i].key);
        if (names[i].value && !oci_spec_isolates(spec, CLONE_NEWUTS))
            return json_error(&name, d->e, ERROR_CONFIG,
                              "add {\"type\": \"uts\"} to linux.namespaces",
                              "would be set on the host without a new uts namespace");
    }
    return 0;
}

static int check_time(struct decoder *d, const struct json_at *lnx, const struct oci_spec *spec)
{
    struct json_at offsets = json_member(lnx, "timeOffsets");

    if (!spec->time_monotonic.set && !spec->time_boottime.set)
        return 0;
    /* Those of a joined one were fixed when its first process came (time_namespaces(7)). */
    if (spec->new_namespaces & CLONE_NEWTIME)
        return 0;
    return json_error(&offsets, d->e, ERROR_CONFIG, "add {\"type\": \"time\"} to linux.namespaces",
                      "only a new time namespace can have offsets");
}

static int check_network(struct decoder *d, const struct json_at *lnx, const struct oci_spec *spec)
{
    struct json_at devices = json_member(lnx, "netDevices");

    if (spec->n_net_devices == 0 || oci_spec_isolates(spec, CLONE_NEWNET))
        return 0;
    return json_error(&devices, d->e, ERROR_CONFIG,
                      "add {\"type\": \"network\"} to linux.namespaces",
                      "a device can only move into a network namespace of the container's own");
}

int decode_check_namespaces(struct decoder *d, const struct json_at *root,
                            const struct oci_spec *spec)
{
    struct json_at lnx = json_member(root, "linux");
    struct json_at namespaces = json_member(&lnx, "namespaces");

    if (!oci_spec_isolates(spec, CLONE_NEWNS))
        return json_error(&namespaces, d->e, ERROR_UNSUPPORTED,
                          "add {\"type\": \"mount\"} to linux.namespaces",
                          "without a mount namespace the container's mounts would be the host's");
    int r = check_user(d, &lnx, spec);
    if (r == 0)
        r = check_uts(d, root, spec);
    if (r == 0)
        r = check_time(d, &lnx, spec);
    return r < 0 ? r : check_network(d, &lnx, spec);
}
