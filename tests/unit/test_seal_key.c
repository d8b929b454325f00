/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "seal/seal.h"

static int fixed(void *data, size_t n)
{
    memset(data, 'k', n);
    return 0;
}

static int broken(void *data, size_t n)
{
    (void)data, (void)n;
    return -EIO;
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n - 2;
}

/* A key named by the environment's variable. */
static struct seal_env env_of(const char *key_file)
{
    return (struct seal_env){.env_key_file = key_file, .euid = geteuid(), .random = fixed};
}

static void expect_error(const struct seal_env *env, bool create, enum error_code code,
                         const char *says)
{
    struct seal_key key = {0};
    struct error e = {0};
    if (seal_key_load(env, create, &key, &e) == 0)
        fail_msg("accepted, but should say: %s", says);
    assert_null(key.data);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    error_done(&e);
}

static void expect_path(const struct seal_env *env, const char *want)
{
    struct seal_key key = {0};
    struct error e = {0};
    if (seal_key_load(env, true, &key, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_string_equal(key.path, want);
    assert_int_equal(key.len, SEAL_KEY_MIN);
    seal_key_done(&key);
    assert_null(key.data);
}

static void test_h4_order_of_places(void **state)
{
    struct temp_dir *d = *state;
    char *given = path_join(d->path, "given/key"), *var = path_join(d->path, "var");
    char *xdg = path_join(d->path, "xdg"), *home = path_join(d->path, "home");
    char *var_key = path_join(var, "nucleus/checkpoint-hmac.key");
    char *xdg_key = path_join(xdg, "nucleus/checkpoint-hmac.key");
    char *home_key = path_join(home, ".nucleus/checkpoint-hmac.key");
    struct seal_env env = {
        .env_key_file = given,
        .xdg_data_home = xdg,
        .home = home,
        .var_lib = var,
        .euid = 0,
        .random = fixed,
    };

    if (geteuid() != 0)
        skip();
    expect_path(&env, given);
    env.env_key_file = "";
    expect_path(&env, var_key);
    free(given), free(var), free(var_key);

    /* As somebody else; what is made is root's, which is refused, but its place is named. */
    env.euid = 65534;
    expect_error(&env, false, ERROR_SEAL, xdg_key);
    env.xdg_data_home = "relative";
    expect_error(&env, false, ERROR_SEAL, home_key);
    env.xdg_data_home = NULL;
    expect_error(&env, false, ERROR_SEAL, home_key);
    env.home = NULL;
    expect_error(&env, true, ERROR_SEAL, "NUCLEUS_CHECKPOINT_HMAC_KEY_FILE");
    free(xdg), free(home), free(xdg_key), free(home_key);
}

static void test_h5_made_private_and_whole(void **state)
{
    struct temp_dir *d = *state;
    char *path = path_join(d->path, "a/b/key"), *dir = path_join(d->path, "a/b");
    struct seal_env env = env_of(path);
    struct seal_key key = {0}, again = {0};
    struct stat st;

    /* Whatever the umask. */
    mode_t umask_was = umask(0277 & 0077);
    expect_error(&env, false, ERROR_SEAL, "there is no key");
    assert_int_equal(seal_key_load(&env, true, &key, NULL), 0);
    umask(umask_was);
    assert_int_equal(key.len, 32);
    for (size_t i = 0; i < key.len; i++)
        assert_int_equal(key.data[i], 'k');
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(entries(dir), 1);
    assert_int_equal(seal_key_load(&env, false, &again, NULL), 0);
    assert_memory_equal(again.data, key.data, 32);
    seal_key_done(&key);
    seal_key_done(&again);
    free(path), free(dir);
}

static void test_h5_kernels_random_source(void **state)
{
    struct temp_dir *d = *state;
    char *a = path_join(d->path, "a/key"), *b = path_join(d->path, "b/key");
    struct seal_env env;
    struct seal_key x, y;

    seal_env_from_process(&env);
    env.env_key_file = a;
    assert_int_equal(seal_key_load(&env, true, &x, NULL), 0);
    env.env_key_file = b;
    assert_int_equal(seal_key_load(&env, true, &y, NULL), 0);
    assert_memory_not_equal(x.data, y.data, 32);
    seal_key_done(&x);
    seal_key_done(&y);
    free(a), free(b);
}

static void test_h5_failing_random_source_leaves_nothing(void **state)
{
    struct temp_dir *d = *state;
    char *path = path_join(d->path, "key");
    struct seal_env env = env_of(path);

    env.random = broken;
    expect_error(&env, true, ERROR_SEAL, "make checkpoint key");
    assert_int_equal(entries(d->path), 0);
    free(path);
}

static void test_h5_refuses_what_cannot_be_trusted(void **state)
{
    struct temp_dir *d = *state;
    char *path = path_join(d->path, "key"), *other = path_join(d->path, "other");
    char *in_link = path_join(d->path, "linked/key");
    char *dotted = path_join(d->path, "linked/./key");
    static const unsigned char bytes[32] = {1};
    struct seal_env env = env_of(path);

    /* Every mode that lets group or others do something. */
    for (mode_t bit = 1; bit < 0100; bit <<= 1) {
        temp_write(d, "key", bytes, 32, 0600 | bit);
        expect_error(&env, true, ERROR_PERMISSION, "open to group or others");
    }
    temp_write(d, "key", bytes, 32, 0400);
    expect_path(&env, path);
    env.euid = 65533;
    expect_error(&env, true, ERROR_PERMISSION, "someone else");
    env.euid = geteuid();

    for (mode_t bit = 1; bit < 0100; bit <<= 1) {
        assert_int_equal(chmod(d->path, 0700 | bit), 0);
        expect_error(&env, true, ERROR_PERMISSION, "open to group or others");
    }
    assert_int_equal(chmod(d->path, 0700), 0);
    expect_path(&env, path);

    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink("other", path), 0);
    expect_error(&env, true, ERROR_PERMISSION, "symlink");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("dangling", path), 0);
    expect_error(&env, true, ERROR_PERMISSION, "symlink");
    assert_false(temp_exists(d, "dangling"));
    assert_int_equal(unlink(path), 0);
    (void)alarm(10);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_error(&env, true, ERROR_PERMISSION, "not a regular file");
    (void)alarm(0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_error(&env, true, ERROR_PERMISSION, "not a regular file");

    assert_int_equal(mkdirat(d->fd, "real", 0700), 0);
    assert_int_equal(symlinkat("real", d->fd, "linked"), 0);
    env.env_key_file = in_link;
    expect_error(&env, true, ERROR_PERMISSION, "symlink");
    env.env_key_file = dotted;
    expect_error(&env, true, ERROR_PERMISSION, "symlink");
    assert_false(temp_exists(d, "real/key"));
    env.env_key_file = "/";
    expect_error(&env, true, ERROR_SEAL, "directory");
    free(path), free(other), free(in_link), free(dotted);
}

static void test_h5_length_is_bounded(void **state)
{
    struct temp_dir *d = *state;
    char *path = path_join(d->path, "key");
    struct seal_env env = env_of(path);
    unsigned char bytes[SEAL_KEY_MAX + 1] = {0};
    struct seal_key key;

    for (size_t n = 0; n < SEAL_KEY_MIN; n++) {
        temp_write(d, "key", bytes, n, 0600);
        expect_error(&env, true, ERROR_SEAL, "32 are the least");
    }
    temp_write(d, "key", bytes, SEAL_KEY_MAX, 0600);
    assert_int_equal(seal_key_load(&env, true, &key, NULL), 0);
    assert_int_equal(key.len, SEAL_KEY_MAX);
    seal_key_done(&key);
    temp_write(d, "key", bytes, SEAL_KEY_MAX + 1, 0600);
    expect_error(&env, true, ERROR_SEAL, "more than");
    free(path);
}

#define CREATORS 4

static void test_h5_two_who_make_it_at_once_have_the_same(void **state)
{
    struct temp_dir *d = *state;

    for (int round = 0; round < 50; round++) {
        char *path = str_printf("%s/%d/key", d->path, round);
        unsigned char keys[CREATORS][32];
        int go[2], result[2];
        struct seal_env env;

        assert_int_equal(pipe(go), 0);
        assert_int_equal(pipe(result), 0);
        seal_env_from_process(&env);
        env.env_key_file = path;
        for (int i = 0; i < CREATORS; i++)
            if (fork() == 0) {
                struct seal_key key = {0};
                char c;
                (void)close(go[1]);
                (void)!read(go[0], &c, 1);
                if (seal_key_load(&env, true, &key, NULL) < 0 || key.len != 32)
                    _exit(1);
                _exit(write(result[1], key.data, 32) != 32);
            }
        (void)close(go[0]);
        (void)close(go[1]);
        for (int i = 0; i < CREATORS; i++) {
            int status;
            assert_true(wait(&status) > 0);
            assert_int_equal(status, 0);
        }
        assert_int_equal(read(result[0], keys, sizeof(keys)), sizeof(keys));
        for (int i = 1; i < CREATORS; i++)
            assert_memory_equal(keys[i], keys[0], 32);
        (void)close(result[0]);
        (void)close(result[1]);
        *strrchr(path, '/') = '\0';
        assert_int_equal(entries(path), 1);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_h4_order_of_places),
        temp_test(test_h5_made_private_and_whole),
        temp_test(test_h5_kernels_random_source),
        temp_test(test_h5_failing_random_source_leaves_nothing),
        temp_test(test_h5_refuses_what_cannot_be_trusted),
        temp_test(test_h5_length_is_bounded),
        temp_test(test_h5_two_who_make_it_at_once_have_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
