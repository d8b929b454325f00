/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"
#include "process/program.h"

/* The parent's side of the talk with a child on its way into a container (program.h): a
 * SOCK_SEQPACKET pair. `id` is the container's, for errors. */

/* sync[0] is the parent's end, sync[1] the child's. */
int channel_open(int sync[2], struct error *e);

/* A byte. That the child has ended is not an error here: channel_hear() tells why. */
int channel_say(int fd, char what, const char *id, struct error *e);

/* The child's next packet: 1, or 0 at end of file. A descriptor that came with it is in *ret_fd,
 * else -EBADF; the caller owns it. */
int channel_hear(int fd, const char *id, struct program_message *ret, int *ret_fd, struct error *e);

/* The error behind PROGRAM_FAILED. */
int channel_failed(const struct program_message *m, struct error *e);

/* What to do with packets on the way to READY; NULL members: that packet is an internal error. */
struct channel_handler {
    int (*console)(void *arg, int master, struct error *e); /* owns master */
    int (*mounted)(void *arg, struct error *e);
    int (*seccomp)(void *arg, int listener, struct error *e); /* owns listener */
    void (*slow)(void *arg); /* NULL: none; once, when the child has said nothing for patience_ms */
    int patience_ms;
    void *arg;
};
/* Until the child is ready. */
int channel_await_ready(int fd, const char *id, const struct channel_handler *h, struct error *e);

/* The reading end of a container's report FIFO (state_report_name(), opened before the child was
 * let go on): until execve, whose success closes the other end. A failure is told; a process that
 * died on the way is ERROR_WRONG_STATUS. */
int channel_await_report(int fd, const char *id, struct error *e);

/* Whether there is something to hear, or the end of it, within that time. */
bool channel_await_news(int fd, int timeout_ms);

/* After COMMIT, without a FIFO: execve's success closes the channel, a failure is told. */
int channel_await_exec(int fd, const char *id, struct error *e);
