/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* Finding CRIU, starting it and talking to it: against tests/tools/fake-criu.c, which misbehaves on
 * order, and for the probes against the real one where it is installed. FAKE_CRIU is its path. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/criu/criu.h"

#define STALL 1500u /* ms; on a machine that is busy with other tests, too */

struct fixture {
    char dir[64];
    char *criu; /* a fake of this test's own */
    int images, work;
};

static struct strbuf notes; /* what was logged */

static void sink(enum log_level level, const char *text)
{
    strbuf_addf(&notes, "%s: %s\n", level == LOG_WARNING_ ? "warning" : "debug", text);
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
    char *data;
    size_t n;

    assert_int_equal(file_read_at(AT_FDCWD, from, 0, 64 << 20, &data, &n), 0);
    int fd = open(to, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, n), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    (void)fd_close(fd);
    free(data);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    (void)fd_close(fd);
}

static const char *fake_path(void)
{
    const char *path = getenv("FAKE_CRIU");
#ifdef FAKE_CRIU
    if (!path)
        path = FAKE_CRIU;
#endif
    return path;
}

/* A fake in the test's directory under `name`, with its orders. The path is the caller's. */
static char *make_fake(struct fixture *f, const char *name, const char *orders)
{
    char *path = path_join(f->dir, name);
    _cleanup_free_ char *conf = str_printf("%s.conf", path);

    copy_file(fake_path(), path, 0755);
    write_file(conf, orders);
    return path;
}

static void orders(struct fixture *f, const char *text)
{
    _cleanup_free_ char *conf = str_printf("%s.conf", f->criu);
    write_file(conf, text);
}

static int make_dir(struct fixture *f, const char *name)
{
    _cleanup_free_ char *path = path_join(f->dir, name);

    assert_int_equal(mkdir(path, 0700), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    if (!fake_path())
        return -1;
    struct fixture *f = mem_new0(struct fixture);
    strcpy(f->dir, "/tmp/test-criu-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->criu = make_fake(f, "criu", "");
    f->images = make_dir(f, "images");
    f->work = make_dir(f, "work");
    strbuf_done(&notes);
    log_set_sink(sink, LOG_DEBUG_);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    log_set_sink(NULL, LOG_DEBUG_);
    strbuf_done(&notes);
    (void)fd_close(f->images);
    (void)fd_close(f->work);
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    int r = system(command);
    free(f->criu);
    free(f);
    return r;
}

static void assert_contains(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text ? text : "(null)");
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in \"%s\"", part, text);
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static size_t count_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static char *read_record(struct fixture *f)
{
    _cleanup_free_ char *path = str_printf("%s.record", f->criu);
    char *text;

    assert_int_equal(file_read_at(AT_FDCWD, path, 0, 16 << 20, &text, NULL), 0);
    return text;
}

static void start(struct fixture *f, bool die_with_parent, struct criu_swrk *s)
{
    struct criu_spawn how = {.binary = f->criu, .cgroup_fd = -EBADF};
    struct error e = {0};

    if (criu_spawn(&how, die_with_parent, s, &e) < 0)
        fail_msg("%s", error_render(&e));
    s->stall_ms = STALL;
}

/* ---- C2: which binary is trusted ---- */

static void test_c2_the_canonical_path_is_returned(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *link = path_join(f->dir, "link"), *real = realpath(f->criu, NULL);
    struct error e = {0};
    char *canonical;

    assert_int_equal(symlink("criu", link), 0);
    assert_int_equal(criu_vet(link, geteuid(), &canonical, &e), 0);
    assert_string_equal(canonical, real);
    free(canonical);
}

static void expect_refusal(const char *path, uid_t euid, enum error_code code, const char *why)
{
    struct error e = {0};
    char *canonical = NULL;

    assert_true(criu_vet(path, euid, &canonical, &e) < 0);
    assert_null(canonical);
    assert_int_equal(e.code, code);
    assert_non_null(e.remedy);
    char *line = error_render(&e);
    assert_contains(line, why);
    free(line);
    error_done(&e);
}

static void test_c2_writable_by_group_or_others_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(chmod(f->criu, 0775), 0);
    expect_refusal(f->criu, geteuid(), ERROR_PERMISSION, "writable by its group (mode 0775)");
    assert_int_equal(chmod(f->criu, 0757), 0);
    expect_refusal(f->criu, geteuid(), ERROR_PERMISSION, "writable by everyone (mode 0757)");
}

static void test_c2_the_target_of_a_symlink_counts(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *link = path_join(f->dir, "link");

    assert_int_equal(chmod(f->criu, 0777), 0);
    assert_int_equal(symlink(f->criu, link), 0);
    expect_refusal(link, geteuid(), ERROR_PERMISSION, "/criu'");
}

static void test_c2_not_executable_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(chmod(f->criu, 0644), 0);
    expect_refusal(f->criu, geteuid(), ERROR_PERMISSION, "not executable");
}

static void test_c2_someone_elses_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    char *canonical;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(f->criu, 12345, 12345), 0);
    expect_refusal(f->criu, 0, ERROR_PERMISSION, "uid 12345, neither root nor you");
    expect_refusal(f->criu, 1000, ERROR_PERMISSION, "uid 12345, neither root nor you");
    assert_int_equal(criu_vet(f->criu, 12345, &canonical, &e), 0);
    free(canonical);
}

static void test_c2_what_is_no_file_is_refused(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *missing = path_join(f->dir, "missing"), *fifo = path_join(f->dir, "fifo");

    expect_refusal(f->dir, geteuid(), ERROR_CRIU, "no regular file");
    expect_refusal(missing, geteuid(), ERROR_CRIU, "no such file");
    assert_int_equal(mkfifo(fifo, 0755), 0);
    expect_refusal(fifo, geteuid(), ERROR_CRIU, "no regular file");
}

/* ---- C1: where it is looked for ---- */

static void test_c1_the_default_places(void **state)
{
    struct criu_find_env env;
    static const char *const expected[] = {"/usr/sbin/criu", "/usr/bin/criu",
                                           "/usr/local/sbin/criu"};

    (void)state;
    criu_find_env_from_process(&env, "/x/criu");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(env.candidates[i], expected[i]);
    assert_null(env.candidates[3]);
    assert_string_equal(env.option, "/x/criu");
    assert_int_equal(env.euid, geteuid());
}

static void find_one(const struct criu_find_env *env, const char *path)
{
    struct criu_tool tool = {0};
    struct error e = {0};

    if (criu_find(env, &tool, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_string_equal(tool.path, path);
    criu_tool_done(&tool);
}

static void test_c1_the_first_that_works_is_taken(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *missing = path_join(f->dir, "none"), *b = make_fake(f, "b", "");
    const char *both[] = {f->criu, b, NULL}, *second[] = {missing, b, NULL};
    struct criu_find_env env = {.candidates = both, .euid = geteuid(), .stall_ms = STALL};

    find_one(&env, f->criu);
    env.candidates = second;
    find_one(&env, b);
    assert_lacks(notes.s, "warning");
}

static void test_c1_root_never_consults_path(void **state)
{
    struct fixture *f = *state;
    const char *none[] = {NULL};
    struct criu_find_env env = {.candidates = none, .path = f->dir, .euid = 0, .stall_ms = STALL};
    struct criu_tool tool;
    struct error e = {0};

    assert_true(criu_find(&env, &tool, &e) < 0);
    error_done(&e);
    _cleanup_free_ char *path = str_printf(".::relative:/nonexistent:%s", f->dir);
    env.path = path;
    env.euid = geteuid() ? geteuid() : 1000;
    find_one(&env, f->criu);
}

static void test_c1_nothing_found_says_how_to_install(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *missing = path_join(f->dir, "none"), *b = make_fake(f, "b", "");
    const char *list[] = {missing, f->criu, b, NULL};
    struct criu_find_env env = {.candidates = list, .euid = geteuid(), .stall_ms = STALL};
    struct criu_tool tool;
    struct error e = {0};

    assert_int_equal(chmod(f->criu, 0777), 0);
    assert_int_equal(chmod(b, 0644), 0);
    assert_true(criu_find(&env, &tool, &e) < 0);
    assert_int_equal(e.code, ERROR_CRIU);
    char *line = error_render(&e);
    assert_contains(line, "apt install criu");
    assert_contains(line, "scripts/install-criu");
    assert_contains(line, "/none: not there");
    assert_contains(line, "/criu: it is writable by everyone");
    assert_contains(line, "/b: it is not executable");
    free(line);
    error_done(&e);
}

static void test_c1_an_option_is_the_only_candidate(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *b = make_fake(f, "b", "fail-version\n");
    const char *list[] = {f->criu, NULL};
    struct criu_find_env env = {
        .option = b, .candidates = list, .euid = geteuid(), .stall_ms = STALL};
    struct criu_tool tool;
    struct error e = {0};

    assert_true(criu_find(&env, &tool, &e) < 0);
    assert_string_equal(e.subject, b);
    assert_contains(e.remedy, "--criu");
    error_done(&e);
    env.option = f->criu;
    find_one(&env, f->criu);
}

/* ---- C3: what it is and can do ---- */

static void test_c3_version_and_features_come_from_one_swrk(void **state)
{
    struct fixture *f = *state;
    const char *list[] = {f->criu, NULL};
    struct criu_find_env env = {.candidates = list, .euid = geteuid(), .stall_ms = STALL};
    struct criu_tool tool;
    struct error e = {0};

    orders(f, "version 3.19\nfeatures mem_track=1 lazy_pages=0 pidfd_store=1\nrecord\n");
    assert_int_equal(criu_find(&env, &tool, &e), 0);
    assert_int_equal(criu_version_number(&tool.version), 31900);
    assert_true(tool.features.mem_track);
    assert_false(tool.features.lazy_pages);
    assert_true(tool.features.pidfd_store);
    assert_contains(notes.s, "criu 3.19 at ");
    criu_tool_done(&tool);

    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "arg swrk");
    assert_null(strstr(strstr(record, "arg swrk") + 1, "arg swrk"));
    assert_contains(record, "req.keep_open=1");
}

static void test_c3_version_numbers(void **state)
{
    struct fixture *f = *state;
    struct criu_swrk s;
    struct criu_version v;
    struct error e = {0};

    orders(f, "version 4.1.1 name=Lark\n");
    start(f, true, &s);
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    assert_int_equal(criu_version_number(&v), 40101);
    assert_string_equal(v.name, "Lark");
    assert_null(v.gitid);
    criu_version_done(&v);
    criu_swrk_done(&s);

    orders(f, "version 4.1.1 gitid=v4.1-32-gabc\n");
    start(f, true, &s);
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    assert_int_equal(criu_version_number(&v), 40200);
    criu_version_done(&v);
    criu_swrk_done(&s);
}

static void test_c3_one_that_cannot_work_is_passed_over_with_a_note(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *b = make_fake(f, "b", "");
    const char *list[] = {f->criu, b, NULL};
    struct criu_find_env env = {.candidates = list, .euid = geteuid(), .stall_ms = STALL};

    orders(f, "stderr (00.001) Error (criu/vdso.c:291): vdso: Unexpected rt vDSO area bounds\n"
              "die-at features\n");
    find_one(&env, b);
    assert_contains(notes.s, "warning: passing over ");
    assert_contains(notes.s, "/criu: CRIU ended before it answered (exit status 1): "
                             "vdso: Unexpected rt vDSO area bounds");
}

/* Every way a probe can fail ends in an error soon, with its reason, and leaves nothing open. */
static void test_c3_failing_probes_are_errors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *orders, *why;
    } cases[] = {
        {"exit-at-start 3\nstderr libfoo.so.1: cannot open shared object file",
         "exit status 3): libfoo.so.1"},
        {"die-at start", "ended before it answered (exit status 1)"},
        {"die-at version signal=6", "killed by SIGABRT"},
        {"hang-at version", "CRIU said nothing for 1500 ms"},
        {"garbage-at version", "not CRIU's RPC"},
        {"huge-at version", ""},
        {"empty-at version", "an empty packet"},
        {"wrong-type-at version", "answered something else"},
        {"fail-version", "CRIU refused"},
        {"hang-at features", "CRIU said nothing for 1500 ms"},
        {"garbage-at features", "not CRIU's RPC"},
        {"empty-at features", "an empty packet"},
        {"wrong-type-at features", "answered something else"},
        {"fail-features Error (criu/x.c:1): no such luck", "CRIU refused: no such luck"},
        /* CRIU 3.17 on Linux 6.18, to the letter */
        {"fail-features\nstderr Error (criu/util.c:642): exited, status=1\n"
         "check Error (criu/util.c:642): exited, status=1\n"
         "check Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n"
         "check Error (criu/vdso.c:613): vdso: Failed to fill self vdso symtable\n"
         "check Error (criu/kerndat.c:1615): kerndat_vdso_fill_symtable failed when initializing "
         "kerndat.\n"
         "check Error (criu/crtools.c:260): Could not initialize kernel features detection.\n",
         "CRIU refused: vdso: Unexpected rt vDSO area bounds"},
    };
    const char *list[] = {f->criu, NULL};
    struct criu_find_env env = {.candidates = list, .euid = geteuid(), .stall_ms = STALL};
    size_t fds = count_fds();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct criu_tool tool;
        struct error e = {0};
        int64_t begin = now_ms();

        orders(f, cases[i].orders);
        assert_true(criu_find(&env, &tool, &e) < 0);
        assert_true(now_ms() - begin < 5000);
        assert_contains(e.why, cases[i].why);
        assert_int_equal(count_fds(), fds);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        error_done(&e);
    }
}

static const char *real_criu(void)
{
    static const char *const places[] = {"/usr/local/sbin/criu", "/usr/sbin/criu"};

    for (size_t i = 0; i < ARRAY_SIZE(places) && geteuid() == 0; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

static void test_c3_the_real_criu_answers(void **state)
{
    struct criu_find_env env = {.option = real_criu(), .euid = geteuid()};
    struct criu_tool tool;
    struct error e = {0};

    (void)state;
    if (!real_criu())
        skip();
    if (criu_find(&env, &tool, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_true(criu_version_number(&tool.version) >= 31700);
    print_message("%s", notes.s);
    criu_tool_done(&tool);
}

/* ---- starting it ---- */

static void test_spawn_gives_a_clean_start(void **state)
{
    struct fixture *f = *state;
    struct criu_swrk s;
    struct criu_version v;
    struct error e = {0};
    sigset_t block, old;

    orders(f, "record\n");
    assert_int_equal(setenv("LD_PRELOAD_X", "1", 1), 0);
    (void)sigemptyset(&block);
    (void)sigaddset(&block, SIGCHLD);
    (void)sigaddset(&block, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &block, &old);
    (void)signal(SIGUSR1, SIG_IGN);
    start(f, true, &s);
    sigset_t now;
    (void)sigprocmask(SIG_SETMASK, NULL, &now);
    assert_true(sigismember(&now, SIGCHLD) && !sigismember(&now, SIGUSR2));
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    (void)signal(SIGUSR1, SIG_DFL);
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    criu_version_done(&v);
    criu_swrk_done(&s);
    criu_swrk_done(&s); /* harmless */

    _cleanup_free_ char *record = read_record(f);
    assert_contains(record,
                    "arg criu\narg swrk\narg 3\n"
                    "env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
                    "fd 0 /dev/null\nfd 1 /dev/null\nfd 2 /memfd:criu-stderr");
    assert_contains(record, "fd 3 socket:[");
    assert_lacks(record, "fd 4 ");
    assert_contains(record, "pdeathsig 9\n");
    assert_contains(record, "own-pgrp 0\n");
    assert_contains(record, "SigBlk:\t0000000000000000");
    assert_contains(record, "SigIgn:\t0000000000000000");
}

static void test_spawn_of_a_dump_outlives_the_caller(void **state)
{
    struct fixture *f = *state;
    struct criu_swrk s;
    struct criu_version v;
    struct error e = {0};

    orders(f, "record\n");
    start(f, false, &s);
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    criu_version_done(&v);
    criu_swrk_done(&s);
    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "pdeathsig 0\n");
    assert_contains(record, "own-pgrp 1\n");
}

/* In a process of its own: here descriptors may be trampled on. */
static void overlap_in_child(struct fixture *f)
{
    struct criu_swrk s;
    struct criu_version v;
    int given[8];

    for (int i = 0; i < 8; i++) {
        _cleanup_free_ char *name = str_printf("%s/file%d", f->dir, i);
        int fd = open(name, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
        if (dup2(fd, 200 + i) < 0)
            _exit(1);
    }
    if (close_range(3, 199, 0) < 0)
        _exit(2);
    /* 3 … 10 hold the files 7 … 0, swrk shall have file i at 4 + i: each move would overwrite what
     * another still needs. What nucleus opens itself comes to lie in between too. */
    for (int i = 0; i < 8; i++) {
        given[i] = dup2(200 + i, 10 - i);
        (void)close(200 + i);
    }
    struct criu_spawn how = {
        .binary = f->criu, .cgroup_fd = -EBADF, .inherit_fds = given, .n_inherit = 8};
    if (criu_spawn(&how, true, &s, NULL) < 0)
        _exit(3);
    if (criu_get_version(&s, &v, NULL) < 0)
        _exit(4);
    criu_version_done(&v);
    criu_swrk_done(&s);
    _exit(0);
}

static void test_spawn_hands_over_descriptors_that_overlap(void **state)
{
    struct fixture *f = *state;
    int status;

    orders(f, "record\n");
    pid_t pid = fork();
    if (pid == 0)
        overlap_in_child(f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    _cleanup_free_ char *record = read_record(f);
    for (int i = 0; i < 8; i++) {
        _cleanup_free_ char *line = str_printf("fd %d %s/file%d\n", 4 + i, f->dir, i);
        assert_contains(record, line);
    }
    assert_contains(record, "fd 2 /memfd:criu-stderr");
    assert_contains(record, "fd 3 socket:[");
    assert_lacks(record, "fd 12 ");
}

static int touch_and_count(void *arg)
{
    int *fd = arg;
    return write(*fd, "x", 1) == 1 ? 0 : -errno;
}

static int refuse(void *arg)
{
    (void)arg;
    return -EXDEV;
}

static void test_spawn_namespaces_and_setup(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    struct criu_swrk s;
    struct criu_version v;
    int pair[2];
    char c, own[64];

    if (geteuid() != 0)
        skip();
    orders(f, "record\n");
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    struct criu_spawn how = {.binary = f->criu,
                             .cgroup_fd = -EBADF,
                             .new_cgroup_ns = true,
                             .private_mounts = true,
                             .setup = touch_and_count,
                             .setup_arg = &pair[1]};
    assert_int_equal(criu_spawn(&how, true, &s, &e), 0);
    assert_int_equal(read(pair[0], &c, 1), 1);
    s.stall_ms = STALL;
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    criu_version_done(&v);
    criu_swrk_done(&s);
    _cleanup_free_ char *record = read_record(f);
    static const char *const ns[] = {"/proc/self/ns/cgroup", "/proc/self/ns/mnt"};
    for (int i = 0; i < 2; i++) {
        ssize_t n = readlink(ns[i], own, sizeof(own) - 1);
        assert_true(n > 0);
        own[n] = '\0';
        assert_lacks(record, own);
    }
    (void)close(pair[0]);
    (void)close(pair[1]);

    how.setup = refuse;
    assert_int_equal(criu_spawn(&how, true, &s, &e), -EXDEV);
    assert_contains(e.step, "surroundings");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    error_done(&e);
}

static void test_spawn_into_a_cgroup(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    struct criu_swrk s;
    char path[128], proc[64];
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};

    struct criu_spawn how = {.binary = f->criu, .cgroup_fd = f->work};
    assert_true(criu_spawn(&how, true, &s, &e) < 0); /* a directory, but no cgroup */
    assert_contains(e.step, "in the container's cgroup");
    error_done(&e);

    path[0] = '\0';
    for (int i = 0; i < 2 && !path[0]; i++) {
        (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", mounts[i]);
        bool v2 = access(path, F_OK) == 0;
        (void)snprintf(path, sizeof(path), "%s/nucleus-test-criu-%d", mounts[i], (int)getpid());
        if (!v2 || mkdir(path, 0755) < 0)
            path[0] = '\0';
    }
    if (!path[0])
        skip();
    how.cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = criu_spawn(&how, true, &s, &e);
    char *text = NULL;
    if (r >= 0) {
        (void)snprintf(proc, sizeof(proc), "/proc/%d/cgroup", (int)s.pid);
        (void)file_read_at(AT_FDCWD, proc, 0, 65536, &text, NULL);
        criu_swrk_done(&s);
    }
    (void)close(how.cgroup_fd);
    assert_int_equal(rmdir(path), 0);
    if (r == -EOPNOTSUPP || r == -EBUSY || r == -EACCES)
        skip();
    assert_int_equal(r, 0);
    assert_contains(text, "nucleus-test-criu-");
    free(text);
}

static void test_spawn_reports_what_execve_says(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *script = path_join(f->dir, "script"), *text = path_join(f->dir, "text");
    struct criu_spawn how = {.binary = script, .cgroup_fd = -EBADF};
    struct criu_swrk s;
    struct error e = {0};
    size_t fds = count_fds();

    write_file(script, "#!/nonexistent/sh\n");
    assert_int_equal(chmod(script, 0755), 0);
    assert_int_equal(criu_spawn(&how, true, &s, &e), -ENOENT);
    assert_contains(e.remedy, "interpreter or loader");
    write_file(text, "what is this");
    assert_int_equal(chmod(text, 0755), 0);
    how.binary = text;
    assert_int_equal(criu_spawn(&how, true, &s, &e), -ENOEXEC);
    assert_string_equal(e.subject, text);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    error_done(&e);
}

/* ---- dump and restore ---- */

struct seen {
    struct strbuf scripts; /* "pre-dump post-dump " */
    const char *refuse_at;
    bool silent; /* refuse without an error */
    pid_t pid;
    int fd;
};

static int on_notify(const char *script, pid_t pid, int fd, void *arg, struct error *e)
{
    struct seen *seen = arg;

    strbuf_addf(&seen->scripts, "%s ", script);
    if (pid)
        seen->pid = pid;
    if (fd >= 0)
        seen->fd = fd;
    if (!seen->refuse_at || !streq(script, seen->refuse_at))
        return 0;
    if (seen->silent)
        return -ENOSPC;
    return error_set(e, ERROR_SEAL, EDQUOT, "seal the images", "/somewhere", "free space", "full");
}

static struct criu_options options_of(struct fixture *f, const char *log)
{
    return (struct criu_options){
        .images_dir_fd = f->images,
        .work_dir_fd = f->work,
        .log_file = log,
        .pid = getpid(),
        .network_lock = CRIU_LOCK_SKIP,
        .stall_ms = STALL,
    };
}

static int dump(struct fixture *f, const char *conf, struct seen *seen, struct error *e)
{
    struct criu_options o = options_of(f, "dump.log");
    struct criu_swrk s;

    orders(f, conf);
    start(f, false, &s);
    int r = criu_dump(&s, &o, "/work/dir", seen ? on_notify : NULL, seen, e);
    criu_swrk_done(&s);
    return r;
}

static int restore(struct fixture *f, const char *conf, struct seen *seen, pid_t *ret_pid,
                   struct error *e)
{
    struct criu_options o = options_of(f, "restore.log");
    struct criu_swrk s;

    o.rst_sibling = true;
    orders(f, conf);
    start(f, true, &s);
    int r = criu_restore(&s, &o, "/work/dir", seen ? on_notify : NULL, seen, ret_pid, e);
    criu_swrk_done(&s);
    return r;
}

static void test_dump_sends_the_options_it_was_given(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "dump.log");
    struct criu_pair mounts[] = {{(char[]){"/etc/hosts"}, (char[]){"/etc/hosts"}},
                                 {(char[]){"/data"}, (char[]){"data"}}};
    char *external[] = {(char[]){"net[4026531840]:extRootNetNS"}, (char[]){"file[1f:2a]"}, NULL};
    struct criu_inherit inherit[] = {{"pipe:[123]", 4}};
    struct criu_swrk s;
    struct error e = {0};

    o.root = "/rootfs";
    o.leave_running = o.tcp_established = o.ext_unix_sk = o.shell_job = o.file_locks = true;
    o.orphan_pts_master = o.link_remap = true;
    o.freeze_cgroup = "/sys/fs/cgroup/x";
    o.network_lock = CRIU_LOCK_NFTABLES;
    o.has_empty_ns = true;
    o.empty_ns = CLONE_NEWNET;
    o.ext_mounts = mounts;
    o.n_ext_mounts = 2;
    o.external = external;
    o.inherit = inherit;
    o.n_inherit = 1;
    o.ghost_limit = 1 << 20;
    o.timeout = 7;
    o.lsm_profile = "apparmor:web";
    orders(f, "record\nimage inventory.img 10\n");
    start(f, false, &s);
    assert_int_equal(criu_dump(&s, &o, "/work/dir", NULL, NULL, &e), 0);
    assert_true(s.ended);
    assert_int_equal(s.wait_status, 0);
    criu_swrk_done(&s);
    assert_int_equal(faccessat(f->images, "inventory.img", F_OK, 0), 0);
    assert_int_equal(faccessat(f->work, "dump.log", F_OK, 0), 0);

    _cleanup_free_ char *record = read_record(f);
    static const char *const lines[] = {
        "req.type=1\n",
        "req.opts.leave_running=1\n",
        "req.opts.tcp_established=1\n",
        "req.opts.ext_unix_sk=1\n",
        "req.opts.shell_job=1\n",
        "req.opts.file_locks=1\n",
        "req.opts.orphan_pts_master=1\n",
        "req.opts.link_remap=1\n",
        "req.opts.log_level=4\n",
        "req.opts.log_file=dump.log\n",
        "req.opts.root=/rootfs\n",
        "req.opts.ext_mnt.key=/etc/hosts\nreq.opts.ext_mnt.val=/etc/hosts\n",
        "req.opts.ext_mnt.key=/data\nreq.opts.ext_mnt.val=data\n",
        "req.opts.manage_cgroups_mode=0\n",
        "req.opts.inherit_fd.key=pipe:[123]\nreq.opts.inherit_fd.fd=4\n",
        "req.opts.external=net[4026531840]:extRootNetNS\nreq.opts.external=file[1f:2a]\n",
        "req.opts.empty_ns=1073741824\n",
        "req.opts.freeze_cgroup=/sys/fs/cgroup/x\n",
        "req.opts.ghost_limit=1048576\n",
        "req.opts.timeout=7\n",
        "req.opts.lsm_profile=apparmor:web\n",
        "req.opts.network_lock=2\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_contains(record, lines[i]);
    assert_lacks(record, "notify_scripts");
    assert_lacks(record, "rst_sibling");
}

static void test_unset_options_are_not_sent(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};

    assert_int_equal(dump(f, "record\n", NULL, &e), 0);
    _cleanup_free_ char *record = read_record(f);
    static const char *const absent[] = {
        "leave_running", "tcp_est", "ghost_limit", "timeout",   "empty_ns", "lsm",
        "freeze",        "root=",   "shell_job",   "orphan_pt", "ext_mnt",  "keep_open"};
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
        assert_lacks(record, absent[i]);
    assert_contains(record, "req.opts.network_lock=3\n");
    assert_contains(record, "req.opts.manage_cgroups_mode=0\n");
}

/* More mounts than the default socket buffer (212992 bytes) takes in one packet. */
static void test_a_large_request_arrives(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "dump.log");
    size_t n = 8000;
    struct criu_pair *mounts = mem_new(struct criu_pair, n);
    struct criu_swrk s;
    struct error e = {0};

    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < n; i++)
        mounts[i].key = mounts[i].value = (char[]){"/var/lib/something/of/a/usual/length"};
    o.ext_mounts = mounts;
    o.n_ext_mounts = n;
    start(f, false, &s);
    if (criu_dump(&s, &o, "/work/dir", NULL, NULL, &e) < 0)
        fail_msg("%s", error_render(&e));
    criu_swrk_done(&s);
    free(mounts);
}

static void test_notifications_come_in_order(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF};
    struct error e = {0};

    assert_int_equal(
        dump(f, "record\nnotify pre-dump\nnotify network-lock\nnotify post-dump\n", &seen, &e), 0);
    assert_string_equal(seen.scripts.s, "pre-dump network-lock post-dump ");
    assert_int_equal(seen.pid, 0);
    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "req.opts.notify_scripts=1\n");
    assert_contains(record, "ack pre-dump 1\nack network-lock 1\nack post-dump 1\n");
    strbuf_done(&seen.scripts);
}

static void test_unasked_notifications_are_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};

    assert_int_equal(dump(f, "record\nalways-notify\nnotify pre-dump\n", NULL, &e), 0);
    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "ack pre-dump 1\n");
}

static void test_a_refusal_is_the_error(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF, .refuse_at = "post-dump"};
    struct error e = {0};

    assert_int_equal(dump(f,
                          "record\nnotify pre-dump\nnotify post-dump\nnotify network-unlock\n"
                          "log (00.1) Error (criu/x.c:1): something else\n",
                          &seen, &e),
                     -EDQUOT);
    assert_int_equal(e.code, ERROR_SEAL);
    assert_string_equal(e.subject, "/somewhere");
    assert_string_equal(e.log, "/work/dir/dump.log");
    assert_string_equal(seen.scripts.s, "pre-dump post-dump ");
    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "ack post-dump 0\n");
    strbuf_done(&seen.scripts);

    /* CRIU going on regardless does not make it a success. */
    assert_int_equal(dump(f, "ignore-nack\nnotify post-dump\n", &seen, &e), -EDQUOT);
    assert_int_equal(e.code, ERROR_SEAL);
    strbuf_done(&seen.scripts);

    seen.silent = true;
    assert_int_equal(dump(f, "notify post-dump\n", &seen, &e), -ENOSPC);
    assert_contains(e.why, "refused at post-dump: No space left");
    strbuf_done(&seen.scripts);
    error_done(&e);
}

static void test_a_failed_dump_is_explained(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};

    assert_true(
        dump(f,
             "fail-at dump errmsg=Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE\n"
             "log (00.025915) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for "
             "self: Operation not permitted\n"
             "log (00.027378) Error (criu/file-lock.c:110): Some file locks are hold by "
             "dumping tasks! You can try --file-locks to dump them.\n"
             "log (00.033409) Error (criu/cr-dump.c:1975): Dumping FAILED.\n",
             NULL, &e) < 0);
    assert_int_equal(e.code, ERROR_CRIU);
    assert_contains(e.why, "Some file locks are hold");
    assert_contains(e.remedy, "--file-locks");
    assert_string_equal(e.log, "/work/dir/dump.log");

    assert_int_equal(
        dump(f, "fail-at dump errno=3 errmsg=Error (criu/x.c:1): No process\n", NULL, &e), -ESRCH);
    assert_string_equal(e.why, "No process");

    assert_int_equal(dump(f, "fail-at dump errno=56\n", NULL, &e), -EBADRQC);
    assert_contains(e.why, "CRIU answered: ");
    assert_true(dump(f, "fail-at dump\n", NULL, &e) < 0);
    assert_string_equal(e.why, "CRIU failed and gave no reason");
    assert_int_equal(dump(f, "fail-at dump errno=-5\nstderr Bad news\n", NULL, &e), -EINVAL);
    assert_string_equal(e.why, "Bad news");
    error_done(&e);
}

static void test_an_old_log_explains_nothing(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    _cleanup_free_ char *log = str_printf("%s/work/dump.log", f->dir);

    write_file(log, "(00.1) Error (criu/x.c:1): old news\n");
    assert_true(dump(f, "die-at dump\n", NULL, &e) < 0);
    assert_lacks(e.why, "old news");

    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink("/etc/passwd", log), 0);
    assert_int_equal(dump(f, "", NULL, &e), -ELOOP);
    assert_contains(e.why, "symlink");
    error_done(&e);
}

/* Whatever CRIU does at whichever moment: an error, soon, and nothing left open or running. */
static void test_misbehaviour_is_an_error_at_every_step(void **state)
{
    struct fixture *f = *state;
    static const char *const deeds[][2] = {
        {"hang-at", "CRIU said nothing for 1500 ms"},
        {"die-at", "CRIU ended before it answered (exit status 1)"},
        {"garbage-at", "not CRIU's RPC"},
        {"huge-at", ""},
        {"empty-at", "an empty packet"},
        {"wrong-type-at", "answered something else"},
    };
    static const char *const steps[] = {"start", "dump", "notify:post-dump", "response"};
    size_t fds = count_fds();

    for (size_t d = 0; d < ARRAY_SIZE(deeds); d++)
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
            _cleanup_free_ char *conf =
                str_printf("%s %s\nnotify pre-dump\nnotify post-dump\nstderr Mind the gap\n",
                           deeds[d][0], steps[i]);
            struct seen seen = {.fd = -EBADF};
            struct error e = {0};
            int64_t begin = now_ms();
            assert_true(dump(f, conf, &seen, &e) < 0);
            assert_true(now_ms() - begin < 5000);
            assert_int_equal(e.code, ERROR_CRIU);
            assert_contains(e.why, deeds[d][1]);
            assert_contains(e.why, ": Mind the gap");
            assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
            assert_int_equal(count_fds(), fds);
            strbuf_done(&seen.scripts);
            error_done(&e);
        }
}

static void test_death_by_signal_is_named(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};

    assert_int_equal(dump(f,
                          "die-at response signal=6\n"
                          "log (00.1) Error (criu/mem.c:45): BUG at criu/mem.c:45\n",
                          NULL, &e),
                     -EPIPE);
    assert_contains(e.why, "(killed by SIGABRT): BUG at criu/mem.c:45");
    assert_string_equal(e.log, "/work/dir/dump.log");
    error_done(&e);
}

static void test_a_log_that_grows_without_end_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "restore.log");
    struct criu_swrk s;
    struct error e = {0};
    pid_t pid;
    int64_t begin = now_ms();

    orders(f, "restore-pid 77\nhang-at response\nlog-size 300000000\n");
    start(f, true, &s);
    o.stall_ms = 60000;
    assert_int_equal(criu_restore(&s, &o, "/work/dir", NULL, NULL, &pid, &e), -EFBIG);
    assert_true(now_ms() - begin < 10000);
    assert_contains(e.why, "log grew without end");
    criu_swrk_done(&s);
    error_done(&e);
}

static void test_an_orphan_pts_master_is_handed_over(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF};
    struct error e = {0};
    pid_t pid;

    assert_int_equal(
        restore(f, "restore-pid 77\nnotify orphan-pts-master fds=1\n", &seen, &pid, &e), 0);
    assert_int_equal(pid, 77);
    assert_true(seen.fd >= 0);
    assert_int_equal(fcntl(seen.fd, F_GETFD), FD_CLOEXEC);
    (void)close(seen.fd);
    strbuf_done(&seen.scripts);
}

static void test_wrong_descriptors_do_not_leak(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF};
    struct error e = {0};
    pid_t pid;
    size_t fds = count_fds();

    assert_true(restore(f, "restore-pid 77\nnotify orphan-pts-master fds=2\n", &seen, &pid, &e) <
                0);
    assert_contains(e.why, "more descriptors than one");
    assert_true(restore(f, "restore-pid 77\nnotify orphan-pts-master fds=9\n", &seen, &pid, &e) <
                0);
    assert_contains(e.why, "more descriptors than one");
    assert_int_equal(count_fds(), fds);
    error_done(&e);

    assert_int_equal(restore(f, "restore-pid 77\nnotify pre-restore fds=1\n", &seen, &pid, &e), 0);
    assert_int_equal(seen.fd, -EBADF);
    assert_int_equal(restore(f, "restore-pid 77\nnotify orphan-pts-master\n", &seen, &pid, &e), 0);
    assert_int_equal(seen.fd, -EBADF);
    assert_int_equal(restore(f, "restore-pid 77\nalways-notify\nnotify orphan-pts-master fds=1\n",
                             NULL, &pid, &e),
                     0);
    assert_int_equal(count_fds(), fds);
    strbuf_done(&seen.scripts);
}

static void test_a_restored_process_is_our_child(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF};
    struct error e = {0};
    pid_t pid = -1;
    int status;

    assert_int_equal(restore(f,
                             "record\nrestore-pid spawn\nnotify pre-restore\nnotify "
                             "setup-namespaces\nnotify post-restore\nnotify post-resume\n",
                             &seen, &pid, &e),
                     0);
    assert_true(pid > 1);
    assert_int_equal(seen.pid, pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    _cleanup_free_ char *record = read_record(f);
    assert_contains(record, "req.type=2\n");
    assert_contains(record, "req.opts.rst_sibling=1\n");
    assert_lacks(record, "req.opts.pid");
    strbuf_done(&seen.scripts);
}

static void test_a_refused_restore_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.fd = -EBADF, .refuse_at = "post-restore"};
    struct error e = {0};
    pid_t pid = -1;

    assert_int_equal(restore(f, "restore-pid spawn\nnotify post-restore\n", &seen, &pid, &e),
                     -EDQUOT);
    assert_int_equal(pid, -1);
    assert_int_equal(waitpid(seen.pid, NULL, 0), seen.pid); /* CRIU killed it */
    strbuf_done(&seen.scripts);
    error_done(&e);
}

static void test_a_restore_without_a_pid_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    pid_t pid = -1;

    assert_int_equal(restore(f, "restore-pid 0\n", NULL, &pid, &e), -EBADMSG);
    assert_contains(e.why, "without a pid");
    assert_int_equal(pid, -1);
    error_done(&e);
}

static void test_a_dump_ends_its_target_unless_left_running(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "dump.log");
    struct error e = {0};

    orders(f, "kill-target\nnotify post-dump\n");
    for (int leave = 1; leave >= 0; leave--) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                (void)pause();
        struct seen seen = {.fd = -EBADF};
        struct criu_swrk s;
        o.pid = child;
        o.leave_running = leave;
        start(f, false, &s);
        assert_int_equal(criu_dump(&s, &o, "/work/dir", on_notify, &seen, &e), 0);
        criu_swrk_done(&s);
        strbuf_done(&seen.scripts);
        assert_int_equal(waitpid(child, NULL, leave ? WNOHANG : 0), leave ? 0 : child);
        if (leave) {
            (void)kill(child, SIGKILL);
            (void)waitpid(child, NULL, 0);
        }
    }
    o.pid = 0;
    struct criu_swrk none = {0};
    assert_int_equal(criu_dump(&none, &o, "/work/dir", NULL, NULL, &e), -EINVAL);
    criu_swrk_done(&none); /* never started: nothing happens */
    error_done(&e);
}

static void test_probes_and_a_dump_share_one_swrk(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "dump.log");
    struct criu_features features;
    struct criu_version v;
    struct criu_swrk s;
    struct error e = {0};

    start(f, false, &s);
    assert_int_equal(criu_get_version(&s, &v, &e), 0);
    assert_int_equal(criu_get_features(&s, &features, &e), 0);
    assert_int_equal(criu_dump(&s, &o, "/work/dir", NULL, NULL, &e), 0);
    criu_version_done(&v);
    criu_swrk_done(&s);
}

static void test_callers_may_ignore_sigchld_and_errors(void **state)
{
    struct fixture *f = *state;

    (void)signal(SIGCHLD, SIG_IGN);
    assert_int_equal(dump(f, "die-at dump\n", NULL, NULL), -EPIPE);
    (void)signal(SIGCHLD, SIG_DFL);
    assert_true(dump(f, "fail-at dump\n", NULL, NULL) < 0);
}

/* ---- the real one ---- */

static int start_real(struct criu_swrk *s, bool restoring, struct error *e)
{
    struct criu_find_env env = {.option = real_criu(), .euid = geteuid()};
    struct criu_tool tool;

    int r = criu_find(&env, &tool, e);
    if (r < 0)
        return r;
    struct criu_spawn how = {.binary = tool.path, .cgroup_fd = -EBADF};
    r = criu_spawn(&how, restoring, s, e);
    criu_tool_done(&tool);
    return r;
}

static pid_t start_sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)setsid();
        (void)close_range(0, ~0U, 0);
        (void)open("/dev/null", O_RDWR);
        if (dup(0) < 0 || dup(0) < 0)
            _exit(126);
        (void)execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* A dump that is refused at its commit point leaves the process running; one that is not ends it,
 * and a restore brings it back as our child. */
static void test_the_real_criu_dumps_and_restores(void **state)
{
    struct fixture *f = *state;
    struct criu_options o = options_of(f, "dump.log");
    struct seen seen = {.fd = -EBADF, .refuse_at = "post-dump"};
    struct criu_swrk s;
    struct error e = {0};

    if (!real_criu())
        skip();
    o.stall_ms = 60000;
    o.pid = start_sleeper();
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    assert_int_equal(start_real(&s, false, &e), 0);
    assert_int_equal(criu_dump(&s, &o, "/w", on_notify, &seen, &e), -EDQUOT);
    criu_swrk_done(&s);
    assert_int_equal(waitpid(o.pid, NULL, WNOHANG), 0);
    strbuf_done(&seen.scripts);

    seen.refuse_at = NULL;
    assert_int_equal(start_real(&s, false, &e), 0);
    if (criu_dump(&s, &o, "/w", on_notify, &seen, &e) < 0)
        fail_msg("%s", error_render(&e));
    criu_swrk_done(&s);
    assert_contains(seen.scripts.s, "pre-dump ");
    assert_contains(seen.scripts.s, "post-dump ");
    strbuf_done(&seen.scripts);
    assert_int_equal(waitpid(o.pid, NULL, 0), o.pid);

    pid_t pid = -1;
    o.log_file = "restore.log";
    o.rst_sibling = true;
    assert_int_equal(start_real(&s, true, &e), 0);
    if (criu_restore(&s, &o, "/w", on_notify, &seen, &pid, &e) < 0)
        fail_msg("%s", error_render(&e));
    criu_swrk_done(&s);
    assert_int_equal(pid, o.pid);
    assert_int_equal(seen.pid, pid);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);

    /* And again, where it is now: taken. */
    strbuf_done(&seen.scripts);
    assert_int_equal(start_real(&s, true, &e), 0);
    assert_true(criu_restore(&s, &o, "/w", on_notify, &seen, &pid, &e) < 0);
    criu_swrk_done(&s);
    assert_contains(e.why, "File exists");
    assert_contains(e.remedy, "same pid");
    assert_string_equal(e.log, "/w/restore.log");
    error_done(&e);
    strbuf_done(&seen.scripts);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- the wire ---- */

static void test_malformed_packets_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\x08", 1},
        {"\x08\x01", 2},                         /* no success */
        {"\x08\x06\x10\x01", 4},                 /* notify without a script */
        {"\x08\x06\x10\x01\x2a\x00", 6},         /* the same, empty */
        {"\x08\x0a\x10\x01", 4},                 /* version without one */
        {"\x08\x09\x10\x01", 4},                 /* features without any */
        {"\x08\x02\x10\x01", 4},                 /* restore without a pid */
        {"\x08\x02\x10\x01\x22\x02\x08\x00", 8}, /* pid 0 */
        {"\x08\x63\x10\x01", 4},                 /* type 99 */
        {"\x08\x01\x10\x01\x4a\x7f", 6},         /* a string cut short */
        {"\x08\x0a\x10\x01\x52\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x02", 19},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error e = {0};
        void *resp = NULL;
        int r = criu_response_parse((const uint8_t *)bad[i].bytes, bad[i].n, &resp, &e);
        if (r >= 0)
            fail_msg("packet %zu was taken", i);
        assert_null(resp);
        assert_int_equal(e.code, ERROR_CRIU);
        error_done(&e);
    }
    void *resp;
    assert_int_equal(criu_response_parse((const uint8_t *)"\x08\x01\x10\x01", 4, &resp, NULL), 0);
    criu_response_free(resp);
    /* Fields of a later CRIU are skipped. */
    assert_int_equal(
        criu_response_parse((const uint8_t *)"\x08\x01\x10\x01\x9a\x06\x01x", 8, &resp, NULL), 0);
    criu_response_free(resp);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_c2_the_canonical_path_is_returned),
        T(test_c2_writable_by_group_or_others_is_refused),
        T(test_c2_the_target_of_a_symlink_counts),
        T(test_c2_not_executable_is_refused),
        T(test_c2_someone_elses_is_refused),
        T(test_c2_what_is_no_file_is_refused),
        T(test_c1_the_default_places),
        T(test_c1_the_first_that_works_is_taken),
        T(test_c1_root_never_consults_path),
        T(test_c1_nothing_found_says_how_to_install),
        T(test_c1_an_option_is_the_only_candidate),
        T(test_c3_version_and_features_come_from_one_swrk),
        T(test_c3_version_numbers),
        T(test_c3_one_that_cannot_work_is_passed_over_with_a_note),
        T(test_c3_failing_probes_are_errors),
        T(test_c3_the_real_criu_answers),
        T(test_spawn_gives_a_clean_start),
        T(test_spawn_of_a_dump_outlives_the_caller),
        T(test_spawn_hands_over_descriptors_that_overlap),
        T(test_spawn_namespaces_and_setup),
        T(test_spawn_into_a_cgroup),
        T(test_spawn_reports_what_execve_says),
        T(test_dump_sends_the_options_it_was_given),
        T(test_unset_options_are_not_sent),
        T(test_a_large_request_arrives),
        T(test_notifications_come_in_order),
        T(test_unasked_notifications_are_acknowledged),
        T(test_a_refusal_is_the_error),
        T(test_a_failed_dump_is_explained),
        T(test_an_old_log_explains_nothing),
        T(test_misbehaviour_is_an_error_at_every_step),
        T(test_death_by_signal_is_named),
        T(test_a_log_that_grows_without_end_is_noticed),
        T(test_an_orphan_pts_master_is_handed_over),
        T(test_wrong_descriptors_do_not_leak),
        T(test_a_restored_process_is_our_child),
        T(test_a_refused_restore_leaves_nothing),
        T(test_a_restore_without_a_pid_is_an_error),
        T(test_a_dump_ends_its_target_unless_left_running),
        T(test_probes_and_a_dump_share_one_swrk),
        T(test_callers_may_ignore_sigchld_and_errors),
        T(test_the_real_criu_dumps_and_restores),
        T(test_malformed_packets_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
