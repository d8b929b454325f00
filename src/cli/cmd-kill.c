/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "cli/commands.h"
#include "process/container.h"
#include "sys/process.h"

struct values {
    bool all;
};
static const struct option_def options[] = {
    {'a', "all", OPTION_FLAG, offsetof(struct values, all), NULL,
     "signal every process of the container"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    const char *name = args[1] ? args[1] : "TERM";
    int sig = sys_signal_parse(name);
    if (sig < 0)
        return error_set(e, ERROR_USAGE, EINVAL, "send signal", name,
                         "give a name (TERM, SIGTERM, RTMIN+1) or a number",
                         "there is no such signal");
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, true, &store, e);
    if (r < 0)
        return r;
    return container_kill(&store, args[0], sig, v->all, e);
}

const struct command command_kill = {
    .name = "kill",
    .usage = "[options] ID [SIGNAL]",
    .summary = "Send a signal (default TERM) to a container's first process",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
