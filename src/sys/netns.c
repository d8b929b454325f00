/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/netlink.h"
#include "sys/process.h"

static int enter(pid_t pid)
{
    char path[64];

    if (pid == 0)
        return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    _cleanup_close_ int other = open(path, O_RDONLY | O_CLOEXEC);
    return other < 0 || setns(other, CLONE_NEWNET) < 0 ? -errno : 0;
}

int sys_netns_run(pid_t pid, int (*work)(void *arg), void *arg)
{
    _cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    int r = enter(pid);
    if (r < 0)
        return r;
    if (pid == 0)
        r = sys_loopback_up();
    if (r == 0)
        r = work(arg);
    /* Everything that follows would happen in the wrong place. */
    if (setns(own, CLONE_NEWNET) < 0)
        abort();
    return r;
}

/* A socket keeps the namespace it was made in. */
static int open_route_socket(void *arg)
{
    (void)arg;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return fd < 0 ? -errno : fd;
}

static int parse_link(const struct nlmsghdr *h)
{
    size_t skip = NLMSG_ALIGN(sizeof(struct ifinfomsg));
    size_t left = h->nlmsg_len - NLMSG_HDRLEN;

    if (left < skip)
        return -EBADMSG;
    const char *p = (const char *)NLMSG_DATA(h) + skip;
    left -= skip;
    while (left >= sizeof(struct rtattr)) {
        struct rtattr a;
        memcpy(&a, p, sizeof(a));
        if (a.rta_len < sizeof(a) || a.rta_len > left)
            return -EBADMSG;
        if ((a.rta_type & NLA_TYPE_MASK) == IFLA_LINK_NETNSID)
            return 1;
        size_t step = MIN(RTA_ALIGN(a.rta_len), left);
        p += step;
        left -= step;
    }
    return 0;
}

int sys_netns_parse_links(const void *data, size_t len)
{
    const char *p = data;

    while (len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        memcpy(&h, p, sizeof(h));
        if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > len)
            return -EBADMSG;
        if (h.nlmsg_type == NLMSG_DONE) {
            int r = netlink_dump_result(p + NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN);
            return r < 0 ? r : -ENODATA;
        }
        if (h.nlmsg_type == NLMSG_ERROR) {
            struct nlmsgerr err;
            if (h.nlmsg_len < NLMSG_LENGTH(sizeof(err)))
                return -EBADMSG;
            memcpy(&err, p + NLMSG_HDRLEN, sizeof(err));
            return err.error < 0 ? err.error : -EBADMSG;
        }
        if (h.nlmsg_type == RTM_NEWLINK) {
            int r = parse_link((const struct nlmsghdr *)(const void *)p);
            if (r != 0)
                return r;
        }
        size_t step = MIN((size_t)NLMSG_ALIGN(h.nlmsg_len), len);
        p += step;
        len -= step;
    }
    return len ? -EBADMSG : 0;
}

int sys_netns_has_foreign_link(pid_t pid, bool *ret)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg i;
    } request = {
        .h = {.nlmsg_len = sizeof(request),
              .nlmsg_type = RTM_GETLINK,
              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .i = {.ifi_family = AF_UNSPEC},
    };
    /* The kernel sends at most 32 KiB a packet (netlink(7), rtnl_dump). */
    static union {
        char bytes[65536];
        struct nlmsghdr align;
    } answer;

    _cleanup_close_ int sk = sys_netns_run(pid, open_route_socket, NULL);
    if (sk < 0)
        return sk;
    if (send(sk, &request, sizeof(request), 0) < 0)
        return -errno;
    for (;;) {
        ssize_t n = recv(sk, answer.bytes, sizeof(answer.bytes), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = sys_netns_parse_links(answer.bytes, (size_t)n);
        if (r == 0)
            continue;
        if (r < 0 && r != -ENODATA)
            return r;
        *ret = r == 1;
        return 0;
    }
}

static int loopback_up(void *arg)
{
    (void)arg;
    return sys_loopback_up();
}

int sys_netns_loopback_up(pid_t pid)
{
    return sys_netns_run(pid, loopback_up, NULL);
}
