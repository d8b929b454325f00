/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/attributes.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct oci_set *given(const struct oci_set *set)
{
    return set->present ? set : NULL;
}

void attributes_plan_make(struct attributes_plan *plan, const struct oci_process *process,
                          const struct oci_spec *spec, bool exec)
{
    *plan = (struct attributes_plan){
        .scheduler = process->has_scheduler ? &process->scheduler : NULL,
        .has_io_priority = process->has_io_priority,
        .io_priority = process->io_priority,
        .has_personality = spec->has_personality,
        .personality = spec->personality,
        .memory_policy = spec->memory_policy,
    };
    if (exec) {
        plan->affinity_initial = given(&process->exec_affinity_initial);
        plan->affinity_final = given(&process->exec_affinity_final);
    }
}

const char *attributes_step_name(enum attributes_step step)
{
    switch (step) {
    case ATTRIBUTES_PERSONALITY:
        return "set the personality of";
    case ATTRIBUTES_MEMORY_POLICY:
        return "set the NUMA policy of";
    }
    return "set up";
}

const char *attributes_step_field(enum attributes_step step)
{
    switch (step) {
    case ATTRIBUTES_PERSONALITY:
        return "linux.personality";
    case ATTRIBUTES_MEMORY_POLICY:
        return "linux.memoryPolicy";
    }
    return "config.json";
}

/* ---- the parent's part ---- */

static int set_affinity(pid_t pid, const struct oci_set *set, const char *field, struct error *e)
{
    /* glibc's wrapper takes its own type; this is the same array of words. */
    if (syscall(SYS_sched_setaffinity, pid, sizeof(set->bits), set->bits) >= 0)
        return 0;
    int errnum = errno;
    return error_set(
        e, errnum == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM, errnum,
        "run the process on the CPUs of", field,
        errnum == EINVAL ? "name CPUs that the host and the cgroup's cpuset have" : NULL, NULL);
}

int attributes_begin(const struct attributes_plan *plan, struct error *e)
{
    if (!plan->affinity_initial)
        return 0;
    return set_affinity(0, plan->affinity_initial, "process.execCPUAffinity.initial", e);
}

/* The initial CPUs are for the way into the cgroup alone: what is asked for behind it, or all there
 * are. */
static int settle_affinity(const struct attributes_plan *plan, pid_t pid, struct error *e)
{
    static const char field[] = "process.execCPUAffinity.final";
    struct oci_set all = {.present = true};

    if (plan->affinity_final)
        return set_affinity(pid, plan->affinity_final, field, e);
    if (!plan->affinity_initial)
        return 0;
    memset(all.bits, 0xff, sizeof(all.bits));
    return set_affinity(pid, &all, field, e);
}

static const char *scheduler_remedy(int errnum)
{
    switch (errnum) {
    case EPERM:
        return "it takes CAP_SYS_NICE on the host";
    case EBUSY:
        return "ask for less: the CPUs have no room for this runtime and period";
    default:
        return NULL;
    }
}

static int set_scheduler(const struct oci_scheduler *s, pid_t pid, struct error *e)
{
    struct sched_attr attr = {
        .size = sizeof(attr),
        .sched_policy = s->policy,
        .sched_flags = s->flags,
        .sched_nice = s->nice,
        .sched_priority = s->priority,
        .sched_runtime = s->runtime,
        .sched_deadline = s->deadline,
        .sched_period = s->period,
    };

    if (syscall(SYS_sched_setattr, pid, &attr, 0) >= 0)
        return 0;
    int errnum = errno;
    return error_set(e, errnum == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM, errnum,
                     "set the scheduler of", "process.scheduler", scheduler_remedy(errnum), NULL);
}

static int set_io_priority(int priority, pid_t pid, struct error *e)
{
    if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) >= 0)
        return 0;
    int errnum = errno;
    return error_set(
        e, errnum == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM, errnum, "set the I/O priority of",
        "process.ioPriority",
        errnum == EPERM ? "the class IOPRIO_CLASS_RT takes CAP_SYS_NICE on the host" : NULL, NULL);
}

int attributes_give(const struct attributes_plan *plan, pid_t pid, struct error *e)
{
    /* The CPUs first: those of a SCHED_DEADLINE process can't be changed (sched_setaffinity(2),
     * EBUSY). */
    int r = settle_affinity(plan, pid, e);

    if (r == 0 && plan->scheduler)
        r = set_scheduler(plan->scheduler, pid, e);
    if (r == 0 && plan->has_io_priority)
        r = set_io_priority(plan->io_priority, pid, e);
    return r;
}

/* ---- the child's part: nothing allocates ---- */

static int set_memory_policy(const struct oci_memory_policy *p)
{
    const unsigned long *nodes = p->nodes.present ? p->nodes.bits : NULL;
    /* The kernel reads one bit less than it is told (mm/mempolicy.c, get_nodes). */
    unsigned long max = nodes ? OCI_SET_BITS + 1 : 0;

    return syscall(SYS_set_mempolicy, p->mode, nodes, max) < 0 ? -errno : 0;
}

int attributes_apply(const struct attributes_plan *plan, enum attributes_step *ret_step)
{
    if (plan->has_personality) {
        *ret_step = ATTRIBUTES_PERSONALITY;
        if (syscall(SYS_personality, (unsigned long)plan->personality) < 0)
            return -errno;
    }
    if (plan->memory_policy) {
        *ret_step = ATTRIBUTES_MEMORY_POLICY;
        return set_memory_policy(plan->memory_policy);
    }
    return 0;
}
