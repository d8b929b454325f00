/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "sys/process.h"

/* Real processes in a real hierarchy: everything lies below nucleus-test-PID in the host's own
 * cgroup2 mount, which is what `host.mount` says here, so that nothing above it can be touched. */

static struct cgroup_host host;
static volatile uint64_t *counters; /* shared with the children */
#define N_COUNTERS 64
#define TIMEOUT_MS 10000

static char *below(const char *name)
{
    return path_join(host.mount, name);
}

static int open_cgroup(const char *name)
{
    struct error e = {0};
    char *path = below(name);
    int fd = -1;

    if (cgroup_create(&host, path, &fd, &e) < 0)
        fail_msg("%s", error_render(&e));
    free(path);
    return fd;
}

/* Counts in its slot until it is killed. */
static pid_t spawn_counter(int cgroup_fd, size_t slot)
{
    int pidfd = -1;
    pid_t pid = sys_clone3(0, cgroup_fd, &pidfd);

    assert_true(pid >= 0);
    if (pid == 0)
        for (;;)
            counters[slot]++;
    (void)close(pidfd);
    return pid;
}

static pid_t spawn_sleeper(int cgroup_fd)
{
    int pidfd = -1;
    pid_t pid = sys_clone3(0, cgroup_fd, &pidfd);

    assert_true(pid >= 0);
    if (pid == 0)
        for (;;)
            (void)pause();
    (void)close(pidfd);
    return pid;
}

static int reap(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void wait_until_counts(size_t slot)
{
    uint64_t before = counters[slot];

    for (int i = 0; i < 5000 && counters[slot] == before; i++)
        (void)poll(NULL, 0, 1);
    assert_true(counters[slot] != before);
}

static void remove_all(const char *name)
{
    struct error e = {0};
    char *path = below(name);

    if (cgroup_remove(&host, path, true, TIMEOUT_MS, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_int_equal(access(path, F_OK), -1);
    free(path);
}

/* --- creating ------------------------------------------------------------------------------- */

static void test_create_makes_parents_and_takes_over_what_is_empty(void **state)
{
    char *path = below("a/b/c");
    struct error e = {0};
    char *text = NULL;
    int fd = -1;

    (void)state;
    fd_close(open_cgroup("a/b/c"));
    assert_int_equal(cgroup_freeze(path, true, TIMEOUT_MS, &e), 0);
    /* Left over, frozen: a process put there has to run. */
    fd = open_cgroup("a/b/c");
    assert_int_equal(file_read_at(fd, "cgroup.freeze", 0, 16, &text, NULL), 0);
    assert_string_equal(text, "0\n");
    free(text);

    pid_t pid = spawn_sleeper(fd);
    int other = -1;
    char number[16];
    assert_int_equal(cgroup_create(&host, path, &other, &e), -EEXIST);
    assert_int_equal(e.code, ERROR_EXISTS);
    (void)snprintf(number, sizeof(number), "(%d)", (int)pid);
    assert_error_says(&e, number);
    error_done(&e);
    /* Processes below count as well. */
    char *parent = below("a");
    assert_int_equal(cgroup_create(&host, parent, &other, &e), -EEXIST);
    error_done(&e);
    free(parent);

    (void)close(fd);
    remove_all("a");
    assert_int_equal(reap(pid), SIGKILL);
    free(path);
}

static void test_create_outside_of_the_mount_is_refused(void **state)
{
    struct error e = {0};
    int fd = -1;
    char *up = path_join(host.mount, "../nucleus-test-escape");

    (void)state;
    assert_int_equal(cgroup_create(&host, "/tmp/x", &fd, &e), -EINVAL);
    assert_int_equal(cgroup_create(&host, host.mount, &fd, &e), -EINVAL);
    assert_int_equal(cgroup_create(&host, up, &fd, &e), -EINVAL);
    assert_int_equal(cgroup_remove(&host, "/tmp", false, 0, &e), -EINVAL);
    error_done(&e);
    free(up);
}

/* Two that come and go in /nucleus: each removal takes the parent away when it was the last. */
static int come_and_go(const char *name)
{
    char *path = below(name);
    struct error e = {0};
    int r = 0;

    for (int i = 0; i < 300 && r == 0; i++) {
        int fd = -1;
        r = cgroup_create(&host, path, &fd, &e);
        if (r == 0) {
            (void)close(fd);
            r = cgroup_remove(&host, path, false, TIMEOUT_MS, &e);
        }
    }
    if (r < 0)
        print_message("%s\n", error_render(&e));
    free(path);
    return r;
}

static void test_create_survives_parents_that_vanish(void **state)
{
    (void)state;
    pid_t other = fork();
    assert_true(other >= 0);
    if (other == 0)
        _exit(come_and_go("nucleus/x") < 0);
    int r = come_and_go("nucleus/y");
    assert_int_equal(reap(other), 0);
    assert_int_equal(r, 0);
    char *parent = below("nucleus");
    assert_int_equal(access(parent, F_OK), -1);
    free(parent);
}

/* --- freezing ------------------------------------------------------------------------------- */

static void test_freeze_stops_and_thaw_resumes(void **state)
{
    char *path = below("frozen");
    struct error e = {0};
    int fd = open_cgroup("frozen");
    pid_t pid = spawn_counter(fd, 0);

    (void)state;
    wait_until_counts(0);
    assert_false(cgroup_is_frozen(path));
    assert_true(cgroup_is_populated(path));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cgroup_freeze(path, true, TIMEOUT_MS, &e), 0);
        assert_true(cgroup_is_frozen(path));
        uint64_t before = counters[0];
        (void)poll(NULL, 0, 20);
        assert_true(counters[0] == before);
        /* Twice is fine. */
        assert_int_equal(cgroup_freeze(path, true, 0, &e), 0);

        assert_int_equal(cgroup_freeze(path, false, TIMEOUT_MS, &e), 0);
        assert_false(cgroup_is_frozen(path));
        wait_until_counts(0);
    }
    (void)close(fd);
    remove_all("frozen");
    assert_int_equal(reap(pid), SIGKILL);
    free(path);
}

static void test_freeze_that_times_out_is_undone(void **state)
{
    char *path = below("slow");
    struct error e = {0};
    int fd = open_cgroup("slow"), r = 0;
    pid_t pids[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = spawn_counter(fd, i);
    /* More of them than processors: without any time some have not even been scheduled. */
    for (int i = 0; i < 50 && r == 0; i++) {
        r = cgroup_freeze(path, true, 0, &e);
        if (r == 0)
            assert_int_equal(cgroup_freeze(path, false, TIMEOUT_MS, &e), 0);
    }
    assert_int_equal(r, -ETIMEDOUT);
    assert_int_equal(e.code, ERROR_CGROUP);
    assert_error_says(&e, "16 processes");
    assert_false(cgroup_is_frozen(path));
    wait_until_counts(3);
    error_done(&e);
    (void)close(fd);
    remove_all("slow");
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        assert_int_equal(reap(pids[i]), SIGKILL);
    free(path);
}

static void test_thaw_names_a_frozen_parent(void **state)
{
    char *parent = below("p"), *path = below("p/c");
    struct error e = {0};
    int fd = open_cgroup("p/c");
    pid_t pid = spawn_counter(fd, 0);

    (void)state;
    assert_int_equal(cgroup_freeze(parent, true, TIMEOUT_MS, &e), 0);
    assert_true(cgroup_is_frozen(path));
    assert_int_equal(cgroup_freeze(path, false, 50, &e), -ETIMEDOUT);
    assert_error_says(&e, parent);
    error_done(&e);
    (void)close(fd);
    remove_all("p");
    assert_int_equal(reap(pid), SIGKILL);
    free(parent);
    free(path);
}

static void test_freeze_of_a_missing_cgroup(void **state)
{
    char *path = below("none");
    struct error e = {0};

    (void)state;
    assert_int_equal(cgroup_freeze(path, true, 0, &e), -ENOENT);
    assert_error_says(&e, path);
    assert_false(cgroup_is_frozen(path));
    assert_false(cgroup_is_populated(path));
    error_done(&e);
    free(path);
}

/* --- killing -------------------------------------------------------------------------------- */

static void test_kill_takes_everything_below_even_frozen(void **state)
{
    char *path = below("k");
    struct error e = {0};
    int fds[] = {open_cgroup("k"), open_cgroup("k/a"), open_cgroup("k/a/b")};
    pid_t pids[ARRAY_SIZE(fds) * 3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = spawn_sleeper(fds[i / 3]);
    assert_int_equal(cgroup_freeze(path, true, TIMEOUT_MS, &e), 0);
    assert_int_equal(cgroup_kill(path, TIMEOUT_MS, &e), 0);
    assert_false(cgroup_is_populated(path));
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        assert_int_equal(reap(pids[i]), SIGKILL);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        (void)close(fds[i]);
    remove_all("k");
    /* One that is not there holds nothing. */
    assert_int_equal(cgroup_kill(path, 0, &e), 0);
    free(path);
}

static void test_kill_is_not_slowed_by_the_kernels_event_interval(void **state)
{
    struct error e = {0};
    char *path = below("fast");
    int64_t worst = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct timespec a, b;
        int fd = open_cgroup("fast");
        pid_t pid = spawn_sleeper(fd);
        assert_int_equal(cgroup_freeze(path, true, TIMEOUT_MS, &e), 0);
        (void)clock_gettime(CLOCK_MONOTONIC, &a);
        assert_int_equal(cgroup_remove(&host, path, true, TIMEOUT_MS, &e), 0);
        (void)clock_gettime(CLOCK_MONOTONIC, &b);
        int64_t us = (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000;
        worst = MAX(worst, us);
        assert_int_equal(reap(pid), SIGKILL);
        (void)close(fd);
    }
    print_message("freeze, then kill and remove: at most %lld us\n", (long long)worst);
    free(path);
}

/* --- signals -------------------------------------------------------------------------------- */

static void test_pids_and_signal_all_reach_nested_processes(void **state)
{
    char *path = below("s");
    struct error e = {0};
    int top = open_cgroup("s"), deep = open_cgroup("s/a/b");
    pid_t pids[100], *got = NULL, stranger = spawn_sleeper(-1);
    size_t n = 0;

    (void)state;
    /* More than one chunk of pidfds. */
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = spawn_sleeper(i % 2 ? top : deep);
    assert_int_equal(cgroup_pids(path, &got, &n, &e), 0);
    assert_int_equal(n, ARRAY_SIZE(pids));
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < n && got[k] != pids[i])
            k++;
        assert_true(k < n);
    }
    free(got);

    assert_int_equal(cgroup_signal_all(path, 0, &e), 0);
    assert_int_equal(cgroup_signal_all(path, SIGTERM, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        assert_int_equal(reap(pids[i]), SIGTERM);
    assert_int_equal(kill(stranger, 0), 0);
    assert_int_equal(waitpid(stranger, NULL, WNOHANG), 0);
    (void)kill(stranger, SIGKILL);
    (void)reap(stranger);

    assert_int_equal(cgroup_pids(path, &got, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(cgroup_signal_all(path, SIGTERM, &e), 0);
    (void)close(top);
    (void)close(deep);
    remove_all("s");
    assert_int_equal(cgroup_pids(path, &got, &n, &e), -ENOENT);
    assert_int_equal(cgroup_signal_all(path, SIGTERM, &e), -ENOENT);
    error_done(&e);
    free(path);
}

/* Each generation forks the next and stays: signals have to catch up with it. */
static void fork_chain(int depth)
{
    for (int i = 0; i < depth; i++)
        if (fork() != 0)
            break;
    for (;;)
        (void)pause();
}

static void test_signal_all_catches_children_that_appear_meanwhile(void **state)
{
    char *path = below("chain");
    struct error e = {0};
    int fd = open_cgroup("chain"), pidfd = -1;

    (void)state;
    pid_t pid = sys_clone3(0, fd, &pidfd);
    assert_true(pid >= 0);
    if (pid == 0)
        fork_chain(40);
    (void)close(pidfd);
    assert_int_equal(cgroup_signal_all(path, SIGTERM, &e), 0);
    /* Nobody ignores it, so whoever was there is gone; a last one forked behind our back (its
     * parent was signalled after it forked) is found by the next call. */
    for (int i = 0; i < 100 && cgroup_is_populated(path); i++) {
        (void)poll(NULL, 0, 5);
        assert_int_equal(cgroup_signal_all(path, SIGTERM, &e), 0);
    }
    assert_false(cgroup_is_populated(path));
    (void)reap(pid);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    (void)close(fd);
    remove_all("chain");
    free(path);
}

static void test_signal_all_kill_uses_the_kernel(void **state)
{
    char *path = below("sk");
    struct error e = {0};
    int fd = open_cgroup("sk");
    pid_t pid = spawn_sleeper(fd);

    (void)state;
    assert_int_equal(cgroup_signal_all(path, SIGKILL, &e), 0);
    assert_int_equal(reap(pid), SIGKILL);
    (void)close(fd);
    remove_all("sk");
    free(path);
}

/* --- removing ------------------------------------------------------------------------------- */

static void test_remove_without_kill_is_busy_and_names_who(void **state)
{
    char *path = below("r");
    struct error e = {0};
    int fd = open_cgroup("r/in");
    pid_t pid = spawn_sleeper(fd);
    char number[16];

    (void)state;
    assert_int_equal(cgroup_remove(&host, path, false, 0, &e), -EBUSY);
    assert_int_equal(e.code, ERROR_CGROUP);
    (void)snprintf(number, sizeof(number), "(%d)", (int)pid);
    assert_error_says(&e, number);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    assert_int_equal(cgroup_remove(&host, path, false, 30, &e), -EBUSY);
    error_done(&e);

    /* One that dies in the meantime is waited for. */
    (void)kill(pid, SIGKILL);
    assert_int_equal(cgroup_remove(&host, path, false, TIMEOUT_MS, &e), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(reap(pid), SIGKILL);
    assert_int_equal(cgroup_remove(&host, path, false, 0, &e), 0);
    (void)close(fd);
    free(path);
}

static void test_remove_right_after_the_processes_died(void **state)
{
    char *path = below("race");
    struct error e = {0};

    (void)state;
    for (int i = 0; i < 30; i++) {
        int fd = open_cgroup("race");
        pid_t pids[8];
        for (size_t k = 0; k < ARRAY_SIZE(pids); k++)
            pids[k] = spawn_sleeper(fd);
        for (size_t k = 0; k < ARRAY_SIZE(pids); k++)
            (void)kill(pids[k], SIGKILL);
        if (cgroup_remove(&host, path, false, TIMEOUT_MS, &e) < 0)
            fail_msg("%s", error_render(&e));
        for (size_t k = 0; k < ARRAY_SIZE(pids); k++)
            assert_int_equal(reap(pids[k]), SIGKILL);
        (void)close(fd);
    }
    free(path);
}

static void test_remove_wide_and_deep(void **state)
{
    int fd = open_cgroup("w");

    (void)state;
    for (int i = 0; i < 40; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "c%d", i);
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        (void)snprintf(name, sizeof(name), "c%d/x", i);
        assert_int_equal(mkdirat(fd, name, 0755), 0);
    }
    /* Deeper than a path can say, as a container that owns its cgroup may leave it. */
    int cur = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char deep[201];
    memset(deep, 'd', 200);
    deep[200] = '\0';
    for (int i = 0; i < 150; i++) {
        assert_int_equal(mkdirat(cur, deep, 0755), 0);
        int next = openat(cur, deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        (void)close(cur);
        cur = next;
    }
    pid_t pid = spawn_sleeper(cur);
    (void)close(cur);
    (void)close(fd);
    remove_all("w");
    assert_int_equal(reap(pid), SIGKILL);
}

static void test_remove_takes_empty_parents_of_ours(void **state)
{
    struct error e = {0};
    char *one = below("nucleus/one"), *two = below("nucleus/two"), *dir = below("nucleus");
    char *other = below("machine/one"), *machine = below("machine");

    (void)state;
    fd_close(open_cgroup("nucleus/one"));
    fd_close(open_cgroup("nucleus/two"));
    assert_int_equal(cgroup_remove(&host, one, false, 0, &e), 0);
    assert_int_equal(access(dir, F_OK), 0);
    assert_int_equal(cgroup_remove(&host, two, false, 0, &e), 0);
    assert_int_equal(access(dir, F_OK), -1);

    fd_close(open_cgroup("machine/one"));
    assert_int_equal(cgroup_remove(&host, other, true, 0, &e), 0);
    assert_int_equal(access(machine, F_OK), 0);
    assert_int_equal(rmdir(machine), 0);
    free(one), free(two), free(dir), free(other), free(machine);
}

static void test_remove_with_threaded_children(void **state)
{
    int fd = open_cgroup("t/child");
    struct error e = {0};
    char *path = below("t");
    pid_t *got = NULL;
    size_t n;

    (void)state;
    if (file_write_at(fd, "cgroup.type", "threaded") < 0)
        fail();
    int top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pid_t pid = spawn_sleeper(top);
    /* cgroup.procs of the threaded one can't be read. */
    assert_int_equal(cgroup_pids(path, &got, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(got[0], pid);
    free(got);
    (void)close(fd);
    (void)close(top);
    remove_all("t");
    assert_int_equal(reap(pid), SIGKILL);
    free(path);
}

static void test_limits_of_a_real_cgroup(void **state)
{
    int fd = open_cgroup("l");
    char *path = below("l");
    struct cgroup_limits l;
    struct error e = {0};

    (void)state;
    (void)close(fd);
    /* Whatever controllers there are, what the kernel prints parses. */
    if (cgroup_read_limits(path, &l, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_int_equal(l.n_io, 0);
    cgroup_limits_done(&l);
    remove_all("l");
    free(path);
}

static uid_t owner_of(int dirfd, const char *file)
{
    struct stat st;

    if (fstatat(dirfd, file, &st, *file ? 0 : AT_EMPTY_PATH) < 0)
        return (uid_t)-1;
    return st.st_uid;
}

static void test_delegated_are_the_files_to_make_cgroups_with(void **state)
{
    static const char *const theirs[] = {"", "cgroup.procs", "cgroup.threads",
                                         "cgroup.subtree_control"};
    /* What limits it, and what ends or stops it, stays the host's. */
    static const char *const ours[] = {"cgroup.freeze", "cgroup.kill", "cgroup.max.descendants",
                                       "cgroup.type"};
    int fd = open_cgroup("d");
    struct error e = {0};

    (void)state;
    if (geteuid() != 0) {
        (void)close(fd);
        skip();
    }
    if (cgroup_delegate(fd, 123456, (gid_t)-1, &e) < 0)
        fail_msg("%s", error_render(&e));
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
        assert_int_equal(owner_of(fd, theirs[i]), 123456);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        assert_int_equal(owner_of(fd, ours[i]), 0);
    (void)close(fd);
    remove_all("d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_makes_parents_and_takes_over_what_is_empty),
        cmocka_unit_test(test_create_outside_of_the_mount_is_refused),
        cmocka_unit_test(test_create_survives_parents_that_vanish),
        cmocka_unit_test(test_freeze_stops_and_thaw_resumes),
        cmocka_unit_test(test_freeze_that_times_out_is_undone),
        cmocka_unit_test(test_thaw_names_a_frozen_parent),
        cmocka_unit_test(test_freeze_of_a_missing_cgroup),
        cmocka_unit_test(test_kill_takes_everything_below_even_frozen),
        cmocka_unit_test(test_kill_is_not_slowed_by_the_kernels_event_interval),
        cmocka_unit_test(test_pids_and_signal_all_reach_nested_processes),
        cmocka_unit_test(test_signal_all_catches_children_that_appear_meanwhile),
        cmocka_unit_test(test_signal_all_kill_uses_the_kernel),
        cmocka_unit_test(test_remove_without_kill_is_busy_and_names_who),
        cmocka_unit_test(test_remove_right_after_the_processes_died),
        cmocka_unit_test(test_remove_wide_and_deep),
        cmocka_unit_test(test_remove_takes_empty_parents_of_ours),
        cmocka_unit_test(test_remove_with_threaded_children),
        cmocka_unit_test(test_limits_of_a_real_cgroup),
        cmocka_unit_test(test_delegated_are_the_files_to_make_cgroups_with),
    };
    struct cgroup_host real = {0};
    struct error e = {0};

    if (cgroup_host_probe(AT_FDCWD, &real, &e) < 0 || !real.mount) {
        print_message("skipped: no cgroup2 mount on this host\n");
        return 77;
    }
    char name[64];
    (void)snprintf(name, sizeof(name), "nucleus-test-%d", (int)getpid());
    host.layout = real.layout;
    host.mount = path_join(real.mount, name);
    if (mkdir(host.mount, 0755) < 0) {
        print_message("skipped: can't make %s: %s\n", host.mount, strerror(errno));
        return 77;
    }
    counters = mmap(NULL, N_COUNTERS * sizeof(*counters), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    /* PID 1 may be slow to reap what a test orphans. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

    int r = cmocka_run_group_tests(tests, NULL, NULL);

    /* A failed test leaves its processes. */
    (void)cgroup_kill(host.mount, TIMEOUT_MS, NULL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    (void)cgroup_remove(&real, host.mount, true, TIMEOUT_MS, NULL);
    cgroup_host_done(&host);
    cgroup_host_done(&real);
    return r;
}
