/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "process/container.h"
#include "process/exec-process.h"

/* One more process in a container that is there. */

struct container_exec_options {
    const char *ref;
    struct exec_process_options process;
    const char *cgroup;   /* one below the container's own, which exists; NULL: the container's */
    const char *pid_file; /* NULL: none */
    const char *console_socket; /* AF_UNIX socket that gets the pty master; NULL: none */
    const char *pidfd_socket;   /* AF_UNIX socket that gets a pidfd of the process; NULL: none */
    bool keep_console;          /* hand the pty master to the caller instead */
    bool ignore_paused;         /* wait until a paused container runs again, instead of failing */
    unsigned preserve_fds;      /* descriptors 3 to 3 + N - 1 go to the program */
};

/* Starts it: a child of the caller in the container's namespaces and cgroup, with the limits of its
 * spec. A stopped container is ERROR_WRONG_STATUS, and so is one that ends meanwhile ("container
 * not running"). The program is ERROR_PROGRAM where it is not there (errnum ENOENT) or can't be
 * run. On failure nothing is left of it.
 *
 * The container's lock is held until the program runs, so that a checkpoint sees a program or none;
 * but no longer than a few seconds where the container's own file systems don't answer, for then it
 * would be the container that says whether it can be killed. */
int container_exec(const struct store *store, const struct container_exec_options *o,
                   struct container_process *ret, struct error *e);
