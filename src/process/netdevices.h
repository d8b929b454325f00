/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* linux.netDevices: moves each device from the caller's network namespace into the one of the
 * process `pid` (the container's first, which waits: after its namespaces are made, before prestart
 * hooks). `procfd` is sys_open_private_proc(). A container without a network namespace of its own
 * is ERROR_CONFIG. Nothing takes them back: they belong to that namespace from now on, and what
 * becomes of them when it ends is the kernel's affair (a physical one returns to the initial
 * namespace, a virtual one goes). */
int netdevices_move(const struct oci_spec *spec, int procfd, pid_t pid, struct error *e);
