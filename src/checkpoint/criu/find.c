/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/criu/internal.h"

#define REMEDY_INSTALL "install criu: apt install criu, or run scripts/install-criu"
#define REMEDY_OPTION "pass --criu the path of a CRIU that works, or leave it out"

static const char *const default_candidates[] = {"/usr/sbin/criu", "/usr/bin/criu",
                                                 "/usr/local/sbin/criu", NULL};

void criu_find_env_from_process(struct criu_find_env *env, const char *option)
{
    *env = (struct criu_find_env){
        .option = option,
        .candidates = default_candidates,
        .path = getenv("PATH"),
        .euid = geteuid(),
    };
}

/* ---- trust (C2) ---- */

/* The path the kernel gives an open file: no component of it is a symlink. */
static int canonical_path(int fd, char **ret)
{
    char link[64], path[PATH_MAX];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';

    /* A file that was removed or renamed meanwhile must not lead to another one. */
    struct stat by_fd, by_path;
    if (fstat(fd, &by_fd) < 0 || lstat(path, &by_path) < 0)
        return -errno;
    if (by_fd.st_dev != by_path.st_dev || by_fd.st_ino != by_path.st_ino)
        return -ESTALE;
    *ret = mem_strdup(path);
    return 0;
}

int criu_vet(const char *path, uid_t euid, char **ret_canonical, struct error *e)
{
    static const char step[] = "use criu";

    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CRIU, errno, step, path, REMEDY_INSTALL, NULL);
    _cleanup_free_ char *canonical = NULL;
    int r = canonical_path(fd, &canonical);
    if (r < 0)
        return error_set(e, ERROR_CRIU, -r, step, path, NULL, NULL);

    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set(e, ERROR_CRIU, errno, step, canonical, NULL, NULL);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_CRIU, EACCES, step, canonical, REMEDY_INSTALL,
                         "it is no regular file");
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(e, ERROR_PERMISSION, EPERM, step, canonical,
                         "take the permission away (chmod go-w)",
                         "it is writable by %s (mode %04o)",
                         st.st_mode & S_IWOTH ? "everyone" : "its group", st.st_mode & 07777);
    if (st.st_uid != 0 && st.st_uid != euid)
        return error_set(e, ERROR_PERMISSION, EPERM, step, canonical,
                         "install one that belongs to root",
                         "it belongs to uid %u, neither root nor you", st.st_uid);
    if (!(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
        return error_set(e, ERROR_PERMISSION, EACCES, step, canonical,
                         "make it executable (chmod +x)", "it is not executable (mode %04o)",
                         st.st_mode & 07777);
    *ret_canonical = TAKE_PTR(canonical);
    return 0;
}

/* ---- what it is and can do (C3) ---- */

void criu_version_done(struct criu_version *v)
{
    free(v->gitid);
    free(v->name);
    *v = (struct criu_version){0};
}

uint32_t criu_version_number(const struct criu_version *v)
{
    uint32_t n = v->major * 10000 + v->minor * 100;

    return v->gitid ? n + 100 : n + v->sublevel;
}

/* A CRIU up to 4.1 that can't start on this kernel refuses FEATURE_CHECK without a word: `criu
 * check` says why. */
static bool ask_check(const struct criu_swrk *s, char **ret_why, char **ret_remedy)
{
    static const char *const argv[] = {"criu", "check", NULL};
    struct criu_spawn how = {.binary = s->binary, .cgroup_fd = -EBADF};
    struct criu_swrk check;

    if (criu_spawn_args(&how, argv, true, &check, NULL) < 0)
        return false;
    criu_swrk_end(&check, s->stall_ms ? (int)s->stall_ms : CRIU_END_MS);
    size_t len;
    _cleanup_free_ char *said = criu_swrk_stderr(&check, &len);
    bool failed = check.wait_status != 0;
    criu_swrk_done(&check);
    return failed && criu_log_explain(said, len, ret_why, ret_remedy);
}

/* Why a probe failed, in CRIU's own words where it left any. Ends swrk. */
static int probe_failed(struct criu_swrk *s, const char *step, const char *errmsg, struct error *e)
{
    struct error first = {0};
    error_move(&first, e);
    criu_swrk_end(s, first.errnum == ETIMEDOUT ? 0 : CRIU_END_MS);

    size_t len;
    _cleanup_free_ char *said = criu_swrk_stderr(s, &len);
    _cleanup_free_ char *why = NULL, *remedy = NULL;
    if (!(errmsg && criu_log_explain(errmsg, strlen(errmsg), &why, &remedy)) &&
        !(first.errnum == ENOTSUP && ask_check(s, &why, &remedy)) &&
        !criu_log_explain(said, len, &why, &remedy)) {
        why = errmsg ? criu_log_last_line(errmsg, strlen(errmsg)) : NULL;
        if (!why)
            why = criu_log_last_line(said, len);
    }

    struct strbuf b = {0};
    if (first.errnum == EPIPE) {
        _cleanup_free_ char *end = criu_swrk_describe_end(s);
        strbuf_addf(&b, "CRIU ended before it answered (%s)", end);
    } else {
        strbuf_add(&b, first.why ? first.why : strerror(first.errnum));
    }
    if (why)
        strbuf_addf(&b, ": %s", why);
    int r = error_set(e, ERROR_CRIU, first.errnum, step, s->binary,
                      remedy ? remedy : REMEDY_INSTALL, "%s", b.s);
    strbuf_done(&b);
    error_done(&first);
    return r;
}

static const char VERSION_STEP[] = "ask CRIU for its version";
static const char FEATURES_STEP[] = "ask CRIU what this kernel can do";

/* One request that leaves swrk open for the next. Where it can't be sent CRIU has ended, and
 * whoever waits for the answer is told so. */
static void ask(struct criu_swrk *s, Criu__CriuReq *req)
{
    req->has_keep_open = req->keep_open = true;
    (void)criu_rpc_send(s, req, NULL);
}

/* Its answer, of type `type`. */
static int hear(struct criu_swrk *s, Criu__CriuReqType type, const char *step,
                Criu__CriuResp **ret_resp, struct error *e)
{
    _cleanup_close_ int fd = -EBADF;
    Criu__CriuResp *resp = NULL;
    struct error one = {0};

    int r = criu_rpc_receive(s, s->stall_ms ? s->stall_ms : CRIU_PROBE_MS, &resp, &fd, &one);
    if (r >= 0 && !resp->success)
        r = error_set(&one, ERROR_CRIU, ENOTSUP, step, NULL, NULL, "CRIU refused");
    else if (r >= 0 && resp->type != type)
        r = error_set(&one, ERROR_CRIU, EBADMSG, step, NULL, NULL, "CRIU answered something else");
    if (r < 0) {
        r = probe_failed(s, step, resp ? resp->cr_errmsg : NULL, &one);
        criu_response_free(resp);
        if (e)
            error_move(e, &one);
        error_done(&one);
        return r;
    }
    *ret_resp = resp;
    return 0;
}

static void ask_version(struct criu_swrk *s)
{
    Criu__CriuReq req = CRIU__CRIU_REQ__INIT;

    req.type = CRIU__CRIU_REQ_TYPE__VERSION;
    ask(s, &req);
}

static int hear_version(struct criu_swrk *s, struct criu_version *ret, struct error *e)
{
    Criu__CriuResp *resp;
    int r = hear(s, CRIU__CRIU_REQ_TYPE__VERSION, VERSION_STEP, &resp, e);

    if (r < 0)
        return r;
    *ret = (struct criu_version){
        .major = (uint32_t)resp->version->major_number,
        .minor = (uint32_t)resp->version->minor_number,
        .sublevel = (uint32_t)resp->version->sublevel,
        .gitid = mem_strdup(resp->version->gitid),
        .name = mem_strdup(resp->version->name),
    };
    criu_response_free(resp);
    return 0;
}

static void ask_features(struct criu_swrk *s)
{
    Criu__CriuReq req = CRIU__CRIU_REQ__INIT;
    Criu__CriuFeatures what = CRIU__CRIU_FEATURES__INIT;

    req.type = CRIU__CRIU_REQ_TYPE__FEATURE_CHECK;
    what.has_mem_track = what.mem_track = true;
    what.has_lazy_pages = what.lazy_pages = true;
    what.has_pidfd_store = what.pidfd_store = true;
    req.features = &what;
    ask(s, &req);
}

static int hear_features(struct criu_swrk *s, struct criu_features *ret, struct error *e)
{
    Criu__CriuResp *resp;
    int r = hear(s, CRIU__CRIU_REQ_TYPE__FEATURE_CHECK, FEATURES_STEP, &resp, e);

    if (r < 0)
        return r;
    *ret = (struct criu_features){
        .mem_track = resp->features->mem_track,
        .lazy_pages = resp->features->lazy_pages,
        .pidfd_store = resp->features->pidfd_store,
    };
    criu_response_free(resp);
    return 0;
}

int criu_get_version(struct criu_swrk *s, struct criu_version *ret, struct error *e)
{
    ask_version(s);
    return hear_version(s, ret, e);
}

int criu_get_features(struct criu_swrk *s, struct criu_features *ret, struct error *e)
{
    ask_features(s);
    return hear_features(s, ret, e);
}

/* ---- the choice (C1) ---- */

static void version_text(const struct criu_version *v, struct strbuf *b)
{
    strbuf_addf(b, "%u.%u", v->major, v->minor);
    if (v->sublevel)
        strbuf_addf(b, ".%u", v->sublevel);
    if (v->gitid)
        strbuf_addf(b, " (%s)", v->gitid);
}

/* The probe's own swrk, where nobody else wants one: it goes with us. */
static int start_probe(const char *binary, void *arg, struct criu_swrk *ret, struct error *e)
{
    const struct criu_find_env *env = arg;
    struct criu_spawn how = {
        .binary = binary,
        .cgroup_fd = -EBADF,
        .private_mounts = env->setup != NULL,
        .setup = env->setup,
        .setup_arg = env->setup_arg,
    };
    return criu_spawn(&how, true, ret, e);
}

/* Starts a candidate and puts both questions at once: it loads and looks at the kernel while the
 * caller does something else. */
static int start_candidate(struct criu_search *s, const char *path, struct error *e)
{
    int r = criu_vet(path, s->env.euid, &s->tool.path, e);

    if (r >= 0)
        r = s->env.start ? s->env.start(s->tool.path, s->env.start_arg, &s->swrk, e)
                         : start_probe(s->tool.path, &s->env, &s->swrk, e);
    if (r < 0)
        return r;
    s->running = true;
    s->swrk.stall_ms = s->env.stall_ms;
    ask_version(&s->swrk);
    ask_features(&s->swrk);
    return 0;
}

static int hear_candidate(struct criu_search *s, struct error *e)
{
    int r = hear_version(&s->swrk, &s->tool.version, e);

    return r < 0 ? r : hear_features(&s->swrk, &s->tool.features, e);
}

static void drop_candidate(struct criu_search *s)
{
    if (s->running)
        criu_swrk_done(&s->swrk);
    s->running = false;
    criu_tool_done(&s->tool);
}

/* All paths to try, in order (C1). */
static char **list_candidates(const struct criu_find_env *env)
{
    char **list = NULL;

    if (env->option) {
        strv_push(&list, mem_strdup(env->option));
        return list;
    }
    const char *const *c = env->candidates ? env->candidates : default_candidates;
    for (; *c; c++)
        strv_push(&list, mem_strdup(*c));
    /* PATH is the caller's word: for root it could be an attacker's. */
    if (env->euid == 0 || !env->path)
        return list;
    for (const char *p = env->path; *p;) {
        size_t n = strcspn(p, ":");
        _cleanup_free_ char *dir = mem_strndup(p, n);
        _cleanup_free_ char *path = path_join(dir, "criu");
        if (*dir == '/' && !strv_contains(list, path))
            strv_push(&list, TAKE_PTR(path));
        p += n + (p[n] == ':');
    }
    return list;
}

/* Notes why the candidate in turn won't do, and goes to the next one. */
static void pass_over(struct criu_search *s)
{
    const char *path = s->list[s->next++];
    const char *why = s->refusal.why ? s->refusal.why : strerror(s->refusal.errnum);

    drop_candidate(s);
    if (s->env.option)
        return;
    bool absent = s->refusal.errnum == ENOENT && !s->refusal.why && access(path, F_OK) < 0;
    if (absent)
        log_debug("no criu at %s", path);
    else
        log_warning("passing over %s: %s", path, why);
    strbuf_addf(&s->reasons, "%s%s: %s", s->reasons.len ? "; " : "", path,
                absent ? "not there" : why);
}

static void start_next(struct criu_search *s)
{
    while (s->list && s->list[s->next]) {
        if (start_candidate(s, s->list[s->next], &s->refusal) >= 0)
            return;
        pass_over(s);
    }
}

void criu_search_start(const struct criu_find_env *env, struct criu_search *ret)
{
    *ret = (struct criu_search){.env = *env, .list = list_candidates(env)};
    start_next(ret);
}

int criu_search_finish(struct criu_search *s, struct criu_tool *ret, struct criu_swrk *ret_swrk,
                       struct error *e)
{
    while (s->running) {
        if (hear_candidate(s, &s->refusal) >= 0) {
            _cleanup_strbuf_ struct strbuf b = {0};
            version_text(&s->tool.version, &b);
            log_debug("criu %s at %s: mem_track=%d lazy_pages=%d pidfd_store=%d", b.s, s->tool.path,
                      s->tool.features.mem_track, s->tool.features.lazy_pages,
                      s->tool.features.pidfd_store);
            *ret = s->tool;
            *ret_swrk = s->swrk;
            s->tool = (struct criu_tool){0};
            s->running = false;
            return 0;
        }
        pass_over(s);
        start_next(s);
    }
    if (s->env.option)
        return error_set(e, s->refusal.code, s->refusal.errnum, "use criu", s->env.option,
                         REMEDY_OPTION, "%s",
                         s->refusal.why ? s->refusal.why : strerror(s->refusal.errnum));
    return error_set(e, ERROR_CRIU, ENOENT, "find a criu that works here", NULL, REMEDY_INSTALL,
                     "%s", s->reasons.len ? s->reasons.s : "no place to look");
}

void criu_search_done(struct criu_search *s)
{
    drop_candidate(s);
    strv_free(s->list);
    strbuf_done(&s->reasons);
    error_done(&s->refusal);
    s->list = NULL;
}

int criu_find(const struct criu_find_env *env, struct criu_tool *ret, struct error *e)
{
    _cleanup_criu_search_ struct criu_search s = {0};
    struct criu_swrk swrk;

    criu_search_start(env, &s);
    int r = criu_search_finish(&s, ret, &swrk, e);
    if (r >= 0)
        criu_swrk_done(&swrk);
    return r;
}

void criu_tool_done(struct criu_tool *tool)
{
    free(tool->path);
    criu_version_done(&tool->version);
    *tool = (struct criu_tool){0};
}
