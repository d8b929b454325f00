/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "process/rdt-schemata.h"
#include "sys/fs.h"

#define FIELD "linux.intelRdt"
#define FILE_MAX_BYTES 65536

void rdt_group_done(struct rdt_group *g)
{
    fd_close(g->root_fd);
    free(g->clos);
    free(g->monitor);
    *g = (struct rdt_group)RDT_GROUP_EMPTY;
}

/* ---- the file system ---- */

static int open_root(const char *root, bool any_fs, int *ret, struct error *e)
{
    uint64_t magic = 0;
    _cleanup_close_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && !any_fs)
        (void)sys_fs_magic(fd, &magic);
    if (fd < 0 || (!any_fs && magic != RDTGROUP_SUPER_MAGIC))
        return error_set(e, ERROR_UNSUPPORTED, ENOTSUP, "use", FIELD,
                         "take it out, or mount it: mount -t resctrl resctrl " RDT_ROOT,
                         "no resctrl file system is mounted at %s", root);
    *ret = TAKE_FD(fd);
    return 0;
}

/* "file" in the group's directory. */
static char *in_group(const char *group, const char *file)
{
    return *group ? str_printf("%s/%s", group, file) : mem_strdup(file);
}

/* What the kernel says of the write that failed last. */
static char *last_status(int root_fd)
{
    char *text = NULL;

    if (file_read_at(root_fd, "info/last_cmd_status", 0, 4096, &text, NULL) < 0)
        return mem_strdup("");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static int write_failed(const struct rdt_group *g, int r, const char *step, const char *subject,
                        struct error *e)
{
    _cleanup_free_ char *says = last_status(g->root_fd);

    return error_set(e, ERROR_SYSTEM, -r, step, subject, NULL, "%s%s%s", strerrordesc_np(-r),
                     *says ? "; the kernel says: " : "", says);
}

/* ---- the group ---- */

static void name_group(const struct oci_intel_rdt *rdt, const char *id, struct rdt_group *g)
{
    const char *clos = rdt->clos_id ? rdt->clos_id : id;

    g->clos = mem_strdup(streq(clos, "/") ? "" : clos);
    if (rdt->enable_monitoring) {
        _cleanup_free_ char *monitor = str_printf("mon_groups/%s", id);
        g->monitor = in_group(g->clos, monitor);
    }
}

static int make_directory(int root_fd, const char *path, bool *ret_made, struct error *e)
{
    *ret_made = mkdirat(root_fd, path, 0755) == 0;
    if (*ret_made || errno == EEXIST)
        return 0;
    int errnum = errno;
    return error_set(e, ERROR_SYSTEM, errnum, "make resctrl group", path,
                     errnum == ENOSPC ? "let containers share a class by linux.intelRdt.closID"
                                      : NULL,
                     errnum == ENOSPC ? "the processor has no class of service left" : NULL);
}

static int make_clos(const struct oci_intel_rdt *rdt, struct rdt_group *g, struct error *e)
{
    if (*g->clos == '\0')
        return 0;
    /* A class by name and without values is somebody else's to make. */
    if (rdt->clos_id && strv_len(rdt->schemata) == 0) {
        if (faccessat(g->root_fd, g->clos, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
        return error_set(e, ERROR_CONFIG, errno, "use linux.intelRdt.closID", rdt->clos_id,
                         "make that class first, or give its schemata", NULL);
    }
    return make_directory(g->root_fd, g->clos, &g->made_clos, e);
}

static int write_schemata(const struct oci_intel_rdt *rdt, const struct rdt_group *g,
                          struct error *e)
{
    _cleanup_free_ char *path = in_group(g->clos, "schemata");
    const char *bad = path;
    _cleanup_close_ int fd = openat(g->root_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : rdt_write_lines(fd, rdt->schemata, &bad);

    return r < 0 ? write_failed(g, r, "write to schemata of resctrl", bad, e) : 0;
}

static int compare_schemata(const struct oci_intel_rdt *rdt, const struct rdt_group *g,
                            struct error *e)
{
    _cleanup_free_ char *path = in_group(g->clos, "schemata"), *have = NULL;
    const char *bad = NULL;
    int r = file_read_at(g->root_fd, path, O_NOFOLLOW, FILE_MAX_BYTES, &have, NULL);

    if (r < 0)
        return error_set(e, ERROR_SYSTEM, -r, "read", path, NULL, NULL);
    if (rdt_lines_match(rdt->schemata, have, &bad))
        return 0;
    return error_set(e, ERROR_CONFIG, EEXIST, "use resctrl group", *g->clos ? g->clos : "/",
                     "choose another linux.intelRdt.closID, or the values that it has",
                     "it is there already, and does not have '%s'", bad);
}

static int make_group(const struct oci_intel_rdt *rdt, struct rdt_group *g, struct error *e)
{
    int r = make_clos(rdt, g, e);

    if (r == 0 && strv_len(rdt->schemata) > 0)
        r = g->made_clos ? write_schemata(rdt, g, e) : compare_schemata(rdt, g, e);
    if (r == 0 && g->monitor)
        r = make_directory(g->root_fd, g->monitor, &g->made_monitor, e);
    return r;
}

int rdt_prepare(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
                struct rdt_group *ret, struct error *e)
{
    _cleanup_rdt_ struct rdt_group g = RDT_GROUP_EMPTY;
    int r = open_root(root, any_fs, &g.root_fd, e);

    if (r < 0)
        return r;
    name_group(rdt, id, &g);
    r = make_group(rdt, &g, e);
    if (r < 0) {
        rdt_undo(&g);
        return r;
    }
    *ret = g;
    g = (struct rdt_group)RDT_GROUP_EMPTY;
    return 0;
}

static int enter(const struct rdt_group *g, const char *group, pid_t pid, struct error *e)
{
    _cleanup_free_ char *path = in_group(group, "tasks");
    char text[16];

    (void)snprintf(text, sizeof(text), "%d\n", (int)pid);
    int r = file_write_at(g->root_fd, path, text);
    return r < 0 ? write_failed(g, r, "move the container's process into resctrl group", path, e)
                 : 0;
}

int rdt_enter(const struct rdt_group *g, pid_t pid, struct error *e)
{
    int r = enter(g, g->clos, pid, e);

    /* Being moved into a class takes a process out of its monitoring group. */
    if (r == 0 && g->monitor)
        r = enter(g, g->monitor, pid, e);
    return r;
}

void rdt_undo(const struct rdt_group *g)
{
    if (g->made_monitor)
        (void)unlinkat(g->root_fd, g->monitor, AT_REMOVEDIR);
    if (g->made_clos)
        (void)unlinkat(g->root_fd, g->clos, AT_REMOVEDIR);
}

static int remove_directory(int root_fd, const char *path, struct error *e)
{
    if (unlinkat(root_fd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return error_set(e, ERROR_SYSTEM, errno, "remove resctrl group", path, NULL, NULL);
}

int rdt_remove(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
               struct error *e)
{
    _cleanup_rdt_ struct rdt_group g = RDT_GROUP_EMPTY;

    /* Unmounted meanwhile: the groups went with it. */
    if (open_root(root, any_fs, &g.root_fd, NULL) < 0)
        return 0;
    name_group(rdt, id, &g);
    int r = g.monitor ? remove_directory(g.root_fd, g.monitor, e) : 0;
    if (r == 0 && !rdt->clos_id)
        r = remove_directory(g.root_fd, g.clos, e);
    return r;
}
