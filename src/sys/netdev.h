/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Network devices between namespaces, by rtnetlink(7). Negative errno; nothing allocates. */

/* Moves a device of the caller's network namespace into the one of `netns_fd` (nsfs), where it is
 * called `name` (NULL: as before; "%d" in it becomes the first number that is free there), has the
 * addresses it had, as far as they are permanent and of global scope (runtime-spec 1.3,
 * config-linux.md "Network Devices"), and is up. Needs CAP_NET_ADMIN over both. The calling thread
 * is in the other namespace for a moment (as sys/netns.h).
 *
 * -ENODEV: no such device; -EEXIST: the name is taken over there; -EINVAL: no name for a device, or
 * a device that can't leave (lo, a bridge's port, NETNS_LOCAL); -E2BIG: more than
 * NETDEV_ADDRESSES_MAX addresses. When something fails behind the move the device is brought back,
 * with its addresses, as far as the kernel lets one. */
int netdev_move(const char *host_name, const char *name, int netns_fd);

#define NETDEV_ADDRESSES_MAX 64

/* An address as RTM_NEWADDR takes it. */
struct netdev_address {
    uint8_t family, prefix_len;
    uint32_t flags; /* IFA_F_* */
    bool has_address, has_local, has_broadcast;
    uint8_t address[16], local[16], broadcast[16]; /* IPv4: the first 4 bytes */
};
struct netdev_addresses {
    struct netdev_address list[NETDEV_ADDRESSES_MAX];
    size_t n;
    bool changed; /* while they were listed: to be done again */
};

/* One packet of the kernel's answer to an RTM_GETADDR dump: adds what belongs to interface `index`,
 * is permanent and of global scope. 0 when more may follow, -ENODATA at its end, -E2BIG when there
 * are too many, another negative errno that the kernel reports, or -EBADMSG for a malformed
 * packet. */
int netdev_parse_addresses(const void *data, size_t len, uint32_t index,
                           struct netdev_addresses *list);

/* A packet that answers RTM_GETLINK for one device: index, flags and name. -EBADMSG; what the
 * kernel reports. */
int netdev_parse_link(const void *data, size_t len, uint32_t *ret_index, uint32_t *ret_flags,
                      char ret_name[IFNAMSIZ]);
