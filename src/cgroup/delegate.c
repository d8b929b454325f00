/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

#define LIST "/sys/kernel/cgroup/delegate"
#define STEP "hand the cgroup over to the container"

/* Where the kernel does not list them (before Linux 4.15): cgroup-v2.rst, "Model of Delegation". */
static const char fallback[] = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/* A name of the kernel's list: a file of the directory and nothing else. */
static bool is_file_name(const char *name)
{
    return *name && !strchr(name, '/') && !streq(name, ".") && !streq(name, "..");
}

static int hand_over(int cgroup_fd, const char *name, uid_t uid, gid_t gid, struct error *e)
{
    if (fchownat(cgroup_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) == 0)
        return 0;
    /* The list is the kernel's; which of them this cgroup has depends on its controllers. */
    if (errno == ENOENT && *name)
        return 0;
    return error_set(e, ERROR_CGROUP, errno, STEP, *name ? name : NULL,
                     errno == EPERM || errno == EACCES
                         ? "run as root, or mount the container's /sys/fs/cgroup read-only"
                         : NULL,
                     NULL);
}

int cgroup_delegate(int cgroup_fd, uid_t uid, gid_t gid, struct error *e)
{
    _cleanup_free_ char *list = NULL;

    int r = file_read_at(AT_FDCWD, LIST, 0, 4096, &list, NULL);
    if (r == -ENOENT)
        list = mem_strdup(fallback);
    else if (r < 0)
        return error_errno(e, r, STEP, LIST);
    r = hand_over(cgroup_fd, "", uid, gid, e);
    for (char *name = list, *next; r == 0 && *name; name = next) {
        next = name + strcspn(name, "\n");
        if (*next)
            *next++ = '\0';
        if (is_file_name(name))
            r = hand_over(cgroup_fd, name, uid, gid, e);
    }
    return r;
}
