/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/sched.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.sysctl". Only what belongs to a namespace may be set, and only where that
 * namespace is the container's: anything else would be set on the host. */

#define SYSCTLS_MAX 1000 /* they are compared with each other */

struct sysctl_owner {
    const char *key; /* one that ends with a dot: every key below */
    uint64_t namespace;
};

/* namespaces(7); those of the user namespace since Linux 4.9. */
static const struct sysctl_owner owners[] = {
    {"kernel.msgmax", CLONE_NEWIPC},
    {"kernel.msgmnb", CLONE_NEWIPC},
    {"kernel.msgmni", CLONE_NEWIPC},
    {"kernel.sem", CLONE_NEWIPC},
    {"kernel.shmall", CLONE_NEWIPC},
    {"kernel.shmmax", CLONE_NEWIPC},
    {"kernel.shmmni", CLONE_NEWIPC},
    {"kernel.shm_rmid_forced", CLONE_NEWIPC},
    {"fs.mqueue.", CLONE_NEWIPC},
    {"kernel.hostname", CLONE_NEWUTS},
    {"kernel.domainname", CLONE_NEWUTS},
    {"net.", CLONE_NEWNET},
    {"user.", CLONE_NEWUSER},
};

static const char *namespace_name(uint64_t flag)
{
    for (int i = 0; i < _OCI_NS_MAX; i++)
        if (oci_namespace_flag((enum oci_namespace_type)i) == flag)
            return oci_namespace_name((enum oci_namespace_type)i);
    return NULL;
}

static const struct sysctl_owner *find_owner(const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        const char *name = owners[i].key, *rest = str_after(key, name);
        bool below = name[strlen(name) - 1] == '.';
        if (rest && (below || *rest == '\0'))
            return &owners[i];
    }
    return NULL;
}

/* As sysctl(8) has it: where the first separator is a slash, slashes separate and dots belong to
 * names ("net/ipv4/conf/eth0.5/forwarding"). The result has dots between, slashes for those. */
static void to_dots(char *key)
{
    if (key[strcspn(key, "./")] != '/')
        return;
    for (char *p = key; *p; p++)
        *p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
}

/* No component may lead out of /proc/sys, or be nothing. In a component a slash stands for a
 * dot. */
static bool is_valid_key(const char *key)
{
    for (const char *p = key;; p++) {
        size_t n = strcspn(p, ".");
        if (n == 0 || strspn(p, "/") == n)
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] <= 0x20 || p[i] == 0x7f)
                return false;
        p += n;
        if (*p == '\0')
            return true;
    }
}

static int decode_sysctl(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_annotation *s = out;

    s->key = mem_strdup(at->key);
    to_dots(s->key);
    if (!is_valid_key(s->key) || strlen(s->key) >= PATH_MAX - sizeof("/proc/sys/"))
        return decode_error(d, at, "is no name of a sysctl (sysctl(8))");
    int r = json_get_string(at, &s->value, d->e);
    return MIN(r, 0);
}

int decode_sysctls(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    int r = decode_map(d, at, sizeof(*spec->sysctls), decode_sysctl, (void **)&spec->sysctls,
                       &spec->n_sysctls);
    if (r < 0)
        return r;
    if (spec->n_sysctls > SYSCTLS_MAX)
        return decode_error(d, at, "has %zu members, more than %d", spec->n_sysctls, SYSCTLS_MAX);
    return 0;
}

/* Both would set the same thing, and the field is the spec's way. */
static const char *conflicting_field(const struct oci_spec *spec, const char *key)
{
    if (streq(key, "kernel.hostname"))
        return "hostname";
    if (streq(key, "kernel.domainname") && spec->domainname)
        return "domainname";
    return NULL;
}

static int check_sysctl(struct decoder *d, const struct json_at *at, const struct oci_spec *spec,
                        const char *key)
{
    const struct sysctl_owner *owner = find_owner(key);
    if (!owner)
        return json_error(at, d->e, ERROR_CONFIG, "set it on the host",
                          "belongs to no namespace: it would be set on the host");
    if (!oci_spec_isolates(spec, owner->namespace)) {
        const char *name = namespace_name(owner->namespace);
        _cleanup_free_ char *remedy =
            str_printf("add {\"type\": \"%s\"} to linux.namespaces", name);
        return json_error(at, d->e, ERROR_CONFIG, remedy,
                          "would be set on the host without a %s namespace", name);
    }
    const char *field = conflicting_field(spec, key);
    if (field)
        return decode_error(d, at, "is what the field \"%s\" sets", field);
    return 0;
}

int decode_check_sysctls(struct decoder *d, const struct json_at *root, const struct oci_spec *spec)
{
    struct json_at lnx = json_member(root, "linux"), sysctl = json_member(&lnx, "sysctl");
    size_t i = 0;

    if (spec->n_sysctls == 0)
        return 0;
    json_object_object_foreach(sysctl.value, key, value)
    {
        struct json_at member = {
            .doc = root->doc, .parent = &sysctl, .key = key, .value = value, .present = true};
        const char *name = spec->sysctls[i].key;
        int r = check_sysctl(d, &member, spec, name);
        if (r < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (streq(spec->sysctls[k].key, name))
                return decode_error(d, &member, "is there twice, with dots and with slashes");
        i++;
    }
    return 0;
}
