/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
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

void rootfs_plan_done(struct rootfs_plan *plan)
{
    /* All zeros: descriptor 0 is not the plan's. */
    if (!plan->root)
        return;
    for (size_t i = 0; i < plan->n_ops; i++)
        op_done(&plan->ops[i]);
    free(plan->ops);
    free(plan->root);
    fd_close(plan->root_fd);
    fd_close(plan->tree_fd);
    *plan = (struct rootfs_plan){.root_fd = -EBADF, .tree_fd = -EBADF};
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

static int plan_fs(const struct rootfs_plan *plan, struct rootfs_op *op, const struct oci_mount *m,
                   struct error *e)
{
    if (!m->type || !*m->type || streq(m->type, "none"))
        return error_set(e, ERROR_CONFIG, EINVAL, "plan mount on", op->dest,
                         "add a type, or the option bind, to it in config.json", "%s has no type",
                         op->origin);
    op->type = mem_strdup(streq(m->type, "cgroup") ? "cgroup2" : m->type);
    op->source = mem_strdup(m->source);
    if (streq(op->type, "cgroup2")) {
        op->kind = ROOTFS_CGROUP;
        if (!plan->cgroup_namespace)
            return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "mount cgroups on", op->dest,
                             "add a namespace of type cgroup to linux.namespaces, or remove the "
                             "mount",
                             "%s: without a cgroup namespace it would show the host's whole cgroup "
                             "tree",
                             op->origin);
    }
    if ((op->attr_set & MOUNT_ATTR_RDONLY) && !is_kernel_fs(op->type))
        strv_push(&op->data, mem_strdup("ro"));
    return 0;
}

/* runc's rule: whatever is put over parts of /proc makes the runtime, or the program, believe
 * things (CVE-2019-16884). What symlinks make of a path is looked at when it is executed. */
static int check_proc_dest(const struct rootfs_op *op, struct error *e)
{
    bool proc = op->type && streq(op->type, "proc");

    if (!path_is_below(op->dest, "/proc") || procfs_may_cover(op->dest))
        return 0;
    if (streq(op->dest, "/proc") && (proc || op->kind == ROOTFS_MOUNT_BIND))
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
    op->attr_set = o.attr_set;
    op->attr_clear = o.attr_clear;
    op->propagation = o.propagation;
    op->propagation_recursive = o.propagation_recursive;
    op->data = TAKE_PTR(o.data);

    if (streq(op->dest, "/"))
        return error_set(e, ERROR_CONFIG, EINVAL, "mount on", op->dest, "use root.path for it",
                         "%s: the root file system can't be covered", op->origin);
    r = o.bind ? plan_bind(op, m, bundle, e) : plan_fs(plan, op, m, e);
    if (r < 0)
        return r;
    return check_proc_dest(op, e);
}

/* A read-only tmpfs, /dev above all, gets its devices, links and nested mount points first. Where
 * something else is mounted on the same path later, only at once is right. */
static void plan_late_readonly(struct rootfs_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        struct rootfs_op *op = &plan->ops[i];
        if (op->kind != ROOTFS_MOUNT_FS || !streq(op->type, "tmpfs"))
            continue;
        op->late_readonly = op->attr_set & MOUNT_ATTR_RDONLY;
        for (size_t j = i + 1; j < plan->n_ops; j++)
            if (streq(plan->ops[j].dest, op->dest))
                op->late_readonly = false;
    }
}

static bool dev_is_bound(const struct rootfs_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].kind == ROOTFS_MOUNT_BIND && streq(plan->ops[i].dest, "/dev"))
            return true;
    return false;
}

/* runtime-spec, "Default Devices" and "Dev symbolic links". */
static void plan_devices(struct rootfs_plan *plan)
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

    /* The directory is somebody else's, and complete. */
    if (dev_is_bound(plan))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
        struct rootfs_op *op =
            plan_add(plan, ROOTFS_DEVICE, devices[i].path, mem_strdup("default device"));
        op->source = mem_strdup(devices[i].path);
        op->mode = S_IFCHR | 0666;
        op->dev = makedev(devices[i].major, devices[i].minor);
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        struct rootfs_op *op =
            plan_add(plan, ROOTFS_SYMLINK, links[i][0], mem_strdup("default device"));
        op->source = mem_strdup(links[i][1]);
        op->replace = i == 0;
    }
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
    /* Everything below would happen to the host. */
    if (!(spec->new_namespaces & CLONE_NEWNS))
        return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "set up the root file system",
                         plan->root, "add a namespace of type mount to linux.namespaces",
                         "the container has no mount namespace of its own");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        r = plan_mount(plan, spec, i, bundle, e);
        if (r < 0)
            return r;
    }
    plan_late_readonly(plan);
    plan_devices(plan);
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
        .user_namespace = spec->new_namespaces & CLONE_NEWUSER,
        .network_namespace = spec->new_namespaces & CLONE_NEWNET,
        .cgroup_namespace = spec->new_namespaces & CLONE_NEWCGROUP,
    };

    int r = plan_fill(&plan, spec, bundle, e);
    if (r < 0) {
        rootfs_plan_done(&plan);
        return r;
    }
    *ret = plan;
    return 0;
}

/* In a child with a user namespace the clone can also be made there; whether the source is there is
 * said now. */
static int open_later(struct rootfs_op *op)
{
    struct stat st;

    if (stat(op->source, &st) < 0)
        return -errno;
    op->source_is_dir = S_ISDIR(st.st_mode);
    return 0;
}

static int open_bind(const struct rootfs_plan *plan, struct rootfs_op *op, struct error *e)
{
    struct stat st;
    int r;
    _cleanup_close_ int fd =
        sys_open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE | (op->recursive ? AT_RECURSIVE : 0u));

    if (fd == -EPERM && plan->user_namespace)
        r = open_later(op);
    else if (fd < 0)
        r = fd;
    else
        r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0) {
        bool config = r == -ENOENT || r == -ENOTDIR || r == -ELOOP;
        return error_set(e, config ? ERROR_CONFIG : ERROR_SYSTEM, -r, "bind", op->source,
                         config ? "create it, or remove the mount from config.json" : NULL,
                         "%s: %s", op->origin, strerror(-r));
    }
    if (fd >= 0) {
        op->source_is_dir = S_ISDIR(st.st_mode);
        op->source_fd = TAKE_FD(fd);
    }
    return 0;
}

static int open_device(struct rootfs_op *op, struct error *e)
{
    struct stat st;
    _cleanup_close_ int fd = sys_open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE);

    /* The child tries for itself. */
    if (fd == -EPERM)
        return 0;
    if (fd < 0)
        return error_errno(e, fd, "open device", op->source);
    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, "look at device", op->source);
    if (!S_ISCHR(st.st_mode) || st.st_rdev != op->dev)
        return error_set(e, ERROR_SYSTEM, ENODEV, "use the host's device", op->source,
                         "repair the host's /dev", "it is not character device %u:%u",
                         major(op->dev), minor(op->dev));
    op->source_fd = TAKE_FD(fd);
    return 0;
}

int rootfs_plan_open(struct rootfs_plan *plan, struct error *e)
{
    _cleanup_close_ int tree =
        sys_open_tree(plan->root_fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
    if (tree < 0 && !(tree == -EPERM && plan->user_namespace))
        return error_set(e, tree == -EPERM ? ERROR_PERMISSION : ERROR_SYSTEM, -tree,
                         "clone the root file system", plan->root,
                         tree == -EPERM ? "run as root, or with a user namespace" : NULL, NULL);
    fd_close(plan->tree_fd);
    plan->tree_fd = TAKE_FD(tree);

    for (size_t i = 0; i < plan->n_ops; i++) {
        struct rootfs_op *op = &plan->ops[i];
        int r = 0;
        if (op->kind == ROOTFS_MOUNT_BIND)
            r = open_bind(plan, op, e);
        else if (op->kind == ROOTFS_DEVICE && plan->user_namespace)
            r = open_device(op, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *propagation_name(uint64_t propagation)
{
    switch (propagation) {
    case MS_SHARED:
        return "shared";
    case MS_SLAVE:
        return "slave";
    case MS_UNBINDABLE:
        return "unbindable";
    default:
        return "private";
    }
}

static void render_attr(struct strbuf *b, const struct rootfs_op *op)
{
    uint64_t clear = op->attr_clear & ~op->attr_set;

    for (const struct rootfs_option *o = rootfs_option_table; o->name; o++) {
        uint64_t in = o->kind == ROOTFS_OPTION_ATTR         ? op->attr_set
                      : o->kind == ROOTFS_OPTION_ATTR_CLEAR ? clear
                                                            : 0;
        if (o->value & MOUNT_ATTR__ATIME) {
            /* One field; clearing it is what "relatime" does. */
            if (o->kind == ROOTFS_OPTION_ATTR && (in & MOUNT_ATTR__ATIME) == o->value)
                strbuf_addf(b, " %s", o->name);
        } else if (o->kind == ROOTFS_OPTION_ATTR && o->value == MOUNT_ATTR_RELATIME) {
            if ((op->attr_clear & MOUNT_ATTR__ATIME) && !(op->attr_set & MOUNT_ATTR__ATIME))
                strbuf_addf(b, " %s", o->name);
        } else if (in & o->value) {
            strbuf_addf(b, " %s", o->name);
        }
    }
    if (op->late_readonly)
        strbuf_add(b, " (read-only at the end)");
}

static void render_op(struct strbuf *b, const struct rootfs_op *op)
{
    switch (op->kind) {
    case ROOTFS_MOUNT_FS:
    case ROOTFS_CGROUP:
        strbuf_addf(b, "mount %s %s", op->type, op->dest);
        break;
    case ROOTFS_MOUNT_BIND:
        strbuf_addf(b, "%s %s %s", op->recursive ? "rbind" : "bind", op->source, op->dest);
        break;
    case ROOTFS_DEVICE:
        strbuf_addf(b, "device %s %u:%u %04o", op->dest, major(op->dev), minor(op->dev),
                    op->mode & 07777);
        break;
    case ROOTFS_SYMLINK:
        strbuf_addf(b, "symlink %s -> %s", op->dest, op->source);
        break;
    case ROOTFS_MASK:
        strbuf_addf(b, "mask %s", op->dest);
        break;
    case ROOTFS_READONLY:
        strbuf_addf(b, "readonly %s", op->dest);
        break;
    }
    render_attr(b, op);
    if (op->propagation)
        strbuf_addf(b, " %s%s", op->propagation_recursive ? "r" : "",
                    propagation_name(op->propagation));
    for (char **d = op->data; d && *d; d++)
        strbuf_addf(b, " %s", *d);
    strbuf_addc(b, '\n');
}

char *rootfs_plan_render(const struct rootfs_plan *plan)
{
    struct strbuf b = {0};

    strbuf_addf(&b, "root %s%s %s%s\n", plan->root, plan->readonly ? " ro" : "",
                propagation_name(plan->propagation), plan->user_namespace ? " userns" : "");
    for (size_t i = 0; i < plan->n_ops; i++)
        render_op(&b, &plan->ops[i]);
    return strbuf_take(&b);
}
