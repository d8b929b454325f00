/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "cgroup/cgroup.h"

/* Writes to the files of one cgroup as plain data, and their execution: how limits get to the
 * kernel, those of a spec as well as those of a checkpoint. */

/* One line for one file; a write(2) of its own. */
struct cgroup_write {
    char *file;  /* "memory.max" */
    char *value; /* without a newline at the end */
    /* Instead, where there is no such file although the controller is enabled; NULL: none. */
    char *other_file, *other_value;
    /* Nothing is written where the file is missing: it says what holds then, too. */
    bool optional;
};
struct cgroup_writes {
    struct cgroup_write *list;
    size_t n;
};
void cgroup_writes_done(struct cgroup_writes *w);
#define _cleanup_writes_ _cleanup_(cgroup_writes_done)

/* Takes `value`. The row is good until the next one is added. */
struct cgroup_write *cgroup_writes_add(struct cgroup_writes *w, const char *file, char *value);

/* Executes them in order. Controllers whose files are missing are enabled down the path first, all
 * at once and only where they are not (cgroup.subtree_control); one that the host's hierarchy lacks
 * is ERROR_CGROUP that names it and says where it is bound. What was written is read back
 * (cgroup/readback.h): a value that the kernel clamped is ERROR_CGROUP that shows both. When one
 * fails, those before it are put back as they were. */
int cgroup_write_all(const struct cgroup_host *host, const char *path,
                     const struct cgroup_writes *w, struct error *e);

/* Enables controllers for `path`: in the mount's root and each directory on the way to its parent.
 * `file` is what they are wanted for, in messages. */
int cgroup_enable(const struct cgroup_host *host, const char *path, char *const *controllers,
                  const char *file, struct error *e);
