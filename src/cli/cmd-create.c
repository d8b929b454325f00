/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/commands.h"
#include "process/container.h"

struct values {
    const char *bundle, *pid_file, *console_socket;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'b', "bundle", OPTION_STRING, VALUE(bundle), "DIR", "the bundle; the current directory"},
    {0, "pid-file", OPTION_STRING, VALUE(pid_file), "FILE", "write the first process's pid there"},
    {0, "console-socket", OPTION_STRING, VALUE(console_socket), "SOCKET",
     "AF_UNIX socket that gets the terminal's master"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_begin(ctx, NULL, &store, e);
    if (r < 0)
        return r;

    _cleanup_container_process_ struct container_process p = {.pidfd = -EBADF,
                                                              .console_fd = -EBADF};
    struct container_create_options o = {
        .id = args[0],
        .bundle = v->bundle ? v->bundle : ".",
        .pid_file = v->pid_file,
        .console_socket = v->console_socket,
        .hold = true,
    };
    return container_create(&store, &o, &p, e);
}

const struct command command_create = {
    .name = "create",
    .usage = "[options] ID",
    .summary = "Create a container from an OCI bundle, stopped just before its program",
    .details = "The container waits until `nucleus start ID`.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
