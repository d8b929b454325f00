/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* linux.resources (runtime-spec 1.3, config-linux.md "Control groups") as plain data, in the spec's
 * own terms and units; cgroup/ turns them into cgroup v2's. What only cgroup v1 has (kernel memory,
 * real-time budgets, network classes, …) is refused by the parser where it asks for something.
 * Strings and arrays are owned. */

/* A number that may be absent. In the signed ones -1 means "no limit". Limits, shares, quota,
 * period and weights that are 0 in the file are absent: so engines write "none", and so runc reads
 * it. */
struct oci_opt_i64 {
    bool set;
    int64_t value;
};
struct oci_opt_u64 {
    bool set;
    uint64_t value;
};
struct oci_opt_bool {
    bool set, value;
};

enum oci_device_access {
    OCI_DEVICE_READ = 1,
    OCI_DEVICE_WRITE = 2,
    OCI_DEVICE_MKNOD = 4,
};

/* One row of linux.resources.devices; the last row that matches decides. */
struct oci_device_rule {
    bool allow;
    char type;            /* 'a' (both), 'b', 'c' */
    int64_t major, minor; /* -1: any */
    unsigned access;      /* OCI_DEVICE_*; never 0 */
};

struct oci_memory {
    struct oci_opt_i64 limit, reservation, swap; /* bytes; swap is memory + swap */
    struct oci_opt_u64 swappiness;
    struct oci_opt_bool disable_oom_killer;
    bool check_before_update;
};

struct oci_cpu {
    struct oci_opt_u64 shares, period, burst; /* period, burst: µs */
    struct oci_opt_i64 quota, idle;
    char *cpus, *mems; /* lists like "0-3,7", syntax checked; NULL: unset */
};

struct oci_io_device {
    int64_t major, minor;
    uint64_t value; /* bytes or operations per second; a weight: 10 to 1000 */
};
struct oci_io_list {
    struct oci_io_device *list;
    size_t n;
};
struct oci_io {
    struct oci_opt_u64 weight; /* 10 to 1000 */
    struct oci_io_list weight_device, read_bps, write_bps, read_iops, write_iops;
};

struct oci_hugepage_limit {
    char *page_size; /* "2MB", as cgroup files have it; syntax checked */
    uint64_t limit;  /* bytes */
};

struct oci_rdma_limit {
    char *device;
    struct oci_opt_u64 hca_handles, hca_objects;
};

/* linux.resources.unified: a file of the cgroup v2 directory and what goes into it. */
struct oci_unified {
    char *file; /* "memory.high": CONTROLLER.PARAMETER, no slash, not "cgroup.*" */
    char *value;
};

struct oci_resources {
    struct oci_device_rule *devices;
    size_t n_devices;
    struct oci_memory memory;
    struct oci_cpu cpu;
    struct oci_opt_i64 pids_limit; /* as written; 0 and below: no limit */
    struct oci_io io;
    struct oci_hugepage_limit *hugepages;
    size_t n_hugepages;
    struct oci_rdma_limit *rdma;
    size_t n_rdma;
    struct oci_unified *unified;
    size_t n_unified;
};

/* A JSON text that is one resources object (`update --resources`); errors as oci_spec_parse(). */
int oci_resources_parse(const char *text, size_t len, const char *name, struct oci_resources **ret,
                        struct error *e);
/* The members. A struct that is all zeros asks for nothing. */
void oci_resources_done(struct oci_resources *r);
void oci_resources_free(struct oci_resources *r);
DEFINE_CLEANUP(struct oci_resources *, oci_resources_free)
#define _cleanup_resources_ _cleanup_(oci_resources_freep)
