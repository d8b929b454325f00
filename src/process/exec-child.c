/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/exec-child.h"

#include <sys/prctl.h>

#include "sys/process.h"

_noreturn_ void exec_run(const void *arg)
{
    const struct exec_plan *plan = arg;

    /* The container's processes see this one from now on, while it is still the runtime
     * (CVE-2016-9962). execve() sets it back. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    sys_reset_signals();
    /* The host's files and directories are not to be had even by who gets past that. */
    program_close_others(&plan->program);
    /* Nothing is to be heard from it before it is known (PROGRAM_SPAWNED). */
    program_await(&plan->program, PROGRAM_GO);

    if (plan->other_user_namespace)
        program_become_root(&plan->program);
    program_new_session(&plan->program, false);
    const char *path = program_enter(&plan->program, false);
    program_run(&plan->program, path);
}
