/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"
#include "state/state.h"

/* Stops every process of a container by the freezer of its cgroup, and lets them go on: one
 * operation under the container's lock. Whether it is paused is nowhere written down but in the
 * kernel. */

/* Running or created; anything else is ERROR_WRONG_STATUS "container not running". Returns when all
 * have stopped; when one does not within 10 s, they run again. */
int container_pause(const struct store *store, const char *ref, struct error *e);

/* Paused; anything else is ERROR_WRONG_STATUS "container not paused". One that can't go on, because
 * the cgroup above is frozen, stays paused. */
int container_resume(const struct store *store, const char *ref, struct error *e);
