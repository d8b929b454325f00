/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* Small parsers of what the kernel says: a task's status, a dump of network links. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/macros.h"
#include "checkpoint/policy.h"
#include "sys/netns.h"

#define STATUS                                                                                     \
    "Name:\tx\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\nCapEff:\t0000000000000004\n"  \
    "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000008\nNoNewPrivs:\t1\nSeccomp:\t2\n"

static void test_c13_status_is_read(void **state)
{
    struct policy_status s;
    (void)state;

    assert_int_equal(policy_parse_status(STATUS, &s), 0);
    assert_true(s.no_new_privs);
    assert_int_equal(s.seccomp, 2);
    assert_int_equal(s.inheritable, 1);
    assert_int_equal(s.permitted, 2);
    assert_int_equal(s.effective, 4);
    assert_true(s.bounding == 0x1ffffffffff);
    assert_int_equal(s.ambient, 8);
}

static void test_c13_status_without_a_field_is_refused(void **state)
{
    static const char *const lines[] = {"\nCapInh:", "\nCapPrm:",     "\nCapEff:", "\nCapBnd:",
                                        "\nCapAmb:", "\nNoNewPrivs:", "\nSeccomp:"};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        char text[] = STATUS;
        struct policy_status s;
        char *at = strstr(text, lines[i]);
        assert_non_null(at);
        at[1] = '#';
        assert_int_equal(policy_parse_status(text, &s), -EINVAL);
    }
    struct policy_status s;
    assert_int_equal(policy_parse_status("", &s), -EINVAL);
}

struct packet {
    _Alignas(struct nlmsghdr) char bytes[256];
    size_t len;
};

static struct nlmsghdr *add(struct packet *p, unsigned short type, const void *body, size_t n)
{
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)(p->bytes + p->len);

    h->nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
    h->nlmsg_type = type;
    if (n)
        memcpy(NLMSG_DATA(h), body, n);
    p->len += NLMSG_ALIGN(h->nlmsg_len);
    return h;
}

static void add_link(struct packet *p, unsigned short attribute)
{
    struct {
        struct ifinfomsg i;
        struct rtattr a;
        uint32_t value;
    } body = {.a = {.rta_len = RTA_LENGTH(4), .rta_type = attribute}};

    (void)add(p, RTM_NEWLINK, &body, sizeof(body));
}

static void test_c17_foreign_links_are_found(void **state)
{
    struct packet p = {.len = 0};
    (void)state;

    add_link(&p, IFLA_LINK);
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), 0);
    add_link(&p, IFLA_LINK_NETNSID);
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), 1);

    p = (struct packet){.len = 0};
    (void)add(&p, NLMSG_DONE, NULL, 0);
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -ENODATA);

    struct nlmsgerr err = {.error = -EPERM};
    p = (struct packet){.len = 0};
    (void)add(&p, NLMSG_ERROR, &err, sizeof(err));
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -EPERM);
}

static void test_c17_malformed_links_are_refused(void **state)
{
    struct packet p = {.len = 0};
    (void)state;

    add_link(&p, IFLA_LINK);
    for (size_t n = 1; n < p.len; n++)
        assert_int_equal(sys_netns_parse_links(p.bytes, n), -EBADMSG);

    struct nlmsghdr *h = (struct nlmsghdr *)(void *)p.bytes;
    h->nlmsg_len = 5;
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -EBADMSG);
    h->nlmsg_len = UINT32_MAX;
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -EBADMSG);

    p = (struct packet){.len = 0};
    add_link(&p, IFLA_LINK);
    struct rtattr *a = (struct rtattr *)(void *)(p.bytes + NLMSG_HDRLEN + sizeof(struct ifinfomsg));
    a->rta_len = 3;
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -EBADMSG);
    a->rta_len = 200;
    assert_int_equal(sys_netns_parse_links(p.bytes, p.len), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_c13_status_is_read),
        cmocka_unit_test(test_c13_status_without_a_field_is_refused),
        cmocka_unit_test(test_c17_foreign_links_are_found),
        cmocka_unit_test(test_c17_malformed_links_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
