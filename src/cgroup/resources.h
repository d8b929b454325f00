/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "cgroup/cgroup.h"
#include "cgroup/write.h"
#include "oci/resources.h"

/* linux.resources in the terms of cgroup v2. OCI's numbers are those of v1, and are converted as
 * runc and crun convert them (docs/cgroup.md has the table). Devices are not among these: see
 * cgroup/devices.h. */

/* What is to be written, in order, `unified` last so that it wins. Looks at nothing but `r`. What
 * can't be said in cgroup v2 (swappiness, disableOOMKiller) is ERROR_UNSUPPORTED, what contradicts
 * itself (swap below the limit) ERROR_CONFIG; both name the field. As in runc, 0 for memory, cpu
 * and I/O weight means "not set", and -1 "no limit". Nothing asked for: an empty list. */
int cgroup_plan_resources(const struct oci_resources *r, struct cgroup_writes *ret,
                          struct error *e);

/* cpu.shares of v1 (2 to 262144, default 1024) as cpu.weight of v2 (1 to 10000, default 100):
 * ceil(10^((log2(shares)^2 + 125 log2(shares)) / 612 - 7/34)), the formula of runc 1.3.2, crun 1.23
 * and Kubernetes 1.35, which keeps both ends and the default. Beyond the ends: the end; 0: 0. */
unsigned cgroup_weight_of_shares(uint64_t shares) _const_;

/* The same for the cgroup at `path`, new or in use: what a field depends on and `r` does not set is
 * taken from it as it is, the quota where only a period is given, the memory limit where only
 * memory + swap is; and the order is one in which the kernel refuses none on the way. With
 * memory.checkBeforeUpdate a limit at or below the present usage is refused. */
int cgroup_plan_resources_at(const char *path, const struct oci_resources *r,
                             struct cgroup_writes *ret, struct error *e);

/* cgroup_plan_resources_at() and cgroup_write_all(). */
int cgroup_apply_resources(const struct cgroup_host *host, const char *path,
                           const struct oci_resources *r, struct error *e);
