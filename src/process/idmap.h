/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* Writes uid_map and gid_map of a child that waits in a new user namespace (user_namespaces(7)); each
 * in one write(2), as the kernel demands. `procfd` is a procfs nobody can have mounted over
 * (sys_open_private_proc). */
int idmap_write(int procfd, pid_t pid, const struct oci_spec *spec, struct error *e);
