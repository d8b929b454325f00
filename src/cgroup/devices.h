/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"

/* Which devices the processes of a cgroup may open: a BPF program on the cgroup (device cgroup of v2,
 * Documentation/admin-guide/cgroup-v2.rst, "Device controller"; no controller needs to be enabled).
 * Allowed are the default devices of the runtime-spec (null, zero, full, random, urandom, tty, ptmx and
 * ptys), and making any node: what is denied is to open it. Without this, root in a container with
 * CAP_MKNOD could make a node for the host's disk and read it.
 *
 * `cgroup_fd` may be O_PATH. Programs of an outer cgroup keep their say (BPF_F_ALLOW_MULTI). Needs
 * CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN. */
int cgroup_limit_devices(int cgroup_fd, const char *path, struct error *e);
