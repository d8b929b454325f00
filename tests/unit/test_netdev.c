/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/netdev.h"
#include "sys/netlink.h"

/* ---- packets ---- */

/* Grows at its end; aligned as the kernel's answers are. */
struct bytes {
    _Alignas(8) char data[8192];
    size_t n;
};

static void append(struct bytes *b, const void *data, size_t n)
{
    assert_true(b->n + NLMSG_ALIGN(n) <= sizeof(b->data));
    memset(b->data + b->n, 0, NLMSG_ALIGN(n));
    memcpy(b->data + b->n, data, n);
    b->n += NLMSG_ALIGN(n);
}

static size_t begin_message(struct bytes *b, uint16_t type, uint16_t flags, const void *fixed,
                            size_t len)
{
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags};
    size_t at = b->n;

    append(b, &h, sizeof(h));
    append(b, fixed, len);
    return at;
}

static void end_message(struct bytes *b, size_t at)
{
    uint32_t len = (uint32_t)(b->n - at);

    memcpy(b->data + at, &len, sizeof(len));
}

static void attribute(struct bytes *b, uint16_t type, const void *data, size_t len)
{
    struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};
    char both[256];

    memcpy(both, &a, sizeof(a));
    memcpy(both + sizeof(a), data, len);
    append(b, both, sizeof(a) + len);
}

struct address_row {
    uint8_t family, scope;
    uint32_t index, flags;
    const char *address;
};

static void address_message(struct bytes *b, const struct address_row *row, uint16_t flags)
{
    struct ifaddrmsg info = {.ifa_family = row->family,
                             .ifa_prefixlen = 24,
                             .ifa_scope = row->scope,
                             .ifa_index = row->index};
    uint8_t raw[16] = {0};
    size_t at = begin_message(b, RTM_NEWADDR, flags, &info, sizeof(info));

    if (inet_pton(row->family, row->address, raw) == 1)
        attribute(b, IFA_ADDRESS, raw, row->family == AF_INET6 ? 16 : 4);
    attribute(b, IFA_FLAGS, &row->flags, sizeof(row->flags));
    attribute(b, IFA_LABEL, "eth0", 5);
    end_message(b, at);
}

static void done_message(struct bytes *b, uint16_t flags)
{
    int zero = 0;

    end_message(b, begin_message(b, NLMSG_DONE, flags, &zero, sizeof(zero)));
}

static void test_which_addresses_are_kept(void **state)
{
    static const struct address_row rows[] = {
        {AF_INET, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT, "192.0.2.1"},
        {AF_INET, RT_SCOPE_UNIVERSE, 8, IFA_F_PERMANENT, "192.0.2.2"}, /* another device's */
        {AF_INET, RT_SCOPE_UNIVERSE, 7, 0, "192.0.2.3"},               /* by DHCP */
        {AF_INET, RT_SCOPE_HOST, 7, IFA_F_PERMANENT, "127.0.0.2"},
        {AF_INET6, RT_SCOPE_LINK, 7, IFA_F_PERMANENT, "fe80::1"},
        {AF_INET6, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE, "2001:db8::1"},
        {AF_INET6, RT_SCOPE_UNIVERSE, 7, IFA_F_MANAGETEMPADDR, "2001:db8::2"}, /* autoconfigured */
        {AF_PACKET, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT, ""},
    };
    struct netdev_addresses list = {0};
    struct bytes b = {.n = 0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        address_message(&b, &rows[i], NLM_F_MULTI);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), 0);
    b.n = 0;
    done_message(&b, NLM_F_MULTI);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -ENODATA);
    assert_int_equal(list.n, 2);
    assert_false(list.changed);
    assert_int_equal(list.list[0].family, AF_INET);
    assert_int_equal(list.list[0].prefix_len, 24);
    assert_memory_equal(list.list[0].address, "\xc0\0\2\1", 4);
    assert_true(list.list[0].has_address);
    assert_false(list.list[0].has_local);
    assert_int_equal(list.list[1].family, AF_INET6);
    assert_true(list.list[1].flags & IFA_F_NOPREFIXROUTE);
}

static void test_addresses_that_change(void **state)
{
    struct address_row row = {AF_INET, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT, "192.0.2.1"};
    struct netdev_addresses list = {0};
    struct bytes b = {.n = 0};

    (void)state;
    address_message(&b, &row, NLM_F_MULTI | NLM_F_DUMP_INTR);
    done_message(&b, NLM_F_MULTI);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -ENODATA);
    assert_true(list.changed);
    list.changed = false;
    b.n = 0;
    done_message(&b, NLM_F_MULTI | NLM_F_DUMP_INTR);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -ENODATA);
    assert_true(list.changed);
}

static void test_too_many_addresses(void **state)
{
    struct address_row row = {AF_INET, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT, "192.0.2.1"};
    struct netdev_addresses list = {0};
    struct bytes b = {.n = 0};

    (void)state;
    address_message(&b, &row, 0);
    for (int i = 0; i < NETDEV_ADDRESSES_MAX; i++)
        assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), 0);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -E2BIG);
}

static void error_message(struct bytes *b, int error)
{
    struct nlmsgerr err = {.error = error};

    b->n = 0;
    end_message(b, begin_message(b, NLMSG_ERROR, 0, &err, sizeof(err)));
}

static void test_malformed_packets(void **state)
{
    struct netdev_addresses list = {0};
    uint32_t index, flags;
    char name[IFNAMSIZ];
    struct bytes b = {.n = 0};

    (void)state;
    /* Cut anywhere: never more than what is there is read (asan), and never taken for good. */
    struct address_row row = {AF_INET6, RT_SCOPE_UNIVERSE, 7, IFA_F_PERMANENT, "2001:db8::1"};
    address_message(&b, &row, 0);
    for (size_t n = 1; n < b.n; n++) {
        char *cut = mem_dup(b.data, n);
        assert_int_equal(netdev_parse_addresses(cut, n, 7, &list), -EBADMSG);
        assert_int_equal(netdev_parse_link(cut, n, &index, &flags, name), -EBADMSG);
        free(cut);
    }
    assert_int_equal(list.n, 0);
    /* An address of a length that is not its family's. */
    row.family = AF_INET;
    row.address = "192.0.2.1";
    b.n = 0;
    address_message(&b, &row, 0);
    b.data[NLMSG_HDRLEN] = AF_INET6;
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -EBADMSG);

    error_message(&b, -EPERM);
    assert_int_equal(netdev_parse_addresses(b.data, b.n, 7, &list), -EPERM);
    assert_int_equal(netdev_parse_link(b.data, b.n, &index, &flags, name), -EPERM);
    error_message(&b, 5);
    assert_int_equal(netdev_parse_link(b.data, b.n, &index, &flags, name), -EBADMSG);
    error_message(&b, INT32_MIN);
    assert_int_equal(netdev_parse_link(b.data, b.n, &index, &flags, name), -EBADMSG);
    assert_int_equal(netdev_parse_link(b.data, 0, &index, &flags, name), -EBADMSG);
}

static void test_links(void **state)
{
    struct ifinfomsg info = {.ifi_index = 12, .ifi_flags = IFF_UP};
    uint32_t index = 0, flags = 0;
    char name[IFNAMSIZ] = "";
    struct bytes b = {.n = 0};

    (void)state;
    size_t at = begin_message(&b, RTM_NEWLINK, 0, &info, sizeof(info));
    attribute(&b, IFLA_MTU, "\0\0\0", 4);
    attribute(&b, IFLA_IFNAME, "veth7", 6);
    end_message(&b, at);
    assert_int_equal(netdev_parse_link(b.data, b.n, &index, &flags, name), 0);
    assert_int_equal(index, 12);
    assert_int_equal(flags, IFF_UP);
    assert_string_equal(name, "veth7");

    static const char *const bad[] = {"", "a name of 17 bytes"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        b.n = 0;
        at = begin_message(&b, RTM_NEWLINK, 0, &info, sizeof(info));
        attribute(&b, IFLA_IFNAME, bad[i], strlen(bad[i]) + 1);
        end_message(&b, at);
        assert_int_equal(netdev_parse_link(b.data, b.n, &index, &flags, name), -EBADMSG);
    }
}

static void test_a_request_that_is_full(void **state)
{
    const struct ifinfomsg info = {0};
    struct netlink_request q;
    char data[64] = "";
    int n = 0;

    (void)state;
    netlink_begin(&q, RTM_NEWLINK, 0, &info, sizeof(info));
    while (netlink_add(&q, 1, data, sizeof(data)) == 0)
        n++;
    assert_int_equal(n, (sizeof(q.body) - sizeof(info)) / RTA_SPACE(sizeof(data)));
    assert_true(q.h.nlmsg_len <= sizeof(q));
    assert_int_equal(netlink_add(&q, 1, data, SIZE_MAX), -ENOSPC);
}

/* ---- devices, in namespaces of the test's own ---- */

/* A veth, made as ip(8) does; its other end is called `peer`. */
static int make_veth(const char *name, const char *peer)
{
    const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct bytes kind = {.n = 0}, end = {.n = 0}, data = {.n = 0};
    struct netlink_request q;
    int sk = netlink_open();

    append(&end, &info, sizeof(info));
    attribute(&end, IFLA_IFNAME, peer, strlen(peer) + 1);
    attribute(&data, VETH_INFO_PEER, end.data, end.n);
    attribute(&kind, IFLA_INFO_KIND, "veth", 4);
    attribute(&kind, IFLA_INFO_DATA, data.data, data.n);
    netlink_begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    int r = netlink_add(&q, IFLA_IFNAME, name, strlen(name) + 1);
    if (r == 0)
        r = netlink_add(&q, IFLA_LINKINFO, kind.data, kind.n);
    if (r == 0)
        r = netlink_do(sk, &q);
    (void)close(sk);
    return r;
}

static int give_address(const char *name, int family, const char *address, uint8_t prefix,
                        uint32_t lifetime)
{
    struct ifaddrmsg info = {
        .ifa_family = (uint8_t)family, .ifa_prefixlen = prefix, .ifa_index = if_nametoindex(name)};
    struct ifa_cacheinfo life = {.ifa_prefered = lifetime, .ifa_valid = lifetime};
    uint32_t flags = IFA_F_NODAD;
    struct netlink_request q;
    uint8_t raw[16];
    int sk = netlink_open();

    if (inet_pton(family, address, raw) != 1)
        return -EINVAL;
    netlink_begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    size_t len = family == AF_INET6 ? 16 : 4;
    int r = netlink_add(&q, IFA_LOCAL, raw, len);
    if (r == 0)
        r = netlink_add(&q, IFA_ADDRESS, raw, len);
    if (r == 0)
        r = netlink_add(&q, IFA_FLAGS, &flags, sizeof(flags));
    if (r == 0 && lifetime)
        r = netlink_add(&q, IFA_CACHEINFO, &life, sizeof(life));
    if (r == 0)
        r = netlink_do(sk, &q);
    (void)close(sk);
    return r;
}

/* What getifaddrs(3), which knows nothing of the code under test, says of a device in a namespace:
 * "up 192.0.2.1/24", or NULL. Link-local addresses come and go by themselves. */
static char *describe(int netns_fd, const char *name)
{
    struct ifaddrs *all = NULL;
    struct strbuf b = {0};
    bool there = false;

    if (setns(netns_fd, CLONE_NEWNET) < 0 || getifaddrs(&all) < 0)
        _exit(90);
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (strcmp(i->ifa_name, name) != 0)
            continue;
        if (!there)
            strbuf_add(&b, i->ifa_flags & IFF_UP ? "up" : "down");
        there = true;
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6)
            continue;
        const void *raw = family == AF_INET
                              ? (void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr
                              : (void *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
        const uint8_t *mask = family == AF_INET
                                  ? (void *)&((struct sockaddr_in *)i->ifa_netmask)->sin_addr
                                  : (void *)&((struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr;
        char text[INET6_ADDRSTRLEN];
        int prefix = 0;
        for (int k = 0; k < (family == AF_INET ? 4 : 16); k++)
            prefix += __builtin_popcount(mask[k]);
        (void)inet_ntop(family, raw, text, sizeof(text));
        if (!str_after(text, "fe80:"))
            strbuf_addf(&b, " %s/%d", text, prefix);
    }
    freeifaddrs(all);
    return there ? strbuf_take(&b) : NULL;
}

static bool is_described(int netns_fd, const char *name, const char *want)
{
    char *got = describe(netns_fd, name);
    bool same = streq_ptr(got, want);

    if (!same)
        print_error("%s is '%s', not '%s'\n", name, got ? got : "gone", want ? want : "gone");
    free(got);
    return same;
}

struct two {
    int host, container;
};

/* In a process with two new network namespaces, and in the first of them. */
static void in_two_namespaces(int (*test)(const struct two *))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct two t;
        if (unshare(CLONE_NEWNET) < 0)
            _exit(91);
        t.host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (unshare(CLONE_NEWNET) < 0)
            _exit(92);
        t.container = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (setns(t.host, CLONE_NEWNET) < 0)
            _exit(93);
        _exit(test(&t));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("status 0x%x", status);
}

static int moved_and_renamed(const struct two *t)
{
    if (make_veth("veth7", "peer7") < 0)
        return 1;
    if (give_address("veth7", AF_INET, "192.0.2.1", 24, 0) < 0 ||
        give_address("veth7", AF_INET, "192.0.2.77", 32, 0) < 0 ||
        give_address("veth7", AF_INET6, "2001:db8::7", 64, 0) < 0 ||
        give_address("veth7", AF_INET6, "2001:db8::8", 64, 1000) < 0) /* not for ever */
        return 2;
    if (netdev_move("veth7", "eth0", t->container) != 0)
        return 3;
    if (!is_described(t->container, "eth0", "up 192.0.2.1/24 192.0.2.77/32 2001:db8::7/64"))
        return 4;
    if (!is_described(t->container, "veth7", NULL) || !is_described(t->host, "veth7", NULL))
        return 5;
    return is_described(t->host, "peer7", "down") ? 0 : 6;
}

static int moved_as_it_is(const struct two *t)
{
    if (make_veth("veth7", "peer7") < 0)
        return 1;
    if (netdev_move("veth7", NULL, t->container) != 0)
        return 2;
    /* The caller is where it was. */
    if (if_nametoindex("peer7") == 0)
        return 3;
    return is_described(t->container, "veth7", "up") ? 0 : 4;
}

static int named_by_template(const struct two *t)
{
    if (setns(t->container, CLONE_NEWNET) < 0 || make_veth("eth0", "eth1") < 0 ||
        setns(t->host, CLONE_NEWNET) < 0)
        return 1;
    if (make_veth("eth0", "peer7") < 0)
        return 2;
    if (netdev_move("eth0", "eth%d", t->container) != 0)
        return 3;
    return is_described(t->container, "eth2", "up") && is_described(t->container, "eth0", "down")
               ? 0
               : 4;
}

static int name_is_taken(const struct two *t)
{
    if (setns(t->container, CLONE_NEWNET) < 0 || make_veth("eth0", "eth1") < 0 ||
        setns(t->host, CLONE_NEWNET) < 0)
        return 1;
    if (make_veth("eth0", "veth7") < 0 || give_address("eth0", AF_INET, "192.0.2.1", 24, 0) < 0)
        return 2;
    if (netdev_move("eth0", NULL, t->container) != -EEXIST ||
        netdev_move("eth0", "eth1", t->container) != -EEXIST ||
        netdev_move("eth0", "lo", t->container) != -EEXIST)
        return 3;
    return is_described(t->host, "eth0", "down 192.0.2.1/24") ? 0 : 4;
}

static int refused(const struct two *t)
{
    static const char *const names[] = {"",     "a/b", "x:1", ".", "..", "a b", "name-of-16-byte",
                                        "%d%d", "a%s"};

    if (netdev_move("nothing", NULL, t->container) != -ENODEV)
        return 1;
    if (make_veth("veth7", "peer7") < 0)
        return 2;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strlen(names[i]) < IFNAMSIZ - 1 &&
            netdev_move("veth7", names[i], t->container) != -EINVAL)
            return 10 + (int)i;
    if (netdev_move("veth7", "name-of-16-bytes", t->container) != -EINVAL)
        return 3;
    if (netdev_move("lo", "lo7", t->container) != -EINVAL)
        return 4;
    if (netdev_move("veth7", NULL, STDIN_FILENO) >= 0 || netdev_move("veth7", NULL, -1) != -EBADF)
        return 5;
    return is_described(t->host, "veth7", "down") ? 0 : 6;
}

/* IPv6 can be off in a namespace: the address is refused behind the move. */
static int brought_back(const struct two *t)
{
    if (setns(t->container, CLONE_NEWNET) < 0 ||
        file_write_at(AT_FDCWD,
                      "/proc/sys/net/ipv6/conf/default/"
                      "disable_ipv6",
                      "1") < 0 ||
        setns(t->host, CLONE_NEWNET) < 0)
        return 1;
    if (make_veth("veth7", "peer7") < 0 || give_address("veth7", AF_INET, "192.0.2.1", 24, 0) < 0 ||
        give_address("veth7", AF_INET6, "2001:db8::7", 64, 0) < 0)
        return 2;
    if (netdev_move("veth7", "eth0", t->container) >= 0)
        return 3;
    if (!is_described(t->container, "eth0", NULL) || !is_described(t->container, "veth7", NULL))
        return 4;
    return is_described(t->host, "veth7", "down 192.0.2.1/24 2001:db8::7/64") ? 0 : 5;
}

#define LIVE(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        in_two_namespaces(name);                                                                   \
    }
LIVE(moved_and_renamed)
LIVE(moved_as_it_is)
LIVE(named_by_template)
LIVE(name_is_taken)
LIVE(refused)
LIVE(brought_back)

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_which_addresses_are_kept),
        cmocka_unit_test(test_addresses_that_change),
        cmocka_unit_test(test_too_many_addresses),
        cmocka_unit_test(test_malformed_packets),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_a_request_that_is_full),
    };
    const struct CMUnitTest as_root[] = {
        cmocka_unit_test(test_moved_and_renamed), cmocka_unit_test(test_moved_as_it_is),
        cmocka_unit_test(test_named_by_template), cmocka_unit_test(test_name_is_taken),
        cmocka_unit_test(test_refused),           cmocka_unit_test(test_brought_back),
    };

    int failed = cmocka_run_group_tests(plain, NULL, NULL);
    if (geteuid() != 0) {
        print_message("skipped: devices need root\n");
        return failed;
    }
    return failed + cmocka_run_group_tests(as_root, NULL, NULL);
}
