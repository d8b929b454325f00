/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "seal/seal.h"
#include "state/state.h"

/* As protect_own_binary() (process/protect.c) has it: who could write to the runtime's binary from
 * inside a container must be able to hide it behind a read-only mount. */
static bool exposes_own_binary(const struct doctor *d)
{
    struct statvfs fs;

    if (d->sys_admin || (statvfs("/proc/self/exe", &fs) == 0 && fs.f_flag & ST_RDONLY))
        return false;
    return geteuid() == 0 || faccessat(AT_FDCWD, "/proc/self/exe", W_OK, AT_EACCESS) == 0;
}

static void look_caller(struct doctor *d, const struct check *c, struct finding *f)
{
    uid_t uid = geteuid();
    const struct passwd *pw = getpwuid(uid);
    const char *inside = d->in_userns ? ", in a user namespace" : "";

    (void)c;
    _cleanup_free_ char *who =
        pw ? str_printf("%s (uid %u)", pw->pw_name, uid) : str_printf("uid %u", uid);
    finding_fact_int(f, "euid", uid);
    finding_fact(f, "user", pw ? pw->pw_name : NULL);
    finding_fact_bool(f, "cap_sys_admin", d->sys_admin);
    finding_fact_bool(f, "in_user_namespace", d->in_userns);
    if (d->sys_admin) {
        finding_set(f, FINDING_OK, "%s, with CAP_SYS_ADMIN%s", who, inside);
    } else if (exposes_own_binary(d)) {
        finding_set(f, FINDING_MISSING, "%s, without CAP_SYS_ADMIN, could change nucleus itself%s",
                    who, inside);
        finding_remedy(f, "run with CAP_SYS_ADMIN, or have nucleus on a read-only file system");
    } else if (d->userns == 0) {
        finding_set(f, FINDING_LIMITED, "%s, without CAP_SYS_ADMIN%s", who, inside);
        finding_remedy(f, "run as root, or give containers a user namespace: "
                          "nucleus spec --rootless");
    } else {
        finding_set(f, FINDING_MISSING, "%s, without CAP_SYS_ADMIN and without user namespaces%s",
                    who, inside);
        finding_remedy(f, "run as root");
    }
}

/* ---- directories, without making them ---- */

static char *why_errno(const char *path, int errnum)
{
    return str_printf("%s: %s", path, strerror(errnum));
}

/* The nearest directory above that exists decides whether `path` can be made. */
static int look_above(const char *path, char **ret_why)
{
    _cleanup_free_ char *above = mem_strdup(path);
    struct stat st;

    do {
        char *slash = strrchr(above, '/');
        if (!slash)
            (void)strcpy(above, "."); /* fits: a name has a byte or more */
        else
            slash[slash == above] = '\0';
        if (stat(above, &st) == 0)
            break;
        if (errno != ENOENT || streq(above, "/") || streq(above, ".")) {
            int r = -errno;
            *ret_why = why_errno(above, -r);
            return r;
        }
    } while (true);
    if (!S_ISDIR(st.st_mode)) {
        *ret_why = why_errno(above, ENOTDIR);
        return -ENOTDIR;
    }
    if (faccessat(AT_FDCWD, above, W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    int r = -errno;
    *ret_why = why_errno(above, -r);
    return r;
}

static int refuse(char **ret_why, const char *why)
{
    *ret_why = mem_strdup(why);
    return -EPERM;
}

int doctor_look_at_dir(const char *path, bool *ret_exists, char **ret_why)
{
    uid_t uid = geteuid();
    struct stat st;

    *ret_exists = false;
    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return look_above(path, ret_why);
        int r = -errno;
        *ret_why = why_errno(path, -r);
        return r;
    }
    *ret_exists = true;
    if (S_ISLNK(st.st_mode))
        return refuse(ret_why, "it is a symlink");
    if (!S_ISDIR(st.st_mode))
        return refuse(ret_why, "it is no directory");
    if (st.st_uid != uid && uid != 0)
        return refuse(ret_why, "it belongs to someone else");
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0) {
        int r = -errno;
        *ret_why = str_printf("it is not writable: %s", strerror(-r));
        return r;
    }
    return 0;
}

/* Promise S6, looked at only: store_open() would make the directory. */
static char **state_candidates(const struct store_env *env)
{
    char **list = NULL;
    const char *chosen =
        env->root_option && *env->root_option ? env->root_option : env->env_state_dir;

    if (chosen && *chosen) {
        strv_push(&list, path_normalize(chosen));
        return list;
    }
    if (env->euid == 0) {
        strv_push(&list, path_join(env->run_dir, "nucleus"));
        return list;
    }
    bool data = env->xdg_data_home && *env->xdg_data_home;
    const char *const places[][2] = {
        {env->xdg_runtime_dir, "nucleus"},
        {data ? env->xdg_data_home : env->home, data ? "nucleus" : ".local/share/nucleus"},
        {env->home, ".nucleus"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (places[i][0] && places[i][0][0] == '/')
            strv_push(&list, path_join(places[i][0], places[i][1]));
    strv_push(&list, str_printf("%s/nucleus-%u", env->tmp_dir, env->euid));
    return list;
}

static void look_state_dir(struct doctor *d, const struct check *c, struct finding *f)
{
    struct store_env env;
    const char *used = NULL;
    bool exists = false;

    (void)c;
    store_env_from_process(&env, d->root);
    _cleanup_strv_ char **list = state_candidates(&env);
    _cleanup_strv_ char **refused = NULL;
    for (size_t i = 0; list[i] && !used; i++) {
        _cleanup_free_ char *why = NULL;
        if (doctor_look_at_dir(list[i], &exists, &why) == 0)
            used = list[i];
        else
            strv_push(&refused, str_printf("%s: %s", list[i], why));
    }
    finding_fact(f, "path", used);
    finding_fact_bool(f, "exists", used && exists);
    finding_fact_list(f, "refused", refused);
    if (used) {
        finding_set(f, FINDING_OK, "%s%s", used, exists ? "" : ", made when it is needed");
    } else {
        finding_set(f, FINDING_BROKEN, "none can be used");
        finding_remedy(f, "choose one with --root or NUCLEUS_STATE_DIR");
    }
    for (size_t i = 0; refused && refused[i]; i++)
        finding_note(f, "not %s", refused[i]);
}

static void look_run(struct doctor *d, const struct check *c, struct finding *f)
{
    struct statfs fs;

    (void)d;
    (void)c;
    if (statfs("/run", &fs) < 0) {
        finding_fact_bool(f, "tmpfs", false);
        finding_set(f, FINDING_MISSING, "/run: %s", strerror(errno));
        finding_remedy(f, "mkdir /run && mount -t tmpfs tmpfs /run");
        return;
    }
    bool tmpfs = fs.f_type == TMPFS_MAGIC;
    finding_fact_bool(f, "tmpfs", tmpfs);
    if (tmpfs) {
        finding_set(f, FINDING_OK, "a tmpfs");
        return;
    }
    finding_set(f, FINDING_LIMITED, "no tmpfs: what is recorded there outlives a boot");
    finding_remedy(f, "mount a tmpfs at /run at boot (nucleus gives CRIU one of its own)");
}

/* ---- the seal's key ---- */

static void key_missing(struct finding *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
    _cleanup_free_ char *why = NULL;
    bool exists;

    /* Where the directory exists, seal_key_load() has checked it. */
    if (doctor_look_at_dir(*dir ? dir : "/", &exists, &why) == 0) {
        finding_set(f, FINDING_OK, "%s, made by the first checkpoint", path);
        return;
    }
    finding_set(f, FINDING_BROKEN, "%s is not there and can't be made: %s", path, why);
    finding_remedy(f, "name another place by NUCLEUS_CHECKPOINT_HMAC_KEY_FILE");
}

static void look_seal_key(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_key_ struct seal_key key = {0};
    _cleanup_(error_done) struct error e = {0};
    struct seal_env env;

    (void)d;
    (void)c;
    seal_env_from_process(&env);
    int r = seal_key_load(&env, false, &key, &e);
    const char *path = r < 0 ? e.subject : key.path;
    bool missing = r == -ENOENT && path && access(path, F_OK) < 0;
    finding_fact(f, "path", path);
    finding_fact_bool(f, "exists", path && access(path, F_OK) == 0);
    finding_fact_bool(f, "acceptable", r >= 0);
    if (r >= 0) {
        finding_set(f, FINDING_OK, "%s", key.path);
    } else if (missing) {
        key_missing(f, path);
    } else {
        finding_set(f, FINDING_BROKEN, "%s%s%s", path ? path : "", path ? ": " : "",
                    e.why ? e.why : strerror(-r));
        if (e.remedy)
            finding_remedy(f, "%s", e.remedy);
    }
}

const struct check doctor_caller_checks[] = {
    {"caller", "caller", "containers", NEED_CONTAINERS, look_caller, NULL},
    {"state_dir", "state directory", "records of containers", NEED_CONTAINERS, look_state_dir,
     NULL},
    {"run_tmpfs", "/run", "records that end with the boot", NEED_EXTRA, look_run, NULL},
    {"seal_key", "key of the seal", "checkpoints that are sealed", NEED_CHECKPOINT, look_seal_key,
     NULL},
    {0},
};
