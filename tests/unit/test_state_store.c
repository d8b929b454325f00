/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "state/state.h"

static struct strbuf logged;
static unsigned warnings;

static void sink(enum log_level level, const char *text)
{
    warnings += level == LOG_WARNING_;
    strbuf_addf(&logged, "%s\n", text);
}

static int setup(void **state)
{
    warnings = 0;
    strbuf_done(&logged);
    strbuf_add(&logged, "");
    log_set_sink(sink, LOG_DEBUG_);
    return temp_dir_setup(state);
}

static int teardown(void **state)
{
    log_set_sink(NULL, LOG_DEBUG_);
    strbuf_done(&logged);
    return temp_dir_teardown(state);
}

/* The store is the temporary directory itself. */
static struct store open_store(const struct temp_dir *d)
{
    struct store_env env = {.root_option = d->path, .euid = geteuid()};
    struct store store;
    assert_int_equal(store_open(&env, true, &store, NULL), 0);
    return store;
}

static struct state *make(const char *id, const char *name)
{
    struct state *s = mem_new0(struct state);
    s->id = mem_strdup(id);
    s->name = mem_strdup(name);
    s->status = STATE_CREATED;
    strv_push(&s->command, mem_strdup("sh"));
    return s;
}

static void save(const struct store *store, const char *id, const char *name)
{
    struct state *s = make(id, name);
    struct error e = {0};
    if (store_save(store, s, &e) < 0)
        fail_msg("%s", error_render(&e));
    state_free(s);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* The directory: S6 to S9. */

static void expect_dir(const struct store_env *env, const char *want)
{
    struct error e = {0};
    struct store store;
    if (store_open(env, true, &store, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_string_equal(store.path, want);
    assert_int_equal(mode_of(want), 0700);
    store_done(&store);
}

static void test_s6_order_of_choice(void **state)
{
    struct temp_dir *d = *state;
    char *root = path_join(d->path, "root"), *given = path_join(d->path, "given");
    char *run = path_join(d->path, "run/nucleus"), *runtime = path_join(d->path, "rt");
    char *runtime_dir = path_join(runtime, "nucleus"), *run_dir = path_join(d->path, "run");
    struct store_env env = {
        .root_option = root,
        .env_state_dir = given,
        .run_dir = run_dir,
        .tmp_dir = d->path,
        .xdg_runtime_dir = runtime,
        .euid = 0,
    };

    expect_dir(&env, root);
    env.root_option = NULL;
    expect_dir(&env, given);
    env.env_state_dir = "";
    expect_dir(&env, run);
    env.euid = 65534;
    expect_dir(&env, runtime_dir);
    free(root), free(given), free(run), free(runtime), free(runtime_dir), free(run_dir);
}

static void test_s6_unprivileged_order(void **state)
{
    struct temp_dir *d = *state;
    char *data = path_join(d->path, "data"), *home = path_join(d->path, "home");
    char *data_dir = path_join(data, "nucleus"), *share = path_join(home, ".local/share/nucleus");
    char *dot = path_join(home, ".nucleus"), *blocked = path_join(home, ".local");
    char *tmp = path_join(d->path, "nucleus-65534");
    struct store_env env = {
        .xdg_runtime_dir = "relative",
        .xdg_data_home = data,
        .home = home,
        .tmp_dir = d->path,
        .euid = 65534,
    };

    expect_dir(&env, data_dir);
    assert_non_null(strstr(logged.s, "$XDG_RUNTIME_DIR/nucleus' is refused: not an absolute"));
    assert_int_equal(warnings, 0);
    env.xdg_data_home = "";
    expect_dir(&env, share);
    /* A file where a directory belongs: the next one. */
    temp_dir_unlink(share, NULL, 0, NULL);
    char *up = path_join(home, ".local/share");
    assert_int_equal(rmdir(up), 0);
    assert_int_equal(rmdir(blocked), 0);
    temp_text(d, "home/.local", "");
    expect_dir(&env, dot);
    assert_non_null(strstr(logged.s, ".local/share/nucleus' is refused: "));
    env.home = NULL;
    if (geteuid() == 0) {
        assert_int_equal(mkdir(tmp, 0755), 0);
        assert_int_equal(chown(tmp, 65534, 65534), 0);
        expect_dir(&env, tmp);
    }
    free(up), free(data), free(home), free(data_dir), free(share), free(dot), free(blocked);
    free(tmp);
}

static void test_s6_none_usable_lists_every_one(void **state)
{
    struct temp_dir *d = *state;
    char *file = path_join(d->path, "file"), *tmp = path_join(d->path, "nucleus-65534");
    struct store_env env = {
        .xdg_runtime_dir = NULL,
        .xdg_data_home = "data",
        .home = file,
        .tmp_dir = d->path,
        .euid = 65534,
    };
    struct error e = {0};
    struct store store;

    temp_text(d, "file", "");
    assert_int_equal(symlink(d->path, tmp), 0);
    assert_true(store_open(&env, true, &store, &e) < 0);
    assert_int_equal(e.code, ERROR_STATE);
    assert_error_says(&e, "$XDG_RUNTIME_DIR/nucleus (not set)");
    assert_error_says(&e, "$XDG_DATA_HOME/nucleus (not an absolute path)");
    assert_error_says(&e, "/file/.nucleus (it can't be made: Not a directory)");
    assert_error_says(&e, "/nucleus-65534 (it is a symlink)");
    assert_error_says(&e, "--root");
    error_done(&e);
    free(file), free(tmp);
}

static void expect_refused(const char *path, const char *says)
{
    struct store_env env = {.root_option = path, .euid = geteuid()};
    struct error e = {0};
    struct store store;
    assert_true(store_open(&env, true, &store, &e) < 0);
    assert_error_says(&e, says);
    assert_error_says(&e, "--root");
    error_done(&e);
}

static void test_s7_symlink_is_refused(void **state)
{
    struct temp_dir *d = *state;
    char *real = path_join(d->path, "real"), *link = path_join(d->path, "link");
    char *slash = path_join(d->path, "link/"), *dot = path_join(d->path, "link/.");
    char *dangling = path_join(d->path, "dangling");

    assert_int_equal(mkdir(real, 0755), 0);
    assert_int_equal(symlink(real, link), 0);
    assert_int_equal(symlink("nowhere", dangling), 0);
    expect_refused(link, "symlink");
    expect_refused(slash, "symlink");
    expect_refused(dot, "symlink");
    expect_refused(dangling, "symlink");
    assert_false(temp_exists(d, "nowhere"));
    assert_int_equal(mode_of(real), 0755);
    free(real), free(link), free(slash), free(dot), free(dangling);
}

static void test_s7_made_with_parents_and_closed(void **state)
{
    struct temp_dir *d = *state;
    char *deep = path_join(d->path, "a/b/c"), *open_one = path_join(d->path, "open");
    char *file = path_join(d->path, "file");
    struct store_env env = {.root_option = deep, .euid = geteuid()};

    expect_dir(&env, deep);
    assert_int_equal(mkdir(open_one, 0777), 0);
    assert_int_equal(chmod(open_one, 02777), 0);
    env.root_option = open_one;
    expect_dir(&env, open_one);
    temp_text(d, "file", "");
    expect_refused(file, "Not a directory");
    free(deep), free(open_one), free(file);
}

static void test_s7_relative_root_is_kept_absolute(void **state)
{
    struct temp_dir *d = *state;
    struct store_env env = {.root_option = "rel/./x/", .euid = geteuid()};
    char *cwd = getcwd(NULL, 0), *want = path_join(d->path, "rel/x");

    assert_int_equal(chdir(d->path), 0);
    expect_dir(&env, want);
    assert_int_equal(chdir(cwd), 0);
    free(cwd), free(want);
}

/* In a child that is nobody: a line number where something is wrong, 0 where all is well. */
static int as_nobody(int (*f)(const struct temp_dir *), const struct temp_dir *d)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
            _exit(255);
        _exit(f(d));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c))                                                                                  \
            return __LINE__ & 0xff ? __LINE__ & 0xff : 1;                                          \
    } while (0)

/* "foreign" is root's and open to all: chmod fails with EPERM. */
static int use_foreign(const struct temp_dir *d)
{
    char *foreign = path_join(d->path, "foreign");
    struct store_env env = {.root_option = foreign, .euid = 65534};
    struct error e = {0};
    struct store store;

    CHECK(store_open(&env, true, &store, &e) < 0);
    CHECK(e.code == ERROR_PERMISSION && strstr(e.why, "someone else"));
    error_done(&e);
    free(foreign);
    return 0;
}

/* "mine" is nobody's, "locked" too but can't be written to. */
static int use_mine(const struct temp_dir *d)
{
    char *mine = path_join(d->path, "mine");
    struct store_env env = {.root_option = mine, .euid = 65534};
    struct error e = {0};
    struct store store;

    CHECK(store_open(&env, true, &store, &e) == 0);
    store_done(&store);
    free(mine);
    return 0;
}

static void test_s7_foreign_directory_is_refused(void **state)
{
    struct temp_dir *d = *state;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(d->path, 0755), 0);
    assert_int_equal(mkdirat(d->fd, "foreign", 0777), 0);
    assert_int_equal(fchmodat(d->fd, "foreign", 0777, 0), 0);
    assert_int_equal(mkdirat(d->fd, "mine", 0755), 0);
    assert_int_equal(fchownat(d->fd, "mine", 65534, 65534, 0), 0);
    assert_int_equal(as_nobody(use_foreign, d), 0);
    assert_int_equal(as_nobody(use_mine, d), 0);
}

static void test_s8_probe_leaves_nothing(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state **list;
    size_t n;
    static const char left[] = ".probe";

    assert_false(temp_exists(d, left));
    /* One that a killed process left behind is no obstacle, and goes. */
    temp_text(d, left, "");
    store_done(&store);
    store = open_store(d);
    assert_false(temp_exists(d, left));
    assert_int_equal(store_list(&store, &list, &n, NULL), 0);
    assert_int_equal(n, 0);
    store_list_free(list, n);
    store_done(&store);
}

static int read_only(const struct temp_dir *d)
{
    char *path = path_join(d->path, "ro");
    struct store_env env = {.root_option = path, .euid = 65534};
    struct error e = {0};
    struct store store;

    /* 0500 is closed already; chmod makes it 0700 for its owner. */
    CHECK(store_open(&env, false, &store, &e) == 0);
    store_done(&store);
    free(path);
    return 0;
}

static void test_s8_no_probe_for_reading(void **state)
{
    struct temp_dir *d = *state;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(d->path, 0755), 0);
    assert_int_equal(mkdirat(d->fd, "ro", 0500), 0);
    assert_int_equal(fchownat(d->fd, "ro", 65534, 65534, 0), 0);
    assert_int_equal(as_nobody(read_only, d), 0);
}

static void test_s9_foreign_tmp_is_skipped_with_a_warning(void **state)
{
    struct temp_dir *d = *state;
    char *tmp = path_join(d->path, "nucleus-65533");
    struct store_env env = {.tmp_dir = d->path, .euid = 65533};
    struct store store;

    /* Ours, which is not 65533. */
    assert_int_equal(mkdir(tmp, 0700), 0);
    assert_true(store_open(&env, true, &store, NULL) < 0);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(logged.s, "someone else"));
    assert_int_equal(rmdir(tmp), 0);
    assert_int_equal(symlink(d->path, tmp), 0);
    assert_true(store_open(&env, true, &store, NULL) < 0);
    assert_int_equal(warnings, 2);
    free(tmp);
}

/* Records: S11 to S16. */

static void expect_resolved(const struct store *store, const char *ref, const char *id)
{
    struct error e = {0};
    struct state *s = NULL;
    if (store_resolve(store, ref, &s, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_string_equal(s->id, id);
    state_free(s);
}

static void expect_unresolved(const struct store *store, const char *ref, enum error_code code,
                              const char *says)
{
    struct error e = {0};
    struct state *s = NULL;
    assert_true(store_resolve(store, ref, &s, &e) < 0);
    assert_null(s);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    error_done(&e);
}

static void test_s11_resolves_id_name_prefix(void **state)
{
    struct store store = open_store(*state);

    save(&store, "abc", "web");
    save(&store, "abcdef", "db");
    save(&store, "xyz1", "abcd");
    save(&store, "xyz2", "same name");
    save(&store, "q1", "same name");
    expect_resolved(&store, "abc", "abc");   /* exact, though a prefix of another */
    expect_resolved(&store, "abcd", "xyz1"); /* a name wins over a prefix */
    expect_resolved(&store, "abcde", "abcdef");
    expect_resolved(&store, "db", "abcdef");
    expect_resolved(&store, "q", "q1");
    expect_unresolved(&store, "xyz", ERROR_AMBIGUOUS, "xyz1, xyz2");
    expect_unresolved(&store, "same name", ERROR_AMBIGUOUS, "q1, xyz2");
    expect_unresolved(&store, "nope", ERROR_NOT_FOUND, "container does not exist");
    expect_unresolved(&store, "../abc", ERROR_USAGE, "invalid container id");
    expect_unresolved(&store, "", ERROR_USAGE, "empty");
    store_done(&store);
}

static void test_s11_exact_id_opens_one_file(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state *s;

    save(&store, "abc", "web");
    temp_text(d, "broken.json", "{");
    expect_resolved(&store, "abc", "abc");
    assert_int_equal(warnings, 0); /* the broken one was not looked at */
    expect_resolved(&store, "web", "abc");
    assert_int_equal(warnings, 1);
    /* A broken record is not silently another container. */
    expect_unresolved(&store, "broken", ERROR_STATE, "broken.json:1:");
    assert_int_equal(store_load(&store, "../abc", &s, NULL), -EINVAL);
    store_done(&store);
}

static void test_s12_save_replaces_and_leaves_no_temp(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct stat st;

    save(&store, "abc", "one");
    save(&store, "abc", "two");
    expect_resolved(&store, "two", "abc");
    assert_false(temp_exists(d, "abc.json.tmp"));
    assert_int_equal(fstatat(d->fd, "abc.json", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* What a killed one left behind. */
    temp_text(d, "abc.json.tmp", "{\"id\"");
    expect_resolved(&store, "two", "abc");
    save(&store, "abc", "three");
    expect_resolved(&store, "three", "abc");
    assert_false(temp_exists(d, "abc.json.tmp"));
    store_done(&store);
}

static void test_s12_symlink_at_the_temp_path_is_refused(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state *s = make("abc", "x");
    struct error e = {0};

    save(&store, "abc", "one");
    temp_text(d, "victim", "precious");
    assert_int_equal(symlinkat("victim", d->fd, "abc.json.tmp"), 0);
    assert_int_equal(store_save(&store, s, &e), -ELOOP);
    assert_error_says(&e, "symlink");
    char *text = NULL;
    assert_int_equal(file_read_at(d->fd, "victim", 0, 100, &text, NULL), 0);
    assert_string_equal(text, "precious");
    expect_resolved(&store, "one", "abc");
    free(text);
    error_done(&e);
    state_free(s);
    store_done(&store);
}

static void test_s12_what_could_not_be_loaded_is_not_saved(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state *s = make("abc", "x");
    struct error e = {0};

    free(s->command[0]);
    s->command[0] = mem_alloc(STATE_FILE_MAX + 1);
    memset(s->command[0], 'x', STATE_FILE_MAX);
    assert_int_equal(store_save(&store, s, &e), -EFBIG);
    assert_false(temp_exists(d, "abc.json"));
    free(s->id);
    s->id = mem_alloc(256);
    memset(s->id, 'i', 255);
    s->command[0][1] = '\0';
    assert_int_equal(store_save(&store, s, &e), -ENAMETOOLONG);
    assert_error_says(&e, "too long for a file name");
    free(s->id);
    s->id = mem_strdup("../x");
    assert_int_equal(store_save(&store, s, &e), -EINVAL);
    error_done(&e);
    state_free(s);
    store_done(&store);
}

static void expect_load_error(const struct store *store, const char *id, enum error_code code,
                              const char *says)
{
    struct error e = {0};
    struct state *s = NULL;
    assert_true(store_load(store, id, &s, &e) < 0);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    error_done(&e);
}

static void test_s13_load_refuses(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);

    save(&store, "abc", "x");
    assert_int_equal(symlinkat("abc.json", d->fd, "link.json"), 0);
    expect_load_error(&store, "link", ERROR_STATE, "symlink");
    assert_int_equal(linkat(d->fd, "abc.json", d->fd, "other.json", 0), 0);
    expect_load_error(&store, "other", ERROR_STATE, "it holds the state of 'abc'");
    temp_text(d, "bad.json", "{\n \"id\": \"bad\",\n \"name\" \"x\"}");
    expect_load_error(&store, "bad", ERROR_STATE, "bad.json:3:9");
    temp_text(d, "list.json", "[1]");
    expect_load_error(&store, "list", ERROR_STATE, "list.json:1:1");
    assert_int_equal(mkfifoat(d->fd, "fifo.json", 0600), 0);
    expect_load_error(&store, "fifo", ERROR_STATE, "fifo.json");
    assert_int_equal(mkdirat(d->fd, "dir.json", 0700), 0);
    expect_load_error(&store, "dir", ERROR_STATE, "dir.json");
    char *big = mem_alloc(STATE_FILE_MAX + 2);
    memset(big, ' ', STATE_FILE_MAX + 1);
    temp_text(d, "big.json", big);
    expect_load_error(&store, "big", ERROR_STATE, "larger than 1 MiB");
    expect_load_error(&store, "nope", ERROR_NOT_FOUND, "container does not exist");
    free(big);
    store_done(&store);
}

static void test_s14_list_skips_with_a_warning(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state **list;
    size_t n;

    save(&store, "bbb", "x");
    save(&store, "aaa", "y");
    temp_text(d, "broken.json", "{");
    temp_text(d, "-bad.json", "{}");
    assert_int_equal(symlinkat("aaa.json", d->fd, "link.json"), 0);
    /* What belongs to the store is no news. */
    temp_text(d, "aaa.lock", "");
    temp_text(d, "aaa.json.tmp", "");
    temp_text(d, "other", "");
    assert_int_equal(mkfifoat(d->fd, "aaa.exec", 0600), 0);
    assert_int_equal(store_list(&store, &list, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(list[0]->id, "aaa");
    assert_string_equal(list[1]->id, "bbb");
    assert_int_equal(warnings, 3);
    assert_non_null(strstr(logged.s, "broken.json:1:"));
    assert_non_null(strstr(logged.s, "link.json"));
    assert_non_null(strstr(logged.s, "-bad"));
    store_list_free(list, n);
    store_done(&store);
}

static void test_s15_remove_is_idempotent(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct error e = {0};

    save(&store, "abc", "x");
    save(&store, "abcd", "x");
    temp_text(d, "abc.lock", "");
    temp_text(d, "abc.json.tmp", "");
    char *fifo = state_fifo_name("abc");
    assert_string_equal(fifo, "abc.exec");
    assert_int_equal(mkfifoat(d->fd, fifo, 0600), 0);
    assert_int_equal(store_remove(&store, "abc", &e), 0);
    assert_false(temp_exists(d, "abc.json"));
    assert_false(temp_exists(d, "abc.json.tmp"));
    assert_false(temp_exists(d, "abc.exec"));
    assert_false(temp_exists(d, "abc.lock"));
    assert_true(temp_exists(d, "abcd.json"));
    assert_int_equal(store_remove(&store, "abc", &e), 0);
    assert_int_equal(store_remove(&store, "../abcd", &e), -EINVAL);
    error_done(&e);
    free(fifo);
    store_done(&store);
}

static void test_s15_stale_entries_go_live_ones_stay(void **state)
{
    struct temp_dir *d = *state;
    struct store store = open_store(d);
    struct state **list;
    size_t n;

    struct state *live = make("live", "x"), *stale = make("stale", "x");
    live->pid = stale->pid = getpid();
    live->status = stale->status = STATE_RUNNING;
    char *stat_text = NULL;
    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/stat", 0, 4096, &stat_text, NULL), 0);
    /* Field 22 of a program without blanks in its name. */
    const char *p = strrchr(stat_text, ')') + 2;
    for (int i = 3; i < 22; i++)
        p = strchr(p, ' ') + 1;
    live->start_ticks = strtoull(p, NULL, 10);
    stale->start_ticks = live->start_ticks + 1;
    assert_int_equal(store_save(&store, live, NULL), 0);
    assert_int_equal(store_save(&store, stale, NULL), 0);
    assert_int_equal(store_list(&store, &list, &n, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        struct state_live l;
        state_live(list[i], -EBADF, &l);
        if (!l.running)
            assert_int_equal(store_remove(&store, list[i]->id, NULL), 0);
        state_live_done(&l);
    }
    assert_true(temp_exists(d, "live.json"));
    assert_false(temp_exists(d, "stale.json"));
    store_list_free(list, n);
    state_free(live);
    state_free(stale);
    free(stat_text);
    store_done(&store);
}

#define store_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_s6_order_of_choice),
        store_test(test_s6_unprivileged_order),
        store_test(test_s6_none_usable_lists_every_one),
        store_test(test_s7_symlink_is_refused),
        store_test(test_s7_made_with_parents_and_closed),
        store_test(test_s7_relative_root_is_kept_absolute),
        store_test(test_s7_foreign_directory_is_refused),
        store_test(test_s8_probe_leaves_nothing),
        store_test(test_s8_no_probe_for_reading),
        store_test(test_s9_foreign_tmp_is_skipped_with_a_warning),
        store_test(test_s11_resolves_id_name_prefix),
        store_test(test_s11_exact_id_opens_one_file),
        store_test(test_s12_save_replaces_and_leaves_no_temp),
        store_test(test_s12_symlink_at_the_temp_path_is_refused),
        store_test(test_s12_what_could_not_be_loaded_is_not_saved),
        store_test(test_s13_load_refuses),
        store_test(test_s14_list_skips_with_a_warning),
        store_test(test_s15_remove_is_idempotent),
        store_test(test_s15_stale_entries_go_live_ones_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
