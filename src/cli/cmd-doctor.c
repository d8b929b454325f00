/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/commands.h"
static const struct option_def options[] = {{0}};
static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{ (void)ctx; (void)values; (void)args; (void)e; return 1; }
const struct command command_doctor = {.name = "doctor", .usage="", .summary="x", .options=options,.run=run};
