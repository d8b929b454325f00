/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* What the kernel lets one say of a process beside its rights and limits: process.scheduler,
 * process.ioPriority, process.execCPUAffinity, linux.personality, linux.memoryPolicy. The plan
 * borrows from the spec and holds nothing of its own.
 *
 * They come in three parts, by who may and can:
 *   attributes_begin()  the runtime, on itself, before it makes the process of an `exec`
 *   attributes_apply()  the process, on itself: what only it can set. Anywhere after the
 *                       namespaces, before security_apply_credentials() and any seccomp filter
 *   attributes_give()   the parent, to the process, after PROGRAM_READY and before PROGRAM_COMMIT:
 *                       what takes CAP_SYS_NICE on the host, which nobody in a user namespace has;
 *                       and so late that hooks don't inherit it (a SCHED_DEADLINE process may not
 *                       even fork) */

struct attributes_plan {
    const struct oci_scheduler *scheduler; /* NULL: leave */
    bool has_io_priority;
    int io_priority;
    bool has_personality;
    uint32_t personality;
    const struct oci_memory_policy *memory_policy;           /* NULL: leave */
    const struct oci_set *affinity_initial, *affinity_final; /* NULL: leave */
};

/* `exec`: the process is one that `exec` adds; execCPUAffinity is for these alone. personality and
 * memoryPolicy are the container's, for both. */
void attributes_plan_make(struct attributes_plan *plan, const struct oci_process *process,
                          const struct oci_spec *spec, bool exec);

enum attributes_step {
    ATTRIBUTES_PERSONALITY = 1,
    ATTRIBUTES_MEMORY_POLICY,
};
/* What was being done, and the field of config.json it came from. */
const char *attributes_step_name(enum attributes_step step) _const_;
const char *attributes_step_field(enum attributes_step step) _const_;

/* Puts the calling process on execCPUAffinity.initial: the process that it makes is born on these
 * CPUs, and in its cgroup is moved to those that are there, too. The caller stays on them. */
int attributes_begin(const struct attributes_plan *plan, struct error *e);

/* In the child; nothing allocates. Negative errno with *ret_step. */
int attributes_apply(const struct attributes_plan *plan, enum attributes_step *ret_step);

/* execCPUAffinity.final (without it, but with an initial one: every CPU of the cgroup), the
 * scheduler, the I/O priority. ERROR_PERMISSION where the caller may not. */
int attributes_give(const struct attributes_plan *plan, pid_t pid, struct error *e);
