/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "process/foreground.h"

struct values {
    const char *input, *image_path, *work_path, *bundle, *pid_file, *console_socket,
        *manage_cgroups_mode, *criu;
    bool no_subreaper, no_pivot, detach, tcp_established, ext_unix_sk, shell_job, file_locks,
        require_seal;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'i', "input", OPTION_STRING, VALUE(input), "DIR", "restore the sealed checkpoint in DIR"},
    {0, "image-path", OPTION_STRING, VALUE(image_path), "DIR",
     "restore from CRIU's images in DIR, as runc does (default: ./checkpoint)"},
    {0, "require-seal", OPTION_FLAG, VALUE(require_seal), NULL,
     "with --image-path: refuse a checkpoint without a seal"},
    {'b', "bundle", OPTION_STRING, VALUE(bundle), "DIR",
     "the bundle; with -i that of the original, else the current directory"},
    {'d', "detach", OPTION_FLAG, VALUE(detach), NULL, "leave the container running and return"},
    {0, "pid-file", OPTION_STRING, VALUE(pid_file), "FILE", "write the first process's pid there"},
    {0, "console-socket", OPTION_STRING, VALUE(console_socket), "SOCKET",
     "AF_UNIX socket that gets the terminal's master"},
    {0, "work-path", OPTION_STRING, VALUE(work_path), "DIR", "where CRIU logs"},
    {0, "tcp-established", OPTION_FLAG, VALUE(tcp_established), NULL,
     "bring back established TCP connections"},
    {0, "ext-unix-sk", OPTION_FLAG, VALUE(ext_unix_sk), NULL,
     "allow unix sockets whose other end is outside"},
    {0, "shell-job", OPTION_FLAG, VALUE(shell_job), NULL,
     "give the container the terminal of this command"},
    {0, "file-locks", OPTION_FLAG, VALUE(file_locks), NULL, "bring back file locks"},
    {0, "manage-cgroups-mode", OPTION_STRING, VALUE(manage_cgroups_mode), "MODE",
     "ignore (the only one: the cgroup is nucleus's business, not CRIU's)"},
    {0, "no-subreaper", OPTION_FLAG, VALUE(no_subreaper), NULL,
     "do not adopt what the container's processes leave behind"},
    {0, "no-pivot", OPTION_FLAG, VALUE(no_pivot), NULL,
     "refused: CRIU brings the root back by pivot_root and nothing else"},
    {0, "criu", OPTION_STRING, VALUE(criu), "PATH", "use this CRIU"},
    {0},
};

static int check_usage(const struct values *v, const char *id, struct error *e)
{
    const char *why = NULL;

    if (v->input && (v->image_path || v->require_seal))
        why = "--input, which always requires a seal, does not go with --image-path or "
              "--require-seal";
    else if (!v->input && !id)
        why = "restoring from --image-path needs an ID";
    if (v->no_pivot)
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "use", "--no-pivot", "leave it out",
                         "CRIU brings the root back by pivot_root and nothing else");
    if (!why)
        return 0;
    return error_set(e, ERROR_USAGE, EINVAL, "parse command line", "restore", "see --help", "%s",
                     why);
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    int r = check_usage(v, args[0], e);
    if (r == 0)
        r = command_check_cgroups_mode(v->manage_cgroups_mode, e);
    if (r < 0)
        return r;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    _cleanup_foreground_ struct foreground fg = {.signal_fd = -EBADF,
                                                 .no_subreaper = v->no_subreaper};
    r = command_begin(ctx, v->detach ? NULL : &fg, &store, e);
    if (r < 0)
        return r;

    _cleanup_container_process_ struct container_process p = {.pidfd = -EBADF,
                                                              .console_fd = -EBADF};
    _cleanup_free_ char *id = NULL;
    struct restore_options o = {
        .dir = v->input ? v->input : v->image_path ? v->image_path : "checkpoint",
        .own_form = v->input != NULL,
        .require_seal = v->require_seal,
        .id = args[0],
        .bundle = v->bundle ? v->bundle : v->input ? NULL : ".",
        .work_path = v->work_path,
        .pid_file = v->pid_file,
        .console_socket = v->console_socket,
        .systemd_cgroup = ctx->systemd_cgroup,
        .keep_console = !v->detach,
        .tcp_established = v->tcp_established,
        .ext_unix_sk = v->ext_unix_sk,
        .shell_job = v->shell_job,
        .file_locks = v->file_locks,
        .criu = v->criu,
    };
    r = checkpoint_restore(&store, &o, &id, &p, e);
    if (r < 0)
        return r;
    if (v->detach) {
        /* Nobody could know the new id otherwise. */
        _cleanup_free_ char *line = str_printf("%s\n", id);
        return args[0] ? 0 : output_text(line, e);
    }

    int status;
    r = foreground_wait(&fg, &p, &status, e);
    if (r < 0)
        return r;
    r = container_finish(&store, id, false, e);
    return r < 0 ? r : status;
}

const struct command command_restore = {
    .name = "restore",
    .usage = "[options] [ID]",
    .summary = "Bring a container back from a checkpoint",
    .details =
        "With -i the seal is verified first; without an ID the container gets a new one (printed\n"
        "with --detach) and the name of the original with \"-restored\" behind it.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 0,
    .max_args = 1,
    .run = run,
};
