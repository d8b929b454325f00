/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

/* Thin wrappers of process calls; negative errno on failure, nothing allocates. */

/* clone3(2) as fork: no CLONE_VM. `flags` are CLONE_NEW* (CLONE_NEWCGROUP must be unshared by the
 * child afterwards: the kernel takes the new namespace's root before CLONE_INTO_CGROUP applies).
 * `cgroup_fd` >= 0 adds CLONE_INTO_CGROUP. In the parent returns the pid and sets *ret_pidfd; in
 * the child returns 0. The exit signal is SIGCHLD. */
pid_t sys_clone3(uint64_t flags, int cgroup_fd, int *ret_pidfd);

/* The same, but the new process is the caller's sibling: a child of its parent (CLONE_PARENT),
 * which gets its SIGCHLD. The caller must itself have been made with SIGCHLD. */
pid_t sys_clone3_sibling(uint64_t flags, int *ret_pidfd);

int sys_pidfd_open(pid_t pid);
int sys_pidfd_send_signal(int pidfd, int sig);

/* Waits for the process of a pidfd to end, at most timeout_ms (-1: for ever). 0, or -ETIMEDOUT. */
int sys_pidfd_wait(int pidfd, int timeout_ms);

/* Field 22 of /proc/PID/stat, in clock ticks since boot: with the pid it names one process (S3).
 * Parses `text`; field counting starts behind the LAST ')' since the command name may hold both.
 * -EINVAL where it is malformed. */
int sys_parse_start_ticks(const char *text, uint64_t *ret);

/* The start ticks of a live process, read from `procfd`/PID/stat: 5 tries, 1 ms apart, while the
 * file can't be read or parsed; 0 where that fails (S3). A zombie still has its ticks: *ret_zombie
 * (may be NULL) says so. procfd -EBADF or AT_FDCWD means /proc. */
uint64_t sys_start_ticks(int procfd, pid_t pid, bool *ret_zombie);

/* Signal number from "TERM", "SIGTERM", "15", "RTMIN+3"; case does not matter. -EINVAL when there
 * is none such. 0 is accepted only as the number. */
int sys_signal_parse(const char *text);
/* "SIGTERM", or NULL where there is no name. */
const char *sys_signal_name(int sig);

/* Marks every descriptor from `first` up close-on-exec: close_range(2), Linux 5.11. */
int sys_cloexec_from(unsigned first);

/* Every signal back to its default and none blocked, for a child about to become another program.
 * By rt_sigaction(2) itself: glibc keeps 32 and 33 to itself, so a program that somebody started
 * with those ignored would hand that on. */
void sys_reset_signals(void);

/* Whether the caller's user namespace is the one the kernel began with: only there is root what the
 * kernel asks for before it lets somebody attach programs to cgroups or make device nodes. */
bool sys_in_initial_user_namespace(void);

/* Whether the caller has this capability (CAP_*) in its effective set. */
bool sys_has_capability(int cap);

/* Brings "lo" up in the caller's network namespace. */
int sys_loopback_up(void);
