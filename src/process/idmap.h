/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "oci/spec.h"

/* The id maps of a container's new user namespace (user_namespaces(7)). */

/* Who writes them. */
struct idmap_plan {
    bool by_helper;      /* newuidmap(1) and newgidmap(1), who know what is the caller's */
    bool deny_setgroups; /* the kernel's condition for a caller that maps its own group alone */
};

/* What the caller's rights allow: root, or who has CAP_SETUID and CAP_SETGID, writes any map; an
 * ordinary user maps itself alone, or asks the two programs. Where neither works: ERROR_PERMISSION
 * that says what to install or to map. */
int idmap_plan_make(const struct oci_spec *spec, struct idmap_plan *ret, struct error *e);

/* Of a child in a user namespace that it joined: the maps that the spec gives, if it gives any,
 * must be that namespace's. ERROR_CONFIG where they are not. */
int idmap_compare(int procfd, pid_t pid, const struct oci_spec *spec, struct error *e);

/* The text of uid_map or gid_map is what `maps` say, in any order: 1, 0 or -EINVAL. For tests and
 * fuzzing. */
int idmap_text_equals(const char *text, const struct oci_id_map *maps, size_t n);

/* What an id of the container is outside; false where it is not mapped. */
bool idmap_to_host(const struct oci_id_map *maps, size_t n, uint32_t id, uint32_t *ret);

/* Writes both maps of a child that waits in its new user namespace, each in one write(2), as the
 * kernel demands. `procfd` is a procfs nobody can have mounted over (sys_open_private_proc). */
int idmap_write(const struct idmap_plan *plan, int procfd, pid_t pid, const struct oci_spec *spec,
                struct error *e);
