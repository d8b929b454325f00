/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "checkpoint/checkpoint.h"
#include "cli/commands.h"

struct values {
    const char *output, *image_path, *work_path, *manage_cgroups_mode, *criu;
    bool leave_running, tcp_established, ext_unix_sk, shell_job, file_locks, seal;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'o', "output", OPTION_STRING, VALUE(output), "DIR",
     "make a sealed checkpoint in DIR (images/, metadata.json, checkpoint.hmac)"},
    {0, "image-path", OPTION_STRING, VALUE(image_path), "DIR",
     "put CRIU's images into DIR, as runc does (default: ./checkpoint)"},
    {0, "seal", OPTION_FLAG, VALUE(seal), NULL, "with --image-path: seal DIR"},
    {0, "work-path", OPTION_STRING, VALUE(work_path), "DIR", "where CRIU logs"},
    {0, "leave-running", OPTION_FLAG, VALUE(leave_running), NULL,
     "let the container run on afterwards"},
    {0, "tcp-established", OPTION_FLAG, VALUE(tcp_established), NULL,
     "keep established TCP connections"},
    {0, "ext-unix-sk", OPTION_FLAG, VALUE(ext_unix_sk), NULL,
     "allow unix sockets whose other end is outside"},
    {0, "shell-job", OPTION_FLAG, VALUE(shell_job), NULL,
     "allow a terminal of the host as standard input or output"},
    {0, "file-locks", OPTION_FLAG, VALUE(file_locks), NULL, "keep file locks"},
    {0, "manage-cgroups-mode", OPTION_STRING, VALUE(manage_cgroups_mode), "MODE",
     "ignore (the only one: the cgroup is nucleus's business, not CRIU's)"},
    {0, "criu", OPTION_STRING, VALUE(criu), "PATH", "use this CRIU"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    if (v->output && (v->image_path || v->seal))
        return error_set(e, ERROR_USAGE, EINVAL, "parse command line", "checkpoint",
                         "choose one form: -o DIR is always sealed",
                         "--output does not go with --image-path or --seal");
    int r = command_check_cgroups_mode(v->manage_cgroups_mode, e);
    if (r < 0)
        return r;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    r = command_open_store(ctx, true, &store, e);
    if (r < 0)
        return r;
    struct checkpoint_options o = {
        .ref = args[0],
        .dir = v->output ? v->output : v->image_path ? v->image_path : "checkpoint",
        .own_form = v->output != NULL,
        .seal = v->seal,
        .work_path = v->work_path,
        .leave_running = v->leave_running,
        .tcp_established = v->tcp_established,
        .ext_unix_sk = v->ext_unix_sk,
        .shell_job = v->shell_job,
        .file_locks = v->file_locks,
        .criu = v->criu,
    };
    return checkpoint_dump(&store, &o, e);
}

const struct command command_checkpoint = {
    .name = "checkpoint",
    .usage = "[options] ID",
    .summary = "Freeze a running container into a checkpoint",
    .details = "Without --leave-running the container has stopped afterwards.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
