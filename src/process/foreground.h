/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "process/container.h"

/* A container in the foreground: signals go to it, its terminal is shown, its end is waited for. */

struct foreground {
    int signal_fd;
    bool no_subreaper; /* set before foreground_prepare() */
};

/* Blocks every signal from here on and takes them by descriptor, so that none is lost between the
 * container's start and foreground_wait(), and makes this process the reaper of what the container
 * leaves (PR_SET_CHILD_SUBREAPER). Call before the container is created. */
int foreground_prepare(struct foreground *f, struct error *e);

/* Until the first process ends. *ret_status is what the shell would show: its exit status, or 128 +
 * the signal that ended it. */
int foreground_wait(struct foreground *f, const struct container_process *p, int *ret_status,
                    struct error *e);
void foreground_done(struct foreground *f);
#define _cleanup_foreground_ _cleanup_(foreground_done)
