/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/fs.h"

#define RUN "/run"
#define KDAT "criu.kdat"
#define KDAT_MAX (1u << 20)
#define BOOT_ID_LEN 36

static const char step[] = "prepare mounts for CRIU";

void private_mounts_done(struct private_mounts *p)
{
    p->run_fd = fd_close(p->run_fd);
    p->root_tree = fd_close(p->root_tree);
    for (size_t i = 0; i < p->n_entries; i++) {
        free(p->entries[i].name);
        fd_close(p->entries[i].tree);
    }
    free(p->entries);
    free(p->root_path);
    p->entries = NULL;
    p->n_entries = 0;
    p->root_path = NULL;
}

/* The cache file: the boot's id, a newline, CRIU's bytes. */
static bool boot_id(char id[static BOOT_ID_LEN + 1])
{
    _cleanup_free_ char *text = NULL;
    size_t len;

    if (file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 0, 64, &text, &len) < 0 ||
        len < BOOT_ID_LEN)
        return false;
    memcpy(id, text, BOOT_ID_LEN);
    id[BOOT_ID_LEN] = '\0';
    return true;
}

/* A cache that can't be read costs 30 ms, so nothing here is an error. */
static void seed_cache(const struct private_mounts *p)
{
    _cleanup_free_ char *data = NULL;
    char id[BOOT_ID_LEN + 1];
    size_t len;

    if (!boot_id(id) ||
        file_read_at(p->cache_dir_fd, KDAT, O_NOFOLLOW, KDAT_MAX, &data, &len) < 0 ||
        len <= BOOT_ID_LEN + 1 || memcmp(data, id, BOOT_ID_LEN) != 0)
        return;
    _cleanup_close_ int fd = openat(p->run_fd, KDAT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)fd_write_all(fd, data + BOOT_ID_LEN + 1, len - BOOT_ID_LEN - 1);
}

void private_mounts_save_cache(const struct private_mounts *p)
{
    _cleanup_free_ char *data = NULL, *saved = NULL;
    char id[BOOT_ID_LEN + 1];
    size_t len, saved_len;

    if (p->run_fd < 0 || !boot_id(id) ||
        file_read_at(p->run_fd, KDAT, O_NOFOLLOW, KDAT_MAX, &data, &len) < 0)
        return;
    _cleanup_strbuf_ struct strbuf b = {0};
    strbuf_addf(&b, "%s\n", id);
    strbuf_addn(&b, data, len);
    if (file_read_at(p->cache_dir_fd, KDAT, O_NOFOLLOW, KDAT_MAX, &saved, &saved_len) == 0 &&
        saved_len == b.len && memcmp(saved, b.s, b.len) == 0)
        return;
    (void)file_replace_at(p->cache_dir_fd, KDAT, b.s, b.len);
}

static int add_entry(struct private_mounts *p, int run, const char *name, struct error *e)
{
    struct stat st;

    if (fstatat(run, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(e, -errno, step, name);
    if (S_ISLNK(st.st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(run, name, target, sizeof(target) - 1);
        if (n < 0)
            return error_errno(e, -errno, step, name);
        target[n] = '\0';
        return symlinkat(target, p->run_fd, name) < 0 ? error_errno(e, -errno, step, name) : 0;
    }
    int tree = sys_open_tree(run, name, OPEN_TREE_CLONE | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
    if (tree < 0)
        return tree == -ENOENT ? 0 : error_errno(e, tree, step, name);
    int r = 0;
    if (S_ISDIR(st.st_mode)) {
        r = mkdirat(p->run_fd, name, 0755);
    } else {
        r = openat(p->run_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (r >= 0)
            (void)close(r);
    }
    if (r < 0) {
        r = error_errno(e, -errno, step, name);
        fd_close(tree);
        return r;
    }
    mem_grow(p->entries, p->n_entries);
    p->entries[p->n_entries++] = (struct private_entry){.name = mem_strdup(name), .tree = tree};
    return 0;
}

static int cover_run(struct private_mounts *p, struct error *e)
{
    static const char *const options[] = {"mode=0755", NULL};

    p->run_fd = sys_fsmount("tmpfs", "tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, NULL);
    if (p->run_fd < 0)
        return error_errno(e, p->run_fd, step, RUN);
    _cleanup_closedir_ DIR *d = opendir(RUN);
    if (!d)
        return error_errno(e, -errno, step, RUN);
    for (struct dirent *de; (de = readdir(d));) {
        if (streq(de->d_name, ".") || streq(de->d_name, "..") || str_after(de->d_name, KDAT))
            continue;
        int r = add_entry(p, dirfd(d), de->d_name, e);
        if (r < 0)
            return r;
    }
    seed_cache(p);
    return 0;
}

int private_mounts_make(int cache_dir_fd, struct private_mounts *ret, struct error *e)
{
    _cleanup_private_ struct private_mounts p = {
        .run_fd = -EBADF,
        .root_tree = -EBADF,
        .cache_dir_fd = cache_dir_fd,
    };
    uint64_t magic = 0;

    _cleanup_close_ int run = open(RUN, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (run >= 0 && sys_fs_magic(run, &magic) == 0 && magic != TMPFS_MAGIC) {
        int r = cover_run(&p, e);
        if (r < 0)
            return r;
    }
    *ret = p;
    p = (struct private_mounts){.run_fd = -EBADF, .root_tree = -EBADF};
    return 0;
}

int private_mounts_add_root(struct private_mounts *p, int root_fd, const char *root_path,
                            struct error *e)
{
    p->root_path = mem_strdup(root_path);
    p->root_tree = sys_open_tree(root_fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
    if (p->root_tree < 0)
        return error_errno(e, p->root_tree, step, root_path);
    int r = sys_mount_setattr(p->root_tree, AT_RECURSIVE, 0, 0, MS_PRIVATE);
    if (r < 0)
        return error_errno(e, r, step, root_path);
    return 0;
}

/* In the child: no allocation. */
int private_mounts_setup(void *arg)
{
    const struct private_mounts *p = arg;

    if (p->run_fd >= 0) {
        _cleanup_close_ int run = open(RUN, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (run < 0)
            return -errno;
        int r = sys_move_mount(p->run_fd, run);
        for (size_t i = 0; r == 0 && i < p->n_entries; i++) {
            int at = openat(p->run_fd, p->entries[i].name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
            r = at < 0 ? -errno : sys_move_mount(p->entries[i].tree, at);
            fd_close(at);
        }
        if (r < 0)
            return r;
    }
    if (p->root_tree >= 0) {
        _cleanup_close_ int at = open(p->root_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (at < 0)
            return -errno;
        return sys_move_mount(p->root_tree, at);
    }
    return 0;
}
