/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <termios.h>

#include "base/error.h"

/* Sends a descriptor to the listener of an AF_UNIX, SOCK_STREAM socket, with `name` as the
 * message's data. Neither connecting nor sending waits for a listener that does not read: that is
 * an error. */
int socket_send_fd(const char *socket_path, int fd, const char *name, struct error *e);

/* Sends a pty master to the listener of a console socket (AF_UNIX, SOCK_STREAM), with its name as
 * the message's data, as runc does. */
int console_send(const char *socket_path, int master, struct error *e);

/* The caller's own terminal while a container's pty is shown on it: raw mode, and the way back. */
struct console_raw {
    int fd; /* -EBADF: not a terminal, nothing to restore */
    struct termios saved;
};
void console_raw_enter(struct console_raw *raw, int fd);
void console_raw_leave(struct console_raw *raw);

/* Copies the size of one terminal to another; silently nothing where `from` is none. */
void console_copy_size(int from, int to);
