/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <sys/mount.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux". */

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

static int decode_linux_resources(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    spec->has_resources = true;
    return decode_resources(d, at, &spec->resources);
}

int decode_linux(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD_WHOLE("namespaces", decode_namespaces),
        FIELD_WHOLE("uidMappings", decode_uid_maps),
        FIELD_WHOLE("gidMappings", decode_gid_maps),
        FIELD("cgroupsPath", decode_cgroups_path, struct oci_spec, cgroups_path),
        FIELD("maskedPaths", decode_absolute_paths, struct oci_spec, masked_paths),
        FIELD("readonlyPaths", decode_absolute_paths, struct oci_spec, readonly_paths),
        FIELD_WHOLE("rootfsPropagation", decode_propagation),
        FIELD("seccomp", decode_seccomp, struct oci_spec, seccomp),
        FIELD_WHOLE("resources", decode_linux_resources),
        FIELD_WHOLE("devices", decode_devices),
        FIELD_WHOLE("sysctl", decode_sysctls),
        FIELD("mountLabel", decode_line, struct oci_spec, mount_label),
        FIELD_WHOLE("timeOffsets", decode_time_offsets),
        FIELD_WHOLE("intelRdt", decode_intel_rdt),
        FIELD_WHOLE("personality", decode_personality),
        FIELD_WHOLE("memoryPolicy", decode_memory_policy),
        FIELD_WHOLE("netDevices", decode_net_devices),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}
