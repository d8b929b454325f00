/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cgroup/cgroup.h"
#include "checkpoint/criu/criu.h"

/* What `nucleus doctor` looks at, as tables: a check is a row, a heading is a table of them. A
 * check only looks: whatever it must try it tries on a child or in a namespace that is gone
 * afterwards. */

enum finding_status {
    FINDING_OK,
    FINDING_LIMITED, /* there, but not for everything */
    FINDING_MISSING,
    FINDING_BROKEN, /* there, but not fit for use */
};

struct json_object;

/* What a check found. All owned; texts are one printable line of UTF-8 each. */
struct finding {
    enum finding_status status;
    char *detail;
    char *remedy;              /* an imperative, or NULL */
    char **notes;              /* further lines */
    struct json_object *facts; /* the same for programs; keys never change */
};

void finding_set(struct finding *f, enum finding_status status, const char *detail_fmt, ...)
    _printf_(3, 4);
void finding_remedy(struct finding *f, const char *fmt, ...) _printf_(2, 3);
void finding_note(struct finding *f, const char *fmt, ...) _printf_(2, 3);
void finding_fact(struct finding *f, const char *key, const char *value); /* NULL: null */
void finding_fact_bool(struct finding *f, const char *key, bool value);
void finding_fact_int(struct finding *f, const char *key, long long value);
void finding_fact_list(struct finding *f, const char *key, char *const *values);

/* How the calls of the mount API fared in a mount namespace made for the trial: 0, negative errno,
 * or 1 where it did not come to that. */
struct mount_trial {
    int ran; /* 0, or why there was no such namespace */
    int fsopen, open_tree, mount_setattr, move_mount;
};

/* What the checks share. */
struct doctor {
    const char *root; /* --root, or NULL */
    const char *criu; /* --criu, or NULL */
    char release[65]; /* of the kernel: new_utsname.release */
    unsigned long kernel_major, kernel_minor;
    bool sys_admin;   /* CAP_SYS_ADMIN is in effect */
    bool in_userns;   /* not the first user namespace */
    int userns;       /* 0, or why the caller can't make a user namespace (negative errno) */
    int cgroup_error; /* why `cgroup` could not be read, or 0 */
    struct cgroup_host cgroup;
    struct mount_trial mounts;
    bool has_tool;
    struct criu_tool tool; /* where has_tool, which it is after the check of CRIU itself */
};

bool doctor_kernel_is(const struct doctor *d, unsigned long major, unsigned long minor);
/* Tries user and mount namespaces, and fills the members about them. */
void doctor_try_namespaces(struct doctor *d);
/* The directory of the caller's own cgroup, or NULL where it has none in reach. */
char *doctor_own_cgroup(const struct doctor *d) _warn_unused_;
/* The first line of a file without its newline, at most 4096 bytes; NULL where it can't be read. */
char *doctor_read_line(const char *path) _warn_unused_;
/* Whether the directory `path` can be used or made: 0; else negative errno and *ret_why. Nothing is
 * made. *ret_exists: it is there already. */
int doctor_look_at_dir(const char *path, bool *ret_exists, char **ret_why);
/* The directories of a PATH, absolute ones only. */
char **doctor_path_dirs(const char *path) _warn_unused_;

enum check_need {
    NEED_EXTRA,      /* some can do without */
    NEED_CONTAINERS, /* no container without it */
    NEED_LIMIT,      /* a limit */
    NEED_CHECKPOINT, /* no checkpoint or restore of an ordinary container without it */
};

struct check {
    const char *name;    /* key of the JSON output: never changes */
    const char *title;   /* for people */
    const char *purpose; /* "needed for …" */
    enum check_need need;
    void (*look)(struct doctor *d, const struct check *c, struct finding *f);
    const char *arg; /* for look() */
};

struct check_group {
    const char *name; /* in the JSON output */
    const char *title;
    const struct check *checks; /* ends with a row whose name is NULL */
};

extern const struct check doctor_kernel_checks[], doctor_syscall_checks[],
    doctor_namespace_checks[], doctor_cgroup_checks[], doctor_caller_checks[], doctor_criu_checks[];
