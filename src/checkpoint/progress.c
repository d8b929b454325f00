/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/progress.h"

#include <errno.h>
#include <stdbool.h>

static const char *const names[] = {
    [CHECKPOINT_NONE] = "none",         [CHECKPOINT_DUMPING] = "dumping",
    [CHECKPOINT_DUMPED] = "dumped",     [CHECKPOINT_RESTORING] = "restoring",
    [CHECKPOINT_RESTORED] = "restored",
};

static const bool allowed[ARRAY_SIZE(names)][ARRAY_SIZE(names)] = {
    [CHECKPOINT_NONE] = {[CHECKPOINT_DUMPING] = true, [CHECKPOINT_RESTORING] = true},
    [CHECKPOINT_DUMPING] = {[CHECKPOINT_DUMPED] = true, [CHECKPOINT_NONE] = true},
    [CHECKPOINT_RESTORING] = {[CHECKPOINT_RESTORED] = true, [CHECKPOINT_NONE] = true},
};

const char *progress_name(enum checkpoint_progress p)
{
    return (unsigned)p < ARRAY_SIZE(names) ? names[p] : "unknown";
}

int progress_step(enum checkpoint_progress *p, enum checkpoint_progress to, struct error *e)
{
    if ((unsigned)*p < ARRAY_SIZE(names) && (unsigned)to < ARRAY_SIZE(names) && allowed[*p][to]) {
        *p = to;
        return 0;
    }
    return error_set(e, ERROR_INTERNAL, 0, "take the next step of a checkpoint", NULL,
                     "please report this", "there is no step from %s to %s", progress_name(*p),
                     progress_name(to));
}
