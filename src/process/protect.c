/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/protect.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/fs.h"

#define SELF "/proc/self/exe"

int protect_own_binary(char *const *argv, char *const *envp, struct error *e)
{
    static const char step[] = "protect the runtime's binary from containers";
    static const char remedy[] = "run nucleus with CAP_SYS_ADMIN, or from a read-only file system";
    struct statvfs fs;

    _cleanup_close_ int exe = open(SELF, O_PATH | O_CLOEXEC);
    if (exe < 0)
        return error_set(e, ERROR_SYSTEM, errno, step, SELF, "mount /proc", NULL);
    /* f_flag has the flags of the mount the file was reached by, not only the superblock's. */
    if (fstatvfs(exe, &fs) < 0)
        return error_set(e, ERROR_SYSTEM, errno, step, SELF, NULL, NULL);
    if (fs.f_flag & ST_RDONLY)
        return 0;
    if (geteuid() != 0 && faccessat(AT_FDCWD, SELF, W_OK, AT_EACCESS) < 0)
        return 0;

    _cleanup_close_ int tree = sys_open_tree(exe, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (tree < 0)
        return error_set(e, ERROR_PERMISSION, -tree, step, SELF, remedy, NULL);
    int r = sys_mount_setattr(tree, 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0);
    if (r < 0)
        return error_set(e, ERROR_PERMISSION, -r, step, SELF, remedy, NULL);
    (void)execveat(tree, "", argv, envp, AT_EMPTY_PATH);
    return error_set(e, ERROR_SYSTEM, errno, step, SELF, NULL, NULL);
}
