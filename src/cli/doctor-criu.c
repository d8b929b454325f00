/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/checkpoint.h"
#include "cli/doctor.h"
#include "sys/fs.h"

#define RUN "/run"

/* What CRIU gets for PATH from us (checkpoint/criu/spawn.c), whatever the caller's is. */
#define CRIU_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define REMEDY_INSTALL "install criu: apt install criu, or run scripts/install-criu"

/* criu#2705: kernels from 6.16 on refuse what older ones ask of unix sockets. */
#define CRIU_KNOWS_6_16 40200

char **doctor_path_dirs(const char *path)
{
    char **list = NULL;

    while (path && *path) {
        size_t n = strcspn(path, ":");
        if (*path == '/')
            strv_push(&list, mem_strndup(path, n));
        path += n + (path[n] == ':');
    }
    return list;
}

/* ---- CRIU itself ---- */

/* CRIU writes /run/criu.kdat where that is a tmpfs. It gets a /run that can't be written, in a
 * mount namespace of its own: nothing is to stay of a look. */
static int cover_run(void)
{
    int tree = sys_open_tree(AT_FDCWD, RUN, OPEN_TREE_CLONE | AT_RECURSIVE);
    if (tree < 0)
        return tree;
    int r = sys_mount_setattr(tree, 0, MOUNT_ATTR_RDONLY, 0, 0);
    if (r < 0)
        (void)fd_close(tree);
    return r < 0 ? r : tree;
}

/* In the child: no allocation. */
static int use_cover(void *arg)
{
    const int *tree = arg;

    _cleanup_close_ int run = open(RUN, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return run < 0 ? -errno : sys_move_mount(*tree, run);
}

/* All that nucleus would try, in its order (promise C1). */
static char **candidates(const struct criu_find_env *env)
{
    char **list = NULL;

    if (env->option) {
        strv_push(&list, mem_strdup(env->option));
        return list;
    }
    for (const char *const *c = env->candidates; c && *c; c++)
        strv_push(&list, mem_strdup(*c));
    _cleanup_strv_ char **dirs = env->euid == 0 ? NULL : doctor_path_dirs(env->path);
    for (size_t i = 0; dirs && dirs[i]; i++) {
        _cleanup_free_ char *path = path_join(dirs[i], "criu");
        if (!strv_contains(list, path))
            strv_push(&list, TAKE_PTR(path));
    }
    return list;
}

struct search {
    struct criu_find_env env;
    int cover;      /* a /run for CRIU, or negative errno */
    bool harmless;  /* CRIU can be started and leave nothing */
    char **refused; /* "PATH: why" of those that are there */
    char **absent;  /* paths */
};

static void search_done(struct search *s)
{
    (void)fd_close(s->cover);
    strv_free(s->refused);
    strv_free(s->absent);
}

/* True where it works: it is d->tool then. */
static bool try_one(struct doctor *d, struct search *s, const char *path)
{
    _cleanup_(error_done) struct error e = {0};
    _cleanup_free_ char *canonical = NULL;
    struct stat st;
    int r;

    if (stat(path, &st) < 0 && errno == ENOENT) {
        strv_push(&s->absent, mem_strdup(path));
        return false;
    }
    r = criu_vet(path, s->env.euid, &canonical, &e);
    if (r >= 0 && !s->harmless)
        r = error_set(&e, ERROR_PERMISSION, EPERM, "use criu", path, NULL,
                      "not tried: the caller has no mount namespace to try it in");
    if (r >= 0) {
        /* One candidate alone, so that the reason is its own. */
        s->env.option = path;
        r = criu_find(&s->env, &d->tool, &e);
    }
    if (r >= 0)
        return d->has_tool = true;
    strv_push(&s->refused, str_printf("%s: %s", path, e.why ? e.why : strerror(-r)));
    return false;
}

static char *version_text(const struct criu_version *v)
{
    struct strbuf b = {0};

    strbuf_addf(&b, "%u.%u", v->major, v->minor);
    if (v->sublevel)
        strbuf_addf(&b, ".%u", v->sublevel);
    if (v->gitid)
        strbuf_addf(&b, " (%s)", v->gitid);
    return strbuf_take(&b);
}

static void report_tool(struct doctor *d, struct finding *f)
{
    _cleanup_free_ char *version = version_text(&d->tool.version);

    finding_fact(f, "path", d->tool.path);
    finding_fact(f, "version", version);
    if (criu_version_number(&d->tool.version) < CRIU_KNOWS_6_16 && doctor_kernel_is(d, 6, 16)) {
        finding_set(f, FINDING_LIMITED, "%s at %s: too old for unix sockets on this kernel",
                    version, d->tool.path);
        finding_remedy(f, "install CRIU 4.2 or newer: run scripts/install-criu");
        return;
    }
    finding_set(f, FINDING_OK, "%s at %s", version, d->tool.path);
}

static void look_criu(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_(search_done) struct search s = {.cover = cover_run()};

    (void)c;
    criu_find_env_from_process(&s.env, d->criu);
    if (s.cover >= 0) {
        s.env.setup = use_cover;
        s.env.setup_arg = &s.cover;
    }
    s.harmless = s.cover >= 0 || faccessat(AT_FDCWD, RUN, W_OK, AT_EACCESS) < 0;
    _cleanup_strv_ char **list = candidates(&s.env);
    for (size_t i = 0; list && list[i] && !d->has_tool; i++)
        (void)try_one(d, &s, list[i]);

    finding_fact_bool(f, "works", d->has_tool);
    finding_fact_list(f, "refused", s.refused);
    finding_fact_list(f, "absent", s.absent);
    if (d->has_tool) {
        report_tool(d, f);
    } else {
        finding_fact(f, "path", NULL);
        finding_fact(f, "version", NULL);
        finding_set(f, s.refused ? FINDING_BROKEN : FINDING_MISSING, "%s",
                    s.refused ? "none that can be used" : "none found");
        finding_remedy(f, "%s",
                       d->criu ? "pass --criu the path of a CRIU that works, or leave it out"
                               : REMEDY_INSTALL);
        for (size_t i = 0; s.absent && s.absent[i]; i++)
            finding_note(f, "%s: not there", s.absent[i]);
    }
    for (size_t i = 0; s.refused && s.refused[i]; i++)
        finding_note(f, "not %s", s.refused[i]);
}

/* What CRIU said of itself and the kernel. */
static const struct {
    const char *name;
    size_t offset; /* of a bool in struct criu_features */
    const char *remedy;
} features[] = {
    {"mem_track", offsetof(struct criu_features, mem_track),
     "boot a kernel with CONFIG_MEM_SOFT_DIRTY=y"},
    {"lazy_pages", offsetof(struct criu_features, lazy_pages),
     "boot a kernel with CONFIG_USERFAULTFD=y, and run as root"},
    {"pidfd_store", offsetof(struct criu_features, pidfd_store),
     "install CRIU 3.16 or newer, and boot Linux 5.6 or newer"},
};

static void look_feature(struct doctor *d, const struct check *c, struct finding *f)
{
    size_t i = 0;

    while (!streq(features[i].name, c->arg))
        i++;
    bool there =
        d->has_tool && *(const bool *)((const char *)&d->tool.features + features[i].offset);
    finding_fact_bool(f, "there", there);
    if (!d->has_tool) {
        finding_set(f, FINDING_MISSING, "not known: no CRIU to ask");
    } else if (!there) {
        finding_set(f, FINDING_MISSING, "CRIU and this kernel can't do it");
        finding_remedy(f, "%s", features[i].remedy);
    } else {
        finding_set(f, FINDING_OK, "there");
    }
}

/* ---- what it runs, and who may ---- */

static void look_program(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_strv_ char **dirs = doctor_path_dirs(CRIU_PATH);
    struct stat st;

    (void)d;
    for (size_t i = 0; dirs[i]; i++) {
        _cleanup_free_ char *path = path_join(dirs[i], c->arg);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111) {
            finding_fact(f, "path", path);
            finding_set(f, FINDING_OK, "%s", path);
            return;
        }
    }
    finding_fact(f, "path", NULL);
    finding_set(f, FINDING_MISSING, "not in " CRIU_PATH);
    finding_remedy(f, "install it: apt install %s", streq(c->arg, "ip") ? "iproute2" : c->arg);
}

static void look_privileges(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_(error_done) struct error e = {0};

    (void)d;
    (void)c;
    int r = checkpoint_check_privileges(&e);
    finding_fact_bool(f, "sufficient", r >= 0);
    if (r >= 0) {
        finding_set(f, FINDING_OK, "the caller has what CRIU needs");
        return;
    }
    finding_set(f, FINDING_MISSING, "%s", e.why ? e.why : strerror(-r));
    if (e.remedy)
        finding_remedy(f, "%s", e.remedy);
}

const struct check doctor_criu_checks[] = {
    {"criu", "CRIU", "checkpoints and restores", NEED_CHECKPOINT, look_criu, NULL},
    {"criu_mem_track", "mem_track", "pre-dumps", NEED_EXTRA, look_feature, "mem_track"},
    {"criu_lazy_pages", "lazy_pages", "lazy restores", NEED_EXTRA, look_feature, "lazy_pages"},
    {"criu_pidfd_store", "pidfd_store", "pre-dumps that a reused pid can't mislead", NEED_EXTRA,
     look_feature, "pidfd_store"},
    {"tool_tar", "tar", "containers with a tmpfs, such as /dev", NEED_CHECKPOINT, look_program,
     "tar"},
    {"tool_gzip", "gzip", "containers with a tmpfs, such as /dev", NEED_CHECKPOINT, look_program,
     "gzip"},
    {"tool_ip", "ip", "containers with a network namespace", NEED_CHECKPOINT, look_program, "ip"},
    {"privileges", "capabilities", "checkpoints and restores", NEED_CHECKPOINT, look_privileges,
     NULL},
    {0},
};
