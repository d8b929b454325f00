/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/fs.h"

bool procfs_may_cover(const char *path)
{
    static const char *const paths[] = {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/net/dev",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/crypto/fips_enabled",
    };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (streq(path, paths[i]))
            return true;
    return false;
}

static int is_procfs(int fd, bool *ret_root)
{
    struct stat st;
    uint64_t magic = 0;
    int r = sys_fs_magic(fd, &magic);

    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    /* PROC_ROOT_INO of include/linux/proc_fs.h. */
    *ret_root = magic == PROC_SUPER_MAGIC && st.st_ino == 1;
    return magic == PROC_SUPER_MAGIC;
}

/* /proc without symlinks, and from there only what the kernel itself puts in (/proc/net is its
 * symlink). */
int procfs_open_coverable(int root_fd, const char *dest)
{
    bool is_root = false;

    if (!procfs_may_cover(dest))
        return -ENODEV;
    _cleanup_close_ int proc =
        sys_openat2(root_fd, "proc", O_PATH | O_DIRECTORY, 0,
                    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
    if (proc < 0 || is_procfs(proc, &is_root) != 1 || !is_root)
        return -ENODEV;
    return sys_openat2(proc, str_after(dest, "/proc/"), O_PATH, 0,
                       RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int procfs_check_target(const struct rootfs_op *op, int target, bool coverable, int source)
{
    bool target_root = false, source_root = false;
    int on_proc = is_procfs(target, &target_root);

    if (on_proc < 0)
        return on_proc;
    if (!on_proc && !streq(op->dest, "/proc"))
        return 0;
    if (on_proc && !target_root)
        return coverable ? 0 : -EPERM;
    /* /proc itself: another procfs, whole, may come there. */
    int r = is_procfs(source, &source_root);
    if (r < 0)
        return r;
    return source_root ? 0 : -EPERM;
}
