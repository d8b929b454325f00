/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/netdev.h"

#include <errno.h>

int netdev_move(const char *host_name, const char *name, int netns_fd)
{
    (void)host_name, (void)name, (void)netns_fd;
    return -ENOSYS;
}
int netdev_parse_addresses(const void *data, size_t len, uint32_t index,
                           struct netdev_addresses *list)
{
    (void)data, (void)len, (void)index, (void)list;
    return -ENODATA;
}
int netdev_parse_link(const void *data, size_t len, uint32_t *ret_index, uint32_t *ret_flags,
                      char ret_name[IFNAMSIZ])
{
    (void)data, (void)len, (void)ret_index, (void)ret_flags, (void)ret_name;
    return -EBADMSG;
}
