/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "seal/seal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define KEY_NAME "checkpoint-hmac.key"
/* Two who make the key at once meet once; a key that comes and goes more often is no key. */
#define KEY_TRIES 8

static const char STEP[] = "use checkpoint key";

void seal_key_done(struct seal_key *key)
{
    if (key->data)
        explicit_bzero(key->data, key->len);
    free(key->data);
    free(key->path);
    *key = (struct seal_key){0};
}

static int random_bytes(void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = getrandom((char *)data + done, n - done, 0);
        if (k < 0 && errno != EINTR)
            return -errno;
        done += k > 0 ? (size_t)k : 0;
    }
    return 0;
}

void seal_env_from_process(struct seal_env *env)
{
    *env = (struct seal_env){
        .env_key_file = getenv("NUCLEUS_CHECKPOINT_HMAC_KEY_FILE"),
        .xdg_data_home = getenv("XDG_DATA_HOME"),
        .home = getenv("HOME"),
        .var_lib = "/var/lib",
        .euid = geteuid(),
        .random = random_bytes,
    };
}

static bool absolute(const char *path)
{
    return path && path[0] == '/';
}

/* H4. */
static int choose_path(const struct seal_env *env, char **ret, struct error *e)
{
    _cleanup_free_ char *path = NULL;

    if (env->env_key_file && *env->env_key_file)
        path = mem_strdup(env->env_key_file);
    else if (env->euid == 0)
        path = path_join(env->var_lib, "nucleus/" KEY_NAME);
    else if (absolute(env->xdg_data_home))
        path = path_join(env->xdg_data_home, "nucleus/" KEY_NAME);
    else if (absolute(env->home))
        path = path_join(env->home, ".nucleus/" KEY_NAME);
    else
        return error_set(e, ERROR_SEAL, ENOENT, "find a place for the checkpoint key", NULL,
                         "set NUCLEUS_CHECKPOINT_HMAC_KEY_FILE",
                         "neither XDG_DATA_HOME nor HOME is an absolute path");
    *ret = path_normalize(path);
    return 0;
}

/* The directory and the name in it. */
static int split_path(const char *path, char **ret_dir, const char **ret_name, struct error *e)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (*name == '\0' || streq(name, ".") || streq(name, ".."))
        return error_set(e, ERROR_SEAL, EISDIR, STEP, path, NULL, NULL);
    if (!slash)
        *ret_dir = mem_strdup(".");
    else
        *ret_dir = slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    *ret_name = name;
    return 0;
}

static int distrust(struct error *e, const char *path, const char *remedy, const char *why)
{
    return error_set(e, ERROR_PERMISSION, EPERM, STEP, path, remedy, "%s", why);
}

/* H5, for the key and for its directory. */
static int check_private(const struct stat *st, uid_t euid, const char *path, struct error *e)
{
    if (st->st_uid != euid)
        return distrust(e, path, "use a key of your own", "it belongs to someone else");
    if (st->st_mode & 077)
        return distrust(e, path, "close it with chmod go=, if nobody can have read the key",
                        "it is open to group or others");
    return 0;
}

static int sync_parent(const char *path)
{
    _cleanup_free_ char *up = str_printf("%s/..", path);
    _cleanup_close_ int fd = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* An open, checked directory, or -ENOENT with *e untouched. */
static int open_directory(const char *dir, bool create, uid_t euid, struct error *e)
{
    struct stat st;

    if (lstat(dir, &st) < 0 && errno == ENOENT) {
        if (!create)
            return -ENOENT;
        int r = dir_make_parents(dir, 0700);
        if (r == 0)
            r = sync_parent(dir);
        if (r < 0)
            return error_set(e, ERROR_SEAL, -r, "make the checkpoint key's directory", dir, NULL,
                             NULL);
    }
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int r = -errno;
        /* The kernel says ENOTDIR for a symlink, too. */
        if (lstat(dir, &st) == 0 && S_ISLNK(st.st_mode))
            return distrust(e, dir, NULL, "the key's directory is a symlink");
        return error_set(e, ERROR_SEAL, -r, STEP, dir, NULL, NULL);
    }
    if (fstat(fd, &st) < 0)
        return error_set(e, ERROR_SEAL, errno, STEP, dir, NULL, NULL);
    int r = check_private(&st, euid, dir, e);
    return r < 0 ? r : TAKE_FD(fd);
}

/* The checks of H5 on an open key file, then its bytes into `key`. */
static int read_key(int fd, uid_t euid, const char *path, struct seal_key *key, struct error *e)
{
    unsigned char data[SEAL_KEY_MAX + 1];
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_set(e, ERROR_SEAL, errno, STEP, path, NULL, NULL);
    if (!S_ISREG(st.st_mode))
        return distrust(e, path, NULL, "it is not a regular file");
    int r = check_private(&st, euid, path, e);
    if (r < 0)
        return r;

    ssize_t n = fd_read_full(fd, data, sizeof(data));
    if (n < 0)
        r = error_set(e, ERROR_SEAL, (int)-n, STEP, path, NULL, NULL);
    else if (n < SEAL_KEY_MIN)
        r = error_set(e, ERROR_SEAL, EINVAL, STEP, path, "bring back the right key",
                      "it has %zd bytes, %d are the least", n, SEAL_KEY_MIN);
    else if (n > SEAL_KEY_MAX)
        r = error_set(e, ERROR_SEAL, EFBIG, STEP, path, "bring back the right key",
                      "it has more than %d bytes", SEAL_KEY_MAX);
    else {
        key->data = mem_dup(data, (size_t)n);
        key->len = (size_t)n;
    }
    explicit_bzero(data, sizeof(data));
    return r;
}

/* Reads the key; -ENOENT with *e untouched where there is none. */
static int open_key(int dirfd, const char *name, uid_t euid, const char *path, struct seal_key *key,
                    struct error *e)
{
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        return read_key(fd, euid, path, key, e);
    if (errno == ENOENT)
        return -ENOENT;
    if (errno == ELOOP)
        return distrust(e, path, NULL, "it is a symlink");
    return error_set(e, ERROR_SEAL, errno, STEP, path, NULL, NULL);
}

/* Fills a new file of a name nobody else takes. */
static int write_temp(int dirfd, const char *temp, int (*random)(void *, size_t))
{
    unsigned char data[SEAL_KEY_MIN];
    _cleanup_close_ int fd =
        openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;

    int r = random(data, sizeof(data));
    if (r == 0 && fchmod(fd, 0600) < 0) /* whatever the umask made of it */
        r = -errno;
    if (r == 0)
        r = fd_write_all(fd, data, sizeof(data));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    explicit_bzero(data, sizeof(data));
    if (r < 0)
        (void)unlinkat(dirfd, temp, 0);
    return r;
}

/* Makes the key under a name of its own and links it to the right one when it is whole, so that
 * nobody ever reads half a key. Where another was faster, link(2) says EEXIST, and theirs stands:
 * no error. */
static int make_key(int dirfd, const char *name, int (*random)(void *, size_t))
{
    uint64_t unique;
    int r = random_bytes(&unique, sizeof(unique));
    if (r < 0)
        return r;

    _cleanup_free_ char *temp = str_printf(".%s.%016" PRIx64, name, unique);
    r = write_temp(dirfd, temp, random);
    if (r < 0)
        return r;
    if (linkat(dirfd, temp, dirfd, name, 0) < 0 && errno != EEXIST)
        r = -errno;
    (void)unlinkat(dirfd, temp, 0);
    if (r == 0 && fsync(dirfd) < 0)
        r = -errno;
    return r;
}

static int no_key(struct error *e, const char *path)
{
    return error_set(e, ERROR_SEAL, ENOENT, STEP, path,
                     "bring the key of the host that sealed the checkpoint, or name it by "
                     "NUCLEUS_CHECKPOINT_HMAC_KEY_FILE",
                     "there is no key");
}

int seal_key_load(const struct seal_env *env, bool create, struct seal_key *ret, struct error *e)
{
    _cleanup_key_ struct seal_key key = {0};
    _cleanup_free_ char *dir = NULL;
    const char *name = NULL;

    int r = choose_path(env, &key.path, e);
    if (r == 0)
        r = split_path(key.path, &dir, &name, e);
    if (r < 0)
        return r;
    _cleanup_close_ int dirfd = open_directory(dir, create, env->euid, e);
    if (dirfd == -ENOENT)
        return no_key(e, key.path);
    if (dirfd < 0)
        return dirfd;

    r = open_key(dirfd, name, env->euid, key.path, &key, e);
    for (int i = 0; r == -ENOENT && create && i < KEY_TRIES; i++) {
        r = make_key(dirfd, name, env->random);
        if (r < 0)
            return error_set(e, ERROR_SEAL, -r, "make checkpoint key", key.path, NULL, NULL);
        r = open_key(dirfd, name, env->euid, key.path, &key, e);
    }
    if (r == -ENOENT)
        return no_key(e, key.path);
    if (r < 0)
        return r;
    *ret = key;
    key = (struct seal_key){0};
    return 0;
}
