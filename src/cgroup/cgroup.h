/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* cgroup v2 (Documentation/admin-guide/cgroup-v2.rst). On a hybrid host the v2 hierarchy is used
 * where it is mounted; v1 hierarchies are left alone. */

enum cgroup_layout {
    CGROUP_NONE,    /* no cgroup2 mount */
    CGROUP_UNIFIED, /* cgroup2, and no v1 controllers mounted */
    CGROUP_HYBRID,  /* cgroup2 beside v1 controllers */
    CGROUP_V1,      /* v1 only */
};

struct cgroup_host {
    enum cgroup_layout layout;
    char *mount;           /* where the v2 hierarchy is mounted, or NULL */
    char **controllers;    /* of its root's cgroup.controllers */
    char **v1_controllers; /* bound to v1 hierarchies, as "memory (/sys/fs/cgroup/memory)" */
    bool mount_only;       /* cgroup_host_find() has looked no further than `mount` */
};

/* Timeouts are in milliseconds; a negative one never ends. */

/* Reads a mountinfo text (proc_pid_mountinfo(5)) and cgroup.controllers. `procfd` is an open procfs
 * (AT_FDCWD: /proc). No cgroup2 mount is not an error here: layout says so. Where several cgroup2
 * mounts exist, the one at /sys/fs/cgroup, else the one at the shortest path whose mounted root is
 * "/", is taken; one that is hidden below another mount counts as none. Octal escapes in paths are
 * decoded. */
int cgroup_host_probe(int procfd, struct cgroup_host *ret, struct error *e);
void cgroup_host_done(struct cgroup_host *host);

/* The same, as cheap as can be where /sys/fs/cgroup is a cgroup2: the table of mounts is not read,
 * and neither the controllers nor what v1 has of them are known (`mount_only`); what sets limits
 * reads that when there are any. */
int cgroup_host_find(struct cgroup_host *ret, struct error *e);

/* The parser under it, for tests and fuzzing. */
int cgroup_parse_mountinfo(const char *text, struct cgroup_host *ret, struct error *e);

/* The container's cgroup directory: `cgroups_path` of the spec (absolute: below the v2 mount;
 * relative or NULL: below /nucleus), else /nucleus/ID. ".." and empty results are refused, so are
 * systemd's "slice:prefix:name" (ERROR_CONFIG): they are for the systemd driver. Newly allocated
 * host path. ERROR_CGROUP with a remedy where the host has no v2 mount. */
int cgroup_choose_path(const struct cgroup_host *host, const char *cgroups_path, const char *id,
                       char **ret, struct error *e);

/* Makes the directory with parents and opens it (O_PATH | O_DIRECTORY; usable for
 * CLONE_INTO_CGROUP). One that exists and holds processes (own or below) is ERROR_EXISTS; an empty
 * one is taken over, thawed if it was left frozen. A parent that vanishes meanwhile is made again,
 * a bounded number of times. */
int cgroup_create(const struct cgroup_host *host, const char *path, int *ret_fd, struct error *e);

/* The directory, and those of its files that its user needs to make cgroups below and to move
 * processes among them (never its limits), get a new owner: what a container with a user namespace
 * and a writable cgroup mount needs. The files are those of /sys/kernel/cgroup/delegate; where it
 * does not exist, those of cgroup-v2.rst. `cgroup_fd` may be O_PATH. (gid_t)-1 leaves the group. */
int cgroup_delegate(int cgroup_fd, uid_t uid, gid_t gid, struct error *e);

/* Removes it and whatever is below; then parents below the mount while they are empty and named
 * "nucleus". A cgroup that is not there is fine. `kill`: cgroup.kill first, and wait for
 * cgroup.events to say populated 0 (poll(2), at most timeout_ms). Not empty without `kill` is
 * -EBUSY, after timeout_ms (0: at once), so that processes that are just dying are waited for. */
int cgroup_remove(const struct cgroup_host *host, const char *path, bool kill, int timeout_ms,
                  struct error *e);

/* Removes a cgroup in which there is nothing, and a parent that is empty then and named "nucleus".
 * -EBUSY: there is something, or it can't be done so easily; -ENOENT: no such directory. Says
 * nothing more: cgroup_remove() is for all other cases. */
int cgroup_remove_empty(const char *path);

/* Writes cgroup.kill (Linux 5.14; before that SIGKILL to each) and waits until nothing is left, as
 * above. A cgroup that is not there is fine. */
int cgroup_kill(const char *path, int timeout_ms, struct error *e);

/* Every process in the cgroup and below gets the signal: read, signal by pidfd, until a pass finds
 * no new one. SIGKILL goes by cgroup.kill. Missing cgroup: -ENOENT. */
int cgroup_signal_all(const char *path, int sig, struct error *e);

/* pids in it and below, in the kernel's order, newly allocated. Missing cgroup: -ENOENT. */
int cgroup_pids(const char *path, pid_t **ret, size_t *ret_n, struct error *e);

/* cgroup.freeze, then waits on cgroup.events until "frozen" says so, at most timeout_ms. When a
 * freeze times out it is undone. To thaw one that is gone is fine. */
int cgroup_freeze(const char *path, bool freeze, int timeout_ms, struct error *e);
/* Waits until somebody else thaws it, or `or_fd` is readable (the pidfd of one in it that has
 * ended: a cgroup stays frozen when it is empty). A cgroup that is gone is not frozen. */
int cgroup_await_thaw(const char *path, int or_fd, struct error *e);
/* True where cgroup.events says frozen 1. A missing cgroup is false. */
bool cgroup_is_frozen(const char *path);
bool cgroup_is_populated(const char *path);

/* M2: limits as the kernel states them. UINT64_MAX in a value is "max" (null in JSON), as
 * it is where the controller's file is missing. cpu.weight 0 (cpu.idle is set) reads as none. */
struct cgroup_io_limit {
    char *device;                      /* "MAJ:MIN" */
    uint64_t riops, wiops, rbps, wbps; /* UINT64_MAX: max */
};
struct cgroup_limits {
    /* UINT64_MAX: none ("max", or no file) */
    uint64_t memory_bytes, memory_high, memory_swap_max;
    uint64_t cpu_quota_us, cpu_period_us; /* both UINT64_MAX where there is no cpu.max file */
    uint64_t cpu_weight;
    uint64_t pids_max;
    struct cgroup_io_limit *io;
    size_t n_io;
};
#define CGROUP_NO_LIMIT UINT64_MAX
void cgroup_limits_init(struct cgroup_limits *l); /* everything none */
void cgroup_limits_done(struct cgroup_limits *l);
/* True where nothing is limited and no controller file was there. */
bool cgroup_limits_empty(const struct cgroup_limits *l);

int cgroup_read_limits(const char *path, struct cgroup_limits *ret, struct error *e);

/* Writes the limits that are set into a cgroup's files (restore, C13), by cgroup_write_all()
 * (cgroup/write.h), which enables controllers and reads back. What is the kernel's default anyway
 * ("max" of cpu.max, weight 100) is written where there is a file and asks for no controller. */
int cgroup_write_limits(const struct cgroup_host *host, const char *path,
                        const struct cgroup_limits *l, struct error *e);

struct cgroup_writes;
/* The same as data (cgroup/write.h), for the systemd driver. */
void cgroup_plan_limits(const struct cgroup_limits *l, struct cgroup_writes *ret);

/* The parsers of single files, for tests and fuzzing. Each takes the file's text, with or without
 * the newline at the end. -EINVAL, -ERANGE; events: -ENOENT where the key is not there; io.max:
 * -E2BIG above 4096 devices. */
int cgroup_parse_max(const char *text, uint64_t *ret);                         /* "max" or number */
int cgroup_parse_cpu_max(const char *text, uint64_t *quota, uint64_t *period); /* "max 100000" */
int cgroup_parse_io_max(const char *text, struct cgroup_io_limit **ret, size_t *ret_n);
int cgroup_parse_events(const char *text, const char *key, bool *ret);
