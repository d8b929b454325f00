/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/metadata.h"
#include "checkpoint/record.h"
#include "checkpoint/descriptors.h"
#include "seal/seal.h"

#define IMAGES "images"
/* CRIU writes it last; without it nothing is restored. */
#define INVENTORY "inventory.img"

void layout_done(struct checkpoint_layout *l)
{
    free(l->dir);
    l->dir = NULL;
    l->dir_fd = fd_close(l->dir_fd);
    l->images_fd = fd_close(l->images_fd);
}

static int open_dir(int at, const char *name, const char *shown, struct error *e)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    int saved = errno;
    struct stat st;
    /* O_NOFOLLOW with O_DIRECTORY says ENOTDIR for a symlink. */
    if (saved == ENOTDIR && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        return error_set(e, ERROR_CHECKPOINT, ELOOP, "open checkpoint directory", shown,
                         "name the directory itself", "it is a symlink");
    return error_set(e, ERROR_CHECKPOINT, saved, "open checkpoint directory", shown, NULL, NULL);
}

/* Removes every entry (of a flat directory; CRIU makes no others) but CRIU's log, which an error
 * names where runc's form puts it here too; or only looks for one. */
static bool dir_entries(int fd, bool remove)
{
    bool any = false;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

    if (!d)
        return true;
    for (struct dirent *de; (de = readdir(d));) {
        if (streq(de->d_name, ".") || streq(de->d_name, ".."))
            continue;
        /* An images/ that was made beforehand is part of an empty checkpoint directory. */
        any = any || !streq(de->d_name, IMAGES);
        if (!remove)
            continue;
        if (!streq(de->d_name, "dump.log"))
            (void)unlinkat(fd, de->d_name, 0);
    }
    return any;
}

/* A directory that is there already: where others could write, what CRIU makes there would be
 * theirs to replace. It is closed to readers too where nothing else lies in it; one that is in use
 * for something
 * (/etc, an engine's directory) keeps its mode. */
static int take_over(int fd, const char *shown, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, "look at checkpoint directory", shown);
    if ((st.st_mode & 0022) || (st.st_uid != 0 && st.st_uid != geteuid()))
        return error_set(e, ERROR_PERMISSION, EPERM, "write checkpoint to", shown,
                         "choose a directory that is yours and closed to others",
                         "others can write to it");
    if (!dir_entries(fd, false) && fchmod(fd, 0700) < 0)
        return error_set(e, ERROR_CHECKPOINT, errno, "close to others", shown, NULL, NULL);
    return 0;
}

/* Makes (0700) or takes over a directory; *ret_made says which. */
static int make_dir(int at, const char *name, const char *shown, bool *ret_made, struct error *e)
{
    *ret_made = mkdirat(at, name, 0700) == 0;
    if (!*ret_made && errno != EEXIST)
        return error_set(e, ERROR_CHECKPOINT, errno, "make checkpoint directory", shown,
                         errno == ENOENT ? "make its parent directory first" : NULL, NULL);
    int fd = open_dir(at, name, shown, e);
    /* The mode that mkdir gives is less the umask. */
    int r = fd < 0 ? 0
            : !*ret_made ? take_over(fd, shown, e)
            : fchmod(fd, 0700) < 0
                ? error_set(e, ERROR_CHECKPOINT, errno, "close to others", shown, NULL, NULL)
                : 0;
    if (r < 0) {
        fd_close(fd);
        return r;
    }
    return fd;
}

static bool exists(int at, const char *name)
{
    struct stat st;

    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int check_free(const struct checkpoint_layout *l, struct error *e)
{
    static const char *const marks[] = {CHECKPOINT_METADATA_FILE, SEAL_FILE, INVENTORY};

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
        if (exists(l->dir_fd, marks[i]))
            return error_set(e, ERROR_EXISTS, EEXIST, "write checkpoint to", l->dir,
                             "choose another directory, or remove it first",
                             "it holds a checkpoint already (%s)", marks[i]);
    if (l->own_form && dir_entries(l->images_fd, false))
        return error_set(e, ERROR_EXISTS, ENOTEMPTY, "write checkpoint to", l->dir,
                         "choose another directory, or remove it first",
                         "its directory images/ is not empty");
    return 0;
}

/* Absolute, without touching the last component. */
static char *absolute(const char *dir)
{
    _cleanup_free_ char *joined = NULL;
    char cwd[PATH_MAX];

    if (dir[0] != '/' && getcwd(cwd, sizeof(cwd)))
        joined = path_join(cwd, dir);
    const char *full = joined ? joined : dir;
    size_t n = strlen(full);
    while (n > 1 && full[n - 1] == '/')
        n--;
    return mem_strndup(full, n);
}

int layout_make(const char *dir, bool own_form, struct checkpoint_layout *ret, struct error *e)
{
    _cleanup_layout_ struct checkpoint_layout l = {
        .dir = absolute(dir),
        .dir_fd = -EBADF,
        .images_fd = -EBADF,
        .own_form = own_form,
    };
    bool made_images = false;
    int r;

    l.dir_fd = make_dir(AT_FDCWD, l.dir, l.dir, &l.made_dir, e);
    if (l.dir_fd < 0)
        return l.dir_fd;
    if (own_form) {
        _cleanup_free_ char *shown = path_join(l.dir, IMAGES);
        l.images_fd = make_dir(l.dir_fd, IMAGES, shown, &made_images, e);
    } else {
        l.images_fd = fcntl(l.dir_fd, F_DUPFD_CLOEXEC, 3);
        if (l.images_fd < 0)
            error_errno(e, -errno, "open checkpoint directory", l.dir);
    }
    l.made_images = made_images;
    r = l.images_fd < 0 ? -EINVAL : check_free(&l, e);
    if (r < 0) {
        if (l.made_images)
            (void)unlinkat(l.dir_fd, IMAGES, AT_REMOVEDIR);
        if (l.made_dir)
            (void)rmdir(l.dir);
        return r;
    }
    *ret = l;
    l = (struct checkpoint_layout){.dir_fd = -EBADF, .images_fd = -EBADF};
    return 0;
}

static int check_closed(const struct stat *st, const char *shown, struct error *e)
{
    if ((st->st_mode & 0022) || (st->st_uid != 0 && st->st_uid != geteuid()))
        return error_set(e, ERROR_PERMISSION, EPERM, "trust checkpoint directory", shown,
                         "make it yours and closed to others: chown and chmod 0700",
                         "others could change it after the seal was verified");
    return 0;
}

/* The directory and what lies in it; a file that belongs to somebody else can be written to
 * wherever it lies, by a descriptor that was open before. */
static int check_all_closed(int fd, const char *shown, struct error *e)
{
    struct stat st;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

    if (!d || fstat(fd, &st) < 0)
        return error_errno(e, -errno, "inspect", shown);
    int r = check_closed(&st, shown, e);
    for (struct dirent *de; r == 0 && (de = readdir(d));) {
        if (streq(de->d_name, ".") || streq(de->d_name, ".."))
            continue;
        _cleanup_free_ char *path = path_join(shown, de->d_name);
        if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            r = error_errno(e, -errno, "inspect", path);
        else if (!S_ISLNK(st.st_mode)) /* always 0777, and refused by the seal */
            r = check_closed(&st, path, e);
    }
    return r;
}

int layout_open(const char *dir, bool own_form, bool checked, struct checkpoint_layout *ret,
                struct error *e)
{
    _cleanup_layout_ struct checkpoint_layout l = {
        .dir = absolute(dir),
        .dir_fd = -EBADF,
        .images_fd = -EBADF,
        .own_form = own_form,
    };
    _cleanup_free_ char *images = path_join(l.dir, own_form ? IMAGES : "");

    l.dir_fd = open_dir(AT_FDCWD, l.dir, l.dir, e);
    if (l.dir_fd < 0)
        return l.dir_fd;
    l.images_fd = open_dir(l.dir_fd, own_form ? IMAGES : ".", images, e);
    if (l.images_fd < 0)
        return l.images_fd;
    if (checked) {
        int r = check_all_closed(l.dir_fd, l.dir, e);
        if (r == 0)
            r = check_all_closed(l.images_fd, images, e);
        if (r < 0)
            return r;
    }
    *ret = l;
    l = (struct checkpoint_layout){.dir_fd = -EBADF, .images_fd = -EBADF};
    return 0;
}

void layout_invalidate(const struct checkpoint_layout *l)
{
    (void)unlinkat(l->dir_fd, SEAL_FILE, 0);
    (void)unlinkat(l->images_fd, INVENTORY, 0);
    (void)unlinkat(l->dir_fd, CHECKPOINT_METADATA_FILE, 0);
}

void layout_discard(struct checkpoint_layout *l)
{
    layout_invalidate(l);
    (void)unlinkat(l->dir_fd, SEAL_FILE ".tmp", 0);
    (void)unlinkat(l->dir_fd, CHECKPOINT_METADATA_FILE ".tmp", 0);
    (void)unlinkat(l->images_fd, STDIO_DESCRIPTORS_FILE, 0);
    (void)unlinkat(l->images_fd, CHECKPOINT_RECORD_FILE, 0);
    /* In our form images/ was empty before; in runc's the engine may have put its own files there.
     */
    if (l->own_form || l->made_dir)
        (void)dir_entries(l->images_fd, true);
    if (l->made_images)
        (void)unlinkat(l->dir_fd, IMAGES, AT_REMOVEDIR);
    if (l->made_dir)
        (void)rmdir(l->dir);
}
