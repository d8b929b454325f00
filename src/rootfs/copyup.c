/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "rootfs/target.h"
#include "sys/fs.h"

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */

/* Each level takes two descriptors and DIR_BYTES of stack. */
#define MAX_DEPTH 64
#define DIR_BYTES 8192

static int copy_dir(int from, int to, unsigned depth);

/* No symlink is followed, no other mount entered. */
static int open_entry(int dir, const char *name, uint64_t flags)
{
    return sys_openat2(dir, name, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0,
                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                           RESOLVE_NO_XDEV);
}

/* EINVAL: the user namespace has no number for the owner; then it stays its root's. */
static int check_chown(int r)
{
    return r < 0 && errno != EINVAL ? -errno : 0;
}

static int copy_xattrs(int from, int to)
{
    static char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
    ssize_t len = flistxattr(from, names, sizeof(names));

    if (len < 0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    for (const char *name = names; name < names + len; name += strlen(name) + 1) {
        /* The mount's label decides, where there is one. */
        if (streq(name, "security.selinux"))
            continue;
        ssize_t n = fgetxattr(from, name, value, sizeof(value));
        if (n < 0 && errno == ENODATA)
            continue;
        if (n < 0)
            return -errno;
        /* tmpfs keeps attributes of users since Linux 6.6 only. */
        if (fsetxattr(to, name, value, (size_t)n, 0) < 0 && errno != EOPNOTSUPP)
            return -errno;
    }
    return 0;
}

/* The mode behind the owner, who takes setuid bits away; times last. */
static int copy_metadata(int from, int to, const struct stat *st)
{
    const struct timespec times[] = {st->st_atim, st->st_mtim};

    int r = check_chown(fchown(to, st->st_uid, st->st_gid));
    if (r == 0 && fchmod(to, st->st_mode & 07777) < 0)
        r = -errno;
    if (r == 0)
        r = copy_xattrs(from, to);
    if (r == 0 && futimens(to, times) < 0)
        r = -errno;
    return r;
}

static int copy_range(int from, int to, off_t start, off_t end)
{
    if (lseek(to, start, SEEK_SET) < 0)
        return -errno;
    while (start < end) {
        ssize_t n = sendfile(to, from, &start, (size_t)MIN(end - start, 1 << 30));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0) /* it became shorter */
            return 0;
    }
    return 0;
}

/* Images hold sparse files of gigabytes (/var/log/lastlog). */
static int copy_content(int from, int to, off_t size)
{
    for (off_t end, start = 0; start < size; start = end) {
        start = lseek(from, start, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            break;
        end = start < 0 ? size : lseek(from, start, SEEK_HOLE);
        if (end < 0)
            return -errno;
        int r = copy_range(from, to, MAX(start, 0), end);
        if (r < 0)
            return r;
    }
    return ftruncate(to, size) < 0 ? -errno : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
    struct stat st = {.st_mode = S_IFREG | 0644};
    _cleanup_close_ int from = open_entry(from_dir, name, 0);

    if (from < 0 && from != -EXDEV)
        return from;
    if (from >= 0 && fstat(from, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ESTALE;
    _cleanup_close_ int to =
        openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    if (from < 0)
        return fchmod(to, st.st_mode & 07777) < 0 ? -errno : 0;
    int r = copy_content(from, to, st.st_size);
    return r < 0 ? r : copy_metadata(from, to, &st);
}

static int copy_subdir(int from_dir, int to_dir, const char *name, unsigned depth)
{
    struct stat st = {.st_mode = S_IFDIR | 0755};
    _cleanup_close_ int from = open_entry(from_dir, name, O_DIRECTORY);

    if (from < 0 && from != -EXDEV)
        return from;
    if (from >= 0 && fstat(from, &st) < 0)
        return -errno;
    if (mkdirat(to_dir, name, 0755) < 0)
        return -errno;
    if (from < 0)
        return 0;
    _cleanup_close_ int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return -errno;
    int r = copy_dir(from, to, depth + 1);
    return r < 0 ? r : copy_metadata(from, to, &st);
}

/* What has no content: a symlink, or a node. */
static int copy_other(int from_dir, int to_dir, const char *name, const struct stat *st)
{
    char target[PATH_MAX];
    const struct timespec times[] = {st->st_atim, st->st_mtim};

    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
        if (n < 0)
            return -errno;
        target[n] = '\0';
        if (symlinkat(target, to_dir, name) < 0)
            return -errno;
    } else if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0) {
        return -errno;
    }
    int r = check_chown(fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW));
    if (r == 0 && utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    return r;
}

static int copy_entry(int from, int to, const char *name, unsigned depth)
{
    struct stat st;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    switch (st.st_mode & S_IFMT) {
    case S_IFDIR:
        return copy_subdir(from, to, name, depth);
    case S_IFREG:
        return copy_file(from, to, name);
    default:
        return copy_other(from, to, name, &st);
    }
}

static int copy_dir(int from, int to, unsigned depth)
{
    _Alignas(struct dirent64) char buf[DIR_BYTES];

    if (depth > MAX_DEPTH)
        return -ELOOP;
    for (;;) {
        long n = syscall(SYS_getdents64, from, buf, sizeof(buf));
        if (n <= 0)
            return n < 0 ? -errno : 0;
        for (long at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf + at);
            at += d->d_reclen;
            if (streq(d->d_name, ".") || streq(d->d_name, ".."))
                continue;
            int r = copy_entry(from, to, d->d_name, depth);
            if (r < 0)
                return r;
        }
    }
}

int copyup(int from, int to)
{
    _cleanup_close_ int source = sys_openat2(from, ".", O_RDONLY | O_DIRECTORY, 0, 0);
    if (source < 0)
        return source;
    _cleanup_close_ int copy = sys_openat2(to, ".", O_RDONLY | O_DIRECTORY, 0, 0);
    if (copy < 0)
        return copy;
    int r = copy_dir(source, copy, 0);
    return r < 0 ? r : copy_xattrs(source, copy);
}
