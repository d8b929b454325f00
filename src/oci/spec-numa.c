/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/mempolicy.h>
#include <sys/personality.h>

#include "base/mem.h"
#include "oci/decode.h"

/* config.json's "linux.memoryPolicy" and "linux.personality": what one system call each takes. */

/* Linux 6.9; Debian 12's headers end before it. */
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif

static const struct oci_name policy_modes[] = {
    {"MPOL_DEFAULT", MPOL_DEFAULT},       {"MPOL_BIND", MPOL_BIND},
    {"MPOL_INTERLEAVE", MPOL_INTERLEAVE}, {"MPOL_WEIGHTED_INTERLEAVE", MPOL_WEIGHTED_INTERLEAVE},
    {"MPOL_PREFERRED", MPOL_PREFERRED},   {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
    {"MPOL_LOCAL", MPOL_LOCAL},
};

static const struct oci_name policy_flags[] = {
    {"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
    {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
    {"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
};

const struct oci_name *oci_memory_policy_mode(size_t i)
{
    return i < ARRAY_SIZE(policy_modes) ? &policy_modes[i] : NULL;
}

const struct oci_name *oci_memory_policy_flag(size_t i)
{
    return i < ARRAY_SIZE(policy_flags) ? &policy_flags[i] : NULL;
}

static int decode_mode(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = decode_name(d, at, policy_modes, ARRAY_SIZE(policy_modes), &v);
    *(int *)out |= (int)v;
    return r;
}

static int decode_flags(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = decode_name_set(d, at, policy_flags, ARRAY_SIZE(policy_flags), &v);
    *(int *)out |= (int)v;
    return r;
}

/* As set_mempolicy(2) has it; which nodes there are, the kernel says. */
static int check_policy(struct decoder *d, const struct json_at *at,
                        const struct oci_memory_policy *p)
{
    const int both = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES;
    int mode = p->mode & ~(both | MPOL_F_NUMA_BALANCING);
    struct json_at nodes = json_member(at, "nodes"), flags = json_member(at, "flags");

    if ((mode == MPOL_DEFAULT || mode == MPOL_LOCAL) && p->nodes.present)
        return decode_error(d, &nodes, "MPOL_DEFAULT and MPOL_LOCAL take no nodes");
    /* Without nodes, MPOL_PREFERRED is MPOL_LOCAL. */
    if (mode != MPOL_DEFAULT && mode != MPOL_LOCAL && mode != MPOL_PREFERRED && !p->nodes.present)
        return decode_error(d, &nodes, "is required for this mode");
    if ((p->mode & both) == both)
        return decode_error(d, &flags,
                            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude "
                            "each other");
    if ((p->mode & both) && !p->nodes.present)
        return decode_error(d, &flags, "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES need nodes");
    if ((p->mode & MPOL_F_NUMA_BALANCING) && mode != MPOL_BIND && mode != MPOL_PREFERRED_MANY)
        return decode_error(d, &flags,
                            "MPOL_F_NUMA_BALANCING goes with MPOL_BIND and "
                            "MPOL_PREFERRED_MANY only");
    return 0;
}

int decode_memory_policy(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("mode", decode_mode, struct oci_memory_policy, mode),
        FIELD("nodes", decode_set, struct oci_memory_policy, nodes),
        FIELD("flags", decode_flags, struct oci_memory_policy, mode),
    };
    struct oci_spec *spec = out;

    spec->memory_policy = mem_new0(struct oci_memory_policy);
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), spec->memory_policy);
    return r < 0 ? r : check_policy(d, at, spec->memory_policy);
}

static int decode_domain(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_name names[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};
    uint64_t v = 0;
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

int decode_personality(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("domain", decode_domain, struct oci_spec, personality),
        /* "Currently no flag values are supported" (config-linux.md). */
        UNSUPPORTED("flags"),
    };
    struct oci_spec *spec = out;

    spec->has_personality = true;
    return decode_object(d, at, fields, ARRAY_SIZE(fields), spec);
}
