/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "rootfs/options.h"
#include "rootfs/procfs.h"
#include "rootfs/target.h"
#include "sys/fs.h"

static void op_done(struct rootfs_op *op)
{
    free(op->dest);
    free(op->source);
    free(op->type);
    free(op->origin);
    strv_free(op->data);
    fd_close(op->source_fd);
}

static void plan_release(struct rootfs_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++)
        op_done(&plan->ops[i]);
    free(plan->ops);
    free(plan->root);
    free(plan->mount_label);
    free(plan->mount_context);
    fd_close(plan->root_fd);
    fd_close(plan->tree_fd);
    *plan = (struct rootfs_plan){.root_fd = -EBADF, .tree_fd = -EBADF};
}

void rootfs_plan_done(struct rootfs_plan *plan)
{
    /* All zeros: descriptor 0 is not the plan's. */
    if (plan->root)
        plan_release(plan);
}

static struct rootfs_op *plan_add(struct rootfs_plan *plan, enum rootfs_op_kind kind,
                                  const char *dest, char *origin)
{
    _cleanup_free_ char *absolute = path_join("/", dest);

    mem_grow(plan->ops, plan->n_ops);
    struct rootfs_op *op = &plan->ops[plan->n_ops++];
    *op = (struct rootfs_op){
        .kind = kind,
        .dest = path_normalize(absolute),
        .origin = origin,
        .source_fd = -EBADF,
    };
    return op;
}

/* Symlinks on the way are the host's and fine; magic links are nobody's root. */
static int plan_root(struct rootfs_plan *plan, const struct oci_spec *spec, const char *bundle,
                     struct error *e)
{
    static const char step[] = "use as root file system";
    static const char remedy[] = "correct root.path in config.json";
    char link[32], target[PATH_MAX];

    if (!spec->root_path || !*spec->root_path)
        return error_set(e, ERROR_CONFIG, EINVAL, "plan the root file system", NULL,
                         "add root.path to config.json", "there is no root.path");
    _cleanup_free_ char *path = spec->root_path[0] == '/' ? mem_strdup(spec->root_path)
                                                          : path_join(bundle, spec->root_path);

    _cleanup_close_ int fd =
        sys_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
    if (fd < 0) {
        const char *why = fd == -ELOOP     ? "its symbolic links lead in a circle"
                          : fd == -ENOTDIR ? "it is not a directory"
                          : fd == -ENOENT  ? "it is not there"
                                           : strerror(-fd);
        return error_set(e, ERROR_CONFIG, -fd, step, path, remedy, "%s", why);
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof(target));
    if (n < 0)
        return error_errno(e, -errno, "find the canonical path of", path);
    if ((size_t)n >= sizeof(target))
        return error_errno(e, -ENAMETOOLONG, step, path);
    plan->root = mem_strndup(target, (size_t)n);
    plan->root_fd = TAKE_FD(fd);
    return 0;
}

/* Types that have no use for "ro" in the superblock: the mount's own flag is enough, and these
 * superblocks are shared, or filled by nucleus before they are closed. */
static bool is_kernel_fs(const char *type)
{
    static const char *const types[] = {"proc",   "sysfs",      "tmpfs",   "ramfs",
                                        "devpts", "mqueue",     "cgroup2", "devtmpfs",
                                        "bpf",    "securityfs", "debugfs", "tracefs"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (streq(type, types[i]))
            return true;
    return false;
}

/* The mount's own maps; else those of the container's user namespace, which is either made from
 * maps of the spec, too, or is there already. */
static int plan_idmap(struct rootfs_op *op, const struct oci_mount *m, const struct oci_spec *spec,
                      bool recursive, struct error *e)
{
    op->has_idmap = true;
    op->idmap = (struct rootfs_idmap){.recursive = recursive};
    if (m->n_uid_maps && m->n_gid_maps) {
        op->idmap.uids = m->uid_maps;
        op->idmap.n_uids = m->n_uid_maps;
        op->idmap.gids = m->gid_maps;
        op->idmap.n_gids = m->n_gid_maps;
    } else if (spec->joined_namespaces & CLONE_NEWUSER) {
        op->idmap.userns = spec->namespace_paths[OCI_NS_USER];
    } else if ((spec->new_namespaces & CLONE_NEWUSER) && spec->n_uid_maps && spec->n_gid_maps) {
        op->idmap.uids = spec->uid_maps;
        op->idmap.n_uids = spec->n_uid_maps;
        op->idmap.gids = spec->gid_maps;
        op->idmap.n_gids = spec->n_gid_maps;
    } else {
        return error_set(e, ERROR_CONFIG, EINVAL, "map ids of mount on", op->dest,
                         "give the mount uidMappings and gidMappings, or the container a user "
                         "namespace",
                         "%s: there are no ids to map them to", op->origin);
    }
    return 0;
}

static int plan_bind(struct rootfs_op *op, const struct oci_mount *m, const char *bundle,
                     struct error *e)
{
    struct stat st;

    if (!m->source || !*m->source)
        return error_set(e, ERROR_CONFIG, EINVAL, "plan bind mount on", op->dest,
                         "add a source to it in config.json", "%s has no source", op->origin);
    op->source = m->source[0] == '/' ? mem_strdup(m->source) : path_join(bundle, m->source);
    /* Seen again, and for good, when it is opened. */
    op->source_is_dir = stat(op->source, &st) == 0 && S_ISDIR(st.st_mode);
    /* A clone of a shared mount is its peer: without a word in the spec nothing mounted in the
     * container may appear on the host. */
    if (op->propagation == 0) {
        op->propagation = MS_PRIVATE;
        op->propagation_recursive = true;
    }
    return 0;
}

/* SELinux labels: those that the kernel gives to procfs, sysfs and cgroup2 can't be chosen, and a
 * queue's comes by an attribute. */
static bool takes_context(const char *type)
{
    static const char *const types[] = {"proc", "sysfs", "cgroup2", "mqueue"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (streq(type, types[i]))
            return false;
    return true;
}

static int plan_fs(const struct rootfs_plan *plan, struct rootfs_op *op, const struct oci_mount *m,
                   struct error *e)
{
    if (!m->type || !*m->type || streq(m->type, "none"))
        return error_set(e, ERROR_CONFIG, EINVAL, "plan mount on", op->dest,
                         "add a type, or the option bind, to it in config.json", "%s has no type",
                         op->origin);
    op->type = mem_strdup(streq(m->type, "cgroup") ? "cgroup2" : m->type);
    op->source = mem_strdup(m->source);
    /* There is nothing below it yet: an option for the whole tree is one for the mount. */
    op->attr_set = (op->attr_set & ~op->tree_clear) | op->tree_set;
    op->attr_clear |= op->tree_clear;
    op->tree_set = op->tree_clear = 0;
    if (op->copyup && !op_is_type(op, "tmpfs"))
        return error_set(e, ERROR_CONFIG, EINVAL, "use mount option", "tmpcopyup",
                         "remove it, or make the mount a tmpfs", "%s is no tmpfs", op->origin);
    if (op_is_type(op, "cgroup2"))
        op->kind = ROOTFS_CGROUP;
    if ((op->attr_set & MOUNT_ATTR_RDONLY) && !is_kernel_fs(op->type))
        strv_push(&op->data, mem_strdup("ro"));
    if (plan->mount_context && takes_context(op->type))
        strv_push(&op->data, mem_strdup(plan->mount_context));
    return 0;
}

/* Options of a file system may only be changed where this very plan made it: it could be the
 * host's. */
static int plan_remount(const struct rootfs_plan *plan, struct rootfs_op *op, bool bind,
                        struct error *e)
{
    bool made = false;

    op->kind = ROOTFS_REMOUNT;
    for (const struct rootfs_op *o = plan->ops; o < op; o++)
        made |= o->kind == ROOTFS_MOUNT_FS && streq(o->dest, op->dest);
    if (!op->data || (made && !bind))
        return 0;
    return error_set(
        e, ERROR_CONFIG, EINVAL, "use mount option", op->data[0],
        "give it to the mount that makes the file system",
        "%s: a remount can change options of a file system only where another mount of "
        "config.json made it",
        op->origin);
}

/* What kinds of mounts an option is not for. */
static int check_options(const struct rootfs_op *op, const struct rootfs_options *o,
                         struct error *e)
{
    const char *name = o->idmap ? "idmap" : "tmpcopyup";

    if (o->idmap ? o->bind && !o->remount : !o->copyup || !(o->bind || o->remount))
        return 0;
    return error_set(e, ERROR_CONFIG, EINVAL, "use mount option", name, "remove it",
                     o->idmap ? "%s: only ids of a bind mount can be mapped"
                              : "%s: only a new tmpfs can begin with a copy",
                     op->origin);
}

/* runc's rule: whatever is put over parts of /proc makes the runtime, or the program, believe
 * things (CVE-2019-16884). What symlinks make of a path is looked at when it is executed. */
static int check_proc_dest(const struct rootfs_op *op, struct error *e)
{
    if (!path_is_below(op->dest, "/proc") || procfs_may_cover(op->dest))
        return 0;
    if (op->kind == ROOTFS_REMOUNT)
        return 0;
    if (streq(op->dest, "/proc") && (op_is_type(op, "proc") || op->kind == ROOTFS_MOUNT_BIND))
        return 0;
    return error_set(
        e, ERROR_CONFIG, EPERM, "mount on", op->dest, "remove the mount from config.json",
        "%s: only a procfs may be mounted on /proc, and only a few of its files may be "
        "covered",
        op->origin);
}

static int plan_mount(struct rootfs_plan *plan, const struct oci_spec *spec, size_t i,
                      const char *bundle, struct error *e)
{
    const struct oci_mount *m = &spec->mounts[i];
    _cleanup_free_ char *where = str_printf("mounts[%zu].options", i);
    struct rootfs_options o;
    int r;

    if (!m->destination || !*m->destination)
        return error_set(e, ERROR_CONFIG, EINVAL, "plan mounts", NULL, NULL,
                         "mounts[%zu] has no destination", i);
    r = rootfs_options_parse(m->options, m->type && streq(m->type, "bind"), where, &o, e);
    if (r < 0)
        return r;
    struct rootfs_op *op = plan_add(plan, o.bind ? ROOTFS_MOUNT_BIND : ROOTFS_MOUNT_FS,
                                    m->destination, str_printf("mounts[%zu]", i));
    op->recursive = o.recursive;
    op->copyup = o.copyup;
    op->attr_set = o.attr_set;
    op->attr_clear = o.attr_clear;
    op->tree_set = o.tree_set;
    op->tree_clear = o.tree_clear;
    op->propagation = o.propagation;
    op->propagation_recursive = o.propagation_recursive;
    op->data = TAKE_PTR(o.data);

    if (streq(op->dest, "/"))
        return error_set(e, ERROR_CONFIG, EINVAL, "mount on", op->dest, "use root.path for it",
                         "%s: the root file system can't be covered", op->origin);
    /* A runtime that does not know the option must not ignore the maps, so they imply it. */
    o.idmap |= m->n_uid_maps || m->n_gid_maps;
    r = check_options(op, &o, e);
    if (r == 0 && o.idmap)
        r = plan_idmap(op, m, spec, o.idmap_recursive, e);
    if (r == 0)
        r = o.remount ? plan_remount(plan, op, o.bind, e)
            : o.bind  ? plan_bind(op, m, bundle, e)
                      : plan_fs(plan, op, m, e);
    if (r < 0)
        return r;
    return check_proc_dest(op, e);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void leave_text(void *text)
{
    (void)text;
}

/* A read-only tmpfs, /dev above all, gets its devices, links and nested mount points first. Where
 * something else is mounted on the same path later, only at once is right. */
static void plan_late_readonly(struct rootfs_plan *plan)
{
    void *later = NULL; /* tsearch(3): there may be thousands of mounts */

    for (size_t i = plan->n_ops; i-- > 0;) {
        struct rootfs_op *op = &plan->ops[i];
        if (op->kind == ROOTFS_MOUNT_FS && op_is_type(op, "tmpfs"))
            op->late_readonly =
                (op->attr_set & MOUNT_ATTR_RDONLY) && !tfind(op->dest, &later, compare_text);
        if (!tsearch(op->dest, &later, compare_text))
            abort();
    }
    tdestroy(later, leave_text);
}

static bool dev_is_bound(const struct rootfs_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].kind == ROOTFS_MOUNT_BIND && streq(plan->ops[i].dest, "/dev"))
            return true;
    return false;
}

static bool is_configured(const struct oci_spec *spec, const char *path)
{
    for (size_t i = 0; i < spec->n_devices; i++) {
        _cleanup_free_ char *p = path_normalize(spec->devices[i].path);
        if (streq(p, path))
            return true;
    }
    return false;
}

static struct rootfs_op *plan_device(struct rootfs_plan *plan, const char *path, mode_t mode,
                                     dev_t dev, char *origin)
{
    struct rootfs_op *op = plan_add(plan, ROOTFS_DEVICE, path, origin);

    op->source = mem_strdup(op->dest);
    op->mode = mode;
    op->dev = dev;
    return op;
}

static int plan_configured_device(struct rootfs_plan *plan, const struct oci_spec *spec, size_t i,
                                  bool bound, struct error *e)
{
    const struct oci_device *d = &spec->devices[i];
    mode_t bits = d->has_mode ? d->mode & 07777 : 0666;
    dev_t dev = d->type == S_IFIFO ? 0 : makedev(d->major, d->minor);
    struct rootfs_op *op =
        plan_device(plan, d->path, d->type | bits, dev, str_printf("linux.devices[%zu]", i));

    op->configured = true;
    op->uid = d->uid;
    op->gid = d->gid;
    op->must_exist = bound && path_is_below(op->dest, "/dev");
    if (!streq(op->dest, "/") && !path_is_below(op->dest, "/proc"))
        return 0;
    return error_set(e, ERROR_CONFIG, EINVAL, "make device", op->dest,
                     "correct its path in config.json", "%s can't be there", op->origin);
}

/* runtime-spec, "Default Devices", "Devices" and "Dev symbolic links". Where /dev is a bind mount
 * the directory is somebody else's, and complete. */
static int plan_devices(struct rootfs_plan *plan, const struct oci_spec *spec, struct error *e)
{
    static const struct {
        const char *path;
        unsigned minor, major;
    } devices[] = {
        {"/dev/null", 3, 1},   {"/dev/zero", 5, 1},    {"/dev/full", 7, 1},
        {"/dev/random", 8, 1}, {"/dev/urandom", 9, 1}, {"/dev/tty", 0, 5},
    };
    static const char *const links[][2] = {
        {"/dev/ptmx", "pts/ptmx"},          {"/dev/fd", "/proc/self/fd"},
        {"/dev/stdin", "/proc/self/fd/0"},  {"/dev/stdout", "/proc/self/fd/1"},
        {"/dev/stderr", "/proc/self/fd/2"},
    };
    bool bound = dev_is_bound(plan);

    for (size_t i = 0; !bound && i < ARRAY_SIZE(devices); i++)
        if (!is_configured(spec, devices[i].path))
            plan_device(plan, devices[i].path, S_IFCHR | 0666,
                        makedev(devices[i].major, devices[i].minor), mem_strdup("default device"));
    for (size_t i = 0; i < spec->n_devices; i++) {
        _cleanup_free_ char *path = path_normalize(spec->devices[i].path);
        /* Engines list it with the host's devices; a container has its own, by the link below. */
        if (streq(path, "/dev/ptmx"))
            continue;
        int r = plan_configured_device(plan, spec, i, bound, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; !bound && i < ARRAY_SIZE(links); i++) {
        struct rootfs_op *op =
            plan_add(plan, ROOTFS_SYMLINK, links[i][0], mem_strdup("default device"));
        op->source = mem_strdup(links[i][1]);
        op->replace = i == 0;
    }
    return 0;
}

static int plan_paths(struct rootfs_plan *plan, enum rootfs_op_kind kind, char *const *paths,
                      const char *field, struct error *e)
{
    for (size_t i = 0; paths && paths[i]; i++) {
        const struct rootfs_op *op =
            plan_add(plan, kind, paths[i], str_printf("%s[%zu]", field, i));
        if (streq(op->dest, "/"))
            return error_set(e, ERROR_CONFIG, EINVAL, "cover", op->dest, "use root.readonly",
                             "%s is the root", op->origin);
    }
    return 0;
}

static int plan_fill(struct rootfs_plan *plan, const struct oci_spec *spec, const char *bundle,
                     struct error *e)
{
    int r = plan_root(plan, spec, bundle, e);
    if (r < 0)
        return r;
    /* Everything below would happen to the host. In a namespace that is joined it happens to all
     * who are in it, which is what was asked for; the runtime's own is refused (process/join.h). */
    if (!oci_spec_isolates(spec, CLONE_NEWNS))
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "set up the root file system",
                         plan->root,
                         "add a namespace of type mount to linux.namespaces",
                         "the container has no mount namespace of its own");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        r = plan_mount(plan, spec, i, bundle, e);
        if (r < 0)
            return r;
    }
    plan_late_readonly(plan);
    r = plan_devices(plan, spec, e);
    if (r < 0)
        return r;
    r = plan_paths(plan, ROOTFS_READONLY, spec->readonly_paths, "linux.readonlyPaths", e);
    if (r < 0)
        return r;
    return plan_paths(plan, ROOTFS_MASK, spec->masked_paths, "linux.maskedPaths", e);
}

int rootfs_plan_make(const struct oci_spec *spec, const char *bundle, struct rootfs_plan *ret,
                     struct error *e)
{
    uint64_t propagation = spec->rootfs_propagation & ~(uint64_t)MS_REC;
    struct rootfs_plan plan = {
        .root_fd = -EBADF,
        .tree_fd = -EBADF,
        .readonly = spec->root_readonly,
        .propagation = propagation ? propagation : MS_PRIVATE,
        .propagation_recursive = propagation && spec->rootfs_propagation_recursive,
        .user_namespace = oci_spec_isolates(spec, CLONE_NEWUSER),
        .joined_mounts = spec->joined_namespaces & CLONE_NEWNS,
        .network_namespace = oci_spec_isolates(spec, CLONE_NEWNET),
        .cgroup_namespace = spec->new_namespaces & CLONE_NEWCGROUP,
    };

    if (spec->mount_label && *spec->mount_label) {
        plan.mount_label = mem_strdup(spec->mount_label);
        plan.mount_context = str_printf("context=%s", spec->mount_label);
    }

    int r = plan_fill(&plan, spec, bundle, e);
    if (r < 0) {
        plan_release(&plan);
        return r;
    }
    *ret = plan;
    return 0;
}
