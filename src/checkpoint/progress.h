/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"

/* How far one checkpoint or restore has come (C6). */
enum checkpoint_progress {
    CHECKPOINT_NONE,
    CHECKPOINT_DUMPING,
    CHECKPOINT_DUMPED,
    CHECKPOINT_RESTORING,
    CHECKPOINT_RESTORED,
};

const char *progress_name(enum checkpoint_progress p) _const_;

/* none -> dumping -> dumped, none -> restoring -> restored, and back to none from dumping and
 * restoring when they fail. Any other step is ERROR_INTERNAL and leaves *p as it was. */
int progress_step(enum checkpoint_progress *p, enum checkpoint_progress to, struct error *e);
