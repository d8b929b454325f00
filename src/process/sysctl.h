/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "oci/spec.h"

/* linux.sysctl: planned in the parent, written by the child, since which namespace's value a file
 * below /proc/sys stands for is decided by who opens and writes it. The procfs is the runtime's own
 * and mounted nowhere, so that nothing in a rootfs or on the host can stand in its place
 * (CVE-2025-52881). */

struct sysctl_entry {
    const char *key; /* as in config.json; borrowed, as `value` is */
    const char *value;
    char *path; /* below the root of a procfs: "sys/net/ipv4/ip_forward" */
};
struct sysctl_plan {
    struct sysctl_entry *list;
    size_t n;
};

/* Paths from keys as the parser gives them: a dot separates, a slash stands for a dot of a name
 * ("net.ipv4.conf.eth0/100.forwarding" is sys/net/ipv4/conf/eth0.100/forwarding). Which keys belong
 * to a namespace of the container the parser has checked; here empty parts, "." and ".." are
 * refused once more (ERROR_CONFIG), for by them a key of a namespace could end at one of the
 * host. */
int sysctl_plan_make(const struct oci_annotation *list, size_t n, struct sysctl_plan *ret,
                     struct error *e);
void sysctl_plan_done(struct sysctl_plan *plan);

/* In the child, in the container's namespaces, with its capabilities still there; nothing
 * allocates. `procfd` is the parent's sys_open_private_proc(), opened before the child was made. In
 * order; negative errno with *ret_key, the first that failed (-ENOENT: the kernel, or that
 * namespace, has no such key; -EINVAL: it does not take the value). */
int sysctl_write_all(const struct sysctl_plan *plan, int procfd, const char **ret_key);
