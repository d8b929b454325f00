/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Tells of OOM kills in a cgroup and below it while they happen: memory.events makes a file
 * modified event when a value in it changes (cgroup-v2.rst, "Memory Interface Files"). */

struct cgroup_watch {
    int fd; /* readable (poll(2), POLLIN) when there may be news; never where there is no memory
               controller */
    char *path;
    uint64_t oom_kills; /* known so far */
};

/* Counts from now on. -ENOENT where there is no such cgroup. */
int cgroup_watch_open(const char *path, struct cgroup_watch *ret, struct error *e);
void cgroup_watch_done(struct cgroup_watch *w);
#define _cleanup_cgroup_watch_ _cleanup_(cgroup_watch_done)

/* Looks, whether or not `fd` is readable, and makes it unreadable: how many processes were killed
 * since the last look. A cgroup that is gone has no more news: 0. */
int cgroup_watch_read(struct cgroup_watch *w, uint64_t *ret_kills, struct error *e);
