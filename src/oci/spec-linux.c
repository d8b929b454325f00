/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <linux/sched.h>
#include <sys/mount.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux". */

#define ID_MAPS_MAX 340 /* lines of /proc/PID/uid_map, user_namespaces(7) */

struct ns_entry {
    uint64_t flag;
    char *path;
};

static int decode_namespace_type(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_name names[_OCI_NS_MAX];

    for (int i = 0; i < _OCI_NS_MAX; i++)
        names[i] = (struct oci_name){oci_namespace_name((enum oci_namespace_type)i),
                                     oci_namespace_flag((enum oci_namespace_type)i)};
    int r = decode_name(d, at, names, ARRAY_SIZE(names), out);
    if (r < 0)
        return r;
    if (*(uint64_t *)out == CLONE_NEWTIME)
        return json_error(at, d->e, ERROR_UNSUPPORTED, DECODE_REMEDY_UNSUPPORTED,
                          "this nucleus does not make time namespaces");
    return 0;
}

static int decode_namespace_path(struct decoder *d, const struct json_at *at, void *out)
{
    (void)out;
    _cleanup_free_ char *path = NULL;
    int r = decode_string(d, at, &path);
    if (r < 0 || !path)
        return r;
    return json_error(at, d->e, ERROR_UNSUPPORTED,
                      "leave the path out for a new namespace, or use a runtime that honours it",
                      "this nucleus does not join existing namespaces");
}

static int decode_namespaces(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("type", decode_namespace_type, struct ns_entry, flag),
        FIELD("path", decode_namespace_path, struct ns_entry, path),
    };
    uint64_t *set = out;
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        struct ns_entry ns = {0};
        r = json_need(&el, d->e);
        if (r == 0)
            r = decode_object(d, &el, fields, ARRAY_SIZE(fields), &ns);
        if (r < 0)
            return r;
        if (*set & ns.flag)
            return decode_error(d, &el, "this type is there twice");
        *set |= ns.flag;
    }
    return 0;
}

static int decode_id_map(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("containerID", decode_id, struct oci_id_map, container_id),
        NEEDED("hostID", decode_id, struct oci_id_map, host_id),
        NEEDED("size", decode_u32, struct oci_id_map, size),
    };
    struct oci_id_map *m = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), m);
    if (r < 0)
        return r;
    if (m->size == 0)
        return decode_error(d, at, "the size must not be 0");
    /* The id 2^32-1 means "none" to the kernel and can't be mapped. */
    if (m->size > UINT32_MAX - m->container_id || m->size > UINT32_MAX - m->host_id)
        return decode_error(d, at, "goes beyond the largest id, %u", UINT32_MAX - 1);
    return 0;
}

static bool overlaps(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

static int decode_id_maps(struct decoder *d, const struct json_at *at, struct oci_id_map **maps,
                          size_t *n_maps)
{
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r < 0)
        return r;
    if (r > 0 && n > ID_MAPS_MAX)
        return decode_error(d, at, "has %zu ranges, the kernel takes %d", n, ID_MAPS_MAX);
    r = decode_array(d, at, sizeof(**maps), decode_id_map, (void **)maps, n_maps);
    if (r < 0)
        return r;
    for (size_t i = 1; i < *n_maps; i++) {
        const struct oci_id_map *a = &(*maps)[i];
        struct json_at el = json_element(at, i);
        for (size_t k = 0; k < i; k++) {
            const struct oci_id_map *b = &(*maps)[k];
            if (overlaps(a->container_id, a->size, b->container_id, b->size))
                return decode_error(d, &el, "overlaps with [%zu] inside the container", k);
            if (overlaps(a->host_id, a->size, b->host_id, b->size))
                return decode_error(d, &el, "overlaps with [%zu] on the host", k);
        }
    }
    return 0;
}

static int decode_uid_maps(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_id_maps(d, at, &spec->uid_maps, &spec->n_uid_maps);
}

static int decode_gid_maps(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_id_maps(d, at, &spec->gid_maps, &spec->n_gid_maps);
}

static int decode_cgroups_path(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_string(d, at, path);
    return r < 0 || !*path ? r : decode_check_path(d, at, *path);
}

static int decode_propagation(struct decoder *d, const struct json_at *at, void *out)
{
    /* The plain ones are the runtime-spec's; engines send the recursive ones too. */
    static const struct oci_name names[] = {
        {"shared", MS_SHARED},
        {"slave", MS_SLAVE},
        {"private", MS_PRIVATE},
        {"unbindable", MS_UNBINDABLE},
        {"rshared", MS_SHARED | MS_REC},
        {"rslave", MS_SLAVE | MS_REC},
        {"rprivate", MS_PRIVATE | MS_REC},
        {"runbindable", MS_UNBINDABLE | MS_REC},
        {"", 0},
    };
    struct oci_spec *spec = out;
    uint64_t v = 0;
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    spec->rootfs_propagation = v & ~(uint64_t)MS_REC;
    spec->rootfs_propagation_recursive = v & MS_REC;
    return 0;
}

int decode_linux(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("namespaces", decode_namespaces, struct oci_spec, new_namespaces),
        FIELD_WHOLE("uidMappings", decode_uid_maps),
        FIELD_WHOLE("gidMappings", decode_gid_maps),
        FIELD("cgroupsPath", decode_cgroups_path, struct oci_spec, cgroups_path),
        FIELD("maskedPaths", decode_absolute_paths, struct oci_spec, masked_paths),
        FIELD("readonlyPaths", decode_absolute_paths, struct oci_spec, readonly_paths),
        FIELD_WHOLE("rootfsPropagation", decode_propagation),
        FIELD("seccomp", decode_seccomp, struct oci_spec, seccomp),
        UNSUPPORTED("resources"),
        UNSUPPORTED("devices"),
        UNSUPPORTED("sysctl"),
        UNSUPPORTED("mountLabel"),
        UNSUPPORTED("timeOffsets"),
        UNSUPPORTED("intelRdt"),
        UNSUPPORTED("personality"),
        UNSUPPORTED("memoryPolicy"),
        UNSUPPORTED("netDevices"),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int check_maps(struct decoder *d, const struct json_at *lnx, const char *key, size_t n,
                      bool user)
{
    struct json_at maps = json_member(lnx, key);

    if (n > 0 && !user)
        return json_error(&maps, d->e, ERROR_CONFIG, "add {\"type\": \"user\"} to linux.namespaces",
                          "ids can only be mapped in a new user namespace");
    if (n == 0 && user)
        return decode_error(d, &maps, "a new user namespace needs at least one mapping");
    return 0;
}

int decode_check_linux(struct decoder *d, const struct json_at *root, const struct oci_spec *spec)
{
    struct json_at lnx = json_member(root, "linux");
    struct json_at namespaces = json_member(&lnx, "namespaces");
    bool user = spec->new_namespaces & CLONE_NEWUSER;

    if (!(spec->new_namespaces & CLONE_NEWNS))
        return json_error(&namespaces, d->e, ERROR_UNSUPPORTED,
                          "add {\"type\": \"mount\"} to linux.namespaces",
                          "without a mount namespace the container's mounts would be the host's");
    int r = check_maps(d, &lnx, "uidMappings", spec->n_uid_maps, user);
    if (r == 0)
        r = check_maps(d, &lnx, "gidMappings", spec->n_gid_maps, user);
    if (r < 0)
        return r;

    static const char *const uts[] = {"hostname", "domainname"};
    for (size_t i = 0; i < ARRAY_SIZE(uts); i++) {
        struct json_at name = json_member(root, uts[i]);
        if ((i == 0 ? spec->hostname : spec->domainname) && !(spec->new_namespaces & CLONE_NEWUTS))
            return json_error(&name, d->e, ERROR_CONFIG,
                              "add {\"type\": \"uts\"} to linux.namespaces",
                              "would be set on the host without a new uts namespace");
    }
    return 0;
}
