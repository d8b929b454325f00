/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "state/state.h"

static struct store open_store(const struct temp_dir *d)
{
    struct store_env env = {.root_option = d->path, .euid = geteuid()};
    struct store store;
    assert_int_equal(store_open(&env, false, &store, NULL), 0);
    return store;
}

static void save(const struct store *store, const char *id)
{
    char *name = mem_strdup(id);
    struct state s = {.id = name, .name = name};
    assert_int_equal(store_save(store, &s, NULL), 0);
    free(name);
}

static void wait_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void sleep_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

#define ROUNDS 200

/* One more second in the record, under the lock. */
static int update(const struct store *store)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;

    if (state_lock(store, "abc", false, &lock, NULL) < 0 || store_load(store, "abc", &s, NULL) < 0)
        return -1;
    s->started_at++;
    return store_save(store, s, NULL);
}

static void test_s17_no_update_is_lost(void **state)
{
    struct store store = open_store(*state);
    struct state *s = NULL;

    save(&store, "abc");
    for (int child = 0; child < 2; child++)
        if (fork() == 0) {
            for (int i = 0; i < ROUNDS; i++)
                if (update(&store) < 0)
                    _exit(1);
            _exit(0);
        }
    wait_all(2);
    assert_int_equal(store_load(&store, "abc", &s, NULL), 0);
    assert_int_equal(s->started_at, 2 * ROUNDS);
    state_free(s);
    store_done(&store);
}

/* Alone for as long as the mark is there. */
static int create_and_remove(const struct store *store)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};

    if (state_lock(store, "abc", false, &lock, NULL) < 0)
        return 1;
    int mark = openat(store->dirfd, "mark", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (mark < 0)
        return 2;
    (void)close(mark);
    save(store, "abc");
    if (unlinkat(store->dirfd, "mark", 0) < 0)
        return 3;
    return store_remove(store, "abc", NULL) < 0 ? 4 : 0;
}

static void test_s17_lock_is_exclusive_while_its_file_comes_and_goes(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);

    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            int r = 0;
            for (int i = 0; i < ROUNDS && r == 0; i++)
                r = create_and_remove(&store);
            _exit(r);
        }
    wait_all(4);
    assert_false(temp_exists(d, "abc.lock"));
    store_done(&store);
}

static void test_s17_try_does_not_wait(void **state)
{
    struct store store = open_store(*state);
    struct state_lock lock, second;
    struct error e = {0};

    assert_int_equal(state_lock(&store, "abc", true, &lock, &e), 0);
    assert_int_equal(state_lock(&store, "abc", true, &second, &e), -EWOULDBLOCK);
    assert_int_equal(e.code, ERROR_NONE);
    /* Another container's is nobody's business. */
    assert_int_equal(state_lock(&store, "abcd", true, &second, &e), 0);
    state_lock_done(&second);
    state_lock_done(&lock);
    assert_int_equal(state_lock(&store, "abc", true, &second, &e), 0);
    state_lock_done(&second);
    state_lock_done(&second); /* once more is fine */
    store_done(&store);
}

static void test_s17_lock_file_stays_only_beside_a_record(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state_lock lock;

    assert_int_equal(state_lock(&store, "abc", false, &lock, NULL), 0);
    assert_true(temp_exists(d, "abc.lock"));
    state_lock_done(&lock);
    assert_false(temp_exists(d, "abc.lock"));

    assert_int_equal(state_lock(&store, "abc", false, &lock, NULL), 0);
    save(&store, "abc");
    state_lock_done(&lock);
    assert_true(temp_exists(d, "abc.lock"));
    store_done(&store);
}

static void test_s17_unlock_leaves_anothers_file(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state_lock old, new;

    assert_int_equal(state_lock(&store, "abc", false, &old, NULL), 0);
    assert_int_equal(store_remove(&store, "abc", NULL), 0);
    assert_int_equal(state_lock(&store, "abc", true, &new, NULL), 0);
    state_lock_done(&old);
    assert_true(temp_exists(d, "abc.lock"));
    assert_int_equal(state_lock(&store, "abc", true, &old, NULL), -EWOULDBLOCK);
    state_lock_done(&new);
    store_done(&store);
}

static void test_s17_waiter_gets_the_new_file(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state_lock lock;

    assert_int_equal(state_lock(&store, "abc", false, &lock, NULL), 0);
    if (fork() == 0) {
        struct state_lock mine;
        if (state_lock(&store, "abc", false, &mine, NULL) < 0)
            _exit(1);
        struct stat a, b;
        _exit(fstat(mine.fd, &a) < 0 || fstatat(d->fd, "abc.lock", &b, 0) < 0 ||
              a.st_ino != b.st_ino);
    }
    sleep_ms(50);
    assert_int_equal(store_remove(&store, "abc", NULL), 0);
    state_lock_done(&lock);
    wait_all(1);
    store_done(&store);
}

static void test_s17_a_forked_child_does_not_keep_the_lock(void **state)
{
    struct store store = open_store(*state);
    struct state_lock lock, second;
    int hold[2];
    char c;

    assert_int_equal(pipe(hold), 0);
    assert_int_equal(state_lock(&store, "abc", false, &lock, NULL), 0);
    if (fork() == 0) {
        (void)close(hold[1]);
        _exit(read(hold[0], &c, 1) != 0);
    }
    state_lock_done(&lock);
    assert_int_equal(state_lock(&store, "abc", true, &second, NULL), 0);
    state_lock_done(&second);
    (void)close(hold[0]);
    (void)close(hold[1]);
    wait_all(1);
    store_done(&store);
}

static void test_s17_killed_holder_releases(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state_lock lock;
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        (void)state_lock(&store, "abc", false, &lock, NULL);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(temp_exists(d, "abc.lock"));
    assert_int_equal(state_lock(&store, "abc", true, &lock, NULL), 0);
    state_lock_done(&lock);
    assert_false(temp_exists(d, "abc.lock"));
    store_done(&store);
}

static void test_s17_what_is_no_lock_file_is_refused(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state_lock lock;
    struct error e = {0};

    assert_int_equal(symlinkat("target", d->fd, "abc.lock"), 0);
    assert_int_equal(state_lock(&store, "abc", false, &lock, &e), -ELOOP);
    assert_error_says(&e, "symlink");
    assert_false(temp_exists(d, "target"));
    assert_int_equal(mkfifoat(d->fd, "f.lock", 0600), 0);
    assert_true(state_lock(&store, "f", false, &lock, &e) < 0);
    assert_error_says(&e, "not a regular file");
    assert_int_equal(state_lock(&store, "../x", false, &lock, &e), -EINVAL);
    error_done(&e);
    store_done(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_s17_no_update_is_lost),
        temp_test(test_s17_lock_is_exclusive_while_its_file_comes_and_goes),
        temp_test(test_s17_try_does_not_wait),
        temp_test(test_s17_lock_file_stays_only_beside_a_record),
        temp_test(test_s17_unlock_leaves_anothers_file),
        temp_test(test_s17_waiter_gets_the_new_file),
        temp_test(test_s17_a_forked_child_does_not_keep_the_lock),
        temp_test(test_s17_killed_holder_releases),
        temp_test(test_s17_what_is_no_lock_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
