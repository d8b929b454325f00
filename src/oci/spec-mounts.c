/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "mounts". */

static int decode_destination(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_path(d, at, path);
    if (r < 0)
        return r;
    if (**path != '/')
        decode_warn(d, at, "is relative, taken as below /");
    return 0;
}

static int decode_mount_uids(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_mount *m = out;
    return decode_id_maps(d, at, &m->uid_maps, &m->n_uid_maps);
}

static int decode_mount_gids(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_mount *m = out;
    return decode_id_maps(d, at, &m->gid_maps, &m->n_gid_maps);
}

/* The mappings of a mount need each other, and files of another file system to show differently. */
static int check_mount_maps(struct decoder *d, const struct json_at *at, const struct oci_mount *m,
                            bool bind)
{
    struct json_at uids = json_member(at, "uidMappings"), gids = json_member(at, "gidMappings");

    if (m->n_uid_maps == 0 && m->n_gid_maps == 0)
        return 0;
    if (m->n_uid_maps == 0)
        return decode_error(d, &uids, "is required where gidMappings is given");
    if (m->n_gid_maps == 0)
        return decode_error(d, &gids, "is required where uidMappings is given");
    if (!bind)
        return decode_error(d, &uids, "only a bind mount can have mappings");
    return 0;
}

static int check_mount(struct decoder *d, const struct json_at *at, const struct oci_mount *m)
{
    bool bind = (m->type && streq(m->type, "bind")) || strv_contains(m->options, "bind") ||
                strv_contains(m->options, "rbind");
    if (!m->type && !bind) {
        struct json_at type = json_member(at, "type");
        return decode_error(d, &type, "is required where \"bind\" or \"rbind\" is no option");
    }
    struct json_at source = json_member(at, "source");
    if (bind && !m->source)
        return decode_error(d, &source, "is required for a bind mount");
    int r = m->source ? decode_check_path(d, &source, m->source) : 0;
    return r < 0 ? r : check_mount_maps(d, at, m, bind);
}

static int decode_mount(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("destination", decode_destination, struct oci_mount, destination),
        FIELD("type", decode_string, struct oci_mount, type),
        FIELD("source", decode_string, struct oci_mount, source),
        FIELD("options", decode_strv, struct oci_mount, options),
        FIELD_WHOLE("uidMappings", decode_mount_uids),
        FIELD_WHOLE("gidMappings", decode_mount_gids),
    };
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), out);
    return r < 0 ? r : check_mount(d, at, out);
}

int decode_mounts(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_array(d, at, sizeof(*spec->mounts), decode_mount, (void **)&spec->mounts,
                        &spec->n_mounts);
}

void oci_mount_done(struct oci_mount *m)
{
    free(m->destination);
    free(m->type);
    free(m->source);
    strv_free(m->options);
    free(m->uid_maps);
    free(m->gid_maps);
}
