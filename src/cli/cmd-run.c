/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/create-options.h"
#include "process/foreground.h"

struct values {
    struct create_values create; /* first: CREATE_OPTIONS */
    bool detach, keep, no_subreaper;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    CREATE_OPTIONS,
    {'d', "detach", OPTION_FLAG, VALUE(detach), NULL, "leave the container running and return"},
    {0, "keep", OPTION_FLAG, VALUE(keep), NULL, "do not delete the container after it ended"},
    {0, "no-subreaper", OPTION_FLAG, VALUE(no_subreaper), NULL,
     "do not adopt what the container's processes leave behind"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    _cleanup_foreground_ struct foreground fg = {.signal_fd = -EBADF,
                                                 .no_subreaper = v->no_subreaper};
    struct container_create_options o;
    int r = create_options_make(ctx, &v->create, args[0], &o, e);
    if (r == 0)
        r = container_check_preserved(o.preserve_fds, e);
    if (r == 0)
        r = command_begin(ctx, v->detach ? NULL : &fg, &store, e);
    if (r < 0)
        return r;

    _cleanup_container_process_ struct container_process p = {.pidfd = -EBADF,
                                                              .console_fd = -EBADF};
    o.keep_console = !v->detach;
    r = container_create(&store, &o, &p, e);
    if (r < 0 || v->detach)
        return r;

    int status;
    r = foreground_wait(&fg, &p, &status, e);
    if (r < 0)
        return r;
    r = container_finish(&store, args[0], v->keep, e);
    return r < 0 ? r : status;
}

const struct command command_run = {
    .name = "run",
    .usage = "[options] ID",
    .summary = "Run a container from an OCI bundle",
    .details = "In the foreground signals are passed on, and the exit status is the program's, or\n"
               "128 + the signal that ended it.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
