/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/str.h"
#include "state/state.h"
#include "sys/process.h"

static struct state running(pid_t pid)
{
    return (struct state){
        .id = (char *)(uintptr_t) "abc",
        .pid = pid,
        .start_ticks = sys_start_ticks(-EBADF, pid, NULL),
        .status = STATE_RUNNING,
    };
}

static void expect_dead(const struct state *s, int procfd, int zombie)
{
    struct state_live live;
    state_live(s, procfd, &live);
    assert_false(live.running);
    assert_int_equal(live.zombie, zombie);
    assert_int_equal(live.pidfd, -EBADF);
    state_live_done(&live);
}

static void expect_alive(const struct state *s)
{
    struct state_live live;
    state_live(s, -EBADF, &live);
    assert_true(live.running);
    assert_false(live.zombie);
    assert_true(live.pidfd >= 0);
    assert_int_equal(sys_pidfd_send_signal(live.pidfd, 0), 0);
    state_live_done(&live);
}

/* A child that says when it is ready and stays until the pipe closes. */
static pid_t child(void (*prepare)(void), int ret_hold[2])
{
    int ready[2];
    char c;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(ret_hold), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ret_hold[1]);
        if (prepare)
            prepare();
        (void)!write(ready[1], "r", 1);
        _exit(read(ret_hold[0], &c, 1) != 0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)close(ret_hold[0]);
    return pid;
}

static void test_s4_live_process_is_running(void **state)
{
    (void)state;
    struct state s = running(getpid());
    assert_true(s.start_ticks > 0);
    expect_alive(&s);
    s.status = STATE_CREATED;
    expect_alive(&s);
}

static void test_s4_recycled_pid_is_not_the_container(void **state)
{
    (void)state;
    struct state s = running(getpid());
    s.start_ticks--;
    expect_dead(&s, -EBADF, 0);
}

static void test_s4_not_running(void **state)
{
    (void)state;
    struct state s = running(getpid()), t = s;
    t.status = STATE_STOPPED;
    expect_dead(&t, -EBADF, 0);
    t = s;
    t.start_ticks = 0;
    expect_dead(&t, -EBADF, 0);
    t = s;
    t.pid = 0;
    expect_dead(&t, -EBADF, 0);
    t.pid = INT32_MAX; /* above any pid_max */
    expect_dead(&t, -EBADF, 0);
}

static void test_s4_gone_and_zombie(void **state)
{
    int hold[2];
    (void)state;

    pid_t pid = child(NULL, hold);
    struct state s = running(pid);
    expect_alive(&s);
    (void)close(hold[1]);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    expect_dead(&s, -EBADF, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    expect_dead(&s, -EBADF, 0);
}

static void awkward_name(void)
{
    (void)prctl(PR_SET_NAME, "a) Z (b) 1 2", 0, 0, 0);
}

static void test_s3_awkward_command_name(void **state)
{
    int hold[2];
    (void)state;

    pid_t pid = child(awkward_name, hold);
    struct state s = running(pid);
    /* Forked a moment ago from this very process. */
    assert_true(s.start_ticks >= sys_start_ticks(-EBADF, getpid(), NULL));
    expect_alive(&s);
    (void)close(hold[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int leader_ready;

static void *stay(void *arg)
{
    char c;
    int *fds = arg;
    /* The leading thread is about to end; the process goes on here. */
    (void)!write(leader_ready, "r", 1);
    _exit(read(fds[0], &c, 1) != 0);
}

static void test_s4_leader_thread_gone_is_still_running(void **state)
{
    int hold[2], ready[2];
    char c;
    bool zombie = false;
    (void)state;

    assert_int_equal(pipe(hold), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        (void)close(hold[1]);
        leader_ready = ready[1];
        if (pthread_create(&thread, NULL, stay, hold) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    (void)close(hold[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct state s = running(pid);
    /* /proc says zombie soon; the process is none. */
    for (int i = 0; i < 1000 && !zombie; i++) {
        (void)usleep(1000);
        (void)sys_start_ticks(-EBADF, pid, &zombie);
    }
    assert_true(zombie);
    expect_alive(&s);
    (void)close(hold[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void test_s3_unreadable_stat_is_no_identity(void **state)
{
    struct temp_dir *d = *state;
    char *dir = str_printf("%d", (int)getpid()), *file = str_printf("%d/stat", (int)getpid());
    struct state s = running(getpid());

    s.start_ticks = 77;
    expect_dead(&s, d->fd, 0);
    assert_int_equal(mkdirat(d->fd, dir, 0700), 0);
    temp_text(d, file, "1 (x) S 1 2 3");
    expect_dead(&s, d->fd, 0);
    temp_text(d, file, "1 (x) 9) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 77 23\n");
    struct state_live live;
    state_live(&s, d->fd, &live);
    assert_true(live.running);
    state_live_done(&live);
    free(dir), free(file);
}

static void test_s18_only_root_and_the_creator(void **state)
{
    struct state s = {.id = (char *)(uintptr_t) "abc", .creator_uid = 1000};
    struct error e = {0};
    (void)state;

    assert_int_equal(state_may_change(&s, 0, &e), 0);
    assert_int_equal(state_may_change(&s, 1000, &e), 0);
    assert_int_equal(state_may_change(&s, 1001, &e), -EPERM);
    assert_int_equal(e.code, ERROR_PERMISSION);
    assert_error_says(&e, "1000");
    s.creator_uid = 0;
    assert_int_equal(state_may_change(&s, 1000, &e), -EPERM);
    error_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s4_live_process_is_running),
        cmocka_unit_test(test_s4_recycled_pid_is_not_the_container),
        cmocka_unit_test(test_s4_not_running),
        cmocka_unit_test(test_s4_gone_and_zombie),
        cmocka_unit_test(test_s3_awkward_command_name),
        cmocka_unit_test(test_s4_leader_thread_gone_is_still_running),
        temp_test(test_s3_unreadable_stat_is_no_identity),
        cmocka_unit_test(test_s18_only_root_and_the_creator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
