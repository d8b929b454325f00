/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/write.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/readback.h"

/* io.max has a line a device. */
#define FILE_MAX ((size_t)1 << 20)

static void write_done(struct cgroup_write *w)
{
    free(w->file);
    free(w->value);
    free(w->other_file);
    free(w->other_value);
}

void cgroup_writes_done(struct cgroup_writes *w)
{
    for (size_t i = 0; i < w->n; i++)
        write_done(&w->list[i]);
    free(w->list);
    *w = (struct cgroup_writes){0};
}

struct cgroup_write *cgroup_writes_add(struct cgroup_writes *w, const char *file, char *value)
{
    mem_grow(w->list, w->n);
    w->list[w->n] = (struct cgroup_write){.file = mem_strdup(file), .value = value};
    return &w->list[w->n++];
}

/* --- files that are not there -------------------------------------------------------------- */

static bool exists(int dirfd, const char *file)
{
    return file && faccessat(dirfd, file, F_OK, 0) == 0;
}

static bool is_missing(int dirfd, const struct cgroup_write *w)
{
    return !exists(dirfd, w->file) && !exists(dirfd, w->other_file);
}

/* The controller of a file: what stands before the dot. */
static char *controller_of(const char *file)
{
    return mem_strndup(file, strcspn(file, "."));
}

static const char *missing_remedy(const char *file)
{
    static const struct {
        const char *prefix, *remedy;
    } rows[] = {
        {"memory.swap.", "use a kernel with swap accounting, or run without this limit"},
        {"hugetlb.", "choose a page size of this host (ls /sys/kernel/mm/hugepages)"},
        {"io.bfq.weight", "load the bfq scheduler (modprobe bfq), use a kernel with "
                          "CONFIG_BLK_CGROUP_IOCOST, or run without this weight"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (str_after(file, rows[i].prefix))
            return rows[i].remedy;
    return "use a kernel that has this file, or run without this limit";
}

/* Makes the files appear that writes need. */
static int provide(const struct cgroup_host *host, int dirfd, const char *path,
                   const struct cgroup_writes *w, struct error *e)
{
    _cleanup_strv_ char **controllers = NULL;
    const char *first = NULL;

    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].optional || !is_missing(dirfd, &w->list[i]))
            continue;
        char *controller = controller_of(w->list[i].file);
        if (strv_contains(controllers, controller)) {
            free(controller);
            continue;
        }
        first = first ? first : w->list[i].file;
        strv_push(&controllers, controller);
    }
    if (!first)
        return 0;
    int r = cgroup_enable(host, path, controllers, first, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < w->n; i++)
        if (!w->list[i].optional && is_missing(dirfd, &w->list[i])) {
            _cleanup_free_ char *controller = controller_of(w->list[i].file);
            return error_set(e, ERROR_CGROUP, ENOENT, "set the limit", w->list[i].file,
                             missing_remedy(w->list[i].file),
                             "the controller %s is enabled, yet %s has no such file", controller,
                             path);
        }
    return 0;
}

/* --- one write ----------------------------------------------------------------------------- */

/* What a write is about to change. */
struct change {
    const char *file, *value;
    char *before; /* to put it back; NULL: not known */
};

static void changes_done(struct change **changes)
{
    free(*changes);
}

static int refused(int r, const char *path, const char *file, const char *value, struct error *e)
{
    _cleanup_free_ char *full = path_join(path, file);
    const char *remedy = NULL;

    switch (r) {
    case -EINVAL:
    case -ERANGE:
        remedy = "choose a value the kernel takes (cgroup-v2.rst names the ranges)";
        break;
    case -ENODEV:
    case -ENXIO:
        remedy = str_after(file, "io.") ? "name a whole block device of this host" : NULL;
        break;
    case -EOPNOTSUPP:
        remedy =
            str_after(file, "io.weight")
                ? "enable io.cost for the device (io.cost.qos of the root cgroup), or give it the "
                  "bfq scheduler"
                : NULL;
        break;
    case -EACCES:
    case -EPERM:
    case -EROFS:
        remedy = "run as root, or have the cgroup delegated to you";
        break;
    default:
        break;
    }
    return error_set(e, ERROR_CGROUP, -r, "set the limit", full, remedy,
                     "the kernel refuses '%s': %s", value, strerror(-r));
}

static int changed(const char *path, const char *file, const char *value, const char *got,
                   struct error *e)
{
    _cleanup_free_ char *full = path_join(path, file);

    return error_set(e, ERROR_CGROUP, ERANGE, "set the limit", full,
                     "choose a value that this host can keep",
                     "it was set to '%s', and the kernel made that '%s'", value, got);
}

/* cpuset.cpus takes what the parent can't give, and cpuset.cpus.effective says what it really
 * is. */
static int check_set(int dirfd, const char *path, const struct change *c, struct error *e)
{
    _cleanup_free_ char *file = str_printf("%s.effective", c->file), *got = NULL;

    int r = file_read_at(dirfd, file, 0, FILE_MAX, &got, NULL);
    if (r == -ENOENT || *c->value == '\0' || *c->value == '\n')
        return 0;
    if (r < 0)
        return error_errno(e, r, "read the limit", file);
    if (cgroup_sets_equal(c->value, got) != 0)
        return 0;
    got[strcspn(got, "\n")] = '\0';
    return changed(path, c->file, c->value, got, e);
}

static ssize_t pread_text(int fd, char **ret)
{
    /* A page holds every file here but those with a line a device. */
    size_t size = 4096;

    for (;; size *= 4) {
        _cleanup_free_ char *text = mem_alloc(size);
        ssize_t n = pread(fd, text, size - 1, 0);
        if (n < 0)
            return -errno;
        if ((size_t)n < size - 1 || size >= FILE_MAX) {
            *ret = TAKE_PTR(text);
            return n;
        }
    }
}

static int write_once(int fd, const char *value)
{
    ssize_t k;

    do
        k = write(fd, value, strlen(value));
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return -errno;
    return (size_t)k == strlen(value) ? 0 : -EIO;
}

/* One descriptor: what is there, the write, what is there then. */
static int execute(int dirfd, const char *path, struct change *c, struct error *e)
{
    _cleanup_free_ char *before = NULL, *after = NULL;

    _cleanup_close_ int fd = openat(dirfd, c->file, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return refused(-errno, path, c->file, c->value, e);
    /* Some take commands and show nothing (memory.reclaim). */
    if (pread_text(fd, &before) >= 0)
        c->before = cgroup_value_before(c->file, c->value, before);
    int r = write_once(fd, c->value);
    if (r < 0) {
        free(TAKE_PTR(c->before));
        return refused(r, path, c->file, c->value, e);
    }
    if (str_after(c->file, "cpuset.cpus") || str_after(c->file, "cpuset.mems"))
        return check_set(dirfd, path, c, e);
    if (pread_text(fd, &after) >= 0 && !cgroup_value_is_kept(c->file, c->value, after)) {
        _cleanup_free_ char *got = cgroup_value_shown(c->file, c->value, after);
        return changed(path, c->file, c->value, got, e);
    }
    return 0;
}

/* --- all of them --------------------------------------------------------------------------- */

static void put_back(int dirfd, struct change *changes, size_t n)
{
    for (size_t i = n; i-- > 0;)
        if (changes[i].before)
            (void)file_write_at(dirfd, changes[i].file, changes[i].before);
}

int cgroup_write_all(const struct cgroup_host *host, const char *path,
                     const struct cgroup_writes *w, struct error *e)
{
    if (w->n == 0)
        return 0;
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "set the limits of the cgroup", path, NULL, NULL);
    int r = provide(host, fd, path, w, e);
    if (r < 0)
        return r;

    _cleanup_(changes_done) struct change *changes = mem_new(struct change, w->n);
    size_t n = 0;
    for (size_t i = 0; i < w->n && r == 0; i++) {
        const struct cgroup_write *row = &w->list[i];
        bool first = exists(fd, row->file);
        if (!first && row->optional)
            continue;
        changes[n++] = (struct change){.file = first ? row->file : row->other_file,
                                       .value = first ? row->value : row->other_value};
        r = execute(fd, path, &changes[n - 1], e);
    }
    if (r < 0)
        put_back(fd, changes, n);
    for (size_t i = 0; i < n; i++)
        free(changes[i].before);
    return r;
}
