/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/create-options.h"
#include "cli/output.h"
#include "process/exec.h"
#include "process/foreground.h"

/* As the shell has it, and engines expect it; 255 is runc's (and ssh's) for what went wrong before
 * there was a program: few programs end with it. */
enum { STATUS_NOT_RUN = 126, STATUS_NOT_FOUND = 127, STATUS_FAILED = 255 };

struct values {
    const char *process, *cwd, *user, *pid_file, *console_socket, *pidfd_socket, *preserve_fds,
        *cgroup, *apparmor, *process_label;
    char **env, **additional_gids, **caps;
    bool tty, detach, no_new_privs, ignore_paused;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'p', "process", OPTION_STRING, VALUE(process), "FILE",
     "run the process (an object as in config.json) in FILE"},
    {'t', "tty", OPTION_FLAG, VALUE(tty), NULL, "give the program a terminal"},
    {'d', "detach", OPTION_FLAG, VALUE(detach), NULL, "return when the program runs"},
    {0, "cwd", OPTION_STRING, VALUE(cwd), "DIR", "its working directory"},
    {'e', "env", OPTION_LIST, VALUE(env), "VARIABLE", "set NAME=VALUE (repeatable)"},
    {'u', "user", OPTION_STRING, VALUE(user), "USER", "run as UID or UID:GID"},
    {'g', "additional-gids", OPTION_LIST, VALUE(additional_gids), "GID",
     "another group of it (repeatable)"},
    {'c', "cap", OPTION_LIST, VALUE(caps), "CAPABILITY",
     "another capability of it, CAP_… (repeatable)"},
    {0, "no-new-privs", OPTION_FLAG, VALUE(no_new_privs), NULL, "let it gain no rights by execve"},
    {0, "apparmor", OPTION_STRING, VALUE(apparmor), "PROFILE", "its AppArmor profile"},
    {0, "process-label", OPTION_STRING, VALUE(process_label), "LABEL", "its SELinux label"},
    {0, "cgroup", OPTION_STRING, VALUE(cgroup), "PATH",
     "a cgroup below the container's, which exists"},
    {0, "preserve-fds", OPTION_STRING, VALUE(preserve_fds), "N",
     "hand descriptors 3 to 3 + N - 1 to the program"},
    {0, "ignore-paused", OPTION_FLAG, VALUE(ignore_paused), NULL,
     "wait until a paused container runs again"},
    {0, "pid-file", OPTION_STRING, VALUE(pid_file), "FILE", "write the process's pid there"},
    {0, "console-socket", OPTION_STRING, VALUE(console_socket), "SOCKET",
     "AF_UNIX socket that gets the terminal's master"},
    {0, "pidfd-socket", OPTION_STRING, VALUE(pidfd_socket), "SOCKET",
     "AF_UNIX socket that gets a pidfd of the process"},
    {0},
};

static int exec_and_wait(const struct command_context *ctx, const struct values *v,
                         struct container_exec_options *o, struct error *e)
{
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    _cleanup_foreground_ struct foreground fg = {.signal_fd = -EBADF, .no_subreaper = true};
    _cleanup_container_process_ struct container_process p = {.pidfd = -EBADF,
                                                              .console_fd = -EBADF};
    int r = create_parse_fds(v->preserve_fds, &o->preserve_fds, e);
    if (r == 0)
        r = container_check_preserved(o->preserve_fds, e);
    if (r == 0)
        r = command_begin(ctx, v->detach ? NULL : &fg, &store, e);
    if (r == 0)
        r = container_exec(&store, o, &p, e);
    if (r < 0 || v->detach)
        return r;

    int status;
    r = foreground_wait(&fg, &p, &status, e);
    return r < 0 ? r : status;
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    /* runc takes "--" for the program's name, which nobody can mean. */
    char *const *words = args + 1 + (args[1] && streq(args[1], "--"));
    struct container_exec_options o = {
        .ref = args[0],
        .process =
            {
                .file = v->process,
                .args = words,
                .cwd = v->cwd,
                .user = v->user,
                .env = v->env,
                .additional_gids = v->additional_gids,
                .caps = v->caps,
                .apparmor = v->apparmor,
                .selinux = v->process_label,
                .terminal = v->tty,
                .no_new_privs = v->no_new_privs,
            },
        .cgroup = v->cgroup,
        .pid_file = v->pid_file,
        .console_socket = v->console_socket,
        .pidfd_socket = v->pidfd_socket,
        .keep_console = !v->detach,
        .ignore_paused = v->ignore_paused,
    };
    int r = exec_and_wait(ctx, v, &o, e);
    if (r >= 0)
        return r;
    output_error(e);
    if (e->code != ERROR_PROGRAM)
        return STATUS_FAILED;
    return e->errnum == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUN;
}

const struct command command_exec = {
    .name = "exec",
    .usage = "[options] ID [--] PROGRAM [ARGUMENT…]",
    .summary = "Run another program in a container",
    .details =
        "Everything behind ID is the program's. What is not said by options or a file is as in\n"
        "the container's config.json. The exit status is the program's, or 128 + the signal that\n"
        "ended it; 127 where it was not found, 126 where it could not be run, 255 where nucleus\n"
        "failed.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = -1,
    .stop_at_first = true,
    .run = run,
};
