/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* What a restored container may do comes from its bundle, not from the images: an image that nobody
 * sealed could hold processes with every capability, and some CRIUs lose what processes had
 * (no_new_privs before 3.19). */

/* The part of a task's /proc/PID/status that policy speaks of. */
struct policy_status {
    bool no_new_privs;
    uint64_t seccomp; /* 0: none, 1: strict, 2: filter */
    uint64_t inheritable, permitted, effective, bounding, ambient;
};
/* -EINVAL where a field is missing or malformed. */
int policy_parse_status(const char *text, struct policy_status *ret);

/* Every thread of every process in the cgroup against the bundle's process: no capability beyond
 * its sets, no_new_privs and a seccomp filter where it has them. `init` is the container's first
 * process: it lies in a user namespace of its own only where the spec asks for one, and threads in
 * another user namespace than its own are not judged by their capabilities. `criu` and its
 * children, which work in the cgroup too, are left out. ERROR_CHECKPOINT names the first that goes
 * beyond. */
int policy_check(const char *cgroup_path, pid_t init, pid_t criu, const struct oci_spec *spec,
                 struct error *e);

/* Before a dump: what this CRIU (criu_version_number()) would lose without a word is an error. */
int policy_check_dump(const char *cgroup_path, uint32_t criu_version, struct error *e);
