/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/if.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.netDevices". */

#define NET_DEVICES_MAX 1000 /* they are compared with each other */

/* dev_valid_name() of net/core/dev.c, and no "%". */
static bool is_valid_name(const char *name)
{
    if (*name == '\0' || strlen(name) >= IFNAMSIZ || streq(name, ".") || streq(name, ".."))
        return false;
    for (const char *p = name; *p; p++)
        if (strchr("/:%", *p) || (unsigned char)*p <= 0x20 || *p == 0x7f)
            return false;
    return true;
}

static int check_name(struct decoder *d, const struct json_at *at, const char *name)
{
    if (is_valid_name(name))
        return 0;
    _cleanup_free_ char *found = json_excerpt(name, strlen(name));
    return decode_error(d, at, "\"%s\" is no name of a network device", found);
}

/* One "%d" stands for a number that is free in the container (config-linux.md, "Network
 * Devices"). */
static bool is_template(const char *name)
{
    return strstr(name, "%d") != NULL;
}

static int decode_inner_name(struct decoder *d, const struct json_at *at, void *out)
{
    char **name = out;
    int r = decode_string(d, at, name);
    if (r < 0 || !*name || !is_template(*name))
        return r < 0 || !*name ? r : check_name(d, at, *name);
    _cleanup_free_ char *first = mem_strdup(*name);
    memcpy(strstr(first, "%d"), "00", 2);
    return check_name(d, at, first);
}

static int decode_net_device(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("name", decode_inner_name, struct oci_net_device, name),
    };
    struct oci_net_device *dev = out;
    int r = check_name(d, at, at->key);
    if (r < 0)
        return r;
    dev->host_name = mem_strdup(at->key);
    return decode_object(d, at, fields, ARRAY_SIZE(fields), dev);
}

static const char *name_inside(const struct oci_net_device *dev)
{
    return dev->name ? dev->name : dev->host_name;
}

int decode_net_devices(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    int r = decode_map(d, at, sizeof(*spec->net_devices), decode_net_device,
                       (void **)&spec->net_devices, &spec->n_net_devices);
    if (r < 0)
        return r;
    if (spec->n_net_devices > NET_DEVICES_MAX)
        return decode_error(d, at, "has %zu members, more than %d", spec->n_net_devices,
                            NET_DEVICES_MAX);
    for (size_t i = 1; i < spec->n_net_devices; i++)
        for (size_t k = 0; k < i; k++)
            if (streq(name_inside(&spec->net_devices[i]), name_inside(&spec->net_devices[k])) &&
                !is_template(name_inside(&spec->net_devices[i])))
                return decode_error(d, at, "two devices would have the name %s in the container",
                                    name_inside(&spec->net_devices[i]));
    return 0;
}
