/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/unsaved.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

static int check_process(pid_t pid, struct error *e)
{
    _cleanup_free_ char *dir = str_printf("/proc/%d/fd", (int)pid);
    _cleanup_closedir_ DIR *d = opendir(dir);

    /* Gone meanwhile. */
    if (!d)
        return 0;
    for (struct dirent *de; (de = readdir(d));) {
        char target[32];
        ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (!streq(target, "anon_inode:[eventfd]"))
            continue;

        _cleanup_free_ char *info = str_printf("/proc/%d/fdinfo/%s", (int)pid, de->d_name);
        _cleanup_free_ char *text = NULL;
        if (file_read_at(AT_FDCWD, info, 0, 65536, &text, NULL) < 0)
            continue;
        if (strstr(text, "\neventfd-semaphore: 1")) {
            _cleanup_free_ char *what = str_printf("descriptor %s of process %d", de->d_name,
                                                   (int)pid);
            return error_set(
                e, ERROR_UNSUPPORTED, ENOTSUP, "checkpoint", what, "let the container close it",
                "it is an eventfd used as a semaphore, which CRIU would bring back as a "
                "plain one");
        }
    }
    return 0;
}

int unsaved_check(const char *cgroup_path, struct error *e)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = cgroup_pids(cgroup_path, &pids, &n, e);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = check_process(pids[i], e);
    return r;
}
