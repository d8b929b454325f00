/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/process.h"

/* Not from PATH: what runs here has more rights than the caller. */
static const char *const helper_dirs[] = {"/usr/bin", "/bin", "/usr/local/bin"};

/* One kind of id. */
struct side {
    const char *file;   /* in /proc/PID */
    const char *helper; /* the program of shadow's uidmap */
    const struct oci_id_map *maps;
    size_t n;
};

static struct side uid_side(const struct oci_spec *spec)
{
    return (struct side){"uid_map", "newuidmap", spec->uid_maps, spec->n_uid_maps};
}

static struct side gid_side(const struct oci_spec *spec)
{
    return (struct side){"gid_map", "newgidmap", spec->gid_maps, spec->n_gid_maps};
}

static char *find_helper(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(helper_dirs); i++) {
        char *path = str_printf("%s/%s", helper_dirs[i], name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static bool only_own(const struct side *side, uint32_t own)
{
    return side->n == 1 && side->maps[0].size == 1 && side->maps[0].host_id == own;
}

int idmap_plan_make(const struct oci_spec *spec, struct idmap_plan *ret, struct error *e)
{
    struct side uids = uid_side(spec), gids = gid_side(spec);

    *ret = (struct idmap_plan){0};
    if (!(spec->new_namespaces & oci_namespace_flag(OCI_NS_USER)))
        return 0;
    if (sys_has_capability(CAP_SETUID) && sys_has_capability(CAP_SETGID))
        return 0;
    if (only_own(&uids, geteuid()) && only_own(&gids, getegid())) {
        ret->deny_setgroups = true;
        return 0;
    }
    _cleanup_free_ char *u = find_helper(uids.helper), *g = find_helper(gids.helper);
    if (!u || !g)
        return error_set(e, ERROR_PERMISSION, EPERM, "map ids of the user namespace for user", NULL,
                         "install newuidmap and newgidmap (package uidmap), or map only your own "
                         "user and group, each with size 1",
                         "an ordinary user may map itself alone");
    ret->by_helper = true;
    return 0;
}

static int write_file(int procfd, pid_t pid, const char *file, const char *text, struct error *e)
{
    _cleanup_free_ char *path = str_printf("%d/%s", (int)pid, file);
    int r = file_write_at(procfd, path, text);

    if (r == -EINVAL)
        return error_set(
            e, ERROR_CONFIG, EINVAL, "write id map", path,
            "use fewer ranges: the kernel takes less than a page of text, a line a range", NULL);
    if (r < 0)
        return error_set(e, ERROR_PERMISSION, -r, "write id map", path,
                         "run nucleus as root, or map only ids that are yours", NULL);
    return 0;
}

static int write_map(int procfd, pid_t pid, const struct side *side, struct error *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};

    for (size_t i = 0; i < side->n; i++)
        strbuf_addf(&text, "%u %u %u\n", side->maps[i].container_id, side->maps[i].host_id,
                    side->maps[i].size);
    return write_file(procfd, pid, side->file, text.s, e);
}

static int run_helper(pid_t pid, const struct side *side, struct error *e)
{
    static char *const no_env[] = {NULL};
    _cleanup_free_ char *path = find_helper(side->helper);
    _cleanup_strv_ char **argv = NULL;
    pid_t child;
    int status;

    if (!path)
        return error_set(e, ERROR_PERMISSION, ENOENT, "find", side->helper, NULL, NULL);
    strv_push(&argv, str_printf("%s", path));
    strv_push(&argv, str_printf("%d", (int)pid));
    for (size_t i = 0; i < side->n; i++) {
        strv_push(&argv, str_printf("%u", side->maps[i].container_id));
        strv_push(&argv, str_printf("%u", side->maps[i].host_id));
        strv_push(&argv, str_printf("%u", side->maps[i].size));
    }
    int r = posix_spawn(&child, path, NULL, NULL, argv, no_env);
    if (r != 0)
        return error_set(e, ERROR_SYSTEM, r, "run", path, NULL, NULL);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return error_errno(e, -errno, "wait for", path);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(
            e, ERROR_PERMISSION, EPERM, "map ids with", path,
            "check /etc/subuid and /etc/subgid against linux.uidMappings and gidMappings",
            "it refused (its reason is printed above)");
    return 0;
}

int idmap_write(const struct idmap_plan *plan, int procfd, pid_t pid, const struct oci_spec *spec,
                struct error *e)
{
    struct side uids = uid_side(spec), gids = gid_side(spec);
    int r;

    if (plan->by_helper) {
        r = run_helper(pid, &gids, e);
        return r < 0 ? r : run_helper(pid, &uids, e);
    }
    if (plan->deny_setgroups) {
        r = write_file(procfd, pid, "setgroups", "deny", e);
        if (r < 0)
            return r;
    }
    r = write_map(procfd, pid, &gids, e);
    return r < 0 ? r : write_map(procfd, pid, &uids, e);
}

bool idmap_to_host(const struct oci_id_map *maps, size_t n, uint32_t id, uint32_t *ret)
{
    for (size_t i = 0; i < n; i++)
        if (id >= maps[i].container_id && id - maps[i].container_id < maps[i].size) {
            *ret = maps[i].host_id + (id - maps[i].container_id);
            return true;
        }
    return false;
}

int idmap_text_equals(const char *text, const struct oci_id_map *maps, size_t n)
{
    size_t lines = 0;

    for (const char *p = text; *p;) {
        unsigned inside, outside, size;
        int used = 0;
        bool found = false;
        if (sscanf(p, "%u %u %u%n", &inside, &outside, &size, &used) != 3 || used == 0)
            return -EINVAL;
        for (size_t i = 0; i < n && !found; i++)
            found = maps[i].container_id == inside && maps[i].host_id == outside &&
                    maps[i].size == size;
        if (!found)
            return 0;
        lines++;
        p += used;
        p += strspn(p, " \n");
    }
    return lines == n;
}

static int compare_side(int procfd, pid_t pid, const struct side *side, struct error *e)
{
    _cleanup_free_ char *path = str_printf("%d/%s", (int)pid, side->file), *text = NULL;

    if (side->n == 0)
        return 0;
    int r = file_read_at(procfd, path, 0, 65536, &text, NULL);
    if (r == 0)
        r = idmap_text_equals(text, side->maps, side->n);
    if (r < 0)
        return error_errno(e, r, "read id map", path);
    if (r > 0)
        return 0;
    return error_set(e, ERROR_CONFIG, EINVAL, "join user namespace", NULL,
                     "leave linux.uidMappings and gidMappings out, or give those of the namespace",
                     "its %s is not what config.json says", side->file);
}

int idmap_compare(int procfd, pid_t pid, const struct oci_spec *spec, struct error *e)
{
    struct side uids = uid_side(spec), gids = gid_side(spec);
    int r = compare_side(procfd, pid, &gids, e);

    return r < 0 ? r : compare_side(procfd, pid, &uids, e);
}
