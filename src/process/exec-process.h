/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "oci/spec.h"

/* What `exec` runs: the container's own process with changes, or one from a file. Pure data. */

struct exec_process_options {
    const char *file;               /* --process: a process object of config.json; NULL: none */
    char *const *args;              /* empty: the file's */
    const char *cwd, *user;         /* absolute; "UID[:GID]"; NULL: leave */
    char *const *env;               /* "NAME=VALUE" each; takes the place of one of that name */
    char *const *additional_gids;   /* beside those that are there */
    char *const *caps;              /* "CAP_CHOWN", … */
    const char *apparmor, *selinux; /* profile and label; NULL: leave */
    bool terminal;                  /* without a file this alone decides */
    bool no_new_privs;              /* can't be taken away */
};

/* Changes `container`, the process of the container's spec, into the one to run, or replaces it by
 * the file's. What the file leaves out that the container limits (capabilities, resource limits,
 * umask, oomScoreAdj, LSM labels, scheduler, I/O priority, CPU affinity) is the container's:
 * leaving it out must not be a way out of it. The options come on top of either. ERROR_USAGE names
 * the option. */
int exec_process_make(struct oci_process **container, const struct exec_process_options *o,
                      struct error *e);
