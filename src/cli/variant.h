/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "cli/options.h"

/* One program in two executables, where the build can link statically (-Dstatic).
 *
 * `nucleus` has the commands that are run all day, and is linked statically: what the loader does
 * for five libraries costs more than most of these commands do themselves. It can't load libraries,
 * though. So everything that may need libcrypto, libsystemd or the name service is in
 * `nucleus-linked`, which has all commands, and which `nucleus` becomes by execve. Where there is
 * no static build, `nucleus` is that one. */

#define VARIANT_LINKED_NAME "nucleus-linked"
/* Where it is installed; one that lies beside the running executable goes first. */
#ifndef VARIANT_LINKED_PATH
#define VARIANT_LINKED_PATH "/usr/libexec/nucleus/" VARIANT_LINKED_NAME
#endif

/* What the static executable has, for entry.c, which can't read the table. */
#define VARIANT_HOT_WORDS                                                                          \
    "create\0"                                                                                     \
    "delete\0"                                                                                     \
    "exec\0"                                                                                       \
    "kill\0"                                                                                       \
    "pause\0"                                                                                      \
    "resume\0"                                                                                     \
    "run\0"                                                                                        \
    "start\0"                                                                                      \
    "state\0"                                                                                      \
    "version\0"

/* The commands of this executable, in the order of the alphabet; ends with NULL. */
extern const struct command *const variant_commands[];
extern const bool variant_is_static;

/* Kept (borrowed) for when a library turns out to be needed later. */
void variant_remember(char *const *argv, char *const *envp);

/* Becomes nucleus-linked, with the same arguments. Returns only with an error: it is not there. */
int variant_hand_over(char *const *argv, char *const *envp, struct error *e);
