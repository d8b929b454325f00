/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"

int netlink_open(void)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int netlink_open_in(int netns_fd)
{
    _cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        return -errno;
    int sk = netlink_open();
    /* Everything that follows would happen in the wrong place. */
    if (setns(own, CLONE_NEWNET) < 0)
        abort();
    return sk;
}

void netlink_begin(struct netlink_request *q, uint16_t type, uint16_t flags, const void *fixed,
                   size_t len)
{
    memset(q, 0, sizeof(*q));
    memcpy(q->body, fixed, len);
    q->h.nlmsg_type = type;
    q->h.nlmsg_flags = flags | NLM_F_REQUEST;
    q->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(NLMSG_ALIGN(len));
}

int netlink_add(struct netlink_request *q, uint16_t type, const void *data, size_t len)
{
    struct rtattr a = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(len)};
    size_t at = q->h.nlmsg_len - NLMSG_HDRLEN;

    if (len > sizeof(q->body) || at + RTA_SPACE(len) > sizeof(q->body))
        return -ENOSPC;
    memcpy(q->body + at, &a, sizeof(a));
    memcpy(q->body + at + RTA_LENGTH(0), data, len);
    q->h.nlmsg_len += (uint32_t)RTA_SPACE(len);
    return 0;
}

int netlink_send(int sk, const struct netlink_request *q)
{
    ssize_t n;

    do
        n = send(sk, q, q->h.nlmsg_len, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

ssize_t netlink_receive(int sk, void *data, size_t size)
{
    ssize_t n;

    do
        n = recv(sk, data, size, MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n > size ? -EMSGSIZE : n;
}

int netlink_do(int sk, struct netlink_request *q)
{
    union {
        char bytes[4096];
        struct nlmsghdr align;
    } answer;

    q->h.nlmsg_flags |= NLM_F_ACK;
    int r = netlink_send(sk, q);
    if (r < 0)
        return r;
    ssize_t n = netlink_receive(sk, answer.bytes, sizeof(answer.bytes));
    if (n < 0)
        return (int)n;
    struct netlink_cursor c = {answer.bytes, (size_t)n};
    struct netlink_message m;
    r = netlink_next(&c, &m);
    if (r < 0)
        return r;
    return r > 0 && m.type == NLMSG_ERROR ? 0 : -EBADMSG;
}

static int parse_error(const struct netlink_message *m)
{
    struct nlmsgerr err;

    if (m->len < sizeof(err))
        return -EBADMSG;
    memcpy(&err, m->data, sizeof(err));
    if (err.error == 0)
        return 1;
    /* The kernel's errnos are negative; anything else is no answer. */
    return err.error < 0 && err.error >= -4095 ? err.error : -EBADMSG;
}

int netlink_next(struct netlink_cursor *c, struct netlink_message *ret)
{
    struct nlmsghdr h;

    if (c->left == 0)
        return 0;
    if (c->left < sizeof(h))
        return -EBADMSG;
    memcpy(&h, c->p, sizeof(h));
    if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > c->left)
        return -EBADMSG;
    *ret = (struct netlink_message){
        .type = h.nlmsg_type,
        .flags = h.nlmsg_flags,
        .data = c->p + NLMSG_HDRLEN,
        .len = h.nlmsg_len - NLMSG_HDRLEN,
    };
    size_t step = MIN((size_t)NLMSG_ALIGN(h.nlmsg_len), c->left);
    c->p += step;
    c->left -= step;
    if (h.nlmsg_type == NLMSG_DONE)
        return -ENODATA;
    return h.nlmsg_type == NLMSG_ERROR ? parse_error(ret) : 1;
}

int netlink_skip(struct netlink_cursor *c, size_t fixed)
{
    if (c->left < fixed)
        return -EBADMSG;
    size_t step = MIN((size_t)NLMSG_ALIGN(fixed), c->left);
    c->p += step;
    c->left -= step;
    return 0;
}

int netlink_next_attribute(struct netlink_cursor *c, struct netlink_attribute *ret)
{
    struct rtattr a;

    /* Less than a header is padding. */
    if (c->left < sizeof(a))
        return 0;
    memcpy(&a, c->p, sizeof(a));
    if (a.rta_len < sizeof(a) || a.rta_len > c->left)
        return -EBADMSG;
    *ret = (struct netlink_attribute){
        .type = a.rta_type & (uint16_t)NLA_TYPE_MASK,
        .data = c->p + RTA_LENGTH(0),
        .len = a.rta_len - RTA_LENGTH(0),
    };
    size_t step = MIN((size_t)RTA_ALIGN(a.rta_len), c->left);
    c->p += step;
    c->left -= step;
    return 1;
}

int netlink_dump_result(const void *payload, size_t len)
{
    int result = 0;

    if (len >= sizeof(result))
        memcpy(&result, payload, sizeof(result));
    return MIN(result, 0);
}
