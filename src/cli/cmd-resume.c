/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/commands.h"
#include "process/pause.h"

static const struct option_def options[] = {{0}};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    (void)values;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, true, &store, e);
    if (r < 0)
        return r;
    return container_resume(&store, args[0], e);
}

const struct command command_resume = {
    .name = "resume",
    .usage = "ID",
    .summary = "Let the processes of a paused container go on",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
