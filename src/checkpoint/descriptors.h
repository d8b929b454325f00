/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* A container's descriptors 0, 1 and 2 across a checkpoint (C11, C16). What they point to may lie
 * outside the container: a pipe to an engine, the user's terminal, a log file of the host. CRIU is
 * told that such a one is external, and is handed a descriptor for it at restore. */

#define STDIO_DESCRIPTORS_FILE "descriptors.json" /* C11: array of 3 strings */

enum stdio_kind {
    STDIO_INSIDE, /* belongs to the container, CRIU's own business (also: what it can't be told of)
                   */
    STDIO_PIPE,   /* an anonymous pipe whose other end is outside, or nowhere */
    STDIO_FILE,   /* a regular file that none of the container's mounts shows */
    STDIO_TTY,    /* a terminal of the host */
};
const char *stdio_kind_name(enum stdio_kind kind) _const_;
int stdio_kind_parse(const char *name, enum stdio_kind *ret);

struct stdio_end {
    enum stdio_kind kind;
    char *target; /* where /proc/PID/fd/N points; "/dev/null" where unreadable; a host file's name
                     has " (deleted)" behind it where it does not lead to that file */
    char *key;    /* CRIU's name for it ("pipe:[42]", "file[1f:a03]", "tty[8803:15]"), or NULL */
    int flags;    /* of the open file, O_* */
    bool has_offset; /* a file that is read from; others are written to at their end */
    uint64_t offset; /* from where it is read on */
};

struct stdio_info {
    struct stdio_end end[3];
};

/* Looks at a live process. `pids` are those of its container: a pipe whose other end one of them
 * holds is STDIO_INSIDE. */
int stdio_inspect(pid_t pid, const pid_t *pids, size_t n, struct stdio_info *ret, struct error *e);

/* Reads the offsets again: what the process had read when it was frozen. */
int stdio_refresh_offsets(pid_t pid, struct stdio_info *info, struct error *e);

/* What `external` has to say in a dump: newly allocated NULL-terminated array, each key once. */
char **stdio_external_keys(const struct stdio_info *info) _warn_unused_;
bool stdio_has_tty(const struct stdio_info *info);

int stdio_save_descriptors(const struct stdio_info *info, int images_fd, struct error *e);
/* Reads descriptors.json: targets, and keys of pipes. */
int stdio_load_descriptors(int images_fd, const char *dir, struct stdio_info *ret,
                           struct error *e);

/* For a restore: descriptors and the keys to hand them over under. */
struct stdio_handover {
    struct {
        char *key;
        int fd;     /* owned where `own`, else the caller's 0, 1 or 2 */
        bool own;
    } item[8];
    size_t n;
};
/* Pipes become the caller's own stdio; terminals too, which must then be terminals; a host file is
 * opened again by name where `trusted` (a verified seal vouches for the name): reading goes on
 * where it was, writing at the file's end, however it grew or shrank meanwhile, and a log that is
 * gone is made again. Not trusted, or no name leads to the file (it was deleted): the caller's own
 * stdio takes its place. */
int stdio_hand_over(const struct stdio_info *info, bool trusted, struct stdio_handover *ret,
                    struct error *e);
void stdio_handover_done(struct stdio_handover *h);
#define _cleanup_handover_ _cleanup_(stdio_handover_done)

void stdio_info_done(struct stdio_info *info);
#define _cleanup_stdio_ _cleanup_(stdio_info_done)
