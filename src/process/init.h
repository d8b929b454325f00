/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "oci/spec.h"
#include "rootfs/rootfs.h"
#include "security/security.h"

/* A container's first process, from clone3 to execve. Everything it needs is planned before it
 * exists; in it nothing allocates. */

struct init_plan {
    uint64_t namespaces; /* CLONE_NEW*, all but CLONE_NEWCGROUP given to clone3 */
    const struct rootfs_plan *rootfs;
    const struct security_plan *security;
    const char *hostname, *domainname; /* NULL: leave */
    char *const *argv;
    char *const *env;
    char **candidates; /* paths to try for argv[0], in order; owned */
    const char *cwd;
    const struct oci_rlimit *rlimits;
    size_t n_rlimits;
    bool has_umask;
    uint32_t umask;
    bool terminal;
    uint16_t console_width, console_height;
    int sync_fd; /* the child's end of a SOCK_SEQPACKET pair */
    int fifo_fd; /* >= 0: wait here for `start` */
};

/* Fills `candidates` from argv[0] and the container's PATH (execvp(3)'s rule: a name with a slash is
 * tried as it is). */
void init_plan_candidates(struct init_plan *plan);
void init_plan_done(struct init_plan *plan);

/* What the child says, a packet each. INIT_CONSOLE carries the pty master as SCM_RIGHTS. */
enum init_event {
    INIT_CONSOLE = 1,
    INIT_READY,  /* set up; will wait for INIT_COMMIT */
    INIT_FAILED, /* errnum, step, subject; the child has ended */
};
struct init_message {
    uint32_t event;
    int32_t errnum;
    char step[48];
    char subject[208];
};

/* What the parent says, a byte each. End of file means the parent is gone: the child ends, so a
 * killed `create` leaves no process behind. */
#define INIT_GO 'G'     /* id maps are written */
#define INIT_COMMIT 'C' /* the record is saved */

/* The child. Does not return: execs, or reports and exits (127: not found, 126: could not be run, 1:
 * anything before). */
_noreturn_ void init_run(const struct init_plan *plan);
