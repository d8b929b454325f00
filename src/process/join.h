/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* Processes made inside namespaces that exist already: those that linux.namespaces[].path names, or
 * those of a running container. */

struct namespace_set {
    uint64_t flags;       /* CLONE_NEW* of those that are there */
    int fd[_OCI_NS_MAX];  /* nsfs descriptors; -EBADF where the flag is not set */
};
#define NAMESPACE_SET_EMPTY                                                                        \
    {                                                                                              \
        .fd = {-EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF}                     \
    }

/* Opens what the spec names by path. A path that is no namespace of the type it is given for is an
 * ERROR_CONFIG that names it; so is the runtime's own mount namespace, whose root would be the
 * container's. */
int namespaces_open(const struct oci_spec *spec, struct namespace_set *ret, struct error *e);

/* Opens those of a process that are not the caller's own. `procfd` is sys_open_private_proc(); the
 * caller holds the process's pidfd and has checked that it still is who it should be (S3). */
int namespaces_open_of(int procfd, pid_t pid, struct namespace_set *ret, struct error *e);

void namespaces_done(struct namespace_set *set);
#define _cleanup_namespaces_ _cleanup_(namespaces_done)

struct join_plan {
    const struct namespace_set *set;
    uint64_t new_namespaces; /* CLONE_NEW* for clone3; not CLONE_NEWCGROUP, CLONE_NEWTIME */
    int cgroup_fd;           /* where it is born, or -EBADF */
    int sync[2];             /* channel_open() */
    const int *lock_fd;      /* of the container, which the child must not hold on to; NULL: none */
    const char *id;          /* the container's, for errors */
    _noreturn_ void (*run)(const void *arg); /* the process itself */
    const void *arg;
    void (*slow)(void *arg); /* NULL: none; when it takes longer than patience_ms */
    int patience_ms;
    void *slow_arg;
};

/* Makes a child of the caller that runs plan->run in new and joined namespaces. A process can't
 * enter a pid namespace itself, and the caller's own must stay as they are: where there is
 * something to join a process in between does, makes the real one as its sibling (CLONE_PARENT),
 * and ends. All of them are born in the cgroup and can't be looked into by who shares the
 * namespaces (PR_SET_DUMPABLE, CVE-2016-9962). On success the child's end of the channel is closed
 * in the caller. */
int join_spawn(struct join_plan *plan, pid_t *ret_pid, int *ret_pidfd, struct error *e);
