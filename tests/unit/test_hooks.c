/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "process/hooks.h"

#define PATIENCE_MS 20000
#define STATE "{\"id\": \"web\", \"status\": \"creating\"}"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A shell that runs `script`, with $D for the test's directory. */
struct shell {
    char *args[4];
    char *env[3];
    char *dir;
};

static struct oci_hook shell_hook(struct shell *s, const struct temp_dir *d, const char *script)
{
    s->dir = str_printf("D=%s", d->path);
    s->args[0] = text("sh");
    s->args[1] = text("-c");
    s->args[2] = text(script);
    s->args[3] = NULL;
    s->env[0] = s->dir;
    s->env[1] = text("PATH=/usr/bin:/bin");
    s->env[2] = NULL;
    return (struct oci_hook){.path = text("/bin/sh"), .args = s->args, .env = s->env};
}

static int run_list(enum oci_hook_kind kind, struct oci_hook *list, size_t n, struct error *e)
{
    const struct oci_hook_list hooks = {.list = list, .n = n};

    return hooks_run(kind, &hooks, STATE, "/", e);
}

static void run_well(const struct temp_dir *d, const char *script)
{
    struct shell s;
    struct error e = {0};
    struct oci_hook hook = shell_hook(&s, d, script);

    if (run_list(OCI_HOOK_PRESTART, &hook, 1, &e) < 0)
        fail_msg("%s", error_render(&e));
    free(s.dir);
}

static void run_badly(const struct temp_dir *d, const char *script, uint32_t timeout, int errnum,
                      const char *says)
{
    struct shell s;
    struct error e = {0};
    struct oci_hook hook = shell_hook(&s, d, script);

    hook.timeout = timeout;
    assert_int_equal(run_list(OCI_HOOK_PRESTART, &hook, 1, &e), -errnum);
    assert_int_equal(e.code, ERROR_SYSTEM);
    assert_error_says(&e, "hooks.prestart[0] (/bin/sh)");
    assert_error_says(&e, says);
    error_done(&e);
    free(s.dir);
}

static void assert_content(const struct temp_dir *d, const char *name, const char *want)
{
    char *got = NULL;

    assert_int_equal(file_read_at(d->fd, name, 0, 1u << 20, &got, NULL), 0);
    assert_string_equal(got, want);
    free(got);
}

static void test_state_is_the_standard_input(void **state)
{
    const struct temp_dir *d = *state;

    run_well(d, "cat >$D/state");
    assert_content(d, "state", STATE);
    /* Each hook has it from its start, whatever the one before did to it. */
    struct shell s[2];
    struct error e = {0};
    struct oci_hook list[] = {shell_hook(&s[0], d, "echo spoiled 2>/dev/null >&0; cat >/dev/null"),
                              shell_hook(&s[1], d, "cat >$D/state")};
    if (run_list(OCI_HOOK_CREATE_RUNTIME, list, 2, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_content(d, "state", STATE);
    free(s[0].dir), free(s[1].dir);
}

static void test_nothing_else_is_inherited(void **state)
{
    const struct temp_dir *d = *state;
    int plain = open("/dev/null", O_RDONLY); /* not close-on-exec, as an engine may leave them */
    sigset_t all, before;

    assert_true(plain > 2);
    (void)setenv("RUNTIMES_OWN", "secret", 1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before);
    mode_t mask = umask(077);
    run_well(d,
             "env | sed 's/=.*//' | sort | tr '\\n' ' ' >$D/env; ls /proc/self/fd >$D/fds;"
             "grep -E '^Sig(Ign|Blk)' /proc/self/status | tr -d '\\n\\t' >$D/signals;"
             "umask >$D/umask; pwd >$D/cwd; cut -d' ' -f6 /proc/$$/stat >$D/sid; echo $$ >$D/pid");
    (void)umask(mask);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)close(plain);

    assert_content(d, "env", "D PATH PWD ");
    assert_content(d, "fds", "0\n1\n2\n3\n"); /* 3: ls itself, at the directory */
    assert_content(d, "signals", "SigBlk:0000000000000000SigIgn:0000000000000000");
    assert_content(d, "umask", "0022\n");
    assert_content(d, "cwd", "/\n");
    char *pid = NULL;
    assert_int_equal(file_read_at(d->fd, "pid", 0, 64, &pid, NULL), 0);
    assert_content(d, "sid", pid);
    free(pid);
}

static void test_without_args_and_env(void **state)
{
    const struct temp_dir *d = *state;
    char *path = str_printf("%s/hook", d->path), *out = str_printf("%s/out", d->path);
    char *script = str_printf("#!/bin/sh\necho \"$0 $#\" >%s\n"
                              "/usr/bin/env | grep -vE '^(PWD|_|SHLVL)=' >>%s\nexit 0\n",
                              out, out);
    struct oci_hook hook = {.path = path};
    struct error e = {0};

    temp_write(d, "hook", script, strlen(script), 0755);
    (void)setenv("RUNTIMES_OWN", "secret", 1);
    if (run_list(OCI_HOOK_POSTSTART, &hook, 1, &e) < 0)
        fail_msg("%s", error_render(&e));
    char *want = str_printf("%s 0\n", path);
    assert_content(d, "out", want);
    free(want), free(script), free(path), free(out);
}

static void test_order_and_the_first_failure(void **state)
{
    const struct temp_dir *d = *state;
    struct shell s[3];
    struct error e = {0};
    struct oci_hook list[] = {shell_hook(&s[0], d, "echo one >>$D/log"),
                              shell_hook(&s[1], d, "echo two >>$D/log; echo no luck >&2; exit 3"),
                              shell_hook(&s[2], d, "echo three >>$D/log")};

    assert_int_equal(run_list(OCI_HOOK_CREATE_RUNTIME, list, 3, &e), -ECHILD);
    assert_content(d, "log", "one\ntwo\n");
    assert_error_says(&e, "cannot run hook 'hooks.createRuntime[1] (/bin/sh)': "
                          "it ended with status 3: no luck");
    error_done(&e);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        free(s[i].dir);
}

static unsigned n_warnings;
static char last_warning[1024];

static void take_warning(enum log_level level, const char *line)
{
    if (level == LOG_WARNING_)
        n_warnings++;
    (void)snprintf(last_warning, sizeof(last_warning), "%s", line);
}

static void test_poststop_goes_on(void **state)
{
    const struct temp_dir *d = *state;
    struct shell s[3];
    struct error e = {0};
    struct oci_hook list[] = {shell_hook(&s[0], d, "exit 1"), shell_hook(&s[1], d, "kill -KILL $$"),
                              shell_hook(&s[2], d, "echo three >>$D/log")};

    n_warnings = 0;
    log_set_sink(take_warning, LOG_WARNING_);
    assert_int_equal(run_list(OCI_HOOK_POSTSTOP, list, 3, &e), 0);
    log_set_sink(NULL, LOG_WARNING_);
    assert_int_equal(e.code, ERROR_NONE);
    assert_content(d, "log", "three\n");
    assert_int_equal(n_warnings, 2);
    assert_non_null(strstr(last_warning, "hooks.poststop[1]"));
    assert_non_null(strstr(last_warning, "killed by signal 9 (SIGKILL)"));
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        free(s[i].dir);
}

static void test_what_it_printed(void **state)
{
    const struct temp_dir *d = *state;

    run_badly(d, "echo to stdout; echo to stderr >&2; exit 4", 0, ECHILD,
              "status 4: to stdout; to stderr");
    run_badly(d, "exit 255", 0, ECHILD, "it ended with status 255");
    run_badly(d, "printf '\\033[2Jx\\n\\n'; exit 1", 0, ECHILD, "status 1: \\x1b[2Jx");
    /* More than is kept, and more than a pipe holds: the end of it, from a line's beginning. */
    run_badly(d, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 5", 0,
              ECHILD, "status 5: line 199");
    run_badly(d, "head -c 300000 /dev/zero | tr '\\0' x; exit 6", 0, ECHILD, "status 6: xxxx");
}

static void test_a_hook_that_does_not_read(void **state)
{
    const struct temp_dir *d = *state;
    struct shell s;
    struct error e = {0};
    struct oci_hook hook = shell_hook(&s, d, "exit 0");
    const struct oci_hook_list hooks = {.list = &hook, .n = 1};
    char *state_text = mem_alloc(1u << 20);

    memset(state_text, ' ', (1u << 20) - 1);
    if (hooks_run(OCI_HOOK_PRESTART, &hooks, state_text, "/", &e) < 0)
        fail_msg("%s", error_render(&e));
    free(state_text);
    free(s.dir);
}

static void test_hooks_that_cannot_be_run(void **state)
{
    const struct temp_dir *d = *state;
    char *path = str_printf("%s/hook", d->path);
    struct oci_hook hook = {.path = path};
    const struct oci_hook_list hooks = {.list = &hook, .n = 1};
    struct error e = {0};

    assert_int_equal(run_list(OCI_HOOK_PRESTART, &hook, 1, &e), -ENOENT);
    assert_error_says(&e, path);
    assert_error_says(&e, "it can't be run: No such file or directory");
    error_done(&e);
    temp_write(d, "hook", "#!/bin/true\n", 12, 0644);
    assert_int_equal(run_list(OCI_HOOK_PRESTART, &hook, 1, &e), -EACCES);
    error_done(&e);
    temp_write(d, "hook", "no program\n", 11, 0755);
    assert_int_equal(run_list(OCI_HOOK_PRESTART, &hook, 1, &e), -ENOEXEC);
    error_done(&e);
    assert_int_equal(hooks_run(OCI_HOOK_PRESTART, &hooks, STATE, "/nonexistent", &e), -ENOENT);
    assert_error_says(&e, "its working directory can't be entered");
    error_done(&e);
    free(path);
}

/* Ends when every process that holds the writing end of the FIFO has; the first byte says
 * "alive". */
static int open_fifo(const struct temp_dir *d)
{
    assert_int_equal(mkfifoat(d->fd, "fifo", 0600), 0);
    int fd = openat(d->fd, "fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static char read_byte(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c = 0;

    if (poll(&p, 1, PATIENCE_MS) != 1)
        fail_msg("nothing heard in time");
    ssize_t n = read(fd, &c, 1);
    return n == 1 ? c : '\0';
}

static void test_a_timeout_kills_all_of_it(void **state)
{
    const struct temp_dir *d = *state;
    int fifo = open_fifo(d);

    run_badly(d, "exec 3>$D/fifo; sleep 1000 & printf a >&3; echo hanging; wait", 1, ETIMEDOUT,
              "it timed out after 1 s and was killed: hanging");
    assert_int_equal(read_byte(fifo), 'a');
    assert_int_equal(read_byte(fifo), '\0');
    (void)close(fifo);
    /* One that prints without end is no exception. */
    run_badly(d, "yes", 1, ETIMEDOUT, "timed out after 1 s");
    /* A timeout that is not reached changes nothing. */
    struct shell s;
    struct oci_hook hook = shell_hook(&s, d, "exit 0");
    hook.timeout = UINT32_MAX;
    assert_int_equal(run_list(OCI_HOOK_PRESTART, &hook, 1, NULL), 0);
    free(s.dir);
}

/* It holds the output open, and what it prints later is nobody's. */
static void test_what_a_hook_leaves_behind_is_not_waited_for(void **state)
{
    const struct temp_dir *d = *state;
    int fifo = open_fifo(d);
    char *path = str_printf("%s/release", d->path);

    assert_int_equal(mkfifo(path, 0600), 0);
    run_well(d, "(trap '' PIPE; read x <$D/release; echo late; printf z >$D/fifo) &");
    int release = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(release >= 0);
    assert_int_equal(write(release, "\n", 1), 1);
    (void)close(release);
    char c;
    /* Until it opens the FIFO there is no writer: end of file, again and again. */
    do
        c = read_byte(fifo);
    while (c == '\0');
    assert_int_equal(c, 'z');
    (void)close(fifo);
    free(path);
}

static void test_it_dies_with_the_runtime(void **state)
{
    const struct temp_dir *d = *state;
    int fifo = open_fifo(d), status;

    pid_t runtime = fork();
    assert_true(runtime >= 0);
    if (runtime == 0) {
        struct shell s;
        struct oci_hook hook = shell_hook(&s, d, "exec 3>$D/fifo; printf a >&3; exec sleep 1000");
        _exit(run_list(OCI_HOOK_PRESTART, &hook, 1, NULL) == 0 ? 0 : 1);
    }
    struct pollfd p = {.fd = fifo, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(read_byte(fifo), 'a');
    assert_int_equal(kill(runtime, SIGKILL), 0);
    assert_int_equal(waitpid(runtime, &status, 0), runtime);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(read_byte(fifo), '\0');
    (void)close(fifo);
}

static void test_sigchld_that_is_ignored(void **state)
{
    const struct temp_dir *d = *state;

    (void)signal(SIGCHLD, SIG_IGN);
    run_badly(d, "exit 7", 0, ECHILD, "status 7");
    (void)signal(SIGCHLD, SIG_DFL);
}

static void test_in_the_child(void **state)
{
    const struct temp_dir *d = *state;
    struct shell s[2];
    struct oci_hook list[] = {shell_hook(&s[0], d, "cat >$D/state"),
                              shell_hook(&s[1], d, "echo oh >&2; exit 9")};
    struct oci_hook_list hooks = {.list = list, .n = 1};
    struct hooks_state room = {0};
    struct error e = {0};
    int status;

    assert_int_equal(hooks_state_make(&room, strlen(STATE), &e), 0);
    int sk[2];
    assert_int_equal(pipe2(sk, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct hook_failure f = {0};
        char c;
        if (read(sk[0], &c, 1) != 1)
            _exit(1);
        if (hooks_run_in_child(OCI_HOOK_CREATE_CONTAINER, &hooks, &room, -EBADF, &f) != 0)
            _exit(2);
        hooks.n = 2;
        if (hooks_run_in_child(OCI_HOOK_START_CONTAINER, &hooks, &room, -EBADF, &f) != -ECHILD)
            _exit(3);
        if (f.errnum != ECHILD || !streq(f.subject, "hooks.startContainer[1] (/bin/sh)") ||
            !streq(f.why, "it ended with status 9: oh"))
            _exit(4);
        _exit(0);
    }
    /* Filled when the child is there already. */
    assert_int_equal(hooks_state_fill(&room, STATE " ", &e), -ENOSPC);
    error_done(&e);
    assert_int_equal(hooks_state_fill(&room, STATE, &e), 0);
    assert_int_equal(write(sk[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_content(d, "state", STATE);
    (void)close(sk[0]), (void)close(sk[1]);
    hooks_state_done(&room);
    assert_null(room.text);
    hooks_state_done(&room);
    free(s[0].dir), free(s[1].dir);
}

static void test_it_ends_with_the_one_who_waits_for_it(void **state)
{
    const struct temp_dir *d = *state;
    struct shell s;
    struct oci_hook hook = shell_hook(&s, d, "exec 3>$D/fifo; printf a >&3; sleep 1000 & wait");
    struct oci_hook_list hooks = {.list = &hook, .n = 1};
    struct hooks_state room = {0};
    struct hook_failure f = {0};
    int fifo = open_fifo(d), sk[2], status;

    assert_int_equal(hooks_state_make(&room, strlen(STATE), NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(sk[0]);
        int r = hooks_run_in_child(OCI_HOOK_CREATE_CONTAINER, &hooks, &room, sk[1], &f);
        _exit(r == -EPIPE && f.errnum == EPIPE ? 0 : 1);
    }
    (void)close(sk[1]);
    assert_int_equal(read_byte(fifo), 'a');
    (void)close(sk[0]);
    assert_int_equal(read_byte(fifo), '\0');
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(fifo);
    hooks_state_done(&room);
    free(s.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_state_is_the_standard_input),
        temp_test(test_nothing_else_is_inherited),
        temp_test(test_without_args_and_env),
        temp_test(test_order_and_the_first_failure),
        temp_test(test_poststop_goes_on),
        temp_test(test_what_it_printed),
        temp_test(test_a_hook_that_does_not_read),
        temp_test(test_hooks_that_cannot_be_run),
        temp_test(test_a_timeout_kills_all_of_it),
        temp_test(test_what_a_hook_leaves_behind_is_not_waited_for),
        temp_test(test_it_dies_with_the_runtime),
        temp_test(test_sigchld_that_is_ignored),
        temp_test(test_in_the_child),
        temp_test(test_it_ends_with_the_one_who_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
