/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"

/* Brings back to life what CRIU leaves stopped (seen with 3.17.1 and 4.2.1): a periodic timerfd
 * that had fired and had not been read when it was frozen. The kernel keeps such a timer idle until
 * the read, with a remaining time of 0, and that is what CRIU sets it to: disarmed. The program
 * would get one more tick and then wait for ever.
 *
 * Goes through the descriptors of every process in the cgroup, which must still be stopped, and
 * sets such timers to fire at once, with the period they had. */
int timers_rearm(const char *cgroup_path, struct error *e);

/* One timerfd's fdinfo (proc_pid_fdinfo(5)): 1 with the period where it is one of those, 0 where it
 * is not, -EINVAL where it is malformed. */
int timers_parse_fdinfo(const char *text, unsigned long long *ret_s, unsigned long long *ret_ns);
