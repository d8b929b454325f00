/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cgroup/cgroup.h"

/* What the kernel counts in a cgroup and below it (Documentation/admin-guide/cgroup-v2.rst). A part
 * whose controller is not enabled there has no file, and `has` false; never an error. */

/* Documentation/accounting/psi.rst: shares of wall time in hundredths of a percent, total in µs. */
struct cgroup_pressure_share {
    uint64_t avg10, avg60, avg300, total;
};
struct cgroup_pressure {
    bool has; /* false: no CONFIG_PSI, psi=0, or cgroup.pressure is 0 */
    struct cgroup_pressure_share some, full;
};

struct cgroup_cpu_stats {
    bool has; /* true in every cgroup since Linux 4.15 */
    uint64_t usage_usec, user_usec, system_usec;
    bool has_throttling; /* the cpu controller is enabled */
    uint64_t nr_periods, nr_throttled, throttled_usec;
    struct cgroup_pressure pressure;
};

struct cgroup_counter {
    char *name;
    uint64_t value;
};

/* A usage with its limit and the highest value it had. */
struct cgroup_usage {
    bool has;
    uint64_t current;
    uint64_t max;  /* CGROUP_NO_LIMIT */
    bool has_peak; /* memory: Linux 5.19, swap: 6.5 */
    uint64_t peak;
};

/* How often each happened; oom_kill counts processes. */
struct cgroup_memory_events {
    bool has;
    uint64_t low, high, max, oom, oom_kill, oom_group_kill;
};

struct cgroup_counters {
    struct cgroup_counter *list;
    size_t n;
};

struct cgroup_memory_stats {
    struct cgroup_usage usage, swap; /* swap without memory; `has` false: no swap accounting */
    struct cgroup_counters counters; /* memory.stat, as the kernel has it */
    struct cgroup_memory_events events;
    struct cgroup_pressure pressure;
};

struct cgroup_io_device {
    uint32_t major, minor;
    uint64_t rbytes, wbytes, rios, wios;
};
struct cgroup_io_stats {
    bool has;
    struct cgroup_io_device *list;
    size_t n;
    struct cgroup_pressure pressure;
};

struct cgroup_hugetlb {
    char *size; /* "2MB" */
    uint64_t current;
    uint64_t failures; /* allocations over the limit */
};
struct cgroup_hugetlb_stats {
    struct cgroup_hugetlb *list; /* by size's name */
    size_t n;
};

struct cgroup_rdma_device {
    char *device;
    uint64_t handles, objects; /* CGROUP_NO_LIMIT */
};
struct cgroup_rdma_stats {
    struct cgroup_rdma_device *list;
    size_t n;
};

struct cgroup_stats {
    struct cgroup_cpu_stats cpu;
    struct cgroup_memory_stats memory;
    struct cgroup_usage pids;
    struct cgroup_io_stats io;
    struct cgroup_hugetlb_stats hugetlb;
    struct cgroup_rdma_stats rdma_current, rdma_max;
};
/* Frees the members; all zero afterwards. */
void cgroup_stats_done(struct cgroup_stats *s);
#define _cleanup_cgroup_stats_ _cleanup_(cgroup_stats_done)

/* One moment of the cgroup at this path. -ENOENT (ERROR_CGROUP) where there is none, or it goes
 * meanwhile. */
int cgroup_read_stats(const char *path, struct cgroup_stats *ret, struct error *e);

/* Processes of the cgroup and below that the kernel killed for want of memory, since it was made.
 * -ENOENT where the cgroup or its memory controller is not there; other negative errno. */
int cgroup_oom_kills(const char *path, uint64_t *ret);

/* 0 where the list has no such name. */
uint64_t cgroup_counter_value(const struct cgroup_counters *c, const char *name) _pure_;

/* The parsers of single files, for tests and fuzzing; `ret` is of the type named. They take a
 * file's text, ignore keys they do not know (kernels add some), set *ret on success only, and
 * return -EINVAL, -ERANGE, or -E2BIG for more entries than any machine has. */
int cgroup_parse_cpu_stat(const char *text, void *ret);      /* struct cgroup_cpu_stats */
int cgroup_parse_memory_stat(const char *text, void *ret);   /* struct cgroup_counters */
int cgroup_parse_memory_events(const char *text, void *ret); /* struct cgroup_memory_events */
int cgroup_parse_pressure(const char *text, void *ret);      /* struct cgroup_pressure */
int cgroup_parse_io_stat(const char *text, void *ret);       /* struct cgroup_io_stats */
int cgroup_parse_max_events(const char *text, void *ret);    /* uint64_t: "max N" of *.events */
int cgroup_parse_rdma(const char *text, void *ret);          /* struct cgroup_rdma_stats */
