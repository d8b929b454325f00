/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"

int sys_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = resolve,
    };

    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if ((errno != EAGAIN && errno != EINTR) || tries >= 128)
            return -errno;
    }
}

int sys_open_in_root(int rootfd, const char *path, uint64_t flags, mode_t mode)
{
    return sys_openat2(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* What a walk does with a component that is not there. */
enum missing {
    MISSING_KEEP, /* the rest is text */
    MISSING_DIRS, /* made, as directories */
    MISSING_FILE, /* the same, the last one as a file */
};

/* As many as the kernel follows (MAXSYMLINKS). */
#define WALK_LINKS 40

struct walk {
    int rootfd;
    char rest[PATH_MAX]; /* still to be walked */
    char done[PATH_MAX]; /* behind us: "/a/b", no symlinks in it, "" is the root */
    size_t len;          /* of done */
    int links;
};

/* Moves the next component from w->rest to `name`: 1, 0 at the end, or -ENAMETOOLONG. */
static int walk_next(struct walk *w, char name[NAME_MAX + 1])
{
    const char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");

    if (n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, p, n);
    name[n] = '\0';
    p += n;
    p += strspn(p, "/");
    memmove(w->rest, p, strlen(p) + 1);
    return n > 0;
}

static int walk_push(struct walk *w, const char *name)
{
    size_t n = strlen(name);

    if (w->len + n + 2 > sizeof(w->done))
        return -ENAMETOOLONG;
    w->done[w->len++] = '/';
    memcpy(w->done + w->len, name, n + 1);
    w->len += n;
    return 0;
}

static void walk_pop(struct walk *w)
{
    while (w->len > 0 && w->done[--w->len] != '/')
        ;
    w->done[w->len] = '\0';
}

/* What lies behind us, opened again from the root; a symlink there now was swapped in. */
static int walk_reopen(const struct walk *w)
{
    return sys_openat2(w->rootfd, w->len ? w->done : ".", O_PATH | O_DIRECTORY, 0,
                       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

/* Puts the target of a symlink in front of the rest. */
static int walk_link(struct walk *w, int link)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

    if (n < 0)
        return -errno;
    if (n == 0 || ++w->links > WALK_LINKS)
        return n == 0 ? -ENOENT : -ELOOP;
    size_t rest = strlen(w->rest);
    if ((size_t)n + rest + 2 > sizeof(w->rest))
        return -ENAMETOOLONG;
    memmove(w->rest + n + 1, w->rest, rest + 1);
    memcpy(w->rest, target, (size_t)n);
    w->rest[n] = '/';
    if (target[0] != '/')
        return 0;
    w->len = 0;
    w->done[0] = '\0';
    return 0;
}

static int walk_make(int dir, const char *name, mode_t mode, bool file)
{
    if (!file)
        return mkdirat(dir, name, mode) < 0 && errno != EEXIST ? -errno : 0;
    /* O_EXCL does not follow a symlink; the name has no slash. */
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    fd_close(fd);
    return 0;
}

/* Opens `name` in `dir` without following it; makes it first where `missing` says so. Somebody
 * else may remove it in between, so a bounded number of times. */
static int walk_open(int dir, const char *name, mode_t mode, bool last, enum missing missing)
{
    for (int tries = 0;; tries++) {
        int fd = sys_openat2(dir, name, O_PATH | O_NOFOLLOW, 0,
                             RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
        if (fd != -ENOENT || missing == MISSING_KEEP || tries >= 16)
            return fd;
        int r = walk_make(dir, name, mode, last && missing == MISSING_FILE);
        if (r < 0)
            return r;
    }
}

/* One component from *cur, which is replaced. 0, or -ENOENT where MISSING_KEEP met a missing one,
 * which is in w->done then. */
static int walk_step(struct walk *w, int *cur, const char *name, mode_t mode, enum missing missing)
{
    struct stat st;

    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        walk_pop(w);
        fd_close(*cur);
        *cur = walk_reopen(w);
        return *cur < 0 ? *cur : 0;
    }
    _cleanup_close_ int fd = walk_open(*cur, name, mode, w->rest[0] == '\0', missing);
    if (fd == -ENOENT && missing == MISSING_KEEP) {
        int r = walk_push(w, name);
        return r < 0 ? r : -ENOENT;
    }
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISLNK(st.st_mode)) {
        fd_close(*cur);
        *cur = TAKE_FD(fd);
        return walk_push(w, name);
    }
    int r = walk_link(w, fd);
    if (r < 0 || w->len > 0)
        return r;
    fd_close(*cur);
    *cur = walk_reopen(w);
    return *cur < 0 ? *cur : 0;
}

/* Symlinks followed by hand, so that one whose target is not there yet (an image's
 * /etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf) can be made true inside the root.
 * Each component is opened without following; ".." goes back in the text and is opened from the
 * root again, so nothing that is moved meanwhile leads outside. It ends: a turn takes a component,
 * and only WALK_LINKS links add some. Returns an O_PATH descriptor of the last component, or
 * -ENOENT with w->done complete where MISSING_KEEP met a missing one. */
static int walk(struct walk *w, int rootfd, const char *path, mode_t mode, enum missing missing)
{
    char name[NAME_MAX + 1];
    int r;
    size_t n = strlen(path);

    if (n >= sizeof(w->rest))
        return -ENAMETOOLONG;
    memcpy(w->rest, path, n + 1);
    w->done[0] = '\0';
    w->len = 0;
    w->links = 0;
    w->rootfd = rootfd;

    _cleanup_close_ int cur = walk_reopen(w);
    if (cur < 0)
        return cur;
    while ((r = walk_next(w, name)) > 0) {
        r = walk_step(w, &cur, name, mode, missing);
        if (r < 0)
            break;
    }
    if (r == 0)
        return TAKE_FD(cur);
    if (r != -ENOENT || missing != MISSING_KEEP)
        return r;
    while ((r = walk_next(w, name)) > 0) {
        if (strcmp(name, "..") == 0)
            walk_pop(w);
        else if (strcmp(name, ".") != 0)
            r = walk_push(w, name);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : -ENOENT;
}

/* Functions of their own: a walk takes much of the stack, whose pages cost a fault each. */
static _noinline_ int walk_to_dir(int rootfd, const char *path, mode_t mode)
{
    struct walk w;
    struct stat st;

    _cleanup_close_ int fd = walk(&w, rootfd, path, mode, MISSING_DIRS);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? TAKE_FD(fd) : -ENOTDIR;
}

static _noinline_ int walk_to_file(int rootfd, const char *path)
{
    struct walk w;

    return walk(&w, rootfd, path, 0755, MISSING_FILE);
}

int sys_mkdir_in_root(int rootfd, const char *path, mode_t mode)
{
    int fd = sys_open_in_root(rootfd, path, O_PATH | O_DIRECTORY, 0);
    return fd == -ENOENT ? walk_to_dir(rootfd, path, mode) : fd;
}

int sys_mkfile_in_root(int rootfd, const char *path)
{
    int fd = sys_open_in_root(rootfd, path, O_PATH, 0);
    return fd == -ENOENT ? walk_to_file(rootfd, path) : fd;
}

int sys_resolve_in_root(int rootfd, const char *path, char ret[PATH_MAX])
{
    struct walk w;
    _cleanup_close_ int fd = walk(&w, rootfd, path, 0, MISSING_KEEP);
    if (fd < 0 && fd != -ENOENT)
        return fd;
    if (w.len == 0)
        walk_push(&w, "");
    memcpy(ret, w.done, w.len + 1);
    return 0;
}

int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    int fd = open_tree(dirfd, path, flags | OPEN_TREE_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int set_option(int fs, const char *option)
{
    char key[256];
    const char *eq = strchr(option, '=');

    if (!eq)
        return fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0) < 0 ? -errno : 0;
    size_t n = (size_t)(eq - option);
    if (n == 0 || n >= sizeof(key))
        return -EINVAL;
    memcpy(key, option, n);
    key[n] = '\0';
    return fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0) < 0 ? -errno : 0;
}

static int set_options(int fs, const char *const *options, const char **ret_bad)
{
    for (; options && *options; options++) {
        int r = set_option(fs, *options);
        if (r < 0) {
            if (ret_bad)
                *ret_bad = *options;
            return r;
        }
    }
    return 0;
}

int sys_fsmount(const char *type, const char *source, const char *const *options, uint64_t attr,
                const char **ret_bad)
{
    _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    if (source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
        return -errno;
    int r = set_options(fs, options, ret_bad);
    if (r < 0)
        return r;
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
    return fd < 0 ? -errno : fd;
}

int sys_fsreconfigure(int fd, const char *const *options, const char **ret_bad)
{
    _cleanup_close_ int fs = fspick(fd, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
    if (fs < 0)
        return -errno;
    int r = set_options(fs, options, ret_bad);
    if (r < 0)
        return r;
    return fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int sys_move_mount(int from, int to)
{
    if (move_mount(from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

int sys_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation)
{
    struct mount_attr attr = {
        .attr_set = set,
        .attr_clr = clear,
        .propagation = propagation,
    };

    if (mount_setattr(fd, "", flags | AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return -errno;
    return 0;
}

int sys_mount_idmap(int fd, unsigned flags, int userns_fd)
{
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_IDMAP,
        .userns_fd = (__u64)userns_fd,
    };

    if (mount_setattr(fd, "", flags | AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return -errno;
    return 0;
}

int sys_is_mount_root(int fd)
{
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0)
        return -errno;
    return (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int sys_fs_magic(int fd, uint64_t *ret)
{
    struct statfs sf;

    if (fstatfs(fd, &sf) < 0)
        return -errno;
    *ret = (uint64_t)sf.f_type;
    return 0;
}

int sys_open_private_proc(void)
{
    int fd = sys_fsmount("proc", NULL, NULL,
                         MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);
    if (fd >= 0)
        return fd;

    /* Without CAP_SYS_ADMIN, or where the kernel will not give a new procfs. */
    _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (proc < 0)
        return -errno;
    uint64_t magic = 0;
    struct stat st;
    int r = sys_fs_magic(proc, &magic);
    if (r < 0)
        return r;
    if (fstat(proc, &st) < 0)
        return -errno;
    /* PROC_ROOT_INO (include/linux/proc_fs.h): a subdirectory of a procfs has another number. */
    if (magic != PROC_SUPER_MAGIC || st.st_ino != 1)
        return -EXDEV;
    return TAKE_FD(proc);
}
