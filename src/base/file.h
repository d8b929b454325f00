/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/macros.h"

/* Descriptors and whole files. All return negative errno, none logs. EINTR is retried. */

/* Closes and returns -EBADF, for `fd = fd_close(fd)`. Negative is fine; errno is kept. */
int fd_close(int fd);
static inline void fd_closep(int *fd)
{
    *fd = fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)

static inline void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}
#define _cleanup_closedir_ _cleanup_(dir_closep)

/* Writes all of it or fails. */
int fd_write_all(int fd, const void *data, size_t n);

/* Reads until `n` bytes or end of file; returns the count. */
ssize_t fd_read_full(int fd, void *data, size_t n);

/* Reads to the end of the file, at most `max` bytes: more is -EFBIG. *ret_data is newly allocated
 * and NUL-terminated (the NUL is not counted in *ret_len, which may be NULL). */
int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);

/* openat(dirfd, path, O_RDONLY | O_CLOEXEC | flags) and fd_read_all. A directory is -EISDIR, a
 * file that is neither regular nor on procfs, sysfs or cgroupfs is read like any other; pass
 * O_NOFOLLOW to refuse a symlink (-ELOOP). Opens with O_NONBLOCK, so a FIFO does not block. */
int file_read_at(int dirfd, const char *path, int flags, size_t max, char **ret_data,
                 size_t *ret_len);

/* Writes a short text to a file that exists (procfs, cgroupfs) in one write(2). */
int file_write_at(int dirfd, const char *path, const char *text);

/* Replaces `name` (a single component) in the directory so that it holds either what it held or
 * `data`, whenever the process or the machine stops: temp file `<name>.tmp` (O_EXCL, O_NOFOLLOW,
 * 0600), fsync, rename, fsync of the directory. A stale regular temp file is removed; anything else
 * at that name, a symlink above all, is -ELOOP (symlink) or -EEXIST. The directory must be open for
 * reading: fsync(2) refuses O_PATH descriptors. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t n);

/* mkdir -p of an absolute or relative path, each new directory with `mode`. Existing ones stay as
 * they are; something else in the way is -ENOTDIR. */
int dir_make_parents(const char *path, mode_t mode);
