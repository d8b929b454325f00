/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/str.h"
#include "security/security.h"
#include "sys/fs.h"

/* AppArmor profiles and SELinux labels, on a host that may have neither: what is asked of a host,
 * and which file is written to. */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void refuse(const struct temp_dir *d, const struct oci_process *p, enum error_code code,
                   const char *says)
{
    struct error e = {0};

    if (security_check_labels(d->path, p, &e) >= 0)
        fail_msg("accepted, although %s", says);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    error_done(&e);
}

static void accept_labels(const struct temp_dir *d, const struct oci_process *p,
                          const char *apparmor, const char *selinux)
{
    struct security_plan plan = {0};
    struct error e = {0};

    if (security_plan_labels(d->path, p, &plan, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_true(streq_ptr(plan.apparmor_exec, apparmor));
    assert_true(streq_ptr(plan.selinux_label, selinux));
    assert_int_equal(security_needs_proc(&plan), apparmor || selinux);
    security_plan_done(&plan);
}

static void make_dirs(const struct temp_dir *d, const char *path)
{
    char *full = str_printf("%s/%s", d->path, path);

    assert_int_equal(dir_make_parents(full, 0755), 0);
    free(full);
}

static void test_a_host_without_modules(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_process p = {0};

    accept_labels(d, &p, NULL, NULL);
    p.apparmor_profile = text("unconfined");
    accept_labels(d, &p, NULL, NULL);
    p.apparmor_profile = text("web");
    refuse(d, &p, ERROR_UNSUPPORTED, "process.apparmorProfile");
    p = (struct oci_process){.selinux_label = text("system_u:system_r:container_t:s0")};
    refuse(d, &p, ERROR_UNSUPPORTED, "process.selinuxLabel");

    /* Compiled in, and not chosen at boot. */
    make_dirs(d, "module/apparmor/parameters");
    temp_text(d, "module/apparmor/parameters/enabled", "N\n");
    p = (struct oci_process){.apparmor_profile = text("web")};
    refuse(d, &p, ERROR_UNSUPPORTED, "not at work on this host");
    p.apparmor_profile = text("unconfined");
    accept_labels(d, &p, NULL, NULL);
}

static void test_hosts_with_one(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_process p = {.apparmor_profile = text("web//&:ns:other")};

    make_dirs(d, "module/apparmor/parameters");
    temp_text(d, "module/apparmor/parameters/enabled", "Y\n");
    accept_labels(d, &p, "exec web//&:ns:other", NULL);
    p.apparmor_profile = text("unconfined");
    accept_labels(d, &p, "exec unconfined", NULL);

    p.selinux_label = text("a:b:c:s0");
    refuse(d, &p, ERROR_UNSUPPORTED, "SELinux");
    make_dirs(d, "fs/selinux");
    temp_text(d, "fs/selinux/enforce", "1");
    p.apparmor_profile = NULL;
    accept_labels(d, &p, NULL, "a:b:c:s0");
}

static void test_what_is_no_name(void **state)
{
    const struct temp_dir *d = *state;
    struct oci_process p = {.apparmor_profile = text("")};
    char longer[4002];

    refuse(d, &p, ERROR_CONFIG, "process.apparmorProfile");
    p.apparmor_profile = text("web\nexec unconfined");
    refuse(d, &p, ERROR_CONFIG, "control characters");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    p.apparmor_profile = longer;
    refuse(d, &p, ERROR_CONFIG, "4000");
    p = (struct oci_process){.selinux_label = text("\t")};
    refuse(d, &p, ERROR_CONFIG, "process.selinuxLabel");
}

/* ---- where it is written ---- */

static const struct security_plan labelled = {.selinux_label = "user:role:type:s0"};

/* In a mount namespace of its own; the result of `test` there. */
static int apart(int (*test)(const struct temp_dir *), const struct temp_dir *d)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(100);
        _exit(test(d));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The kernel's own file is reached: without SELinux it says EINVAL, and knows of no apparmor/exec.
 * With SELinux it knows no such label. */
static int reaches_the_kernel(const struct temp_dir *d)
{
    enum security_step step = 0;
    int procfd = sys_open_private_proc();

    (void)d;
    if (procfd < 0)
        return 1;
    if (security_apply_labels(&labelled, procfd, &step) != -EINVAL || step != SECURITY_SELINUX)
        return 2;
    step = 0;
    if (security_label_keys(&labelled, procfd, true, &step) != -EINVAL ||
        step != SECURITY_SELINUX_KEYS)
        return 3;
    struct security_plan none = {0};
    if (security_apply_labels(&none, procfd, &step) != 0 ||
        security_label_keys(&none, procfd, true, &step) != 0)
        return 4;
    return 0;
}

/* A directory that looks like a procfs (CVE-2019-16884). */
static int fake_procfs(const struct temp_dir *d)
{
    enum security_step step = 0;
    int r = security_apply_labels(&labelled, d->fd, &step);

    return r == -EXDEV ? 0 : 1;
}

static void test_a_fake_procfs_is_not_written_to(void **state)
{
    const struct temp_dir *d = *state;
    char *content = NULL;

    make_dirs(d, "5/task/5/attr/apparmor");
    temp_text(d, "5/task/5/attr/exec", "untouched");
    assert_int_equal(symlinkat("5/task/5", d->fd, "thread-self"), 0);
    assert_int_equal(apart(fake_procfs, d), 0);
    assert_int_equal(file_read_at(d->fd, "5/task/5/attr/exec", 0, 64, &content, NULL), 0);
    assert_string_equal(content, "untouched");
    free(content);
    assert_int_equal(unlinkat(d->fd, "thread-self", 0), 0);
    /* A link to the real one is no way either. */
    assert_int_equal(symlinkat("/proc/thread-self", d->fd, "thread-self"), 0);
    assert_int_equal(apart(fake_procfs, d), 0);
}

/* Another file mounted over the right one, in the procfs that is used (CVE-2023-28642,
 * CVE-2025-52881). */
static int covered_file(const struct temp_dir *d)
{
    enum security_step step = 0;
    char *other = str_printf("%s/other", d->path);

    if (mount("/proc/self/sched", "/proc/thread-self/attr/exec", NULL, MS_BIND, NULL) < 0)
        return 1;
    int procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (security_apply_labels(&labelled, procfd, &step) != -EXDEV)
        return 2;
    if (umount("/proc/thread-self/attr/exec") < 0 ||
        mount(other, "/proc/thread-self/attr/exec", NULL, MS_BIND, NULL) < 0)
        return 3;
    if (security_apply_labels(&labelled, procfd, &step) != -EXDEV)
        return 4;
    /* The procfs of the runtime's own has nothing over it. */
    int own = sys_open_private_proc();
    return security_apply_labels(&labelled, own, &step) == -EINVAL ? 0 : 5;
}

static void test_a_covered_file_is_not_written_to(void **state)
{
    const struct temp_dir *d = *state;
    char *content = NULL;

    temp_text(d, "other", "untouched");
    assert_int_equal(apart(covered_file, d), 0);
    assert_int_equal(file_read_at(d->fd, "other", 0, 64, &content, NULL), 0);
    assert_string_equal(content, "untouched");
    free(content);
}

static void test_the_kernel_hears_it(void **state)
{
    assert_int_equal(apart(reaches_the_kernel, *state), 0);
}

static void test_words_for_a_failure(void **state)
{
    const struct security_plan plan = {.apparmor_exec = text("exec web"), .selinux_label = "a:b:c"};

    (void)state;
    assert_string_equal(security_step_subject(&plan, SECURITY_APPARMOR), "web");
    assert_string_equal(security_step_subject(&plan, SECURITY_SELINUX), "a:b:c");
    assert_string_equal(security_step_subject(&plan, SECURITY_SELINUX_KEYS), "a:b:c");
    assert_null(security_step_subject(&plan, SECURITY_UID));
    assert_non_null(strstr(security_step_why(SECURITY_APPARMOR, ENOENT), "apparmor_parser"));
    assert_non_null(strstr(security_step_why(SECURITY_SELINUX, EINVAL), "policy"));
    assert_null(security_step_why(SECURITY_APPARMOR, EACCES));
    assert_null(security_step_why(SECURITY_GROUPS, EINVAL));
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        temp_test(test_a_host_without_modules),
        temp_test(test_hosts_with_one),
        temp_test(test_what_is_no_name),
        cmocka_unit_test(test_words_for_a_failure),
    };
    const struct CMUnitTest as_root[] = {
        temp_test(test_the_kernel_hears_it),
        temp_test(test_a_fake_procfs_is_not_written_to),
        temp_test(test_a_covered_file_is_not_written_to),
    };

    int failed = cmocka_run_group_tests(plain, NULL, NULL);
    if (geteuid() != 0) {
        print_message("skipped: mounting needs root\n");
        return failed;
    }
    return failed + cmocka_run_group_tests(as_root, NULL, NULL);
}
