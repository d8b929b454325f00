/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "process/program.h"

/* A process that `exec` adds, once it is in the container's namespaces (join.h) and up to
 * execve. */

struct exec_plan {
    struct program_plan program;
    bool other_user_namespace; /* than the caller's */
};

/* The child; `arg` is a struct exec_plan. Does not return, nothing allocates. */
_noreturn_ void exec_run(const void *arg);
