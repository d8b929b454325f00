/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* A second process that takes something back when this one dies in the middle (kill -9, out of
 * memory, a crash): a frozen container must run on, a half-restored one must go. It is a plain fork
 * that waits on a pipe: no exec, nothing to pay but a few pages. */

struct guardian {
    int pid;
    int pipe_fd;
};

/* Starts it. When this process ends without guardian_dismiss(), `undo(arg, committed)` runs in the
 * guardian, with its own copy of all memory and descriptors as they are now; committed says whether
 * guardian_commit() was called. It is in a session of its own, ignores signals from terminals, and
 * has /dev/null as stdio. */
int guardian_start(struct guardian *g, void (*undo)(void *arg, bool committed), void *arg,
                   struct error *e);

/* The point of no return was passed. */
void guardian_commit(struct guardian *g);

/* Nothing to take back any more: ends it, waits for it. Safe on a guardian that never started
 * (pipe_fd -EBADF). */
void guardian_dismiss(struct guardian *g);
#define _cleanup_guardian_ _cleanup_(guardian_dismiss)
