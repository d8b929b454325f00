/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "checkpoint/policy.h"
#include "sys/netlink.h"
#include "sys/netns.h"

#define PACKET_MAX 65536 /* the kernel sends at most 32 KiB (netlink(7)) */
#define STATUS_MAX 65536
#define SETTING_MAX 4096

/* ---- what the kernel tells by netlink ---- */

/* What changes by itself: counters and ages. */
static bool is_volatile(unsigned type, unsigned attribute)
{
    switch (type) {
    case RTM_NEWLINK: /* IFLA_AF_SPEC: the settings that are read below, and counters */
        return attribute == IFLA_STATS || attribute == IFLA_STATS64 || attribute == IFLA_AF_SPEC ||
               attribute == IFLA_CARRIER_CHANGES || attribute == IFLA_CARRIER_UP_COUNT ||
               attribute == IFLA_CARRIER_DOWN_COUNT;
    case RTM_NEWADDR:
        return attribute == IFA_CACHEINFO;
    case RTM_NEWROUTE:
        return attribute == RTA_CACHEINFO;
    default:
        return false;
    }
}

/* One message: its type, its fixed part, its attributes. */
static int add_message(const struct nlmsghdr *h, size_t fixed, struct strbuf *b)
{
    const char *body = (const char *)h + NLMSG_HDRLEN;
    size_t len = h->nlmsg_len - NLMSG_HDRLEN;
    struct rtattr a;

    if (len < fixed)
        return -EBADMSG;
    strbuf_addn(b, (const char *)&h->nlmsg_type, sizeof(h->nlmsg_type));
    strbuf_addn(b, body, fixed);
    for (size_t at = NLMSG_ALIGN(fixed); at < len; at += RTA_ALIGN(a.rta_len)) {
        if (len - at < sizeof(a))
            return -EBADMSG;
        memcpy(&a, body + at, sizeof(a));
        if (a.rta_len < sizeof(a) || a.rta_len > len - at)
            return -EBADMSG;
        if (!is_volatile(h->nlmsg_type, a.rta_type & (unsigned)NLA_TYPE_MASK))
            strbuf_addn(b, body + at, a.rta_len);
    }
    return 0;
}

/* A packet of the answer: 1 at its end, 0 when more follows. */
static int add_packet(const char *p, size_t len, size_t fixed, struct strbuf *b)
{
    while (len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        memcpy(&h, p, sizeof(h));
        if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > len)
            return -EBADMSG;
        /* Something changed in the midst of the answer. */
        if (h.nlmsg_flags & NLM_F_DUMP_INTR)
            return -EAGAIN;
        if (h.nlmsg_type == NLMSG_DONE) {
            int r = netlink_dump_result(p + NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN);
            return r < 0 ? r : 1;
        }
        if (h.nlmsg_type == NLMSG_ERROR) {
            struct nlmsgerr err;
            if (h.nlmsg_len < NLMSG_LENGTH(sizeof(err)))
                return -EBADMSG;
            memcpy(&err, p + NLMSG_HDRLEN, sizeof(err));
            return err.error < 0 ? err.error : -EBADMSG;
        }
        int r = add_message((const struct nlmsghdr *)(const void *)p, fixed, b);
        if (r < 0)
            return r;
        size_t step = MIN((size_t)NLMSG_ALIGN(h.nlmsg_len), len);
        p += step;
        len -= step;
    }
    return len ? -EBADMSG : 0;
}

/* Asks for all of one kind. `fixed` is the size of the fixed part of question and answer, all zero
 * in the question. */
static int add_answer(int sk, unsigned type, size_t fixed, struct strbuf *b)
{
    struct {
        struct nlmsghdr h;
        char body[sizeof(struct ifinfomsg)];
    } request = {
        .h = {.nlmsg_len = (uint32_t)NLMSG_LENGTH(fixed),
              .nlmsg_type = (uint16_t)type,
              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
    };
    _cleanup_free_ char *packet = mem_alloc(PACKET_MAX);

    if (send(sk, &request, request.h.nlmsg_len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t n = recv(sk, packet, PACKET_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = add_packet(packet, (size_t)n, fixed, b);
        if (r != 0)
            return r < 0 ? r : 0;
    }
}

static int add_routing(struct strbuf *b)
{
    static const struct {
        unsigned type;
        size_t fixed;
    } questions[] = {
        {RTM_GETLINK, sizeof(struct ifinfomsg)},
        {RTM_GETADDR, sizeof(struct ifaddrmsg)},
        {RTM_GETROUTE, sizeof(struct rtmsg)},
        {RTM_GETRULE, sizeof(struct fib_rule_hdr)},
    };
    _cleanup_close_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int r = sk < 0 ? -errno : 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(questions); i++)
        r = add_answer(sk, questions[i].type, questions[i].fixed, b);
    return r;
}

/* The tables of nftables. A kernel without it has none. */
static int add_nftables(struct strbuf *b)
{
    _cleanup_close_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    int r = sk < 0 ? -errno
                   : add_answer(sk, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
                                sizeof(struct nfgenmsg), b);
    return r == -EPROTONOSUPPORT || r == -EOPNOTSUPP || r == -EINVAL ? 0 : r;
}

/* ---- what it tells in files ---- */

/* One file: its name and what is in it, or why that can't be read (stable_secret, as long as it is
 * not set, is EIO; an address family that is off has no files). There are hundreds: three system
 * calls each. */
static int add_file(int dirfd, const char *name, struct strbuf *b)
{
    char text[SETTING_MAX];
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

    if (n == (ssize_t)sizeof(text))
        return -EFBIG;
    strbuf_add(b, name);
    strbuf_addf(b, "=%d:", n < 0 ? errno : 0);
    if (n > 0)
        strbuf_addn(b, text, (size_t)n);
    return 0;
}

static int add_directory(const char *path, struct strbuf *b)
{
    _cleanup_closedir_ DIR *d = opendir(path);

    if (!d)
        return errno == ENOENT ? 0 : -errno;
    for (;;) {
        errno = 0;
        const struct dirent *de = readdir(d);
        if (!de)
            return -errno;
        int r = de->d_name[0] == '.' ? 0 : add_file(dirfd(d), de->d_name, b);
        if (r < 0)
            return r;
    }
}

static int add_files(struct strbuf *b)
{
    static const char *const single[] = {
        "/proc/thread-self/net/ip_tables_names",  "/proc/thread-self/net/ip6_tables_names",
        "/proc/thread-self/net/arp_tables_names", "/proc/sys/net/unix/max_dgram_qlen",
        "/proc/sys/net/ipv4/ping_group_range",
    };
    static const char *const which[] = {"all", "default", "lo"};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(single); i++)
        r = add_file(AT_FDCWD, single[i], b);
    for (size_t i = 0; r == 0 && i < 2 * ARRAY_SIZE(which); i++) {
        _cleanup_free_ char *path =
            str_printf("/proc/sys/net/ipv%d/conf/%s", i % 2 ? 6 : 4, which[i / 2]);
        strbuf_add(b, path);
        r = add_directory(path, b);
    }
    return r;
}

static int describe(void *arg)
{
    struct strbuf *b = arg;
    int r = add_routing(b);

    if (r == 0)
        r = add_nftables(b);
    return r < 0 ? r : add_files(b);
}

/* ---- who is in it ---- */

static bool thread_is_in(int tasks, const char *tid, const struct stat *ns)
{
    _cleanup_free_ char *link = str_printf("%s/ns/net", tid);
    _cleanup_free_ char *file = str_printf("%s/status", tid);
    _cleanup_free_ char *text = NULL;
    struct policy_status status;
    struct stat st;

    return fstatat(tasks, link, &st, 0) == 0 && st.st_ino == ns->st_ino &&
           st.st_dev == ns->st_dev && file_read_at(tasks, file, 0, STATUS_MAX, &text, NULL) == 0 &&
           policy_parse_status(text, &status) == 0 &&
           !(status.bounding & (1ull << CAP_SYS_ADMIN | 1ull << CAP_NET_ADMIN));
}

static bool process_is_in(pid_t pid, const struct stat *ns)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/task", (int)pid);
    _cleanup_closedir_ DIR *d = opendir(path);

    if (!d)
        return false;
    for (struct dirent *de; (de = readdir(d));)
        if (de->d_name[0] != '.' && !thread_is_in(dirfd(d), de->d_name, ns))
            return false;
    return true;
}

static bool is_alone(const char *cgroup_path, pid_t pid)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/net", (int)pid);
    _cleanup_free_ pid_t *pids = NULL;
    struct stat ns;
    size_t n;

    if (stat(path, &ns) < 0 || cgroup_pids(cgroup_path, &pids, &n, NULL) < 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!process_is_in(pids[i], &ns))
            return false;
    return true;
}

/* Who is in it first: from then on it stays as it is. */
bool network_is_as_new(const char *cgroup_path, pid_t pid)
{
    _cleanup_strbuf_ struct strbuf now = {0}, as_new = {0};

    return is_alone(cgroup_path, pid) && sys_netns_run(pid, describe, &now) == 0 &&
           sys_netns_run(0, describe, &as_new) == 0 && now.len == as_new.len &&
           memcmp(now.s, as_new.s, now.len) == 0;
}
