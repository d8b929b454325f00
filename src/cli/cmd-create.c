/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/create-options.h"

static const struct option_def options[] = {CREATE_OPTIONS, {0}};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    struct container_create_options o;
    int r = create_options_make(ctx, values, args[0], &o, e);
    if (r == 0)
        r = container_check_preserved(o.preserve_fds, e);
    if (r == 0)
        r = command_begin(ctx, NULL, &store, e);
    if (r < 0)
        return r;

    _cleanup_container_process_ struct container_process p = {.pidfd = -EBADF,
                                                              .console_fd = -EBADF};
    o.hold = true;
    return container_create(&store, &o, &p, e);
}

const struct command command_create = {
    .name = "create",
    .usage = "[options] ID",
    .summary = "Create a container from an OCI bundle, stopped just before its program",
    .details = "The container waits until `nucleus start ID`.",
    .options = options,
    .values_size = sizeof(struct create_values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
