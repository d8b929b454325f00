/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"

int fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        /* Linux frees the number even when close() fails, so there is nothing to retry. */
        (void)close(fd);
        errno = saved;
    }
    return -EBADF;
}

int fd_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

ssize_t fd_read_full(int fd, void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t k = read(fd, (char *)data + done, n - done);
        if (k < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (k == 0)
            break;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len)
{
    size_t cap = MIN(max + 1, (size_t)4096), len = 0;
    _cleanup_free_ char *buf = mem_alloc(cap + 1);

    for (;;) {
        ssize_t k = fd_read_full(fd, buf + len, cap - len);
        if (k < 0)
            return (int)k;
        len += (size_t)k;
        if (len > max)
            return -EFBIG;
        if (len < cap)
            break;
        cap = MIN(max + 1, cap * 2);
        buf = mem_realloc_array(buf, cap + 1, 1);
    }
    buf[len] = '\0';
    *ret_data = TAKE_PTR(buf);
    if (ret_len)
        *ret_len = len;
    return 0;
}

int file_read_at(int dirfd, const char *path, int flags, size_t max, char **ret_data,
                 size_t *ret_len)
{
    _cleanup_close_ int fd =
        openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
    if (fd < 0)
        return -errno;
    return fd_read_all(fd, max, ret_data, ret_len);
}

int file_write_at(int dirfd, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;

    size_t n = strlen(text);
    ssize_t k;
    do
        k = write(fd, text, n);
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return -errno;
    return (size_t)k == n ? 0 : -EIO;
}

static int open_temp(int dirfd, const char *name)
{
    for (int tries = 0; tries < 2; tries++) {
        int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            return -errno;

        struct stat st;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue;
            return -errno;
        }
        if (S_ISLNK(st.st_mode))
            return -ELOOP;
        if (!S_ISREG(st.st_mode))
            return -EEXIST;
        if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
            return -errno;
    }
    return -EEXIST;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t n)
{
    _cleanup_free_ char *temp = str_printf("%s.tmp", name);
    _cleanup_close_ int fd = open_temp(dirfd, temp);
    if (fd < 0)
        return fd;

    int r = fd_write_all(fd, data, n);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dirfd, temp, 0);
        return r;
    }
    /* The rename itself must survive a power cut too. */
    if (fsync(dirfd) < 0)
        return -errno;
    return 0;
}

int dir_make_parents(const char *path, mode_t mode)
{
    if (path[0] == '\0')
        return -ENOENT;
    _cleanup_free_ char *p = mem_strdup(path);

    for (char *s = p + 1;; s++) {
        if (*s != '/' && *s != '\0')
            continue;
        char c = *s;
        *s = '\0';
        if (mkdir(p, mode) < 0) {
            struct stat st;
            if (errno != EEXIST && errno != EROFS && errno != EACCES)
                return -errno;
            int saved = errno;
            if (stat(p, &st) < 0)
                return -saved;
            if (!S_ISDIR(st.st_mode))
                return -ENOTDIR;
        }
        if (c == '\0')
            return 0;
        *s = c;
    }
}
