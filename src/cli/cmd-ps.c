/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <fcntl.h>
#include <json-c/json.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "process/container.h"

#define PS_OUTPUT_MAX ((size_t)64 << 20)
#define PS_COMPLAINT_MAX ((size_t)64 << 10)
#define STEP "list processes of container"

struct values {
    const char *format;
};
static const struct option_def options[] = {
    {'f', "format", OPTION_STRING, offsetof(struct values, format), "FORMAT",
     "table (default) or json"},
    {0},
};

struct pids {
    pid_t *list; /* sorted */
    size_t n;
};

static void pids_done(struct pids *p)
{
    free(p->list);
}
#define _cleanup_pids_ _cleanup_(pids_done)

static int compare_pids(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

static bool pids_have(const struct pids *p, pid_t pid)
{
    return p->n > 0 && bsearch(&pid, p->list, p->n, sizeof(pid_t), compare_pids);
}

/* ---- what ps says ---- */

/* The first line of what it complained about, or its exit status. */
static int ps_failed(int status, int complaints_fd, struct error *e)
{
    _cleanup_free_ char *text = NULL;

    if (lseek(complaints_fd, 0, SEEK_SET) == 0 &&
        fd_read_all(complaints_fd, PS_COMPLAINT_MAX, &text, NULL) == 0) {
        const char *line = text + strspn(text, "\n");
        size_t n = strcspn(line, "\n");
        if (n > 0)
            return error_set(e, ERROR_USAGE, EINVAL, "run ps", NULL, "see ps(1) for its options",
                             "%.*s", (int)n, line);
    }
    return error_set(e, ERROR_SYSTEM, EINVAL, "run ps", NULL, NULL,
                     WIFSIGNALED(status) ? "it died of signal %d" : "it ended with status %d",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int spawn_ps(char *const *argv, char *const *envp, int out_fd, int err_fd, pid_t *ret)
{
    posix_spawn_file_actions_t actions;

    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
    if (r == 0)
        r = posix_spawnp(ret, argv[0], &actions, NULL, argv, envp);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int wait_ps(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* Runs the host's ps; *ret_text is what it printed. */
static int run_ps(char *const *args, char *const *envp, char **ret_text, struct error *e)
{
    _cleanup_free_ char **argv = mem_alloc((strv_len(args) + 3) * sizeof(char *));
    char name[] = "ps", everything[] = "-ef";
    size_t n = 0;

    argv[n++] = name;
    if (!args[0])
        argv[n++] = everything;
    for (; *args; args++)
        argv[n++] = *args;

    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "make a pipe", NULL);
    _cleanup_close_ int from = pipe_fds[0], to = pipe_fds[1];
    _cleanup_close_ int complaints = memfd_create("ps", MFD_CLOEXEC);
    if (complaints < 0)
        return error_errno(e, -errno, "run ps", NULL);
    pid_t pid;
    int r = spawn_ps(argv, envp, to, complaints, &pid);
    if (r == -ENOENT)
        return error_set(e, ERROR_UNSUPPORTED, ENOENT, "run ps", NULL,
                         "install it (package procps), or use --format json",
                         "there is no ps in PATH");
    if (r < 0)
        return error_errno(e, r, "run ps", NULL);

    to = fd_close(to);
    _cleanup_free_ char *text = NULL;
    int read_r = fd_read_all(from, PS_OUTPUT_MAX, &text, NULL);
    from = fd_close(from); /* ends a ps that would go on writing */
    int status = 0;
    r = wait_ps(pid, &status);
    if (r == 0)
        r = read_r;
    if (r < 0)
        return error_errno(e, r, "read the output of ps", NULL);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return ps_failed(status, complaints, e);
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* ---- the container's lines of it ---- */

/* The `index`th word of a line, NULL where there are fewer. */
static const char *word_at(const char *line, size_t len, size_t index, size_t *ret_n)
{
    const char *end = line + len, *p = line;

    for (size_t i = 0;; i++) {
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        const char *word = p;
        while (p < end && *p != ' ' && *p != '\t')
            p++;
        if (word == p)
            return NULL;
        if (i == index) {
            *ret_n = (size_t)(p - word);
            return word;
        }
    }
}

static int find_pid_column(const char *header, size_t len, size_t *ret, struct error *e)
{
    const char *word;
    size_t n;

    for (size_t i = 0; (word = word_at(header, len, i, &n)); i++)
        if (n == 3 && memcmp(word, "PID", 3) == 0) {
            *ret = i;
            return 0;
        }
    return error_set(e, ERROR_USAGE, EINVAL, "read the output of ps", NULL,
                     "choose ps options that print the pid",
                     "couldn't find PID field in ps output");
}

static int pid_of_line(const char *line, size_t len, size_t column, pid_t *ret, struct error *e)
{
    size_t n = 0;
    const char *word = word_at(line, len, column, &n);
    _cleanup_free_ char *text = mem_strndup(word ? word : "", n);
    uint64_t v;

    if (num_parse_u64_max(text, INT32_MAX, &v) < 0)
        return error_set(e, ERROR_USAGE, EINVAL, "read the output of ps", text,
                         "have ps print the pid before columns that may hold blanks",
                         "it is no pid");
    *ret = (pid_t)v;
    return 0;
}

/* The header, and the lines of these processes. */
static int filter(const char *text, const struct pids *pids, struct strbuf *out, struct error *e)
{
    size_t column = 0;
    bool header = true;

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        pid_t pid = 0;
        int r = header     ? find_pid_column(line, len, &column, e)
                : len == 0 ? 0
                           : pid_of_line(line, len, column, &pid, e);
        if (r < 0)
            return r;
        if (header || pids_have(pids, pid)) {
            strbuf_addn(out, line, len);
            strbuf_addc(out, '\n');
        }
        header = false;
        line += len + (line[len] == '\n');
    }
    return 0;
}

/* ---- the command ---- */

static int print_json(const struct pids *pids, struct error *e)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < pids->n; i++)
        json_object_array_add(array, json_object_new_int(pids->list[i]));
    int r = output_json(array, false, e);
    json_object_put(array);
    return r;
}

static int print_table(const struct command_context *ctx, const struct pids *pids,
                       char *const *args, struct error *e)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_strbuf_ struct strbuf out = {0};

    int r = run_ps(args, ctx->envp, &text, e);
    if (r == 0)
        r = filter(text, pids, &out, e);
    return r < 0 ? r : output_text(out.s ? out.s : "", e);
}

/* Those of a container that has stopped are none, and its cgroup may be another one's by now. */
static int read_pids(const struct store *store, const struct state *s, struct pids *ret,
                     struct error *e)
{
    if (container_status(store, s) == STATE_STOPPED)
        return 0;
    int r = container_check_cgroup(s, STEP, e);
    if (r < 0)
        return r;
    r = cgroup_pids(s->cgroup_path, &ret->list, &ret->n, e);
    if (r == 0 && ret->n > 0)
        qsort(ret->list, ret->n, sizeof(pid_t), compare_pids);
    return r;
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    bool json = v->format && streq(v->format, "json");
    if (v->format && !json && !streq(v->format, "table"))
        return error_set(e, ERROR_USAGE, EINVAL, "use ps format", v->format, "choose table or json",
                         "invalid format option");
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, false, &store, e);
    if (r < 0)
        return r;
    _cleanup_state_ struct state *s = NULL;
    r = store_resolve(&store, args[0], &s, e);
    if (r < 0)
        return r;
    _cleanup_pids_ struct pids pids = {0};
    r = read_pids(&store, s, &pids, e);
    if (r < 0)
        return r;
    if (json)
        return print_json(&pids, e);
    args++;
    return print_table(ctx, &pids, args + (args[0] && streq(args[0], "--")), e);
}

const struct command command_ps = {
    .name = "ps",
    .usage = "[options] ID [ps options]",
    .summary = "List the processes of a container",
    .details = "What follows the ID goes to the host's ps; -ef where nothing does.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = -1,
    .stop_at_first = true,
    .run = run,
};
