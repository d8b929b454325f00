/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "oci/resources.h"

/* Which devices the processes of a cgroup may open and make nodes of: a BPF program on the cgroup
 * (Documentation/admin-guide/cgroup-v2.rst, "Device controller"; nothing needs to be enabled for
 * it). Without it, root in a container with CAP_MKNOD could make a node for the host's disk and
 * read it.
 *
 * `rules` are those of linux.resources.devices, in their order; the last one that matches decides,
 * for each of read, write and mknod by itself. What no rule matches is denied. Behind them, so that
 * they can't be denied, stand the runtime's own, as in runc and crun: the default devices of the
 * runtime-spec (null, zero, full, random, urandom, tty, ptmx and ptys), net/tun, and making any
 * node: what is denied is to open it.
 *
 * A program that an earlier call attached is replaced, in one step. Programs of others on the same
 * cgroup, and of outer cgroups, keep their say (BPF_F_ALLOW_MULTI). `cgroup_fd` may be O_PATH.
 * Needs CAP_BPF and CAP_NET_ADMIN (and CAP_SYS_ADMIN to replace), or CAP_SYS_ADMIN. */
int cgroup_set_devices(int cgroup_fd, const char *path, const struct oci_device_rule *rules,
                       size_t n, struct error *e);
