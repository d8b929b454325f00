/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroup/cgroup.h"
#include "cgroup/systemd.h"
#include "oci/spec.h"

/* A container's own cgroup: chosen before anything exists, made with its limits and its devices,
 * taken away again when a later step fails. */

/* Whether a container may run without a cgroup of its own where the caller may make none
 * (--rootless). */
enum cgroup_need {
    CGROUP_NEED_AUTO, /* an ordinary user, or the root of a user namespace, may go without */
    CGROUP_NEED_NONE, /* as if one were: true */
    CGROUP_NEED_OWN,  /* never: false */
};

struct container_cgroup {
    struct cgroup_host host;
    char *path; /* NULL: none, see above, or with systemd none yet */
    int fd;     /* O_PATH; -EBADF until it is made */
    bool made;
    bool unlimited_caller; /* the caller is root of the initial user namespace */
    bool may_go_without;
    bool systemd; /* a scope, made around the first process */
    struct cgroup_systemd_unit unit;
    int stand_in; /* pidfd of what keeps the scope alive until somebody is in it, or -EBADF */
};
#define CONTAINER_CGROUP_NONE                                                                      \
    {                                                                                              \
        .fd = -EBADF, .stand_in = -EBADF                                                           \
    }
void container_cgroup_done(struct container_cgroup *c);

/* Chooses the path (linux.cgroupsPath, or /nucleus/ID), with `systemd` the unit. */
int container_cgroup_plan(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                          enum cgroup_need need, bool systemd, struct error *e);

/* Makes it, so that processes can be born in it. systemd makes a scope around a process only: one
 * that does nothing but wait stands in until container_cgroup_settled(). A user's own manager can't
 * be served so (the kernel lets an ordinary user move nobody into another's cgroup): there, nothing
 * is made yet, see container_cgroup_start(). Where a caller that may go without is not let, and the
 * spec asks for no limit, there is none: path becomes NULL, with a warning. */
int container_cgroup_make(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                          struct error *e);
/* A process is in it. */
void container_cgroup_settled(struct container_cgroup *c);

/* With systemd, where there is no path yet: has the scope made around a process that waits in its
 * parent's cgroup. */
int container_cgroup_start(struct container_cgroup *c, const struct oci_spec *spec, const char *id,
                           pid_t pid, struct error *e);

/* linux.resources without the device rules; with a user namespace of the container's own the cgroup
 * is delegated to its root. Without a cgroup nothing. */
int container_cgroup_limit(struct container_cgroup *c, const struct oci_spec *spec,
                           struct error *e);

/* The device rules: they are for the program, and may come at any time before it. A caller that is
 * not root of the initial user namespace may attach no program, and needs none: the kernel lets
 * nobody in there make a device node, or open one on a mount made in there. */
int container_cgroup_limit_devices(const struct container_cgroup *c, const struct oci_spec *spec,
                                   struct error *e);

/* Kills what is in it and removes it, if it was made. */
void container_cgroup_undo(struct container_cgroup *c);

/* Whether the units of this caller are those of its user's manager, not the system's. */
bool container_systemd_is_users(void);

/* The same for a container by its record: path, unit, or both may be NULL. */
int container_cgroup_remove(const char *path, const char *systemd_unit, struct error *e);
