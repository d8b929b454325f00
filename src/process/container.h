/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroup/cgroup.h"
#include "oci/spec.h"
#include "process/container-cgroup.h"
#include "state/state.h"

/* A container's life, as the OCI runtime-spec has it ("Lifecycle"): each function is one operation
 * under the container's lock, and leaves either what it promises or what was there before. */

/* How long a kill may take until every process is gone; the kernel's part, not the program's. */
#define CONTAINER_KILL_TIMEOUT_MS 10000
/* How long a dead first process is waited for that zombies elsewhere keep from vanishing. */
#define CONTAINER_ZOMBIE_TIMEOUT_MS 1000

struct container_create_options {
    const char *id;
    const char *bundle;
    const char *pid_file;       /* NULL: none */
    const char *console_socket; /* AF_UNIX socket that gets the pty master; NULL: none */
    const char *pidfd_socket;   /* AF_UNIX socket that gets a pidfd of the first process, or NULL */
    bool hold;                  /* stop before execve until container_start() */
    bool keep_console;          /* hand the pty master to the caller instead */
    bool no_pivot;              /* change the root without pivot_root(2): "/" is an initramfs */
    bool keep_keyring;          /* the caller's session keyring stays the container's */
    unsigned preserve_fds;      /* descriptors 3 to 3 + N - 1 go to the program */
    unsigned listen_fds;        /* of which these come by socket activation, sd_listen_fds(3) */
    enum cgroup_need cgroup_need;
    bool systemd_cgroup; /* the cgroup is a scope that systemd makes (--systemd-cgroup) */
};

/* A process that was started and is this process's child. */
struct container_process {
    pid_t pid;
    int pidfd;
    int console_fd; /* pty master, or -EBADF */
};
void container_process_done(struct container_process *p);
#define _cleanup_container_process_ _cleanup_(container_process_done)

/* `create` (hold) and the first half of `run`. On return the record says created, or running; on
 * failure nothing is left: no process, cgroup, record, FIFO. ERROR_EXISTS "already exists". */
int container_create(const struct store *store, const struct container_create_options *o,
                     struct container_process *ret, struct error *e);

/* Lets a created container run. Anything but `created` is ERROR_WRONG_STATUS. */
int container_start(const struct store *store, const char *ref, struct error *e);

/* What is true now (S1, S4, S5): the stored status corrected by the live process and the freezer. A
 * record left at `creating` by a command that died reads as stopped; one whose creator still holds
 * the lock reads as creating. */
enum state_status container_status(const struct store *store, const struct state *s);
/* Likewise under the lock, or where nobody else can be changing the container: the creator of a
 * record at `creating` is gone. */
enum state_status container_status_locked(const struct store *store, const struct state *s);

/* For what takes a cgroup: ERROR_CGROUP where the record names none. */
int container_check_cgroup(const struct state *s, const char *step, struct error *e);

/* Sends a signal to the first process, or with `all` to every process of the cgroup.
 * ERROR_WRONG_STATUS "container not running" where it is stopped. */
int container_kill(const struct store *store, const char *ref, int sig, bool all, struct error *e);

/* Removes cgroup and record. A created container is ended first; a running or paused one only with
 * `force`, else ERROR_WRONG_STATUS. With `force` a container that does not exist is fine, and `ref`
 * must be the whole id or name. */
int container_delete(const struct store *store, const char *ref, bool force, struct error *e);

/* After the first process of a foreground `run` ended: what is left of the container goes, with the
 * record unless `keep` (then it says stopped). */
int container_finish(const struct store *store, const char *id, bool keep, struct error *e);

/* Loads by reference for an operation that changes the container: resolve, take the lock, load
 * again under it, and check S18. */
int container_open(const struct store *store, const char *ref, struct state_lock *ret_lock,
                   struct state **ret, struct error *e);

/* A record for a container that is about to be made, from its spec; status creating. */
struct state *container_new_record(const char *id, const char *name, const char *bundle,
                                   const struct oci_spec *spec, const char *cgroup_path);

/* Writes a pid file: temp file beside it and rename, so that a reader never sees half. */
int container_write_pid_file(const char *path, pid_t pid, struct error *e);

/* oom_score_adj of a process, by a procfs nobody can have mounted over. */
int container_set_oom_score(int procfd, pid_t pid, int value, struct error *e);

/* --preserve-fds N: ERROR_USAGE where one of the descriptors 3 to 3 + N - 1 is not open. Called
 * before any other is opened. */
int container_check_preserved(unsigned n, struct error *e);

/* What a spec asks of the terminal must fit how it was called: a console socket without a terminal,
 * or a detached container with a terminal and nobody to take the master, are ERROR_USAGE. */
int container_check_terminal(bool terminal, const char *console_socket, bool detached,
                             struct error *e);
