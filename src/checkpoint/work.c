/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/work.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "process/leftovers.h"

/* CRIU opens its log by name, as root, and follows links: nobody else may put one there. */
static int check_closed(int fd, const char *path, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, "look at work directory", path);
    if ((st.st_mode & 0022) || (st.st_uid != 0 && st.st_uid != geteuid()))
        return error_set(e, ERROR_PERMISSION, EPERM, "trust work directory", path,
                         "choose one that is yours and closed to others with --work-path",
                         "others could put links into it");
    return 0;
}

static int open_dir(const char *path, struct error *e)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(e, ERROR_CHECKPOINT, errno, "make work directory", path, NULL, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CHECKPOINT, errno, "open work directory", path, NULL, NULL);
    return fd;
}

/* The caller's choice may be a link (containerd's is one, BUNDLE/work), as long as nobody else made
 * it. */
static int follow(const char *path, char **ret, struct error *e)
{
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode)) {
        *ret = mem_strdup(path);
        return 0;
    }
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return error_set(e, ERROR_PERMISSION, EPERM, "trust work directory", path,
                         "choose one that is yours with --work-path", "it is somebody else's link");
    *ret = realpath(path, NULL);
    if (!*ret)
        return error_set(e, ERROR_CHECKPOINT, errno, "open work directory", path, NULL, NULL);
    return 0;
}

int work_make(const struct store *store, const char *id, const char *log_id,
              const char *work_path, struct checkpoint_work *ret, struct error *e)
{
    _cleanup_work_ struct checkpoint_work w = {
        .fd = -EBADF,
        .store = store,
        .id = mem_strdup(id),
        .log_id = mem_strdup(log_id),
        .own = !work_path,
    };

    /* What a killed command left. */
    leftovers_remove_work(store, id);
    w.scratch = str_printf("%s/%s.work", store->path, id);
    w.root = path_join(w.scratch, "root");
    _cleanup_close_ int scratch = open_dir(w.scratch, e);
    if (scratch < 0)
        return scratch;
    if (mkdirat(scratch, "root", 0700) < 0)
        return error_set(e, ERROR_CHECKPOINT, errno, "make directory", w.root, NULL, NULL);
    if (work_path) {
        _cleanup_free_ char *target = NULL;
        int r = follow(work_path, &target, e);
        if (r < 0)
            return r;
        w.fd = open_dir(target, e);
        if (w.fd < 0)
            return w.fd;
        r = check_closed(w.fd, work_path, e);
        if (r < 0)
            return r;
        w.dir = realpath(work_path, NULL);
        if (!w.dir)
            return error_set(e, ERROR_CHECKPOINT, errno, "open work directory", work_path, NULL,
                             NULL);
    } else {
        w.fd = TAKE_FD(scratch);
        w.dir = mem_strdup(w.scratch);
    }
    *ret = w;
    w = (struct checkpoint_work){.fd = -EBADF};
    return 0;
}

void work_keep_log(struct checkpoint_work *w, const char *log_file, struct error *e)
{
    char *kept = NULL;

    if (!w->own || !e || !e->log)
        return;
    _cleanup_free_ char *name = str_printf("%s-%s", w->log_id, log_file);
    if (mkdirat(w->store->dirfd, LEFTOVERS_LOG_DIR, 0700) < 0 && errno != EEXIST)
        return;
    _cleanup_close_ int logs =
        openat(w->store->dirfd, LEFTOVERS_LOG_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (logs >= 0 && renameat(w->fd, log_file, logs, name) == 0)
        kept = str_printf("%s/%s/%s", w->store->path, LEFTOVERS_LOG_DIR, name);
    free(e->log);
    e->log = kept;
}

void work_done(struct checkpoint_work *w)
{
    if (w->scratch)
        leftovers_remove_work(w->store, w->id);
    w->fd = fd_close(w->fd);
    free(w->dir);
    free(w->scratch);
    free(w->root);
    free(w->id);
    free(w->log_id);
    *w = (struct checkpoint_work){.fd = -EBADF};
}
