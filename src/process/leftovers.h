/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "state/state.h"

/* What checkpoint and restore keep beside a container's record, by name, so that `delete` can
 * remove it too: `<id>.work/` (while they run, or after they were killed) and
 * `log/<id>-{dump,restore}.log` (of the last failure). */
#define LEFTOVERS_LOG_DIR "log"

void leftovers_remove_work(const struct store *store, const char *id);
void leftovers_remove_logs(const struct store *store, const char *id);
