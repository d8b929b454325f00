/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The form of rtnetlink(7): requests, answers and their attributes. Negative errno; nothing
 * allocates. */

/* A socket that hears from the kernel only: whoever has CAP_NET_ADMIN in the namespace could send
 * to it otherwise. It keeps the network namespace it was made in: the caller's, or the one of
 * `netns_fd` (nsfs), which the calling thread enters for a moment (a failure to come back ends the
 * process). */
int netlink_open(void);
int netlink_open_in(int netns_fd);

/* A request that is being put together. */
struct netlink_request {
    struct nlmsghdr h;
    char body[480];
};
/* Begins with the fixed part of its type (struct ifinfomsg, struct ifaddrmsg). `flags`: NLM_F_*;
 * NLM_F_REQUEST is added. */
void netlink_begin(struct netlink_request *q, uint16_t type, uint16_t flags, const void *fixed,
                   size_t len);
/* -ENOSPC when it does not fit. */
int netlink_add(struct netlink_request *q, uint16_t type, const void *data, size_t len);

int netlink_send(int sk, const struct netlink_request *q);
/* One packet, whole (-EMSGSIZE else): its length. */
ssize_t netlink_receive(int sk, void *data, size_t size);
/* Sends with NLM_F_ACK, and waits for the kernel's verdict. */
int netlink_do(int sk, struct netlink_request *q);

/* The messages of a packet: a cursor over bytes that are not trusted. The buffer must be aligned as
 * a struct nlmsghdr. */
struct netlink_cursor {
    const char *p;
    size_t left;
};
struct netlink_message {
    uint16_t type, flags;
    const char *data; /* behind the header */
    size_t len;
};
/* 1 with the next message, 0 behind the last, -ENODATA for NLMSG_DONE, the kernel's errno for an
 * NLMSG_ERROR (an acknowledgement is a message of that type, with 1), -EBADMSG where lengths are
 * wrong. */
int netlink_next(struct netlink_cursor *c, struct netlink_message *ret);

struct netlink_attribute {
    uint16_t type; /* without NLA_F_* */
    const char *data;
    size_t len;
};
/* The attributes of a message behind its fixed part: skip it first. -EBADMSG where it is
 * shorter. */
int netlink_skip(struct netlink_cursor *c, size_t fixed);
int netlink_next_attribute(struct netlink_cursor *c, struct netlink_attribute *ret);

/* What NLMSG_DONE carries, the last message of a dump: 0, or the negative errno that cut it short
 * (netlink_dump_done() in net/netlink/af_netlink.c). */
int netlink_dump_result(const void *payload, size_t len);
