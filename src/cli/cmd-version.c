/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/commands.h"
#include "cli/output.h"
#include "oci/spec.h"

static const struct option_def options[] = {{0}};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    (void)ctx;
    (void)values;
    (void)args;
    return output_text("nucleus version " NUCLEUS_VERSION "\nspec: " OCI_VERSION "\n", e);
}

const struct command command_version = {
    .name = "version",
    .usage = "",
    .summary = "Show the versions of nucleus and of the runtime-spec",
    .options = options,
    .max_args = 0,
    .run = run,
};
