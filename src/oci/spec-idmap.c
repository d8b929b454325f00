/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/mem.h"
#include "oci/decode.h"

/* Id mappings: of the user namespace, and of a mount. */

#define ID_MAPS_MAX 340 /* lines of /proc/PID/uid_map, user_namespaces(7) */

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

int decode_id_maps(struct decoder *d, const struct json_at *at, struct oci_id_map **maps,
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
