/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* Devices: the nodes of "linux.devices", and the rules of "linux.resources.devices". */

/* The kernel's dev_t: MAJOR(12 bits):MINOR(20 bits), <linux/kdev_t.h>. */
#define MAJOR_MAX 0xfff
#define MINOR_MAX 0xfffff

static int decode_bounded(struct decoder *d, const struct json_at *at, uint64_t max, uint32_t *ret)
{
    uint64_t v = 0;
    int r = json_get_u64(at, max, &v, d->e);
    if (r < 0)
        return r;
    *ret = (uint32_t)v;
    return 0;
}

static int decode_major(struct decoder *d, const struct json_at *at, void *out)
{
    return decode_bounded(d, at, MAJOR_MAX, out);
}

static int decode_minor(struct decoder *d, const struct json_at *at, void *out)
{
    return decode_bounded(d, at, MINOR_MAX, out);
}

static int decode_type(struct decoder *d, const struct json_at *at, void *out)
{
    /* "u", unbuffered, is mknod(1)'s other name for "c". */
    static const struct oci_name names[] = {
        {"c", S_IFCHR},
        {"u", S_IFCHR},
        {"b", S_IFBLK},
        {"p", S_IFIFO},
    };
    uint64_t v = 0;
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    *(mode_t *)out = (mode_t)v;
    return 0;
}

static int decode_mode(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_device *dev = out;
    uint32_t v = 0;
    int r = decode_bounded(d, at, S_IFMT | 07777, &v);
    if (r < 0)
        return r;
    dev->has_mode = true;
    dev->mode = v;
    return 0;
}

/* Engines copy st_mode whole; the type in it must be the node's then. */
static int check_mode(struct decoder *d, const struct json_at *at, struct oci_device *dev)
{
    struct json_at mode = json_member(at, "fileMode");
    mode_t type = dev->mode & S_IFMT;

    if (type != 0 && type != dev->type)
        return decode_error(d, &mode, "holds a file type (0%o) that is not the device's", type);
    dev->mode &= 07777;
    return 0;
}

static int check_numbers(struct decoder *d, const struct json_at *at, const struct oci_device *dev)
{
    static const char *const numbers[] = {"major", "minor"};

    for (size_t i = 0; i < ARRAY_SIZE(numbers) && dev->type != S_IFIFO; i++) {
        struct json_at number = json_member(at, numbers[i]);
        int r = json_need(&number, d->e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_device(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("type", decode_type, struct oci_device, type),
        NEEDED("path", decode_absolute_path, struct oci_device, path),
        FIELD("major", decode_major, struct oci_device, major),
        FIELD("minor", decode_minor, struct oci_device, minor),
        FIELD_WHOLE("fileMode", decode_mode),
        FIELD("uid", decode_id, struct oci_device, uid),
        FIELD("gid", decode_id, struct oci_device, gid),
    };
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), out);
    if (r == 0)
        r = check_numbers(d, at, out);
    return r < 0 ? r : check_mode(d, at, out);
}

int decode_devices(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_array(d, at, sizeof(*spec->devices), decode_device, (void **)&spec->devices,
                        &spec->n_devices);
}

/* The rules. */

static int decode_rule_type(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_name names[] = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}, {"", 'a'}};
    uint64_t v = 'a';
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    *(char *)out = (char)v;
    return 0;
}

/* int64_t; -1 is any. */
static int decode_rule_number(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_i64(at, -1, UINT32_MAX, out, d->e);
    return MIN(r, 0);
}

static int decode_access(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct {
        char letter;
        unsigned bit;
    } letters[] = {{'r', OCI_DEVICE_READ}, {'w', OCI_DEVICE_WRITE}, {'m', OCI_DEVICE_MKNOD}};
    _cleanup_free_ char *text = NULL;
    unsigned *access = out;
    int r = decode_string(d, at, &text);
    if (r < 0)
        return r;
    for (const char *p = text ? text : ""; *p; p++) {
        unsigned bit = 0;
        for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
            if (letters[i].letter == *p)
                bit = letters[i].bit;
        if (!bit) {
            _cleanup_free_ char *found = json_describe(at);
            return decode_error(d, at, "expected some of the letters r, w, m, found %s", found);
        }
        *access |= bit;
    }
    return 0;
}

static int decode_device_rule(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("allow", decode_bool, struct oci_device_rule, allow),
        FIELD("type", decode_rule_type, struct oci_device_rule, type),
        FIELD("major", decode_rule_number, struct oci_device_rule, major),
        FIELD("minor", decode_rule_number, struct oci_device_rule, minor),
        FIELD("access", decode_access, struct oci_device_rule, access),
    };
    struct oci_device_rule *rule = out;

    *rule = (struct oci_device_rule){.type = 'a', .major = -1, .minor = -1};
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), rule);
    if (r < 0)
        return r;
    /* The spec calls it optional and gives it no meaning then. */
    struct json_at access = json_member(at, "access");
    if (rule->access == 0)
        return decode_error(d, &access, "must name at least one of r, w, m");
    return 0;
}

int decode_device_rules(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_resources *res = out;
    return decode_array(d, at, sizeof(*res->devices), decode_device_rule, (void **)&res->devices,
                        &res->n_devices);
}
