/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"

/* A lock file that goes away each time before it is had means many commands at once; after so many
 * rounds something else is wrong. */
#define LOCK_ROUNDS 10000

/* True where `name` still stands for the file the descriptor is open on. */
static bool same_file(int dirfd, const char *name, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock_file(int fd, bool try)
{
    int r;

    do
        r = flock(fd, LOCK_EX | (try ? LOCK_NB : 0));
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* One round: a locked descriptor, -EWOULDBLOCK, or -ESTALE where the last holder took the file away
 * while this one waited. */
static int lock_once(int dirfd, const char *name, bool try)
{
    struct stat st;
    _cleanup_close_ int fd = openat(
        dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADFD;

    int r = lock_file(fd, try);
    if (r < 0)
        return r;
    return same_file(dirfd, name, fd) ? TAKE_FD(fd) : -ESTALE;
}

int state_lock(const struct store *store, const char *id, bool try, struct state_lock *ret,
               struct error *e)
{
    int fd = state_id_check(id, e);
    if (fd < 0)
        return fd;

    _cleanup_free_ char *name = str_printf("%s.lock", id);
    fd = -ESTALE;
    for (unsigned i = 0; fd == -ESTALE && i < LOCK_ROUNDS; i++)
        fd = lock_once(store->dirfd, name, try);
    if (fd == -EWOULDBLOCK)
        return fd;
    if (fd < 0) {
        _cleanup_free_ char *path = path_join(store->path, name);
        return error_set(e, ERROR_STATE, -fd, "lock container", path, NULL,
                         fd == -ELOOP    ? "it is a symlink"
                         : fd == -EBADFD ? "it is not a regular file"
                                         : NULL);
    }
    *ret = (struct state_lock){.fd = fd, .dirfd = store->dirfd, .id = mem_strdup(id)};
    return 0;
}

/* Under the lock: the file goes where there is no container for it to guard. The name may already
 * be another's (store_remove took ours away, and a new container of that id took a new one). */
static void remove_unneeded(const struct state_lock *lock)
{
    _cleanup_free_ char *name = str_printf("%s.lock", lock->id);
    _cleanup_free_ char *record = str_printf("%s.json", lock->id);

    if (faccessat(lock->dirfd, record, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
        return;
    if (same_file(lock->dirfd, name, lock->fd))
        (void)unlinkat(lock->dirfd, name, 0);
}

void state_lock_done(struct state_lock *lock)
{
    if (lock->id && lock->fd >= 0) {
        remove_unneeded(lock);
        /* Not left to close(): a child that was forked meanwhile has the lock, too. */
        (void)flock(lock->fd, LOCK_UN);
        (void)fd_close(lock->fd);
    }
    free(lock->id);
    *lock = (struct state_lock){.fd = -EBADF, .dirfd = -EBADF};
}
