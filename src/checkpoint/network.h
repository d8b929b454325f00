/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* CRIU saves a network namespace by starting `ip`, `iptables-save` and others a dozen times, and
 * brings it back the same way. Most hold nothing but lo as it came up: then there is nothing to
 * save, and a new one with lo up is the same (C17).
 *
 * True where all that CRIU would save of the namespace of `pid` (links, addresses, routes, rules,
 * netfilter's tables, settings of the interfaces) is as in a new one with lo up, and can't change,
 * for no process of the cgroup may change it (CAP_NET_ADMIN), is in another, or could have made
 * another (CAP_SYS_ADMIN). False in doubt. */
bool network_is_as_new(const char *cgroup_path, pid_t pid);
