/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "sys/netlink.h"

/* Addresses that change while they are listed make the kernel say so (NLM_F_DUMP_INTR). */
#define DUMP_TRIES 10
/* What a user can have asked for; the rest is the kernel's own account of an address. */
#define KEPT_FLAGS                                                                                 \
    (IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE |                \
     IFA_F_MCAUTOJOIN)
/* The numbers that a "%d" in a name is tried with. */
#define NAMES_MAX 10000

/* The kernel sends at most 32 KiB a packet (rtnl_dump), and of one device far less. */
union packet {
    char bytes[32768];
    struct nlmsghdr align;
};

struct link {
    uint32_t index, flags;
    char name[IFNAMSIZ];
};

/* ---- what the kernel answers ---- */

int netdev_parse_link(const void *data, size_t len, uint32_t *ret_index, uint32_t *ret_flags,
                      char ret_name[IFNAMSIZ])
{
    struct netlink_cursor packet = {data, len};
    struct netlink_message m;
    struct netlink_attribute a;
    struct ifinfomsg info;

    int r = netlink_next(&packet, &m);
    if (r < 0)
        return r;
    if (r == 0 || m.type != RTM_NEWLINK)
        return -EBADMSG;
    struct netlink_cursor c = {m.data, m.len};
    r = netlink_skip(&c, sizeof(info));
    if (r < 0)
        return r;
    memcpy(&info, m.data, sizeof(info));
    while ((r = netlink_next_attribute(&c, &a)) > 0) {
        if (a.type != IFLA_IFNAME)
            continue;
        size_t n = strnlen(a.data, a.len);
        if (n == 0 || n >= IFNAMSIZ)
            return -EBADMSG;
        memcpy(ret_name, a.data, n);
        ret_name[n] = '\0';
        *ret_index = (uint32_t)info.ifi_index;
        *ret_flags = info.ifi_flags;
        return info.ifi_index > 0 ? 0 : -EBADMSG;
    }
    return r < 0 ? r : -EBADMSG;
}

static bool take_bytes(const struct netlink_attribute *a, uint8_t family, uint8_t ret[16])
{
    size_t want = family == AF_INET6 ? 16 : 4;

    if (a->len != want)
        return false;
    memcpy(ret, a->data, want);
    return true;
}

/* One attribute of an address; -EBADMSG. */
static int take_attribute(const struct netlink_attribute *a, struct netdev_address *ret)
{
    switch (a->type) {
    case IFA_ADDRESS:
        ret->has_address = true;
        return take_bytes(a, ret->family, ret->address) ? 0 : -EBADMSG;
    case IFA_LOCAL:
        ret->has_local = true;
        return take_bytes(a, ret->family, ret->local) ? 0 : -EBADMSG;
    case IFA_BROADCAST:
        ret->has_broadcast = true;
        return take_bytes(a, ret->family, ret->broadcast) ? 0 : -EBADMSG;
    case IFA_FLAGS:
        if (a->len != sizeof(ret->flags))
            return -EBADMSG;
        memcpy(&ret->flags, a->data, sizeof(ret->flags));
        return 0;
    default:
        return 0;
    }
}

/* 1 with an address to keep, 0 for another one. */
static int parse_address(const struct netlink_message *m, uint32_t index,
                         struct netdev_address *ret)
{
    struct netlink_cursor c = {m->data, m->len};
    struct netlink_attribute a;
    struct ifaddrmsg info;

    int r = netlink_skip(&c, sizeof(info));
    if (r < 0)
        return r;
    memcpy(&info, m->data, sizeof(info));
    if (info.ifa_index != index || (info.ifa_family != AF_INET && info.ifa_family != AF_INET6))
        return 0;
    *ret = (struct netdev_address){
        .family = info.ifa_family,
        .prefix_len = info.ifa_prefixlen,
        .flags = info.ifa_flags,
    };
    while ((r = netlink_next_attribute(&c, &a)) > 0) {
        int bad = take_attribute(&a, ret);
        if (bad < 0)
            return bad;
    }
    if (r < 0)
        return r;
    if (!ret->has_address && !ret->has_local)
        return -EBADMSG;
    return (ret->flags & IFA_F_PERMANENT) && info.ifa_scope == RT_SCOPE_UNIVERSE;
}

int netdev_parse_addresses(const void *data, size_t len, uint32_t index,
                           struct netdev_addresses *list)
{
    struct netlink_cursor packet = {data, len};
    struct netlink_message m = {0};
    int r;

    while ((r = netlink_next(&packet, &m)) > 0) {
        struct netdev_address a;
        list->changed = list->changed || (m.flags & NLM_F_DUMP_INTR);
        if (m.type != RTM_NEWADDR)
            continue;
        int keep = parse_address(&m, index, &a);
        if (keep < 0)
            return keep;
        if (keep == 0)
            continue;
        if (list->n == NETDEV_ADDRESSES_MAX)
            return -E2BIG;
        list->list[list->n++] = a;
    }
    if (r == -ENODATA && (m.flags & NLM_F_DUMP_INTR))
        list->changed = true;
    return r;
}

/* ---- what is asked of it ---- */

static int find_link(int sk, const char *name, struct link *ret)
{
    const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    /* Counters of devices make the answer long. */
    const uint32_t mask = RTEXT_FILTER_SKIP_STATS;
    struct netlink_request q;
    union packet answer;

    netlink_begin(&q, RTM_GETLINK, 0, &info, sizeof(info));
    int r = netlink_add(&q, IFLA_IFNAME, name, strlen(name) + 1);
    if (r == 0)
        r = netlink_add(&q, IFLA_EXT_MASK, &mask, sizeof(mask));
    if (r == 0)
        r = netlink_send(sk, &q);
    if (r < 0)
        return r;
    ssize_t n = netlink_receive(sk, answer.bytes, sizeof(answer.bytes));
    if (n < 0)
        return (int)n;
    return netdev_parse_link(answer.bytes, (size_t)n, &ret->index, &ret->flags, ret->name);
}

static int list_addresses_once(int sk, uint32_t index, struct netdev_addresses *list)
{
    const struct ifaddrmsg info = {.ifa_family = AF_UNSPEC};
    struct netlink_request q;
    union packet answer;

    list->n = 0;
    list->changed = false;
    netlink_begin(&q, RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info));
    int r = netlink_send(sk, &q);
    while (r == 0) {
        ssize_t n = netlink_receive(sk, answer.bytes, sizeof(answer.bytes));
        if (n < 0)
            return (int)n;
        /* To its end, or its rest would be taken for the next answer. */
        r = netdev_parse_addresses(answer.bytes, (size_t)n, index, list);
    }
    if (r != -ENODATA)
        return r;
    return list->changed ? -EAGAIN : 0;
}

static int list_addresses(int sk, uint32_t index, struct netdev_addresses *list)
{
    int r = -EAGAIN;

    for (int i = 0; r == -EAGAIN && i < DUMP_TRIES; i++)
        r = list_addresses_once(sk, index, list);
    return r;
}

static int move_link(int sk, uint32_t index, int netns_fd, const char *name)
{
    const struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
    const uint32_t fd = (uint32_t)netns_fd;
    struct netlink_request q;

    netlink_begin(&q, RTM_SETLINK, 0, &info, sizeof(info));
    int r = netlink_add(&q, IFLA_NET_NS_FD, &fd, sizeof(fd));
    if (r == 0)
        r = netlink_add(&q, IFLA_IFNAME, name, strlen(name) + 1);
    return r < 0 ? r : netlink_do(sk, &q);
}

static int link_up(int sk, uint32_t index)
{
    const struct ifinfomsg info = {
        .ifi_family = AF_UNSPEC,
        .ifi_index = (int)index,
        .ifi_flags = IFF_UP,
        .ifi_change = IFF_UP,
    };
    struct netlink_request q;

    netlink_begin(&q, RTM_SETLINK, 0, &info, sizeof(info));
    return netlink_do(sk, &q);
}

static int add_address(int sk, uint32_t index, const struct netdev_address *a)
{
    const struct ifaddrmsg info = {
        .ifa_family = a->family,
        .ifa_prefixlen = a->prefix_len,
        .ifa_scope = RT_SCOPE_UNIVERSE,
        .ifa_index = index,
    };
    const uint32_t flags = a->flags & KEPT_FLAGS;
    const size_t len = a->family == AF_INET6 ? 16 : 4;
    struct netlink_request q;

    netlink_begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    int r = netlink_add(&q, IFA_FLAGS, &flags, sizeof(flags));
    if (r == 0 && a->has_address)
        r = netlink_add(&q, IFA_ADDRESS, a->address, len);
    if (r == 0 && a->has_local)
        r = netlink_add(&q, IFA_LOCAL, a->local, len);
    if (r == 0 && a->has_broadcast)
        r = netlink_add(&q, IFA_BROADCAST, a->broadcast, len);
    return r < 0 ? r : netlink_do(sk, &q);
}

/* ---- the move ---- */

struct move {
    int here, there;      /* sockets */
    int own_ns, netns_fd; /* namespaces */
    struct link link;     /* as it was */
    struct netdev_addresses addresses;
    char name[IFNAMSIZ]; /* over there */
};

static void move_done(struct move *m)
{
    fd_close(m->here);
    fd_close(m->there);
    fd_close(m->own_ns);
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < IFNAMSIZ && strcspn(name, "/: \t\n") == n && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* A number for "%d" that is free over there; a name without is only looked for. */
static int choose_name(struct move *m, const char *wanted)
{
    const char *percent = strstr(wanted, "%d");
    struct link there;

    for (int i = 0; i < NAMES_MAX; i++) {
        int n = percent ? snprintf(m->name, sizeof(m->name), "%.*s%d%s", (int)(percent - wanted),
                                   wanted, i, percent + 2)
                        : snprintf(m->name, sizeof(m->name), "%s", wanted);
        if (n < 0 || (size_t)n >= sizeof(m->name) || strchr(m->name, '%') || !is_name(m->name))
            return -EINVAL;
        int r = find_link(m->there, m->name, &there);
        if (r == -ENODEV)
            return 0;
        if (r < 0)
            return r;
        if (!percent)
            break;
    }
    return -EEXIST;
}

static int prepare(struct move *m, const char *host_name, const char *name)
{
    if (!is_name(host_name))
        return -EINVAL;
    m->own_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (m->own_ns < 0)
        return -errno;
    m->here = netlink_open();
    if (m->here < 0)
        return m->here;
    int r = find_link(m->here, host_name, &m->link);
    if (r < 0)
        return r;
    r = list_addresses(m->here, m->link.index, &m->addresses);
    if (r < 0)
        return r;
    m->there = netlink_open_in(m->netns_fd);
    if (m->there < 0)
        return m->there;
    return choose_name(m, name ? name : host_name);
}

static int set_up(int sk, const struct move *m, const char *name, bool up)
{
    struct link link;
    int r = find_link(sk, name, &link);

    for (size_t i = 0; r == 0 && i < m->addresses.n; i++)
        r = add_address(sk, link.index, &m->addresses.list[i]);
    return r == 0 && up ? link_up(sk, link.index) : r;
}

/* The kernel moves first and renames then, so that a device whose move failed may be over there, by
 * its old name. What fails on the way back there is nobody left to tell. */
static void bring_back(const struct move *m)
{
    struct link link;

    if (find_link(m->here, m->link.name, &link) == 0)
        return;
    if (find_link(m->there, m->name, &link) < 0 && find_link(m->there, m->link.name, &link) < 0)
        return;
    if (move_link(m->there, link.index, m->own_ns, m->link.name) == 0)
        (void)set_up(m->here, m, m->link.name, m->link.flags & IFF_UP);
}

int netdev_move(const char *host_name, const char *name, int netns_fd)
{
    _cleanup_(move_done) struct move m = {
        .here = -EBADF, .there = -EBADF, .own_ns = -EBADF, .netns_fd = netns_fd};
    int r = prepare(&m, host_name, name);

    if (r < 0)
        return r;
    r = move_link(m.here, m.link.index, netns_fd, m.name);
    if (r == 0)
        r = set_up(m.there, &m, m.name, true);
    if (r < 0)
        bring_back(&m);
    return r;
}
