/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/variant.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "sys/library.h"

/* VARIANT_HOT_WORDS has the same. */
const struct command *const variant_commands[] = {
    &command_create, &command_delete, &command_exec,  &command_kill,  &command_pause,
    &command_resume, &command_run,    &command_start, &command_state, &command_version,
    NULL,
};
const bool variant_is_static = true;

int variant_hand_over(char *const *argv, char *const *envp, struct error *e)
{
    char exe[PATH_MAX] = {0};
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    /* Without /proc the path that was executed does as well. */
    const char *own = n > 0 ? exe : (const char *)getauxval(AT_EXECFN);
    const char *slash = own ? strrchr(own, '/') : NULL;
    _cleanup_free_ char *beside =
        str_printf("%.*s" VARIANT_LINKED_NAME, slash ? (int)(slash + 1 - own) : 0, own ? own : "");

    (void)execve(beside, argv, envp);
    (void)execve(VARIANT_LINKED_PATH, argv, envp);
    return error_set(e, ERROR_PROGRAM, errno, "run", VARIANT_LINKED_PATH,
                     "install all of nucleus, or put " VARIANT_LINKED_NAME " beside nucleus",
                     "nucleus itself has only the commands that need no libraries");
}

static char *const *arguments, *const *environment;

void variant_remember(char *const *argv, char *const *envp)
{
    arguments = argv;
    environment = envp;
}

/* In place of sys/library.c. What turns out half-way to need a library (a `delete` of a container
 * that systemd made the scope for) begins again there: all commands can be ended at any point and
 * run once more. */
int sys_library_load(const char *soname, const struct sys_symbol *symbols, size_t n, void *table,
                     char **ret_why)
{
    struct error e = {0};

    (void)soname;
    (void)symbols;
    (void)n;
    (void)table;
    (void)variant_hand_over(arguments, environment, &e);
    *ret_why = error_render(&e);
    error_done(&e);
    return -ENOENT;
}
