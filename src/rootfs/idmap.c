/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/fs.h"
#include "sys/process.h"

void idmap_cache_done(struct idmap_cache *c)
{
    *c = (struct idmap_cache){.fd = fd_close(c->fd)};
}

static bool same_maps(const struct oci_id_map *a, size_t n_a, const struct oci_id_map *b,
                      size_t n_b)
{
    return n_a == n_b && memcmp(a, b, n_a * sizeof(*a)) == 0;
}

static bool same_idmap(const struct rootfs_idmap *a, const struct rootfs_idmap *b)
{
    return streq_ptr(a->userns, b->userns) && same_maps(a->uids, a->n_uids, b->uids, b->n_uids) &&
           same_maps(a->gids, a->n_gids, b->gids, b->n_gids);
}

/* Only there to have a namespace; ends with the pipe, so with its parent, too. */
static _noreturn_ void hold_namespace(const int pipe_fds[2])
{
    char c;

    fd_close(pipe_fds[1]);
    while (read(pipe_fds[0], &c, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

static int write_map(int proc, pid_t pid, const char *file, const struct oci_id_map *maps, size_t n,
                     const char *origin, struct error *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};
    _cleanup_free_ char *path = str_printf("%d/%s", (int)pid, file);

    /* The namespace's side is what files have, the caller's what they show as. */
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&text, "%u %u %u\n", maps[i].container_id, maps[i].host_id, maps[i].size);
    int r = file_write_at(proc, path, text.s);
    if (r == 0)
        return 0;
    return error_set(e, r == -EPERM ? ERROR_PERMISSION : ERROR_CONFIG, -r, "map ids of", origin,
                     r == -EPERM ? "run nucleus as root"
                                 : "correct its maps: ranges must not overlap",
                     "%s: the kernel does not take the map: %s", file, strerror(-r));
}

static int open_namespace(pid_t pid, const struct rootfs_idmap *map, const char *origin, int *ret,
                          struct error *e)
{
    _cleanup_close_ int proc = sys_open_private_proc();
    if (proc < 0)
        return error_errno(e, proc, "open procfs to map ids of", origin);
    int r = write_map(proc, pid, "gid_map", map->gids, map->n_gids, origin, e);
    if (r == 0)
        r = write_map(proc, pid, "uid_map", map->uids, map->n_uids, origin, e);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = str_printf("%d/ns/user", (int)pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "open user namespace to map ids of", origin);
    *ret = fd;
    return 0;
}

static int make_namespace(const struct rootfs_idmap *map, const char *origin, int *ret,
                          struct error *e)
{
    int fds[2], pidfd = -EBADF;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "make pipe", NULL);
    pid_t pid = sys_clone3(CLONE_NEWUSER, -EBADF, &pidfd);
    if (pid == 0)
        hold_namespace(fds);
    fd_close(fds[0]);
    int r = pid < 0 ? error_set(e, ERROR_SYSTEM, (int)-pid, "make user namespace to map ids of",
                                origin, "check sysctl user.max_user_namespaces", NULL)
                    : open_namespace(pid, map, origin, ret, e);
    fd_close(fds[1]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    fd_close(pidfd);
    return r;
}

static int get_namespace(const struct rootfs_op *op, struct idmap_cache *cache, struct error *e)
{
    const struct rootfs_idmap *map = &op->idmap;
    int r = 0;

    if (cache->of && same_idmap(cache->of, map))
        return 0;
    idmap_cache_done(cache);
    if (!map->userns)
        r = make_namespace(map, op->origin, &cache->fd, e);
    else if ((cache->fd = open(map->userns, O_RDONLY | O_CLOEXEC)) < 0)
        r = error_errno(e, -errno, "open user namespace", map->userns);
    if (r == 0)
        cache->of = map;
    return r;
}

int idmap_apply(const struct rootfs_op *op, int fd, struct idmap_cache *cache, struct error *e)
{
    static const char step[] = "map ids of bind mount";
    int r = get_namespace(op, cache, e);

    if (r < 0)
        return r;
    r = sys_mount_idmap(fd, op->idmap.recursive ? AT_RECURSIVE : 0, cache->fd);
    switch (r) {
    case 0:
        return 0;
    case -EINVAL:
        return error_set(e, ERROR_UNSUPPORTED, EINVAL, step, op->source,
                         "put the files on another file system, or mount them without idmap",
                         "%s: %s can't have its ids mapped by this kernel", op->origin,
                         op->idmap.recursive ? "its file system, or one below it,"
                                             : "its file system");
    case -EPERM:
        return error_set(e, ERROR_PERMISSION, EPERM, step, op->source,
                         "run nucleus as the host's root; ids of a mount that maps some already "
                         "can't be mapped again",
                         "%s: the kernel does not allow it", op->origin);
    default:
        return error_set(e, ERROR_SYSTEM, -r, step, op->source, NULL, "%s: %s", op->origin,
                         strerror(-r));
    }
}
