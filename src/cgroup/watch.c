/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "cgroup/stats.h"

#define STEP "watch the cgroup"

void cgroup_watch_done(struct cgroup_watch *w)
{
    w->fd = fd_close(w->fd);
    free(w->path);
    w->path = NULL;
}

int cgroup_watch_open(const char *path, struct cgroup_watch *ret, struct error *e)
{
    _cleanup_free_ char *file = path_join(path, "memory.events");

    if (access(path, F_OK) < 0)
        return error_set(e, ERROR_CGROUP, errno, STEP, path, NULL, NULL);
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return error_set(e, ERROR_SYSTEM, errno, STEP, path,
                         errno == EMFILE ? "raise fs.inotify.max_user_instances" : NULL, NULL);
    if (inotify_add_watch(fd, file, IN_MODIFY) < 0 && errno != ENOENT)
        return error_set(e, ERROR_SYSTEM, errno, STEP, file,
                         errno == ENOSPC ? "raise fs.inotify.max_user_watches" : NULL, NULL);
    /* Read after the watch was set, so that nothing falls in between. */
    uint64_t kills = 0;
    int r = cgroup_oom_kills(path, &kills);
    if (r < 0 && r != -ENOENT)
        return error_set(e, ERROR_CGROUP, -r, STEP, file, NULL, NULL);

    *ret = (struct cgroup_watch){
        .fd = TAKE_FD(fd),
        .path = mem_strdup(path),
        .oom_kills = kills,
    };
    return 0;
}

static void drain(int fd)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    while (read(fd, events, sizeof(events)) > 0)
        ;
}

int cgroup_watch_read(struct cgroup_watch *w, uint64_t *ret_kills, struct error *e)
{
    uint64_t now = w->oom_kills;

    /* Drained first: what happens after that makes it readable again. */
    drain(w->fd);
    int r = cgroup_oom_kills(w->path, &now);
    if (r < 0 && r != -ENOENT)
        return error_set(e, ERROR_CGROUP, -r, STEP, w->path, NULL, NULL);
    *ret_kills = now > w->oom_kills ? now - w->oom_kills : 0;
    w->oom_kills = now;
    return 0;
}
