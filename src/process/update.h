/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"
#include "oci/resources.h"
#include "state/state.h"

/* `update`: new limits for a container that exists; what `r` does not set stays as it is. One
 * operation under the container's lock. A container that is created, running or paused may be
 * updated, else ERROR_WRONG_STATUS "container not running".
 *
 * When the kernel refuses one limit, or keeps another value than asked for, those before it are put
 * back (cgroup_write_all()). Device rules, where there are any, replace all that were; they go
 * last, and where they fail the limits stay changed. The record's memory_limit and cpu_limit
 * follow. */
int container_update(const struct store *store, const char *ref, const struct oci_resources *r,
                     struct error *e);
