/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/ioprio.h>
#include <linux/sched.h>

#include "base/mem.h"
#include "oci/decode.h"

/* process.scheduler, process.ioPriority and process.execCPUAffinity. */

#define NICE_MIN (-20)
#define NICE_MAX 19
#define RT_PRIORITY_MAX 99
#define SCHED_ISO 4 /* reserved in <linux/sched.h>, in no kernel */

static int decode_policy(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_name names[] = {
        {"SCHED_OTHER", SCHED_NORMAL},      {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
        {"SCHED_BATCH", SCHED_BATCH},       {"SCHED_ISO", SCHED_ISO},   {"SCHED_IDLE", SCHED_IDLE},
        {"SCHED_DEADLINE", SCHED_DEADLINE},
    };
    uint64_t v = 0;
    int r = decode_name(d, at, names, ARRAY_SIZE(names), &v);
    if (r < 0)
        return r;
    if (v == SCHED_ISO)
        return json_error(at, d->e, ERROR_UNSUPPORTED, "choose another policy",
                          "no Linux has SCHED_ISO");
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_nice(struct decoder *d, const struct json_at *at, void *out)
{
    int64_t v = 0;
    int r = json_get_i64(at, NICE_MIN, NICE_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(int32_t *)out = (int32_t)v;
    return 0;
}

static int decode_priority(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = json_get_u64(at, RT_PRIORITY_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_flags(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_name names[] = {
        {"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
        {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
        {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
        {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
        {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},
        {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
        {"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX},
    };
    return decode_name_set(d, at, names, ARRAY_SIZE(names), out);
}

/* The kernel ignores what does not belong to the policy (kernel/sched/core.c): here it is an error.
 * A zero asks for nothing. */
static int check_members(struct decoder *d, const struct json_at *at, const struct oci_scheduler *s)
{
    const struct {
        const char *name;
        bool set;
        uint32_t policies; /* bit n: policy n */
        const char *why;
    } members[] = {
        {"nice", s->nice != 0, 1u << SCHED_NORMAL | 1u << SCHED_BATCH,
         "only SCHED_OTHER and SCHED_BATCH have it"},
        {"priority", s->priority != 0, 1u << SCHED_FIFO | 1u << SCHED_RR,
         "only SCHED_FIFO and SCHED_RR have it"},
        {"runtime", s->runtime != 0, 1u << SCHED_DEADLINE, "only SCHED_DEADLINE has it"},
        {"deadline", s->deadline != 0, 1u << SCHED_DEADLINE, "only SCHED_DEADLINE has it"},
        {"period", s->period != 0, 1u << SCHED_DEADLINE, "only SCHED_DEADLINE has it"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        struct json_at member = json_member(at, members[i].name);
        if (members[i].set && !(members[i].policies >> s->policy & 1))
            return decode_error(d, &member, "%s", members[i].why);
    }
    return 0;
}

static int check_realtime(struct decoder *d, const struct json_at *at,
                          const struct oci_scheduler *s)
{
    struct json_at priority = json_member(at, "priority");

    if ((s->policy == SCHED_FIFO || s->policy == SCHED_RR) && s->priority == 0)
        return decode_error(d, &priority, "is required, from 1 to %d", RT_PRIORITY_MAX);
    return 0;
}

/* runtime <= deadline <= period, where 0 as the period is the deadline (sched(7)). */
static int check_deadline(struct decoder *d, const struct json_at *at,
                          const struct oci_scheduler *s)
{
    struct json_at runtime = json_member(at, "runtime"), deadline = json_member(at, "deadline");
    struct json_at period = json_member(at, "period");

    if (s->policy != SCHED_DEADLINE)
        return 0;
    if (s->runtime == 0)
        return decode_error(d, &runtime, "is required for SCHED_DEADLINE");
    if (s->deadline == 0)
        return decode_error(d, &deadline, "is required for SCHED_DEADLINE");
    if (s->runtime > s->deadline)
        return decode_error(d, &runtime, "is longer than the deadline");
    if (s->period != 0 && s->deadline > s->period)
        return decode_error(d, &period, "is shorter than the deadline");
    return 0;
}

int decode_scheduler(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("policy", decode_policy, struct oci_scheduler, policy),
        FIELD("nice", decode_nice, struct oci_scheduler, nice),
        FIELD("priority", decode_priority, struct oci_scheduler, priority),
        FIELD("flags", decode_flags, struct oci_scheduler, flags),
        FIELD("runtime", decode_u64, struct oci_scheduler, runtime),
        FIELD("deadline", decode_u64, struct oci_scheduler, deadline),
        FIELD("period", decode_u64, struct oci_scheduler, period),
    };
    struct oci_process *p = out;

    p->has_scheduler = true;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), &p->scheduler);
    if (r == 0)
        r = check_members(d, at, &p->scheduler);
    if (r == 0)
        r = check_realtime(d, at, &p->scheduler);
    return r < 0 ? r : check_deadline(d, at, &p->scheduler);
}

struct io_priority {
    uint64_t class, level;
};

static int decode_io_class(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_name names[] = {
        {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
        {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
        {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
    };
    return decode_name(d, at, names, ARRAY_SIZE(names), out);
}

static int decode_io_level(struct decoder *d, const struct json_at *at, void *out)
{
    int r = json_get_u64(at, IOPRIO_NR_LEVELS - 1, out, d->e);
    return MIN(r, 0);
}

int decode_io_priority(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("class", decode_io_class, struct io_priority, class),
        FIELD("priority", decode_io_level, struct io_priority, level),
    };
    struct oci_process *p = out;
    struct io_priority prio = {0};
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), &prio);
    if (r < 0)
        return r;
    p->has_io_priority = true;
    p->io_priority = (int)(prio.class << IOPRIO_CLASS_SHIFT | prio.level);
    return 0;
}

int decode_exec_affinity(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("initial", decode_set, struct oci_process, exec_affinity_initial),
        FIELD("final", decode_set, struct oci_process, exec_affinity_final),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}
