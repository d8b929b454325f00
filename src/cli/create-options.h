/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "cli/commands.h"
#include "process/container.h"

/* What `create` and `run` have in common. */
struct create_values {
    const char *bundle, *pid_file, *console_socket, *pidfd_socket, *preserve_fds;
    bool no_pivot, no_new_keyring;
};

/* Rows for a command whose values begin with a struct create_values. */
#define CREATE_VALUE(field) offsetof(struct create_values, field)
#define CREATE_OPTIONS                                                                             \
    {'b', "bundle", OPTION_STRING, CREATE_VALUE(bundle), "DIR",                                    \
     "the bundle; the current directory"},                                                         \
    {0, "pid-file", OPTION_STRING, CREATE_VALUE(pid_file), "FILE",                                 \
     "write the first process's pid there"},                                                       \
    {0, "console-socket", OPTION_STRING, CREATE_VALUE(console_socket), "SOCKET",                   \
     "AF_UNIX socket that gets the terminal's master"},                                            \
    {0, "pidfd-socket", OPTION_STRING, CREATE_VALUE(pidfd_socket), "SOCKET",                       \
     "AF_UNIX socket that gets a pidfd of the first process"},                                     \
    {0, "preserve-fds", OPTION_STRING, CREATE_VALUE(preserve_fds), "N",                            \
     "hand descriptors 3 to 3 + N - 1 to the program"},                                            \
    {0, "no-pivot", OPTION_FLAG, CREATE_VALUE(no_pivot), NULL,                                     \
     "do not use pivot_root, for a host whose / is an initramfs"},                                 \
    {0, "no-new-keyring", OPTION_FLAG, CREATE_VALUE(no_new_keyring), NULL,                         \
     "let the container keep the caller's session keyring"}

/* From the command line and the global options to what container_create() takes. LISTEN_FDS of the
 * environment (sd_listen_fds(3)) adds to --preserve-fds. */
int create_options_make(const struct command_context *ctx, const struct create_values *v,
                        const char *id, struct container_create_options *ret, struct error *e);

/* N of --preserve-fds, 0 where `text` is NULL. */
int create_parse_fds(const char *text, unsigned *ret, struct error *e);
