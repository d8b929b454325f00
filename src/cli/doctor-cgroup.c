/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/doctor.h"

static const char *const layouts[] = {
    [CGROUP_NONE] = "none",
    [CGROUP_UNIFIED] = "unified",
    [CGROUP_HYBRID] = "hybrid",
    [CGROUP_V1] = "v1",
};

char *doctor_own_cgroup(const struct doctor *d)
{
    _cleanup_free_ char *text = NULL;

    if (!d->cgroup.mount || file_read_at(AT_FDCWD, "/proc/self/cgroup", 0, 65536, &text, NULL) < 0)
        return NULL;
    /* cgroups(7): the v2 hierarchy's line is "0::/path"; above the namespace's root it has "..". */
    const char *line = str_after(text, "0::");
    if (!line) {
        line = strstr(text, "\n0::");
        line = line ? line + strlen("\n0::") : NULL;
    }
    if (!line || str_after(line, "/.."))
        return NULL;
    _cleanup_free_ char *below = mem_strndup(line, strcspn(line, "\n"));
    _cleanup_free_ char *joined = path_join(d->cgroup.mount, below);
    return path_normalize(joined);
}

static void look_layout(struct doctor *d, const struct check *c, struct finding *f)
{
    (void)c;
    if (d->cgroup_error < 0) {
        finding_fact(f, "layout", NULL);
        finding_set(f, FINDING_BROKEN, "not known: the mount table can't be read: %s",
                    strerror(-d->cgroup_error));
        finding_remedy(f, "mount /proc");
        return;
    }
    const struct cgroup_host *h = &d->cgroup;
    _cleanup_free_ char *v2 = strv_join(h->controllers, ", ");
    _cleanup_strbuf_ struct strbuf v1 = {0};
    for (size_t i = 0; i < strv_len(h->v1_controllers); i++)
        strbuf_addf(&v1, "%s%.*s", i ? ", " : "", (int)strcspn(h->v1_controllers[i], " "),
                    h->v1_controllers[i]);

    finding_fact(f, "layout", layouts[h->layout]);
    finding_fact(f, "mount", h->mount);
    finding_fact_list(f, "controllers", h->controllers);
    finding_fact_list(f, "v1_controllers", h->v1_controllers);
    if (!h->mount) {
        finding_set(f, FINDING_MISSING, "%s: the v2 hierarchy is not mounted", layouts[h->layout]);
        finding_remedy(f, h->layout == CGROUP_V1 ? "mkdir -p /sys/fs/cgroup/unified && "
                                                   "mount -t cgroup2 none /sys/fs/cgroup/unified"
                                                 : "mount -t cgroup2 none /sys/fs/cgroup");
    } else {
        finding_set(f, FINDING_OK, "%s, v2 at %s", layouts[h->layout], h->mount);
        finding_note(f, "v2 controllers: %s", h->controllers ? v2 : "none");
    }
    if (h->v1_controllers)
        finding_note(f, "bound to v1: %s", v1.s);
}

static bool writable_dir(const char *path)
{
    return faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
}

static void look_writable(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_free_ char *own = doctor_own_cgroup(d);

    (void)c;
    finding_fact(f, "own", own);
    if (!d->cgroup.mount) {
        finding_set(f, FINDING_MISSING, "no v2 hierarchy");
    } else if (writable_dir(d->cgroup.mount)) {
        finding_set(f, FINDING_OK, "%s", d->cgroup.mount);
    } else if (own && writable_dir(own)) {
        finding_set(f, FINDING_LIMITED, "only below the caller's own, %s", own);
        finding_remedy(f, "set linux.cgroupsPath to a path below %s",
                       own + strlen(d->cgroup.mount));
    } else {
        finding_set(f, FINDING_MISSING, "%s: %s", d->cgroup.mount, strerror(errno));
        finding_remedy(f, "run as root, or have a cgroup delegated: "
                          "systemd-run --user --scope -p Delegate=yes");
    }
}

/* A cgroup that is not the root of all, for that one lacks most files; NULL where there is none. */
static char *any_cgroup(const char *mount)
{
    _cleanup_free_ char *type = path_join(mount, "cgroup.type");
    if (access(type, F_OK) == 0)
        return mem_strdup(mount);

    _cleanup_closedir_ DIR *dir = opendir(mount);
    for (struct dirent *de; dir && (de = readdir(dir));)
        if (de->d_type == DT_DIR && de->d_name[0] != '.')
            return path_join(mount, de->d_name);
    return NULL;
}

static void look_file(struct doctor *d, const struct check *c, struct finding *f)
{
    bool kill = streq(c->arg, "cgroup.kill");

    if (!d->cgroup.mount) {
        finding_fact_bool(f, "there", false);
        finding_set(f, FINDING_MISSING, "no v2 hierarchy");
        return;
    }
    /* Documentation/admin-guide/cgroup-v2.rst: freeze came with 5.2, kill with 5.14. */
    bool there = kill ? doctor_kernel_is(d, 5, 14) : doctor_kernel_is(d, 5, 2);
    _cleanup_free_ char *cgroup = any_cgroup(d->cgroup.mount);
    if (cgroup) {
        _cleanup_free_ char *path = path_join(cgroup, c->arg);
        /* A cgroup that has gone meanwhile says nothing. */
        bool found = access(path, F_OK) == 0;
        if (found || access(cgroup, F_OK) == 0)
            there = found;
        else
            free(TAKE_PTR(cgroup));
    }
    finding_fact_bool(f, "there", there);
    finding_fact(f, "seen_in", cgroup);
    finding_set(f, there ? FINDING_OK : FINDING_MISSING, "%s", there ? "there" : "not there");
    if (!there)
        finding_remedy(f, "boot Linux %s or newer", kill ? "5.14" : "5.2");
}

/* "memory (/sys/fs/cgroup/memory)" for "memory", or NULL. */
static const char *bound_to_v1(const struct doctor *d, const char *name)
{
    for (size_t i = 0; i < strv_len(d->cgroup.v1_controllers); i++) {
        const char *rest = str_after(d->cgroup.v1_controllers[i], name);
        if (rest && rest[0] == ' ')
            return d->cgroup.v1_controllers[i];
    }
    return NULL;
}

static void look_controller(struct doctor *d, const struct check *c, struct finding *f)
{
    /* io is called blkio on v1. */
    const char *v1 = bound_to_v1(d, streq(c->arg, "io") ? "blkio" : c->arg);
    bool usable = strv_contains(d->cgroup.controllers, c->arg);

    finding_fact_bool(f, "usable", usable);
    finding_fact(f, "v1", v1);
    if (usable) {
        finding_set(f, FINDING_OK, "usable");
    } else if (v1) {
        finding_set(f, FINDING_MISSING, "bound to v1, no limit of it can be set: %s", v1);
        finding_remedy(f, "boot with cgroup_no_v1=all (systemd.unified_cgroup_hierarchy=1)");
    } else if (!d->cgroup.mount) {
        finding_set(f, FINDING_MISSING, "no v2 hierarchy");
    } else {
        finding_set(f, FINDING_MISSING, "not in %s/cgroup.controllers", d->cgroup.mount);
        finding_remedy(f, "have it delegated, or boot a kernel with it (not cgroup_disable=%s)",
                       c->arg);
    }
}

const struct check doctor_cgroup_checks[] = {
    {"cgroup_layout", "v2 hierarchy", "containers", NEED_CONTAINERS, look_layout, NULL},
    {"cgroup_writable", "making cgroups", "containers", NEED_CONTAINERS, look_writable, NULL},
    {"cgroup_freeze", "cgroup.freeze", "checkpoints", NEED_CHECKPOINT, look_file, "cgroup.freeze"},
    {"cgroup_kill", "cgroup.kill", "ending all of a container at once", NEED_EXTRA, look_file,
     "cgroup.kill"},
    {"controller_memory", "memory", "memory limits", NEED_LIMIT, look_controller, "memory"},
    {"controller_cpu", "cpu", "cpu limits", NEED_LIMIT, look_controller, "cpu"},
    {"controller_pids", "pids", "limits of the number of processes", NEED_LIMIT, look_controller,
     "pids"},
    {"controller_io", "io", "limits of disk use", NEED_LIMIT, look_controller, "io"},
    {"controller_cpuset", "cpuset", "containers tied to certain cpus", NEED_LIMIT, look_controller,
     "cpuset"},
    {0},
};
