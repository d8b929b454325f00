/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/output.h"

static const struct option_def options[] = {{0}};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    (void)ctx;
    (void)values;
    struct checkpoint_verified v;
    int r = checkpoint_verify(args[0], &v, e);
    if (r < 0)
        return r;

    _cleanup_strbuf_ struct strbuf b = {0};
    strbuf_addf(&b, "seal verified: %llu files in %llu directories, %llu bytes\n",
                (unsigned long long)v.info.files, (unsigned long long)v.info.dirs,
                (unsigned long long)v.info.bytes);
    if (v.has_metadata) {
        _cleanup_free_ char *when = output_time(v.metadata.checkpoint_at);
        _cleanup_free_ char *command = strv_join(v.metadata.command, " ");
        strbuf_addf(&b, "container %s", v.metadata.container_id);
        if (v.metadata.container_name &&
            !streq(v.metadata.container_name, v.metadata.container_id))
            strbuf_addf(&b, " (%s)", v.metadata.container_name);
        strbuf_addf(&b, ", frozen %s\nprogram: %s\n", when, command);
    }
    r = output_text(b.s, e);
    checkpoint_verified_done(&v);
    return r;
}

const struct command command_verify = {
    .name = "verify",
    .usage = "DIR",
    .summary = "Check the seal of a checkpoint, and nothing else",
    .details = "Exit status 0 where not one bit has changed, 1 otherwise.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
