/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/state.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"

/* Where the store is: choosing (S6, S9), making and checking (S7, S8) its directory. */

static const char STEP[] = "use state directory";

static const char *unset_if_empty(const char *s)
{
    return s && *s ? s : NULL;
}

void store_env_from_process(struct store_env *env, const char *root_option)
{
    *env = (struct store_env){
        .root_option = root_option,
        .env_state_dir = getenv("NUCLEUS_STATE_DIR"),
        .xdg_runtime_dir = getenv("XDG_RUNTIME_DIR"),
        .xdg_data_home = getenv("XDG_DATA_HOME"),
        .home = getenv("HOME"),
        .run_dir = "/run",
        .tmp_dir = "/tmp",
        .euid = geteuid(),
    };
}

static int refuse(struct error *e, int errnum, const char *path, const char *why)
{
    return error_set(e, errnum ? ERROR_STATE : ERROR_PERMISSION, errnum ? errnum : EPERM, STEP,
                     path, "choose another one with --root or NUCLEUS_STATE_DIR", "%s", why);
}

static int refuse_errno(struct error *e, int r, const char *path, const char *what)
{
    return error_set(e, ERROR_STATE, -r, STEP, path,
                     "choose another one with --root or NUCLEUS_STATE_DIR", "%s: %s", what,
                     strerror(-r));
}

/* S7: not a symlink. `path` has no trailing slash, so the link itself is looked at. */
static int refuse_symlink(const char *path, struct error *e)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        return refuse(e, ELOOP, path, "it is a symlink");
    return 0;
}

/* S7: 0700, or where that can't be set, at least closed and the caller's own. */
static int close_to_others(int fd, const char *path, uid_t euid, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return refuse_errno(e, -errno, path, "its mode can't be read");

    bool own = st.st_uid == euid || euid == 0;
    if (own && (st.st_mode & 07777) == 0700)
        return 0;
    if (fchmod(fd, 0700) == 0)
        return 0;
    if (errno != EROFS && errno != EPERM && errno != EACCES)
        return refuse_errno(e, -errno, path, "its mode can't be set to 0700");
    if (!own)
        return refuse(e, 0, path, "it belongs to someone else");
    if (st.st_mode & 077)
        return refuse(e, 0, path, "it is open to group or others and its mode can't be set");
    return 0;
}

/* S8: nothing tells better whether files can be made than making one. It has one name for all, so
 * that what a killed command left goes with the next one's; to find it gone is as good, for then
 * another command has just done the same. */
static int probe(int dirfd, const char *path, struct error *e)
{
    static const char name[] = ".probe";

    for (unsigned i = 0;; i++) {
        _cleanup_close_ int fd =
            openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        bool there = fd < 0 && errno == EEXIST && i < 100;

        if ((fd < 0 && !there) || (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT))
            return refuse_errno(e, -errno, path, "it is not writable");
        if (!there)
            return 0;
    }
}

#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* One that could not be opened as it is. */
static int make_directory(const char *path, int *ret_fd, struct error *e)
{
    int r = refuse_symlink(path, e);
    if (r < 0)
        return r;
    r = dir_make_parents(path, 0700);
    if (r < 0)
        return refuse_errno(e, r, path, "it can't be made");
    *ret_fd = open(path, OPEN_FLAGS);
    if (*ret_fd >= 0)
        return 0;
    r = -errno;
    int symlink = refuse_symlink(path, e);
    return symlink < 0 ? symlink : refuse_errno(e, r, path, "it can't be opened");
}

/* Makes, checks and opens one directory. */
static int open_directory(const char *given, bool for_writing, uid_t euid, struct store *ret,
                          struct error *e)
{
    /* Without a trailing slash, which would make the kernel follow a symlink. */
    _cleanup_free_ char *path = path_normalize(given);

    _cleanup_close_ int fd = open(path, OPEN_FLAGS);
    if (fd < 0) {
        int made = make_directory(path, &fd, e);
        if (made < 0)
            return made;
    }
    int r = close_to_others(fd, path, euid, e);
    if (r == 0 && for_writing)
        r = probe(fd, path, e);
    if (r < 0)
        return r;

    if (path[0] != '/') {
        /* The path outlives a chdir. */
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        if (!cwd)
            return refuse_errno(e, -errno, path, "the working directory is unknown");
        char *absolute = path_join(cwd, path);
        free(path);
        path = absolute;
    }
    *ret = (struct store){.dirfd = TAKE_FD(fd), .path = TAKE_PTR(path)};
    return 0;
}

/* A place an unprivileged caller's state may be. */
struct candidate {
    const char *base;  /* NULL: the variable is not set */
    const char *below; /* appended to it */
    const char *label; /* what it is called where `base` can't be used */
    bool shared;       /* S9: others may have made it before us */
};

/* S9. Whoever made the directory first owns it, so its owner and kind decide. */
static int refuse_foreign(const char *path, uid_t euid, struct error *e)
{
    struct stat st;
    int r = 0;

    if (lstat(path, &st) < 0)
        return 0;
    if (S_ISLNK(st.st_mode))
        r = refuse(e, ELOOP, path, "it is a symlink");
    else if (st.st_uid != euid)
        r = refuse(e, 0, path, "it belongs to someone else");
    if (r < 0)
        log_warning("state directory '%s' is skipped: %s", path,
                    S_ISLNK(st.st_mode) ? "it is a symlink" : "it belongs to someone else");
    return r;
}

static int try_candidate(const struct candidate *c, bool for_writing, uid_t euid, struct store *ret,
                         char **ret_path, struct error *e)
{
    const char *base = unset_if_empty(c->base);

    if (!base || base[0] != '/') {
        *ret_path = mem_strdup(c->label);
        return refuse(e, ENOENT, c->label, base ? "not an absolute path" : "not set");
    }
    char *path = *ret_path = path_join(base, c->below);
    int r = c->shared ? refuse_foreign(path, euid, e) : 0;
    if (r < 0)
        return r;
    r = open_directory(path, for_writing, euid, ret, e);
    if (r < 0 || !c->shared)
        return r;
    /* What stood there may have changed between the look and the open. */
    struct stat st;
    if (fstat(ret->dirfd, &st) == 0 && st.st_uid == euid)
        return 0;
    store_done(ret);
    return refuse(e, 0, path, "it belongs to someone else");
}

/* S6, for everyone but root. */
static int open_first_usable(const struct store_env *env, bool for_writing, struct store *ret,
                             struct error *e)
{
    _cleanup_free_ char *tmp_name = str_printf("nucleus-%u", (unsigned)env->euid);
    bool data = unset_if_empty(env->xdg_data_home);
    const struct candidate candidates[] = {
        {env->xdg_runtime_dir, "nucleus", "$XDG_RUNTIME_DIR/nucleus", false},
        {data ? env->xdg_data_home : env->home, data ? "nucleus" : ".local/share/nucleus",
         data ? "$XDG_DATA_HOME/nucleus" : "~/.local/share/nucleus", false},
        {env->home, ".nucleus", "~/.nucleus", false},
        {env->tmp_dir, tmp_name, "temporary directory", true},
    };
    _cleanup_strbuf_ struct strbuf all = {0};

    for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
        _cleanup_(error_done) struct error why = {0};
        _cleanup_free_ char *path = NULL;

        if (try_candidate(&candidates[i], for_writing, env->euid, ret, &path, &why) == 0)
            return 0;
        log_debug("state directory '%s' is refused: %s", path, why.why);
        strbuf_addf(&all, "%s%s (%s)", i ? ", " : "", path, why.why);
    }
    return error_set(e, ERROR_STATE, ENOENT, "find a usable state directory", NULL,
                     "choose one with --root or NUCLEUS_STATE_DIR", "none of these is: %s", all.s);
}

int store_open(const struct store_env *env, bool for_writing, struct store *ret, struct error *e)
{
    const char *chosen = unset_if_empty(env->root_option);

    if (!chosen)
        chosen = unset_if_empty(env->env_state_dir);
    if (chosen)
        return open_directory(chosen, for_writing, env->euid, ret, e);
    if (env->euid == 0) {
        _cleanup_free_ char *path = path_join(env->run_dir, "nucleus");
        return open_directory(path, for_writing, env->euid, ret, e);
    }
    return open_first_usable(env, for_writing, ret, e);
}

void store_done(struct store *store)
{
    /* A store that was never opened is all zero, and 0 is someone's standard input. */
    if (store->path)
        (void)fd_close(store->dirfd);
    free(store->path);
    *store = (struct store){.dirfd = -EBADF};
}
