/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Looks into, and a touch on, another process's network namespace: the calling thread enters it for
 * a moment and comes back (a failure to come back ends the process). Needs CAP_SYS_ADMIN. Negative
 * errno. Nothing allocates. */

/* True where a network interface of the namespace hangs on another namespace: a veth whose peer is
 * outside, a macvlan over a card of the host, … (IFLA_LINK_NETNSID, include/uapi/linux/if_link.h).
 * Whoever put it there, an engine as a rule, is outside too. */
int sys_netns_has_foreign_link(pid_t pid, bool *ret);

/* Brings "lo" up there. */
int sys_netns_loopback_up(pid_t pid);

/* Calls `work` inside that namespace, or for `pid` 0 in a new one with "lo" up; returns what it
 * returns. What `work` allocates is its own affair. */
int sys_netns_run(pid_t pid, int (*work)(void *arg), void *arg);

/* One packet of the kernel's answer to RTM_GETLINK: 1 when it holds such an interface, 0 when not
 * and more may follow, -ENODATA at its end, other negative errno for an error the kernel reports or
 * a malformed packet. */
int sys_netns_parse_links(const void *data, size_t len);
