/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/commands.h"
#include "process/container.h"

struct values {
    bool force;
};
static const struct option_def options[] = {
    {'f', "force", OPTION_FLAG, offsetof(struct values, force), NULL,
     "kill it if it runs; do not mind if it does not exist"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, true, &store, e);
    if (r < 0)
        return r;
    return container_delete(&store, args[0], v->force, e);
}

const struct command command_delete = {
    .name = "delete",
    .usage = "[options] ID",
    .summary = "Delete a container that has stopped",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
