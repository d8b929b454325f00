/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/criu/internal.h"

/* A dump and a restore are the same conversation: one request, notifications, one answer. */

struct job {
    struct criu_swrk *swrk;
    const struct criu_options *o;
    const char *work_dir_name;
    const char *step; /* "dump processes with CRIU" */
    criu_notify notify;
    void *arg;
    struct error refusal; /* the callback's error */
    bool refused;
};

/* ---- the options ---- */

/* What CriuOpts points into. */
struct packed {
    Criu__CriuOpts opts;
    Criu__ExtMountMap *mounts, **mount_list;
    Criu__InheritFd *fds, **fd_list;
};

static void packed_done(struct packed *p)
{
    free(p->mounts);
    free(p->mount_list);
    free(p->fds);
    free(p->fd_list);
}

static void pack_lists(struct packed *p, const struct criu_options *o)
{
    p->mounts = mem_new(Criu__ExtMountMap, o->n_ext_mounts + 1);
    p->mount_list = mem_new(Criu__ExtMountMap *, o->n_ext_mounts + 1);
    for (size_t i = 0; i < o->n_ext_mounts; i++) {
        criu__ext_mount_map__init(&p->mounts[i]);
        p->mounts[i].key = o->ext_mounts[i].key;
        p->mounts[i].val = o->ext_mounts[i].value;
        p->mount_list[i] = &p->mounts[i];
    }
    p->opts.n_ext_mnt = o->n_ext_mounts;
    p->opts.ext_mnt = p->mount_list;

    p->fds = mem_new(Criu__InheritFd, o->n_inherit + 1);
    p->fd_list = mem_new(Criu__InheritFd *, o->n_inherit + 1);
    for (size_t i = 0; i < o->n_inherit; i++) {
        criu__inherit_fd__init(&p->fds[i]);
        p->fds[i].key = (char *)o->inherit[i].key;
        p->fds[i].fd = o->inherit[i].fd;
        p->fd_list[i] = &p->fds[i];
    }
    p->opts.n_inherit_fd = o->n_inherit;
    p->opts.inherit_fd = p->fd_list;

    p->opts.n_external = strv_len(o->external);
    p->opts.external = (char **)o->external;
}

#define SET(field, value)                                                                          \
    do {                                                                                           \
        p->opts.has_##field = true;                                                                \
        p->opts.field = (value);                                                                   \
    } while (0)
#define SET_IF(field)                                                                              \
    do {                                                                                           \
        if (o->field)                                                                              \
            SET(field, o->field);                                                                  \
    } while (0)

static void pack_options(struct packed *p, const struct criu_options *o, bool notify)
{
    *p = (struct packed){0};
    criu__criu_opts__init(&p->opts);

    p->opts.images_dir_fd = o->images_dir_fd;
    if (o->work_dir_fd >= 0)
        SET(work_dir_fd, o->work_dir_fd);
    SET(log_level, 4);
    p->opts.log_file = (char *)o->log_file;
    p->opts.root = (char *)o->root;
    p->opts.freeze_cgroup = (char *)o->freeze_cgroup;
    p->opts.lsm_profile = (char *)o->lsm_profile;
    if (notify)
        SET(notify_scripts, true);
    SET_IF(leave_running);
    SET_IF(tcp_established);
    SET_IF(ext_unix_sk);
    SET_IF(shell_job);
    SET_IF(file_locks);
    SET_IF(orphan_pts_master);
    SET_IF(link_remap);
    SET_IF(rst_sibling);
    SET_IF(ghost_limit);
    SET_IF(timeout);
    if (o->has_empty_ns)
        SET(empty_ns, o->empty_ns);
    if (o->network_lock)
        SET(network_lock, (Criu__CriuNetworkLockMethod)o->network_lock);
    /* The runtime owns the cgroups: CRIU's own management restores into the wrong place, and trips
     * over cgroup.subtree_control on hybrid hosts. */
    SET(manage_cgroups_mode, CRIU__CRIU_CG_MODE__IGNORE);
    pack_lists(p, o);
}

/* ---- the log ---- */

static int log_dir(const struct criu_options *o)
{
    return o->work_dir_fd >= 0 ? o->work_dir_fd : o->images_dir_fd;
}

/* A file that CRIU writes by its name, following symlinks, into a directory that may have come with
 * somebody else's checkpoint: what is there now must be a file, and is emptied. */
static int empty_file(const struct job *j, const char *name, struct error *e)
{
    static const char step[] = "let CRIU write";
    static const char remedy[] = "remove it, or choose another work directory";

    _cleanup_close_ int fd =
        openat(log_dir(j->o), name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, ERROR_CHECKPOINT, errno, step, name, remedy,
                         errno == ELOOP ? "it is a symlink" : NULL);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_CHECKPOINT, EEXIST, step, name, remedy, "it is no regular file");
    if (ftruncate(fd, 0) < 0)
        return error_set(e, ERROR_CHECKPOINT, errno, step, name, NULL, NULL);
    return 0;
}

/* An old log must not explain a new failure. It is kept as a file: podman makes it beforehand, with
 * the label that lets CRIU's parasite write there. */
static int empty_files(const struct job *j, const char *stats, struct error *e)
{
    int r = j->o->log_file ? empty_file(j, j->o->log_file, e) : 0;

    return r < 0 ? r : empty_file(j, stats, e);
}

/* The end of the log, "" where there is none. */
static char *read_log(const struct criu_options *o, size_t *ret_len)
{
    *ret_len = 0;
    if (!o->log_file)
        return mem_strdup("");
    _cleanup_close_ int fd =
        openat(log_dir(o), o->log_file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
        return mem_strdup("");
    size_t n = MIN((size_t)st.st_size, CRIU_LOG_MAX);
    if (lseek(fd, st.st_size - (off_t)n, SEEK_SET) < 0)
        return mem_strdup("");
    char *text = mem_alloc(n + 1);
    ssize_t k = fd_read_full(fd, text, n);
    *ret_len = k < 0 ? 0 : (size_t)k;
    text[*ret_len] = '\0';
    return text;
}

/* The cause in CRIU's words: its log, its answer, its stderr, whichever speaks first. */
static void explain(const struct job *j, const char *errmsg, char **ret_why, char **ret_remedy)
{
    size_t len;
    *ret_why = *ret_remedy = NULL;

    _cleanup_free_ char *text = read_log(j->o, &len);
    if (criu_log_explain(text, len, ret_why, ret_remedy))
        return;
    if (errmsg && criu_log_explain(errmsg, strlen(errmsg), ret_why, ret_remedy))
        return;
    _cleanup_free_ char *said = criu_swrk_stderr(j->swrk, &len);
    if (criu_log_explain(said, len, ret_why, ret_remedy))
        return;
    *ret_why = errmsg ? criu_log_last_line(errmsg, strlen(errmsg)) : NULL;
    if (!*ret_why)
        *ret_why = criu_log_last_line(said, len);
}

static char *log_path(const struct job *j)
{
    struct stat st;

    if (!j->o->log_file || !j->work_dir_name ||
        fstatat(log_dir(j->o), j->o->log_file, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    return path_join(j->work_dir_name, j->o->log_file);
}

/* Makes the one error of a failed job. `first` is what the conversation broke off with, or NULL
 * where CRIU answered "no". swrk is ended. */
static int job_failed(struct job *j, const struct error *first, const Criu__CriuResp *resp,
                      struct error *e)
{
    int r;

    bool stuck = first && (first->errnum == ETIMEDOUT || first->errnum == EFBIG);
    criu_swrk_end(j->swrk, stuck ? 0 : CRIU_END_MS);
    _cleanup_free_ char *log = log_path(j);
    if (j->refused) {
        r = j->refusal.errnum ? -j->refusal.errnum : -EINVAL;
        if (e)
            error_move(e, &j->refusal);
    } else {
        _cleanup_free_ char *why = NULL, *remedy = NULL;
        explain(j, resp ? resp->cr_errmsg : NULL, &why, &remedy);
        _cleanup_strbuf_ struct strbuf b = {0};
        int errnum = resp && resp->cr_errno > 0 && resp->cr_errno < 4096 ? resp->cr_errno : 0;
        if (first) {
            errnum = first->errnum;
            strbuf_add(&b, first->why ? first->why : strerror(first->errnum));
            if (first->errnum == EPIPE) {
                _cleanup_free_ char *end = criu_swrk_describe_end(j->swrk);
                strbuf_addf(&b, " (%s)", end);
            }
            if (why)
                strbuf_add(&b, ": ");
        }
        if (why)
            strbuf_add(&b, why);
        else if (!first && errnum)
            strbuf_addf(&b, "CRIU answered: %s", strerror(errnum));
        else if (!first)
            strbuf_add(&b, "CRIU failed and gave no reason");
        r = error_set(e, ERROR_CRIU, errnum, j->step, NULL, remedy, "%s", b.s);
    }
    if (e && !e->log)
        e->log = TAKE_PTR(log);
    return r;
}

/* ---- the conversation ---- */

/* Tells the callback, and CRIU what it said. */
static int answer_notification(struct job *j, const Criu__CriuNotify *n, int fd, struct error *e)
{
    _cleanup_close_ int owned = fd;
    Criu__CriuReq req = CRIU__CRIU_REQ__INIT;
    bool ok = true;

    log_debug("criu: %s", n->script);
    /* A descriptor means something only with an orphan pts master: any other is just closed. */
    bool pts = streq(n->script, "orphan-pts-master");
    if (j->notify) {
        struct error one = {0};
        int r = j->notify(n->script, n->has_pid && n->pid > 0 ? n->pid : 0,
                          pts ? TAKE_FD(owned) : -EBADF, j->arg, &one);
        ok = r >= 0;
        if (!ok && !j->refused) {
            if (one.code == ERROR_NONE)
                error_set(&one, ERROR_CRIU, -r, j->step, NULL, NULL, "refused at %s: %s", n->script,
                          strerror(-r));
            error_move(&j->refusal, &one);
            j->refused = true;
        }
        error_done(&one);
    }
    req.type = CRIU__CRIU_REQ_TYPE__NOTIFY;
    req.has_notify_success = true;
    req.notify_success = ok;
    return criu_rpc_send(j->swrk, &req, e);
}

static bool log_runs_away(const struct job *j)
{
    struct stat st;

    return j->o->log_file &&
           fstatat(log_dir(j->o), j->o->log_file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_size > CRIU_LOG_RUNAWAY;
}

/* Waits in slices and looks at the log in between: on a truncated pages image CRIU 4.2's restorer
 * reads for ever, and writes that into its log at each turn until the disk is full. */
static int next_message(struct job *j, Criu__CriuResp **ret_resp, int *ret_fd, struct error *e)
{
    unsigned stall = j->o->stall_ms ? j->o->stall_ms : CRIU_STALL_MS;

    for (unsigned waited = 0; waited < stall;) {
        unsigned slice = MIN(stall - waited, 1000u);
        int r = criu_rpc_receive(j->swrk, slice, ret_resp, ret_fd, e);
        if (r != -ETIMEDOUT)
            return r;
        waited += slice;
        if (log_runs_away(j))
            return error_set(e, ERROR_CRIU, EFBIG, j->step, NULL, NULL,
                             "CRIU's log grew without end");
    }
    return error_set(e, ERROR_CRIU, ETIMEDOUT, j->step, NULL, NULL, "CRIU said nothing for %u ms",
                     stall);
}

/* Until the answer of `type` is there. */
static int converse(struct job *j, Criu__CriuReqType type, Criu__CriuResp **ret_resp,
                    struct error *e)
{
    for (;;) {
        Criu__CriuResp *resp;
        int fd;
        int r = next_message(j, &resp, &fd, e);
        if (r < 0)
            return r;
        if (resp->type == CRIU__CRIU_REQ_TYPE__NOTIFY) {
            r = answer_notification(j, resp->notify, fd, e);
            criu_response_free(resp);
            if (r < 0)
                return r;
            continue;
        }
        (void)fd_close(fd);
        /* EMPTY is how CRIU reports that it did not get as far as the request. */
        if (resp->type != type && !(resp->type == CRIU__CRIU_REQ_TYPE__EMPTY && !resp->success)) {
            criu_response_free(resp);
            return error_set(e, ERROR_CRIU, EBADMSG, j->step, NULL, NULL,
                             "CRIU answered something else");
        }
        *ret_resp = resp;
        return 0;
    }
}

static int run(struct job *j, Criu__CriuReqType type, pid_t *ret_pid, struct error *e)
{
    int r = empty_files(j, type == CRIU__CRIU_REQ_TYPE__DUMP ? "stats-dump" : "stats-restore", e);
    if (r < 0)
        return r;

    struct packed packed;
    Criu__CriuReq req = CRIU__CRIU_REQ__INIT;
    pack_options(&packed, j->o, j->notify != NULL);
    if (type == CRIU__CRIU_REQ_TYPE__DUMP) {
        packed.opts.has_pid = true;
        packed.opts.pid = j->o->pid;
    }
    req.type = type;
    req.opts = &packed.opts;

    struct error first = {0};
    Criu__CriuResp *resp = NULL;
    r = criu_rpc_send(j->swrk, &req, &first);
    packed_done(&packed);
    if (r >= 0)
        r = converse(j, type, &resp, &first);
    if (r < 0)
        r = job_failed(j, &first, NULL, e);
    else if (!resp->success || j->refused)
        r = job_failed(j, NULL, resp, e);
    else if (ret_pid)
        *ret_pid = resp->restore->pid;
    criu_response_free(resp);
    error_done(&first);
    error_done(&j->refusal);
    criu_swrk_end(j->swrk, CRIU_END_MS);
    return r;
}

int criu_dump(struct criu_swrk *s, const struct criu_options *o, const char *work_dir_name,
              criu_notify notify, void *arg, struct error *e)
{
    struct job j = {.swrk = s,
                    .o = o,
                    .work_dir_name = work_dir_name,
                    .step = "dump processes with CRIU",
                    .notify = notify,
                    .arg = arg};

    if (o->pid <= 0)
        return error_set(e, ERROR_INTERNAL, EINVAL, j.step, NULL, NULL, "no process to dump");
    return run(&j, CRIU__CRIU_REQ_TYPE__DUMP, NULL, e);
}

int criu_restore(struct criu_swrk *s, const struct criu_options *o, const char *work_dir_name,
                 criu_notify notify, void *arg, pid_t *ret_pid, struct error *e)
{
    struct job j = {.swrk = s,
                    .o = o,
                    .work_dir_name = work_dir_name,
                    .step = "restore processes with CRIU",
                    .notify = notify,
                    .arg = arg};

    return run(&j, CRIU__CRIU_REQ_TYPE__RESTORE, ret_pid, e);
}
