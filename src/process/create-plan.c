/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/file.h"
#include "process/creation.h"
#include "sys/fs.h"
#include "sys/process.h"

/* LISTEN_PID of sd_listen_fds(3) is the program's own pid, which it alone knows before it
 * exists. */
static char *tell_listen_fds(struct creation *c)
{
    struct oci_process *p = c->config.spec->process;

    if (!c->o->listen_fds)
        return NULL;
    char *pid = str_printf("LISTEN_PID=%010d", 0);
    strv_push(&p->env, str_printf("LISTEN_FDS=%u", c->o->listen_fds));
    strv_push(&p->env, pid);
    return pid;
}

/* Two descriptors that are one thing to a shell that passes them must both be there: what follows
 * takes the numbers that are free. */
int container_check_preserved(unsigned n, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        _cleanup_free_ char *name = str_printf("%u", 3 + i);
        int flags = fcntl((int)(3 + i), F_GETFD);
        /* One that closes itself on execve was not inherited: it is nucleus's own log. */
        if (flags < 0 || flags & FD_CLOEXEC)
            return error_set(e, ERROR_USAGE, EBADF, "preserve descriptor", name,
                             "open it, or pass a smaller --preserve-fds", "it is not open");
    }
    return 0;
}

/* A namespace joined by path can be the runtime's own: what is set there is set for the host. */
static int refuse_host_namespace(enum oci_namespace_type type, const char *what, struct error *e)
{
    _cleanup_free_ char *why =
        str_printf("linux.namespaces names the runtime's own namespace of type %s, "
                   "so it would be set on the host",
                   oci_namespace_name(type));
    return error_set(e, ERROR_CONFIG, EINVAL, "use", what,
                     "give the container a namespace of its own, or leave it out", "%s", why);
}

static bool is_hosts(const struct creation *c, enum oci_namespace_type type)
{
    return c->config.spec->namespace_paths[type] && !(c->joined.flags & oci_namespace_flag(type));
}

static int check_host_namespaces(const struct creation *c, struct error *e)
{
    /* The parser has seen to it that no other keys are there. The first that matches counts. */
    static const struct {
        const char *prefix;
        enum oci_namespace_type type;
    } kinds[] = {
        {"net", OCI_NS_NETWORK},
        {"kernel.domainname", OCI_NS_UTS},
        {"kernel/domainname", OCI_NS_UTS},
        {"kernel", OCI_NS_IPC},
        {"fs", OCI_NS_IPC},
        {"user", OCI_NS_USER},
    };
    const struct oci_spec *spec = c->config.spec;

    if (is_hosts(c, OCI_NS_UTS) && (spec->hostname || spec->domainname))
        return refuse_host_namespace(OCI_NS_UTS, spec->hostname ? "hostname" : "domainname", e);
    for (size_t i = 0; i < spec->n_sysctls; i++)
        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
            if (!str_after(spec->sysctls[i].key, kinds[k].prefix))
                continue;
            if (is_hosts(c, kinds[k].type))
                return refuse_host_namespace(kinds[k].type, spec->sysctls[i].key, e);
            break;
        }
    return 0;
}

/* The container stays in the caller's user namespace, and that is one whose one group is its
 * owner's: what a rootless engine makes for a user without subordinate ids (user_namespaces(7),
 * "setgroups"). */
static int groups_are_denied(const struct oci_spec *spec, bool *ret, struct error *e)
{
    static const char file[] = "/proc/self/setgroups";
    _cleanup_free_ char *text = NULL;

    *ret = false;
    /* Of the initial one it can't be denied. */
    if (((spec->new_namespaces | spec->joined_namespaces) & CLONE_NEWUSER) ||
        sys_in_initial_user_namespace())
        return 0;
    int r = file_read_at(AT_FDCWD, file, 0, 64, &text, NULL);
    if (r < 0 && r != -ENOENT) /* a kernel without user namespaces */
        return error_errno(e, r, "read", file);
    *ret = r == 0 && str_after(text, "deny");
    return 0;
}

static int plan_ids(struct creation *c, struct error *e)
{
    const struct oci_spec *spec = c->config.spec;
    bool denied = false;
    int r = idmap_plan_make(spec, &c->idmap, e);

    if (r == 0)
        r = groups_are_denied(spec, &denied, e);
    if (r < 0 || !(denied || c->idmap.deny_setgroups))
        return r;
    if (spec->process->n_additional_gids > 0)
        return error_set(e, ERROR_PERMISSION, EPERM, "use process.user.additionalGids", NULL,
                         "leave it out, or run as root or with newgidmap",
                         "the kernel lets a user that maps only itself set no groups");
    c->security.set_groups = false;
    return 0;
}

static int plan_procfd(struct creation *c, struct error *e)
{
    const struct oci_spec *spec = c->config.spec;

    if (!(spec->new_namespaces & (CLONE_NEWUSER | CLONE_NEWTIME)) &&
        !(spec->joined_namespaces & CLONE_NEWUSER) && !spec->process->has_oom_score_adj &&
        spec->n_net_devices == 0 && c->sysctls.n == 0 && !program_needs_proc(&c->init.program))
        return 0;
    c->procfd = sys_open_private_proc();
    if (c->procfd < 0)
        return error_errno(e, c->procfd, "open a procfs of its own", "/proc");
    c->init.program.procfd = c->procfd;
    return 0;
}

static void add_offset(struct strbuf *b, const char *clock, const struct oci_time_offset *o)
{
    if (o->set)
        strbuf_addf(b, "%s %lld %u\n", clock, (long long)o->secs, o->nanosecs);
}

/* As /proc/PID/timens_offsets takes them (time_namespaces(7)). */
static char *time_offsets(const struct oci_spec *spec)
{
    struct strbuf b = {0};

    add_offset(&b, "monotonic", &spec->time_monotonic);
    add_offset(&b, "boottime", &spec->time_boottime);
    return b.len ? strbuf_take(&b) : NULL;
}

static bool has_hooks(const struct creation *c, enum oci_hook_kind kind)
{
    return c->config.spec->hooks[kind].n > 0;
}

static void plan_hooks(struct creation *c)
{
    const struct oci_spec *spec = c->config.spec;

    c->hold =
        c->o->hold || has_hooks(c, OCI_HOOK_START_CONTAINER) || has_hooks(c, OCI_HOOK_POSTSTART);
    c->init.tell_mounted = has_hooks(c, OCI_HOOK_PRESTART) || has_hooks(c, OCI_HOOK_CREATE_RUNTIME);
    if (has_hooks(c, OCI_HOOK_CREATE_CONTAINER)) {
        c->init.create_hooks = &spec->hooks[OCI_HOOK_CREATE_CONTAINER];
        c->init.create_state = &c->create_state;
    }
    if (has_hooks(c, OCI_HOOK_START_CONTAINER)) {
        c->init.program.start_hooks = &spec->hooks[OCI_HOOK_START_CONTAINER];
        c->init.program.start_state = &c->start_state;
    }
}

static void plan_init(struct creation *c)
{
    const struct oci_spec *spec = c->config.spec;

    c->init.namespaces = spec->new_namespaces;
    c->init.joined_namespaces = spec->joined_namespaces;
    c->init.rootfs = &c->rootfs;
    c->init.hostname = spec->hostname;
    c->init.domainname = spec->domainname;
    c->init.keep_keyring = c->o->keep_keyring;
    c->init.sysctls = &c->sysctls;
    c->init.time_offsets = time_offsets(spec);
    char *listen_pid = tell_listen_fds(c);
    program_plan_make(&c->init.program, spec->process, spec, &c->security, false);
    c->init.program.listen_pid = listen_pid;
    c->init.program.preserve_fds = c->o->preserve_fds;
}

static bool goes_unattended(const struct creation *c)
{
    const struct oci_spec *spec = c->config.spec;
    const struct attributes_plan *attributes = &c->init.program.attributes;
    bool from_outside = ((spec->new_namespaces | spec->joined_namespaces) & CLONE_NEWUSER) ||
                        spec->process->has_oom_score_adj || spec->n_net_devices > 0 ||
                        spec->intel_rdt || attributes->scheduler || attributes->has_io_priority ||
                        (c->cgroup.systemd && !c->cgroup.path);
    bool on_the_way = c->init.tell_mounted || c->init.create_hooks || c->init.program.start_hooks ||
                      c->init.program.terminal || (spec->seccomp && spec->seccomp->listener_path);

    return !from_outside && !on_the_way;
}

int creation_plan(struct creation *c, struct error *e)
{
    int r = container_check_preserved(c->o->preserve_fds, e);
    if (r == 0)
        r = container_bundle_path(c->o->bundle, &c->bundle, e);
    if (r == 0)
        r = bundle_config_load(c->bundle, &c->config, e);
    if (r < 0)
        return r;
    const struct oci_spec *spec = c->config.spec;
    const struct oci_process *p = spec->process;
    if (!p)
        return error_set(e, ERROR_CONFIG, EINVAL, "create container", c->o->id,
                         "add process to config.json", "config.json has no process to run");
    r = container_check_terminal(p->terminal, c->o->console_socket, !c->o->keep_console, e);
    if (r == 0)
        r = namespaces_open(spec, &c->joined, e);
    if (r == 0)
        r = check_host_namespaces(c, e);
    if (r == 0)
        r = rootfs_plan_make(spec, c->bundle, &c->rootfs, e);
    c->rootfs.no_pivot = c->o->no_pivot;
    if (r == 0)
        r = security_plan(p, spec->seccomp, c->store->dirfd, &c->security, e);
    if (r == 0)
        security_plan_grant(&c->security, oci_spec_isolates(spec, CLONE_NEWUSER));
    if (r == 0)
        r = security_check_mount_label("/sys", spec->mount_label, e);
    if (r == 0)
        r = plan_ids(c, e);
    if (r == 0)
        r = container_cgroup_plan(&c->cgroup, spec, c->o->id, c->o->cgroup_need,
                                  c->o->systemd_cgroup, e);
    if (r == 0)
        r = sysctl_plan_make(spec->sysctls, spec->n_sysctls, &c->sysctls, e);
    if (r < 0)
        return r;
    plan_init(c);
    plan_hooks(c);
    c->unattended = goes_unattended(c);
    return plan_procfd(c, e);
}
