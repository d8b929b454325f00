/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "checkpoint/criu/criu.h"
#include "checkpoint/criu/criu.pb-c.h"

/* What the files of checkpoint/criu share. */

/* Longest packet taken: CRIU's answers are under 2 KiB. */
#define CRIU_PACKET_MAX ((size_t)1024 * 1024)
#define CRIU_STDERR_MAX ((size_t)64 * 1024)
#define CRIU_LOG_MAX ((size_t)4 * 1024 * 1024)
#define CRIU_LOG_RUNAWAY ((off_t)256 * 1024 * 1024)
#define CRIU_PROBE_MS 30000u
#define CRIU_STALL_MS (10u * 60 * 1000)
#define CRIU_END_MS 10000 /* how long a swrk may take to end by itself */

/* ---- rpc.c ---- */

/* Sends one request; *e is set. -EPIPE: swrk is gone. */
int criu_rpc_send(struct criu_swrk *s, const Criu__CriuReq *req, struct error *e);

/* The next message. 0, or with *e set: -EPIPE where swrk ended, -ETIMEDOUT after stall_ms without
 * one, -EBADMSG where it can't be understood. *ret_fd is the descriptor that came with it or
 * -EBADF; the caller owns both. */
int criu_rpc_receive(struct criu_swrk *s, unsigned stall_ms, Criu__CriuResp **ret_resp, int *ret_fd,
                     struct error *e);

/* ---- spawn.c ---- */

/* criu_spawn with other arguments than "swrk 3". NULL-terminated, argv[0] included. */
int criu_spawn_args(const struct criu_spawn *how, const char *const *argv, bool die_with_parent,
                    struct criu_swrk *ret, struct error *e);

/* Closes the socket and waits for swrk, at most wait_ms; kills it then. Idempotent. */
void criu_swrk_end(struct criu_swrk *s, int wait_ms);

/* "exit status 1", "killed by SIGKILL", "still running"; newly allocated. */
char *criu_swrk_describe_end(const struct criu_swrk *s);

/* The end of what it wrote to stderr, "" where there is nothing. */
char *criu_swrk_stderr(const struct criu_swrk *s, size_t *ret_len);

/* ---- log.c ---- */

/* criu_explain_log, but false (and nothing returned) where the text holds no error line. */
bool criu_log_explain(const char *log, size_t len, char **ret_why, char **ret_remedy);

/* The last line of `text` that is not empty, made printable; NULL where there is none. */
char *criu_log_last_line(const char *text, size_t len);
