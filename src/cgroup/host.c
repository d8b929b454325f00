/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

/* A host with thousands of mounts has a mountinfo of a few MiB. */
#define MOUNTINFO_MAX ((size_t)64 << 20)
#define CONTROLLERS_MAX 4096
#define USUAL_MOUNT "/sys/fs/cgroup"

#define REMEDY_MOUNT                                                                               \
    "mount the v2 hierarchy: mkdir -p /sys/fs/cgroup/unified && "                                  \
    "mount -t cgroup2 none /sys/fs/cgroup/unified"
#define REMEDY_MOUNT_ALONE "mount the v2 hierarchy: mount -t cgroup2 none /sys/fs/cgroup"

/* What the v1 hierarchies can hold: include/linux/cgroup_subsys.h. Other super options are flags
 * of the mount ("xattr", "noprefix") or of the LSM. */
static const char *const v1_names[] = {
    "cpuset",     "cpu",      "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls",
    "perf_event", "net_prio", "hugetlb", "pids",  "rdma",   "misc",    "debug",   "dmem",
};

void cgroup_host_done(struct cgroup_host *host)
{
    free(host->mount);
    strv_free(host->controllers);
    strv_free(host->v1_controllers);
    *host = (struct cgroup_host){0};
}

static void host_donep(struct cgroup_host *host)
{
    cgroup_host_done(host);
}

/* Undoes mangle() of fs/proc_namespace.c: blank, tab, newline, backslash and "#" are \ooo. */
static char *decode(const char *s, size_t n)
{
    char *out = mem_alloc(n + 1);
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned v = 0, digits = 0;
        if (s[i] == '\\')
            for (; digits < 3 && i + 1 + digits < n; digits++) {
                char c = s[i + 1 + digits];
                if (c < '0' || c > '7')
                    break;
                v = v * 8 + (unsigned)(c - '0');
            }
        if (digits == 3 && v > 0 && v <= 0xff) {
            out[k++] = (char)v;
            i += 3;
        } else {
            out[k++] = s[i];
        }
    }
    return out;
}

struct mount_line {
    const char *root, *point, *type, *options; /* into the line, not terminated */
    size_t root_len, point_len, type_len, options_len;
};

/* Steps over one field and the blank behind it. A field may be empty: that of the source is, where
 * the mount was made with an empty one. */
static bool take_field(const char **p, const char *end, const char **ret, size_t *ret_len)
{
    const char *blank = memchr(*p, ' ', (size_t)(end - *p));
    if (!blank)
        return false;
    *ret = *p;
    *ret_len = (size_t)(blank - *p);
    *p = blank + 1;
    return true;
}

/* proc_pid_mountinfo(5): ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER_OPTIONS */
static bool split_line(const char *line, size_t len, struct mount_line *ret)
{
    const char *p = line, *end = line + len, *skip;
    size_t n;

    for (int i = 0; i < 3; i++)
        if (!take_field(&p, end, &skip, &n))
            return false;
    if (!take_field(&p, end, &ret->root, &ret->root_len) ||
        !take_field(&p, end, &ret->point, &ret->point_len) || !take_field(&p, end, &skip, &n))
        return false;
    do
        if (!take_field(&p, end, &skip, &n))
            return false;
    while (n != 1 || *skip != '-');
    if (!take_field(&p, end, &ret->type, &ret->type_len) || !take_field(&p, end, &skip, &n))
        return false;
    ret->options = p;
    ret->options_len = (size_t)(end - p);
    return ret->point_len > 0 && ret->point[0] == '/';
}

static bool field_is(const char *s, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(s, text, n) == 0;
}

static bool v1_is_known(struct cgroup_host *host, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < strv_len(host->v1_controllers); i++)
        if (strncmp(host->v1_controllers[i], name, n) == 0 && host->v1_controllers[i][n] == ' ')
            return true;
    return false;
}

static void add_v1(struct cgroup_host *host, const struct mount_line *m)
{
    _cleanup_free_ char *point = decode(m->point, m->point_len);

    for (const char *p = m->options, *end = p + m->options_len; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t n = (size_t)((comma ? comma : end) - p);
        for (size_t i = 0; i < ARRAY_SIZE(v1_names); i++)
            if (field_is(p, n, v1_names[i]) && !v1_is_known(host, v1_names[i]))
                strv_push(&host->v1_controllers, str_printf("%s (%s)", v1_names[i], point));
        p += n + 1;
    }
}

/* Whether the v2 mount at `point` is to be preferred to the one chosen so far. */
static bool is_better(const struct cgroup_host *host, const char *point, bool whole)
{
    if (streq(point, USUAL_MOUNT))
        return true;
    if (!whole)
        return false;
    return !host->mount ||
           (!streq(host->mount, USUAL_MOUNT) && strlen(point) < strlen(host->mount));
}

int cgroup_parse_mountinfo(const char *text, struct cgroup_host *ret, struct error *e)
{
    _cleanup_(host_donep) struct cgroup_host host = {0};
    bool any_v1 = false;
    unsigned number = 0;

    for (const char *line = text; *line;) {
        struct mount_line m;
        size_t len = strcspn(line, "\n");

        number++;
        if (!split_line(line, len, &m))
            return error_set(e, ERROR_SYSTEM, EINVAL, "read the mount table", "mountinfo", NULL,
                             "line %u is not in the format of proc_pid_mountinfo(5)", number);
        if (field_is(m.type, m.type_len, "cgroup2")) {
            _cleanup_free_ char *point = decode(m.point, m.point_len);
            if (is_better(&host, point, field_is(m.root, m.root_len, "/"))) {
                free(host.mount);
                host.mount = TAKE_PTR(point);
            }
        } else if (field_is(m.type, m.type_len, "cgroup")) {
            any_v1 = true;
            add_v1(&host, &m);
        }
        line += len + (line[len] == '\n');
    }

    if (host.mount)
        host.layout = host.v1_controllers ? CGROUP_HYBRID : CGROUP_UNIFIED;
    else
        host.layout = any_v1 ? CGROUP_V1 : CGROUP_NONE;
    *ret = host;
    host = (struct cgroup_host){0};
    return 0;
}

static char **split_words(const char *text)
{
    char **words = NULL;

    for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
        size_t n = strcspn(p, " \n");
        strv_push(&words, mem_strndup(p, n));
        p += n;
    }
    return words;
}

int cgroup_host_probe(int procfd, struct cgroup_host *ret, struct error *e)
{
    _cleanup_(host_donep) struct cgroup_host host = {0};
    _cleanup_free_ char *mountinfo = NULL, *controllers = NULL;

    const char *file = procfd >= 0 ? "self/mountinfo" : "/proc/self/mountinfo";
    int r = file_read_at(procfd >= 0 ? procfd : AT_FDCWD, file, 0, MOUNTINFO_MAX, &mountinfo, NULL);
    if (r < 0)
        return error_errno(e, r, "read the mount table", "/proc/self/mountinfo");
    r = cgroup_parse_mountinfo(mountinfo, &host, e);
    if (r < 0)
        return r;

    if (host.mount) {
        _cleanup_free_ char *path = path_join(host.mount, "cgroup.controllers");
        r = file_read_at(AT_FDCWD, path, 0, CONTROLLERS_MAX, &controllers, NULL);
        if (r == -ENOENT || r == -ENOTDIR) {
            /* Something else is mounted over it: nobody can reach the hierarchy there. */
            log_debug("cgroup2 is mounted at %s, but hidden by another mount", host.mount);
            free(TAKE_PTR(host.mount));
            host.layout = host.v1_controllers ? CGROUP_V1 : CGROUP_NONE;
        } else if (r < 0) {
            return error_errno(e, r, "read the cgroup controllers", path);
        } else {
            host.controllers = split_words(controllers);
        }
    }
    *ret = host;
    host = (struct cgroup_host){0};
    return 0;
}

int cgroup_host_find(struct cgroup_host *ret, struct error *e)
{
    struct statfs fs;

    if (statfs(USUAL_MOUNT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return cgroup_host_probe(AT_FDCWD, ret, e);
    *ret = (struct cgroup_host){
        .layout = CGROUP_UNIFIED, .mount = mem_strdup(USUAL_MOUNT), .mount_only = true};
    return 0;
}

/* Each component of a cgroup path as the kernel and we can have it. */
static bool components_are_fine(const char *path)
{
    size_t n_real = 0;

    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if ((n == 2 && p[0] == '.' && p[1] == '.') || n > 255)
            return false;
        n_real += n > 0 && !(n == 1 && p[0] == '.');
        p += n + (p[n] == '/');
    }
    /* cgroup_mkdir() refuses a newline; other control characters would spoil every message. */
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return n_real > 0;
}

static bool is_systemd_name(const char *path)
{
    const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;

    return path[0] != '/' && second && !strchr(second + 1, ':') && !strchr(path, '/');
}

int cgroup_choose_path(const struct cgroup_host *host, const char *cgroups_path, const char *id,
                       char **ret, struct error *e)
{
    const char *name = cgroups_path ? cgroups_path : id;

    if (!host->mount)
        return error_set(e, ERROR_CGROUP, ENOENT, "choose the cgroup", name,
                         host->layout == CGROUP_V1 ? REMEDY_MOUNT : REMEDY_MOUNT_ALONE,
                         "no cgroup2 file system is mounted here%s",
                         host->layout == CGROUP_V1 ? ", only cgroup v1" : "");
    if (cgroups_path && is_systemd_name(cgroups_path))
        return error_set(
            e, ERROR_CONFIG, EINVAL, "choose the cgroup", cgroups_path,
            "pass --systemd-cgroup, or set linux.cgroupsPath to a path like /machine/NAME",
            "it is a systemd slice:prefix:name, not a path");
    if (!components_are_fine(name))
        return error_set(e, ERROR_CONFIG, EINVAL, "choose the cgroup", name,
                         "set linux.cgroupsPath to a path like /machine/NAME, without \"..\"",
                         "it names no cgroup of its own below %s", host->mount);

    _cleanup_free_ char *below =
        name == cgroups_path && name[0] == '/' ? mem_strdup(name) : path_join("/nucleus", name);
    _cleanup_free_ char *joined = path_join(host->mount, below);
    *ret = path_normalize(joined);
    return 0;
}
