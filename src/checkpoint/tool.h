/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "checkpoint/criu/criu.h"

/* criu_find() in the mount namespace CRIU will work in too (checkpoint/private.h), so that what it
 * learns of the kernel is kept for the run that follows. `option` is --criu, or NULL. */
int checkpoint_find_criu(int cache_dir_fd, const char *option, struct criu_tool *ret,
                         struct error *e);
