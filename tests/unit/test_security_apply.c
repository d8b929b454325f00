/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "security/security.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/* What a child says of itself after it applied a plan. */
struct report {
    int r;
    enum security_step step;
    char status[8192]; /* /proc/self/status, "" when it did not get there */
};

/* Runs security_apply_credentials() in a child. `prepare` (may be NULL) comes before. `exec`: the
 * status is that of a program executed afterwards. */
static struct report *apply_in_child(const struct security_plan *plan, void (*prepare)(void),
                                     bool exec)
{
    struct report *report =
        mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fds[2], status;

    assert_true(report != MAP_FAILED);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prepare)
            prepare();
        report->r = security_apply_credentials(plan, &report->step);
        if (report->r < 0)
            _exit(0);
        if (exec) {
            (void)dup2(fds[1], STDOUT_FILENO);
            (void)execl("/bin/cat", "cat", "/proc/self/status", NULL);
            _exit(127);
        }
        int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        char text[sizeof(report->status)];
        ssize_t n = fd < 0 ? -1 : fd_read_full(fd, text, sizeof(text));
        if (n > 0)
            (void)fd_write_all(fds[1], text, (size_t)n);
        _exit(n > 0 ? 0 : 126);
    }
    (void)close(fds[1]);
    ssize_t n = fd_read_full(fds[0], report->status, sizeof(report->status) - 1);
    (void)close(fds[0]);
    assert_true(n >= 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return report;
}

static void report_free(struct report *r)
{
    (void)munmap(r, sizeof(*r));
}

/* The value behind "Key:\t", newly allocated, without a blank at its end. */
static char *field(const struct report *r, const char *key)
{
    char *start = str_printf("\n%s:\t", key);
    const char *p = strstr(r->status, start);

    if (!p)
        fail_msg("no %s in: %s", key, r->status);
    p += strlen(start);
    size_t n = strcspn(p, "\n");
    while (n > 0 && p[n - 1] == ' ')
        n--;
    free(start);
    return mem_strndup(p, n);
}

static void assert_field(const struct report *r, const char *key, const char *want)
{
    char *got = field(r, key);

    if (!streq(got, want))
        fail_msg("%s is '%s', not '%s'", key, got, want);
    free(got);
}

static void assert_caps(const struct report *r, const char *key, uint64_t want)
{
    char *text = str_printf("%016llx", (unsigned long long)want);

    assert_field(r, key, text);
    free(text);
}

static void assert_ids(const struct report *r, uint32_t uid, uint32_t gid)
{
    char *u = str_printf("%u\t%u\t%u\t%u", uid, uid, uid, uid);
    char *g = str_printf("%u\t%u\t%u\t%u", gid, gid, gid, gid);

    assert_field(r, "Uid", u);
    assert_field(r, "Gid", g);
    free(u);
    free(g);
}

static void assert_done(const struct report *r)
{
    if (r->r < 0)
        fail_msg("%s: %s", security_step_name(r->step), strerror(-r->r));
}

static struct security_plan plan_of(const struct oci_process *p)
{
    struct security_plan plan;
    struct error e = {0};

    if (security_plan(p, NULL, -EBADF, &plan, &e) < 0)
        fail_msg("%s", error_render(&e));
    return plan;
}

#define FEW (BIT(CAP_CHOWN) | BIT(CAP_KILL) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETUID))

static const struct oci_capabilities few = {
    .bounding = FEW,
    .effective = FEW,
    .permitted = FEW,
    .inheritable = FEW,
};

static void test_root_with_few_capabilities(void **state)
{
    struct oci_process p = {.has_capabilities = true, .capabilities = few};
    struct security_plan plan = plan_of(&p);
    struct report *r = apply_in_child(&plan, NULL, false);

    (void)state;
    assert_done(r);
    assert_ids(r, 0, 0);
    assert_field(r, "Groups", "");
    assert_caps(r, "CapBnd", FEW);
    assert_caps(r, "CapPrm", FEW);
    assert_caps(r, "CapEff", FEW);
    assert_caps(r, "CapInh", FEW);
    assert_caps(r, "CapAmb", 0);
    assert_field(r, "NoNewPrivs", "0");
    assert_field(r, "Seccomp", "0");
    report_free(r);

    /* The bounding set is what holds after execve as root. */
    r = apply_in_child(&plan, NULL, true);
    assert_done(r);
    assert_caps(r, "CapBnd", FEW);
    assert_caps(r, "CapPrm", FEW);
    assert_caps(r, "CapEff", FEW);
    report_free(r);
}

static void test_user_keeps_what_it_was_given(void **state)
{
    uint32_t gids[] = {5, 7, 1000};
    struct oci_process p = {
        .uid = 1000,
        .gid = 1001,
        .additional_gids = gids,
        .n_additional_gids = ARRAY_SIZE(gids),
        .has_capabilities = true,
        .capabilities = few,
        .no_new_privileges = true,
    };
    p.capabilities.effective = BIT(CAP_KILL);
    p.capabilities.ambient = BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE);
    struct security_plan plan = plan_of(&p);
    struct report *r = apply_in_child(&plan, NULL, false);

    (void)state;
    assert_done(r);
    assert_ids(r, 1000, 1001);
    assert_field(r, "Groups", "5 7 1000");
    assert_caps(r, "CapBnd", FEW);
    assert_caps(r, "CapPrm", FEW);
    assert_caps(r, "CapEff", BIT(CAP_KILL));
    assert_caps(r, "CapInh", FEW);
    assert_caps(r, "CapAmb", BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE));
    assert_field(r, "NoNewPrivs", "1");
    report_free(r);

    /* Over execve a user keeps the ambient set. */
    r = apply_in_child(&plan, NULL, true);
    assert_done(r);
    assert_ids(r, 1000, 1001);
    assert_caps(r, "CapPrm", BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE));
    assert_caps(r, "CapEff", BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE));
    assert_caps(r, "CapAmb", BIT(CAP_CHOWN) | BIT(CAP_NET_BIND_SERVICE));
    assert_field(r, "NoNewPrivs", "1");
    report_free(r);
}

static void test_no_capabilities_means_none(void **state)
{
    static const uint32_t uids[] = {0, 1000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
        struct oci_process p = {.uid = uids[i], .gid = 4, .no_new_privileges = true};
        p.capabilities = few; /* has_capabilities is false: not looked at */
        struct security_plan plan = plan_of(&p);
        struct report *r = apply_in_child(&plan, NULL, i == 1);
        assert_done(r);
        assert_ids(r, uids[i], 4);
        assert_caps(r, "CapBnd", 0);
        assert_caps(r, "CapPrm", 0);
        assert_caps(r, "CapEff", 0);
        assert_caps(r, "CapInh", 0);
        assert_caps(r, "CapAmb", 0);
        report_free(r);
    }
}

static void give_groups(void)
{
    gid_t gids[] = {20, 21};
    if (setgroups(2, gids) < 0)
        _exit(125);
}

static void test_groups_are_left_where_the_caller_says(void **state)
{
    struct oci_process p = {.uid = 1000, .gid = 1000};
    struct security_plan plan = plan_of(&p);

    (void)state;
    assert_true(plan.set_groups);
    struct report *r = apply_in_child(&plan, give_groups, false);
    assert_done(r);
    assert_field(r, "Groups", "");
    report_free(r);

    plan.set_groups = false;
    r = apply_in_child(&plan, give_groups, false);
    assert_done(r);
    assert_field(r, "Groups", "20 21");
    report_free(r);
}

/* A new user namespace, root inside, without the right to setgroups(2). */
static void enter_userns(void)
{
    if (syscall(SYS_unshare, CLONE_NEWUSER) < 0 ||
        file_write_at(AT_FDCWD, "/proc/self/setgroups", "deny") < 0 ||
        file_write_at(AT_FDCWD, "/proc/self/uid_map", "0 0 1") < 0 ||
        file_write_at(AT_FDCWD, "/proc/self/gid_map", "0 0 1") < 0)
        _exit(125);
}

static void test_in_a_user_namespace(void **state)
{
    struct oci_process p = {.has_capabilities = true, .capabilities = few};
    p.capabilities.ambient = BIT(CAP_KILL);
    struct security_plan plan = plan_of(&p);

    (void)state;
    plan.set_groups = false;
    struct report *r = apply_in_child(&plan, enter_userns, false);
    assert_done(r);
    assert_caps(r, "CapBnd", FEW);
    assert_caps(r, "CapPrm", FEW);
    assert_caps(r, "CapAmb", BIT(CAP_KILL));
    report_free(r);

    plan.set_groups = true;
    r = apply_in_child(&plan, enter_userns, false);
    assert_int_equal(r->r, -EPERM);
    assert_int_equal(r->step, SECURITY_GROUPS);
    report_free(r);
}

static void drop_to(uint64_t caps)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {
        {.effective = (uint32_t)caps, .permitted = (uint32_t)caps},
        {.effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32)},
    };
    if (syscall(SYS_capset, &h, d) < 0)
        _exit(125);
}

static void drop_all(void)
{
    drop_to(0);
}

static void drop_all_but_setpcap(void)
{
    drop_to(BIT(CAP_SETPCAP));
}

static void drop_setuid(void)
{
    drop_to(BIT(CAP_SETPCAP) | BIT(CAP_SETGID));
}

static void drop_few(void)
{
    drop_to(BIT(CAP_SETPCAP) | BIT(CAP_SETGID) | BIT(CAP_SETUID));
}

static void test_failures_name_their_step(void **state)
{
    static const struct {
        void (*prepare)(void);
        enum security_step step;
    } rows[] = {
        {drop_all, SECURITY_BOUNDING},
        {drop_all_but_setpcap, SECURITY_GROUPS},
        {drop_setuid, SECURITY_UID},
        {drop_few, SECURITY_CAPSET},
    };
    struct oci_process p = {
        .uid = 1000, .gid = 1000, .has_capabilities = true, .capabilities = few};
    struct security_plan plan = plan_of(&p);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct report *r = apply_in_child(&plan, rows[i].prepare, false);
        if (r->r != -EPERM || r->step != rows[i].step)
            fail_msg("row %zu: %d at '%s'", i, r->r, security_step_name(r->step));
        report_free(r);
    }
    for (int step = SECURITY_BOUNDING; step <= SECURITY_SELINUX_KEYS; step++)
        assert_true(strlen(security_step_name((enum security_step)step)) > 5);
}

/* --- planning, which needs no rights --------------------------------------------------------- */

static void test_plan_leaves_out_what_cannot_be_granted(void **state)
{
    static const struct {
        struct oci_capabilities asked, got;
    } rows[] = {
        /* the kernel does not know it */
        {{.bounding = BIT(62) | BIT(CAP_KILL)}, {.bounding = BIT(CAP_KILL)}},
        /* effective without permitted */
        {{.effective = BIT(CAP_KILL), .permitted = BIT(CAP_CHOWN)}, {.permitted = BIT(CAP_CHOWN)}},
        /* ambient without permitted, without inheritable, without both; as buildah has it */
        {{.bounding = BIT(CAP_KILL), .permitted = BIT(CAP_KILL), .ambient = BIT(CAP_KILL)},
         {.bounding = BIT(CAP_KILL), .permitted = BIT(CAP_KILL)}},
        {{.bounding = BIT(CAP_KILL), .inheritable = BIT(CAP_KILL), .ambient = BIT(CAP_KILL)},
         {.bounding = BIT(CAP_KILL), .inheritable = BIT(CAP_KILL)}},
        /* inheritable beyond bounding, and what is ambient with it */
        {{.permitted = BIT(CAP_KILL), .inheritable = BIT(CAP_KILL), .ambient = BIT(CAP_KILL)},
         {.permitted = BIT(CAP_KILL)}},
        /* nothing to leave out */
        {{.bounding = BIT(CAP_KILL),
          .permitted = BIT(CAP_KILL),
          .effective = BIT(CAP_KILL),
          .inheritable = BIT(CAP_KILL),
          .ambient = BIT(CAP_KILL)},
         {.bounding = BIT(CAP_KILL),
          .permitted = BIT(CAP_KILL),
          .effective = BIT(CAP_KILL),
          .inheritable = BIT(CAP_KILL),
          .ambient = BIT(CAP_KILL)}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_process p = {.has_capabilities = true, .capabilities = rows[i].asked};
        struct security_plan plan;
        assert_int_equal(security_plan(&p, NULL, -EBADF, &plan, NULL), 0);
        if (memcmp(&plan.caps, &rows[i].got, sizeof(plan.caps)) != 0)
            fail_msg("row %zu: not what was expected", i);
        security_plan_done(&plan);
    }
}

static void test_plan_grants_no_more_than_the_runtime_has(void **state)
{
    uint64_t own = capability_own(UINT64_MAX);
    struct oci_capabilities all = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct security_plan plan = {.caps = all}, kept = {.caps = all};

    (void)state;
    security_plan_grant(&plan, false);
    assert_true(plan.caps.bounding == own && plan.caps.permitted == own &&
                plan.caps.ambient == own);
    security_plan_grant(&kept, true);
    assert_true(kept.caps.effective == UINT64_MAX);
}

static void test_capability_names(void **state)
{
    char *text = NULL;

    (void)state;
    assert_int_equal(capability_parse("CAP_CHOWN"), 0);
    assert_int_equal(capability_parse("CAP_CHECKPOINT_RESTORE"), 40);
    assert_int_equal(capability_parse("CAP_NONE_SUCH"), -EINVAL);
    assert_string_equal(capability_name(21), "CAP_SYS_ADMIN");
    assert_null(capability_name(63));
    assert_null(capability_name(-1));

    if (file_read_at(AT_FDCWD, "/proc/sys/kernel/cap_last_cap", 0, 16, &text, NULL) == 0)
        assert_int_equal(capability_last(), atoi(text));
    free(text);
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_plan_leaves_out_what_cannot_be_granted),
        cmocka_unit_test(test_plan_grants_no_more_than_the_runtime_has),
        cmocka_unit_test(test_capability_names),
    };
    const struct CMUnitTest as_root[] = {
        cmocka_unit_test(test_root_with_few_capabilities),
        cmocka_unit_test(test_user_keeps_what_it_was_given),
        cmocka_unit_test(test_no_capabilities_means_none),
        cmocka_unit_test(test_groups_are_left_where_the_caller_says),
        cmocka_unit_test(test_in_a_user_namespace),
        cmocka_unit_test(test_failures_name_their_step),
    };

    int failed = cmocka_run_group_tests(plain, NULL, NULL);
    if (geteuid() != 0) {
        print_message("skipped: applying needs root\n");
        return failed;
    }
    return failed + cmocka_run_group_tests(as_root, NULL, NULL);
}
