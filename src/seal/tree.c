/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "seal/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

/* Small enough that what was read is still in the cache when it is hashed. A mapping is no faster,
 * and a file cut short under it would be a SIGBUS. */
#define BUFFER_SIZE (1u << 17)

struct walk {
    const char *name, *step;
    bool sync;
    struct crypto_hmac *mac;
    struct seal_info info;
    struct strbuf path;    /* relative to the root */
    unsigned char *buffer; /* BUFFER_SIZE */
    struct error *e;
};

static int fail(struct walk *w, int errnum, const char *why)
{
    _cleanup_free_ char *at = w->path.len ? path_join(w->name, w->path.s) : mem_strdup(w->name);
    return error_set(w->e, ERROR_SEAL, errnum, w->step, at, NULL, why ? "%s" : NULL, why);
}

static int changed(struct walk *w)
{
    return fail(w, EBUSY, "it changed while it was read");
}

static int add(struct walk *w, const void *data, size_t n)
{
    return crypto_hmac_add(w->mac, data, n, w->e);
}

/* "D\0path\0" or "F\0path\0". */
static int add_header(struct walk *w, char kind)
{
    const char head[] = {kind, '\0'};
    int r = add(w, head, sizeof(head));
    return r < 0 ? r : add(w, w->path.s, w->path.len + 1);
}

static int add_length(struct walk *w, uint64_t n)
{
    unsigned char le[8];

    for (size_t i = 0; i < sizeof(le); i++)
        le[i] = (unsigned char)(n >> (8 * i));
    return add(w, le, sizeof(le));
}

/* Exactly `length` bytes, and then the end of the file. */
static int add_content(struct walk *w, int fd, uint64_t length)
{
    uint64_t left = length;

    for (;;) {
        ssize_t n = fd_read_full(fd, w->buffer, BUFFER_SIZE);
        if (n < 0)
            return fail(w, (int)-n, NULL);
        if ((uint64_t)n > left)
            return changed(w);
        int r = add(w, w->buffer, (size_t)n);
        if (r < 0)
            return r;
        left -= (uint64_t)n;
        if ((size_t)n < BUFFER_SIZE)
            return left ? changed(w) : 0;
    }
}

static int sync_fd(struct walk *w, int fd)
{
    return w->sync && fsync(fd) < 0 ? fail(w, errno, NULL) : 0;
}

/* Opens what was looked at: a regular file or a directory that is still the same one. Nothing else
 * is ever opened, for opening a device or a FIFO can do things; O_NONBLOCK is for one that was
 * swapped in between. */
static int open_same(struct walk *w, int dirfd, const char *name, const struct stat *seen)
{
    int kind = S_ISDIR(seen->st_mode) ? O_DIRECTORY : 0;
    struct stat st;
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | kind);

    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? changed(w)
                                                                     : fail(w, errno, NULL);
    if (fstat(fd, &st) < 0)
        return fail(w, errno, NULL);
    if (st.st_dev != seen->st_dev || st.st_ino != seen->st_ino ||
        (st.st_mode & S_IFMT) != (seen->st_mode & S_IFMT))
        return changed(w);
    return TAKE_FD(fd);
}

static int walk_file(struct walk *w, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return fail(w, errno, NULL);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    int r = add_header(w, 'F');
    if (r == 0)
        r = add_length(w, (uint64_t)st.st_size);
    if (r == 0)
        r = add_content(w, fd, (uint64_t)st.st_size);
    if (r == 0)
        r = sync_fd(w, fd);
    w->info.files++;
    w->info.bytes += (uint64_t)st.st_size;
    return r;
}

static int compare_names(const void *a, const void *b)
{
    /* Bytes, not letters: strcmp(3) compares as unsigned char whatever the locale. */
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Name by name into an array, which strv_push() would be too slow for. */
static int read_names(struct walk *w, DIR *dir, char ***names, size_t *n)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? fail(w, errno, NULL) : 0;
        if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
            continue;
        if (*n >= TREE_ENTRIES_MAX)
            return fail(w, E2BIG, "the directory has too many entries");
        mem_grow(*names, *n);
        (*names)[(*n)++] = mem_strdup(entry->d_name);
    }
}

static int walk_directory(struct walk *w, int fd, unsigned depth);

static int walk_entry(struct walk *w, int dirfd, const char *name, unsigned depth)
{
    struct stat st;

    if (!str_is_utf8(name, strlen(name)))
        return fail(w, EILSEQ, "its name is not UTF-8");
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? changed(w) : fail(w, errno, NULL);
    if (S_ISLNK(st.st_mode))
        return fail(w, ELOOP, "a checkpoint must not hold symlinks");
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return fail(w, EINVAL, "a checkpoint must hold nothing but regular files and directories");
    /* H1: the seal does not cover itself; but it is no place to hide anything either. */
    if (depth == 0 && streq(name, SEAL_FILE))
        return S_ISREG(st.st_mode) ? 0 : fail(w, EISDIR, "it is not a regular file");

    _cleanup_close_ int fd = open_same(w, dirfd, name, &st);
    if (fd < 0)
        return fd;
    if (S_ISREG(st.st_mode))
        return walk_file(w, fd);
    if (depth + 1 >= TREE_DEPTH_MAX)
        return fail(w, E2BIG, "directories are nested too deeply");
    w->info.dirs++;
    int r = add_header(w, 'D');
    return r < 0 ? r : walk_directory(w, fd, depth + 1);
}

static int walk_names(struct walk *w, int fd, char *const *names, size_t n, unsigned depth)
{
    size_t length = w->path.len;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        if (length > 0)
            strbuf_addc(&w->path, '/');
        strbuf_add(&w->path, names[i]);
        r = walk_entry(w, fd, names[i], depth);
        w->path.len = length;
        w->path.s[length] = '\0';
    }
    return r;
}

static int walk_directory(struct walk *w, int fd, unsigned depth)
{
    char **names = NULL;
    size_t n = 0;
    int r;

    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        r = fail(w, errno, NULL);
        (void)fd_close(copy);
        return r;
    }
    r = read_names(w, dir, &names, &n);
    (void)closedir(dir);
    if (r == 0 && n > 1)
        qsort(names, n, sizeof(*names), compare_names);
    if (r == 0)
        r = walk_names(w, fd, names, n, depth);
    if (r == 0)
        r = sync_fd(w, fd);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return r;
}

int tree_feed(int rootfd, const char *name, const char *step, bool sync, struct crypto_hmac *mac,
              struct seal_info *ret_info, struct error *e)
{
    struct walk w = {.name = name, .step = step, .sync = sync, .mac = mac, .e = e};

    w.buffer = mem_realloc_array(NULL, BUFFER_SIZE, 1);
    int r = walk_directory(&w, rootfd, 0);
    free(w.buffer);
    strbuf_done(&w.path);
    if (r == 0 && ret_info)
        *ret_info = w.info;
    return r;
}
