/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

#include "oci/spec.h"
#include "process/hooks.h"

/* One hook, from its start to its end, for parent and child alike: nothing allocates. Private to
 * hooks.c. `cwd` NULL: the caller's. `watch_fd`: see hooks_run_in_child(). Negative errno with
 * ret->errnum and ret->why. */
int hook_run(const struct oci_hook *hook, const char *state, size_t len, const char *cwd,
             int watch_fd, struct hook_failure *ret);
