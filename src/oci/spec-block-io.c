/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/mem.h"
#include "oci/decode.h"

/* config.json's "linux.resources.blockIO". */

/* config-linux.md, "Block IO" */
#define WEIGHT_MIN 10
#define WEIGHT_MAX 1000

/* 0 is "not set": docker always sends it. */
static int decode_weight_number(struct decoder *d, const struct json_at *at, uint64_t *ret)
{
    int r = json_get_u64(at, WEIGHT_MAX, ret, d->e);
    if (r < 0)
        return r;
    if (*ret > 0 && *ret < WEIGHT_MIN)
        return decode_error(d, at, "expected a weight from %d to %d, found %d", WEIGHT_MIN,
                            WEIGHT_MAX, (int)*ret);
    return 0;
}

static int decode_weight(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_opt_u64 *opt = out;
    int r = decode_weight_number(d, at, &opt->value);
    if (r < 0)
        return r;
    opt->set = opt->value != 0;
    return 0;
}

static int decode_device_weight(struct decoder *d, const struct json_at *at, void *out)
{
    return decode_weight_number(d, at, out);
}

/* int64_t */
static int decode_number(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_i64(at, 0, UINT32_MAX, out, d->e);
    return MIN(r, 0);
}

static int decode_weight_device(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("major", decode_number, struct oci_io_device, major),
        NEEDED("minor", decode_number, struct oci_io_device, minor),
        FIELD("weight", decode_device_weight, struct oci_io_device, value),
        CGROUP_V1_ONLY("leafWeight"),
    };
    struct oci_io_device *dev = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), dev);
    if (r < 0)
        return r;
    struct json_at weight = json_member(at, "weight");
    if (dev->value == 0)
        return decode_error(d, &weight, "is required: from %d to %d", WEIGHT_MIN, WEIGHT_MAX);
    return 0;
}

static int decode_throttle_device(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("major", decode_number, struct oci_io_device, major),
        NEEDED("minor", decode_number, struct oci_io_device, minor),
        NEEDED("rate", decode_u64, struct oci_io_device, value),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_weight_devices(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_io_list *l = out;
    return decode_array(d, at, sizeof(*l->list), decode_weight_device, (void **)&l->list, &l->n);
}

static int decode_throttles(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_io_list *l = out;
    return decode_array(d, at, sizeof(*l->list), decode_throttle_device, (void **)&l->list, &l->n);
}

int decode_block_io(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("weight", decode_weight, struct oci_io, weight),
        FIELD("weightDevice", decode_weight_devices, struct oci_io, weight_device),
        FIELD("throttleReadBpsDevice", decode_throttles, struct oci_io, read_bps),
        FIELD("throttleWriteBpsDevice", decode_throttles, struct oci_io, write_bps),
        FIELD("throttleReadIOPSDevice", decode_throttles, struct oci_io, read_iops),
        FIELD("throttleWriteIOPSDevice", decode_throttles, struct oci_io, write_iops),
        CGROUP_V1_ONLY("leafWeight"),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}
