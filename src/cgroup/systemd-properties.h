/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "cgroup/gvariant.h"
#include "cgroup/systemd.h"

/* What the files of the systemd driver share; no other directory includes it. */

struct systemd_property {
    char *name;
    struct gvariant value;
    unsigned since;  /* systemd's version that has it; 0: every one we can meet */
    bool start_only; /* SetUnitProperties refuses it */
};

/* Takes the value; one of that name that is there is replaced. */
struct systemd_property *systemd_property_put(struct cgroup_systemd_properties *p, const char *name,
                                              struct gvariant value);

/* A list like "0-3,7" as systemd has sets of CPUs and memory nodes: bit n is bit n % 8 of byte n /
 * 8 ("ay"). "" is the empty one. -EINVAL, -ERANGE from 8192 on. */
int systemd_parse_set(const char *list, struct gvariant *ret);
