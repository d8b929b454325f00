/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "oci/spec.h"
#include "process/attributes.h"
#include "process/hooks.h"
#include "security/security.h"

/* A process of a container from its stdio to execve: what the first one (init.h) and those that
 * `exec` adds (exec.h) have in common. Planned in the parent; in the child nothing allocates. */

struct program_plan {
    const struct security_plan *security;
    struct attributes_plan attributes;
    int procfd; /* of the parent (sys_open_private_proc()), where program_needs_proc() says so */
    char *const *argv;
    char *const *env;
    char **env_with_home; /* env where that has no HOME: the same, and `home`; owned, as that is */
    char *home;           /* HOME_ROOM bytes, which the child fills; else NULL */
    char **candidates; /* paths to try for argv[0], in order; owned */
    const char *cwd;
    const struct oci_rlimit *rlimits;
    size_t n_rlimits;
    bool has_umask;
    uint32_t umask;
    bool terminal;
    uint16_t console_width, console_height;
    char *listen_pid;      /* the element of `env` that becomes LISTEN_PID=<own pid>, or NULL */
    const struct oci_hook_list *start_hooks; /* startContainer; NULL: none */
    const struct hooks_state *start_state;
    unsigned preserve_fds; /* descriptors 3 to 3 + N - 1 are the program's (--preserve-fds) */
    int sync_fd;           /* the child's end of channel_open() */
    int fifo_fd;           /* >= 0: wait here for `start` */
    /* With a FIFO: another one, on which `start` hears what happens up to execve, or -EBADF. */
    int report_fd;
};

/* From the spec's process (of its first process, or one that `exec` adds); everything is borrowed
 * but `candidates` and what HOME takes: argv[0] in the container's PATH (execvp(3)'s rule: a name
 * with a slash is tried as it is). */
void program_plan_make(struct program_plan *plan, const struct oci_process *process,
                       const struct oci_spec *spec, const struct security_plan *security,
                       bool exec);
/* Whether procfd must be set. */
bool program_needs_proc(const struct program_plan *plan) _pure_;
void program_plan_done(struct program_plan *plan);

/* ---- what parent and child say to each other (channel.h has the parent's side) ---- */

/* What the child says, a packet each. */
enum program_event {
    PROGRAM_SPAWNED = 1, /* by one in between (join.h): errnum is the pid, carries the pidfd */
    PROGRAM_CONSOLE,     /* carries the pty master as SCM_RIGHTS */
    PROGRAM_MOUNTED,     /* the first process: all is mounted, "/" still the host's; HOOKED next */
    PROGRAM_SECCOMP,     /* carries the listener of seccomp notifications */
    PROGRAM_READY,       /* set up; will wait for COMMIT */
    PROGRAM_FAILED,      /* errnum, step, subject; the child has ended */
};
struct program_message {
    uint32_t event;
    int32_t errnum;
    char step[80];
    char subject[208];
    char why[600]; /* says more than errnum, or is empty */
};

/* The steps of PROGRAM_FAILED that are about the program itself. */
#define PROGRAM_STEP_FIND "find in $PATH of the container"
#define PROGRAM_STEP_RUN "run"
/* One that has a remedy. */
#define PROGRAM_STEP_LIMIT "set process.rlimits"

/* What the parent says, a byte each. End of file means the parent is gone: the child ends, so a
 * killed `create` leaves no process behind. */
#define PROGRAM_GO 'G'     /* the process is known, its id maps are written */
#define PROGRAM_HOOKED 'H' /* the hooks of the runtime namespace have run */
#define PROGRAM_COMMIT 'C' /* the record is saved */

/* ---- in the child ---- */

void program_send(const struct program_plan *plan, enum program_event event, int errnum,
                  const char *step, const char *subject, int fd);
/* PROGRAM_FAILED with a reason, for what is no plain system call; the caller ends. */
void program_send_failure(const struct program_plan *plan, int errnum, const char *step,
                          const char *subject, const char *why);
/* Waits for a byte; ends the process where the parent has gone or given up. */
void program_await(const struct program_plan *plan, char what);
/* Tells the parent and ends. `r` is an errno, of either sign. */
_noreturn_ void program_fail(const struct program_plan *plan, int r, const char *step,
                             const char *subject);

/* Closes all but stdio, the program's own, and what this process needs itself: nothing of the host
 * is left to be found in it. */
void program_close_others(const struct program_plan *plan);

/* In a user namespace of the container's own: becomes its root, so that what is made now belongs to
 * it. */
void program_become_root(const struct program_plan *plan);

/* A session of its own and, unless told to keep the caller's, a session keyring of its own. */
void program_new_session(const struct program_plan *plan, bool keep_keyring);

/* In the container's namespaces and root: stdio, working directory, umask, limits, credentials. Of
 * the `first` process a terminal is mounted on /dev/console too, and its working directory is made
 * where it is missing. Returns the program's path. Anything that fails is told by
 * program_fail(). */
const char *program_enter(const struct program_plan *plan, bool first);

/* Says READY, waits for COMMIT and, with a FIFO, for `start`; then startContainer hooks, seccomp
 * and execve. Exits 127 where the program is not found, 126 where it can't be run, 1 for anything
 * before. */
_noreturn_ void program_run(const struct program_plan *plan, const char *path);
