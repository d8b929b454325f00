/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

/* /proc/self/mountinfo (proc_pid_mountinfo(5)), read without allocating: for the child. */

/* One mount; the strings lie in the line that was parsed, octal escapes undone. */
struct mountinfo {
    const char *root;  /* of the mount in its file system */
    const char *point; /* below the process's root */
    const char *type;  /* of the file system */
};

/* Parses a line in place, without its newline. -EINVAL where it is malformed. */
int mountinfo_parse(char *line, struct mountinfo *ret);

/* A reader of lines. */
struct mountinfo_reader {
    int fd;
    size_t len, pos;
    char buf[32768]; /* two paths, four bytes for one at worst, and the file system's options */
};

/* 1 and the next mount, 0 at the end, or negative errno; -E2BIG: a line longer than the buffer. The
 * strings are good until the next call. */
int mountinfo_next(struct mountinfo_reader *r, struct mountinfo *ret);
