/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* What the files of src/cgroup share; no other directory includes it. */

/* A point on CLOCK_MONOTONIC in ns, timeout_ms from now; a negative timeout never ends. */
int64_t cgroup_deadline(int timeout_ms);
/* Milliseconds left, rounded up, for poll(2): 0 when it has passed, -1 when it never does. */
int cgroup_deadline_left(int64_t deadline);

/* Reads one key of cgroup.events in the directory. */
int cgroup_events_read(int dirfd, const char *key, bool *ret);

/* Waits until the key says `want`: poll(2) for POLLPRI on cgroup.events, read again after each
 * wake. -ETIMEDOUT; -ENODEV when the cgroup is gone. */
int cgroup_events_wait(int dirfd, const char *key, bool want, int64_t deadline);

/* "3 processes (12, 15, 17)", for messages; newly allocated, NULL when there are none. */
char *cgroup_describe_processes(int dirfd) _warn_unused_;

/* pids in the cgroup and below: the whole walk by descriptor. Negative errno. */
int cgroup_pids_at(int dirfd, pid_t **ret, size_t *ret_n);
