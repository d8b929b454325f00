/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

/* Thin wrappers of file-system calls. Each returns a descriptor or 0, or negative errno; none
 * allocates, so all may be called between clone3 and execve. */

/* openat2(2). `resolve` is RESOLVE_*; mode only with O_CREAT or O_TMPFILE. O_CLOEXEC is added.
 * -EAGAIN (a rename raced with "..") is retried a bounded number of times. */
int sys_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

/* A path inside a root directory: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS. Symlinks, absolute ones
 * too, stay inside `rootfd`. */
int sys_open_in_root(int rootfd, const char *path, uint64_t flags, mode_t mode);

/* Creates all missing directories of `path` inside `rootfd` (`mode` less umask) and returns an
 * O_PATH descriptor of the last one. Every component is opened by openat2 without following;
 * symlinks are followed by hand inside the root, so that a dangling one gets its target made there.
 * Something else than a directory at the end is -ENOTDIR. */
int sys_mkdir_in_root(int rootfd, const char *path, mode_t mode);

/* The same for a file: parents (0755), then the file (empty, 0644), where missing; returns an
 * O_PATH descriptor of what is there, whatever it is. */
int sys_mkfile_in_root(int rootfd, const char *path);

/* `path` as text with its symlinks resolved inside `rootfd`: absolute, normalized. From the first
 * component that is missing on, the rest is kept as it is written. */
int sys_resolve_in_root(int rootfd, const char *path, char ret[PATH_MAX]);

/* open_tree(2), O_CLOEXEC added. */
int sys_open_tree(int dirfd, const char *path, unsigned flags);

/* A detached file system: fsopen(2), each "key\0value" or flag, FSCONFIG_CMD_CREATE, fsmount(2).
 * `options` is a NULL-terminated array of "key=value" or "flag" strings, or NULL. `source` may be
 * NULL. `attr` is MOUNT_ATTR_*. When one option is refused, *ret_bad (may be NULL) points to it. */
int sys_fsmount(const char *type, const char *source, const char *const *options, uint64_t attr,
                const char **ret_bad);

/* Attaches a detached mount onto the directory or file `to` is open on (both O_PATH is fine). */
int sys_move_mount(int from, int to);

/* mount_setattr(2) on what fd is open on. */
int sys_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation);

/* Maps the ids of files on a detached mount by a user namespace's maps: MOUNT_ATTR_IDMAP, Linux
 * 5.12. `flags` may be AT_RECURSIVE. -EINVAL where a file system can't, -EPERM where it is done
 * already or the caller lacks CAP_SYS_ADMIN over the file system. */
int sys_mount_idmap(int fd, unsigned flags, int userns_fd);

/* Changes options of the file system that is mounted where `fd` is: fspick(2). `options` and
 * *ret_bad as in sys_fsmount(). */
int sys_fsreconfigure(int fd, const char *const *options, const char **ret_bad);

/* 1 where `fd` is the root of a mount, else 0: STATX_ATTR_MOUNT_ROOT, Linux 5.8. */
int sys_is_mount_root(int fd);

/* statfs(2) f_type of a descriptor. */
int sys_fs_magic(int fd, uint64_t *ret);

/* A private procfs of this process's pid namespace, detached (never visible at a path): fsopen, or
 * where that is refused an O_PATH clone of /proc that was checked to be the root of a procfs
 * (PROC_SUPER_MAGIC, inode 1). For reads and writes of /proc/PID/… that nobody can have mounted
 * over (CVE-2019-19921, CVE-2025-52881). */
int sys_open_private_proc(void);
