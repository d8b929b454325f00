/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <json-c/json.h>

#include "cgroup/stats.h"

/* The statistics in the form and the units of runc's `events` (its types/events.go), which go-runc
 * and those who build on it decode. What cgroup v2 has no number for, and whole parts whose
 * controller is not there, are left out. A new reference. */
struct json_object *stats_json(const struct cgroup_stats *s);
