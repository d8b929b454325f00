/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

void leftovers_remove_work(const struct store *store, const char *id)
{
    _cleanup_free_ char *name = str_printf("%s.work", id);
    int fd = openat(store->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    if (!d)
        return;
    (void)unlinkat(fd, "root", AT_REMOVEDIR);
    for (struct dirent *de; (de = readdir(d));)
        if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
            (void)unlinkat(fd, de->d_name, 0);
    (void)unlinkat(store->dirfd, name, AT_REMOVEDIR);
}

void leftovers_remove_logs(const struct store *store, const char *id)
{
    static const char *const kinds[] = {"dump.log", "restore.log"};
    _cleanup_close_ int logs = openat(store->dirfd, LEFTOVERS_LOG_DIR,
                                      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (logs < 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *name = str_printf("%s-%s", id, kinds[i]);
        (void)unlinkat(logs, name, 0);
    }
    (void)unlinkat(store->dirfd, LEFTOVERS_LOG_DIR, AT_REMOVEDIR);
}
