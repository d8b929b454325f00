/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroup/cgroup.h"
#include "cgroup/write.h"
#include "oci/spec.h"

/* The systemd cgroup driver: the container's cgroup is a transient scope that systemd makes, by
 * D-Bus (org.freedesktop.systemd1(5)). systemd owns what is above the cgroup and the cgroup's own
 * limits; below it, nucleus and the container are left alone (Delegate). A scope has no process of
 * systemd's: it is made around one that exists and ends with the last, so
 *
 *     plan, clone3 somewhere else, cgroup_systemd_start(pid), then everything as with cgroupfs:
 *     limits and devices by the cgroup's directory, freeze, kill; cgroup_systemd_stop() at the end.
 *
 * Limits are given to systemd as properties AND written to the files: what systemd does not know of
 * it would put back at its next reload, and what it has no property for only the files have.
 *
 * libsystemd is loaded by dlopen when the first call is made: others don't pay for it. */

/* Where systemd is to make it. */
struct cgroup_systemd_unit {
    bool user;   /* the caller's user manager, else the system's */
    char *name;  /* "nucleus-web.scope" */
    char *slice; /* "machine-web.slice"; "-.slice" is the root */
    /* Below the manager's own cgroup (which is the root for the system's): slices nest by the
     * dashes of their names, "/machine.slice/machine-web.slice/nucleus-web.scope"
     * (systemd.slice(5)). */
    char *path;
};

/* linux.cgroupsPath as "slice:prefix:name". An empty slice is system.slice, or user.slice with
 * `user`; "-" and "-.slice" are the root. The unit is PREFIX-NAME.scope, or NAME.scope with an
 * empty prefix. NULL or "" is ":nucleus:ID". What of an ID no unit name may hold is escaped as
 * systemd-escape(1) does it; in the other form that is an error, as is a NAME that ends in
 * ".slice": processes live in scopes. ERROR_CONFIG says what is wrong. systemd is not asked. */
int cgroup_systemd_unit_parse(const char *cgroups_path, const char *id, bool user,
                              struct cgroup_systemd_unit *ret, struct error *e);
void cgroup_systemd_unit_done(struct cgroup_systemd_unit *u);

/* Properties for a unit; cgroup/systemd-properties.h. Start with {0}. */
struct cgroup_systemd_properties {
    struct systemd_property *list;
    size_t n;
};
void cgroup_systemd_properties_done(struct cgroup_systemd_properties *p);
#define _cleanup_systemd_properties_ _cleanup_(cgroup_systemd_properties_done)

/* Adds to *p what the limits (cgroup_plan_resources) are in systemd's terms. Files that systemd has
 * no property for are left to cgroup_write_all(). `path` is the cgroup where it is there already
 * (NULL before the start): a CPU quota alone goes with the period it has. ERROR_CONFIG for a value
 * that can't be read. */
int cgroup_systemd_add_limits(struct cgroup_systemd_properties *p,
                              const struct cgroup_writes *limits, const char *path,
                              struct error *e);

/* Adds to *p the properties that annotations ask for, as runc has it: key
 * "org.systemd.property.NAME", value in GVariant's text format; a NAME with the suffix Sec is in
 * seconds and is sent as NAME-USec. They take the place of those that are in *p. A NAME that is no
 * property's, one that is nucleus' to set (PIDs, Slice, …), and a value that can't be read are
 * ERROR_CONFIG. */
int cgroup_systemd_add_annotations(struct cgroup_systemd_properties *p,
                                   const struct oci_annotation *annotations, size_t n,
                                   struct error *e);

/* Makes the scope around `pid` (a child that waits; it is moved), delegated, and waits until
 * systemd is done, 30 s at most. A unit of that name that has failed is taken away first. *ret_path
 * is the cgroup's directory, newly allocated. -EEXIST (ERROR_EXISTS): a unit of that name is
 * active; it is another's, don't stop it. After any other error the process may be in the scope or
 * not: kill it and call cgroup_systemd_stop(). */
int cgroup_systemd_start(const struct cgroup_host *host, const struct cgroup_systemd_unit *u,
                         const char *id, pid_t pid, const struct cgroup_systemd_properties *p,
                         char **ret_path, struct error *e);

/* `update`: changes properties of a unit that is there, until it ends. Those that can be given at
 * the start only (OOMPolicy) are left out. */
int cgroup_systemd_set(const char *unit, bool user, const struct cgroup_systemd_properties *p,
                       struct error *e);

/* Loads the library that the functions below talk by, which they also do themselves: for whoever
 * wants to know earlier that it is not there. */
int cgroup_systemd_prepare(struct error *e);

/* Moves a process into the unit's cgroup, or into one that is there below it ("/inner"; NULL: its
 * own). For callers whom the kernel does not let do it: a user's manager has the system's do it
 * (cgroups(7), "Cgroups delegation"). */
int cgroup_systemd_attach(const char *unit, bool user, const char *below, pid_t pid,
                          struct error *e);

/* Stops the unit and forgets that it failed; one that is not there is fine. Kill what is in it
 * first (cgroup_kill): systemd would wait for it to end. */
int cgroup_systemd_stop(const char *unit, bool user, struct error *e);
