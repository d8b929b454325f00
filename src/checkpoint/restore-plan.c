/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/restore.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/str.h"

#define ID_BYTES 16

/* ---- the checkpoint: believed only after its seal was verified ---- */

static int verify_seal(struct restore *r, struct error *e)
{
    struct seal_env env;
    struct seal_info info;
    _cleanup_key_ struct seal_key key = {0};
    seal_env_from_process(&env);
    int ret = seal_key_load(&env, false, &key, e);
    if (ret == 0)
        ret = seal_verify(r->layout.dir_fd, r->layout.dir, &key, &info, e);
    r->sealed = ret == 0;
    return ret;
}

int restore_read(struct restore *r, struct error *e)
{
    int ret = layout_open(r->o->dir, r->o->own_form, false, &r->layout, e);
    if (ret < 0)
        return ret;
    /* Once for all: a seal that appears later would be believed in a directory that is open to
     * all. */
    if (r->o->own_form || r->o->require_seal || seal_present(r->layout.dir_fd)) {
        layout_done(&r->layout);
        ret = layout_open(r->o->dir, r->o->own_form, true, &r->layout, e);
        if (ret == 0)
            ret = verify_seal(r, e);
        if (ret < 0)
            return ret;
    }
    if (r->sealed) {
        ret = checkpoint_metadata_load(r->layout.dir_fd, r->layout.dir, &r->metadata, e);
        if (ret < 0)
            return ret;
        r->has_metadata = true;
    }
    ret = checkpoint_record_load(r->layout.images_fd, r->layout.dir, &r->record, e);
    if (ret < 0)
        return ret;
    r->has_record = ret > 0;
    if (!r->has_record)
        ret = stdio_load_descriptors(r->layout.images_fd, r->layout.dir, &r->record.stdio, e);
    return ret < 0 ? ret : 0;
}

/* ---- who it will be ---- */

static int new_id(char **ret, struct error *e)
{
    unsigned char bytes[ID_BYTES];
    char text[2 * ID_BYTES + 1];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_errno(e, -errno, "make container id", NULL);
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    *ret = mem_strdup(text);
    return 0;
}

int restore_choose_identity(struct restore *r, struct error *e)
{
    int ret;

    if (r->o->id) {
        ret = state_id_check(r->o->id, e);
        if (ret < 0)
            return ret;
        r->id = mem_strdup(r->o->id);
        r->name = mem_strdup(r->id);
    } else {
        ret = new_id(&r->id, e);
        if (ret < 0)
            return ret;
        r->name = str_printf("%s-restored", r->metadata.container_name ? r->metadata.container_name
                                                                       : r->metadata.container_id);
    }
    if (r->o->bundle)
        return container_bundle_path(r->o->bundle, &r->bundle, e);

    _cleanup_state_ struct state *original = NULL;
    struct error absent = {0};
    if (r->has_metadata)
        (void)store_load(r->store, r->metadata.container_id, &original, &absent);
    error_done(&absent);
    if (!original || !original->bundle_path)
        return error_set(e, ERROR_CHECKPOINT, ENOENT, "find the bundle of container",
                         r->metadata.container_id, "pass --bundle",
                         "its record is not here any more");
    return container_bundle_path(original->bundle_path, &r->bundle, e);
}

/* ---- the bundle: what the checkpoint needs must be what the bundle gives ---- */

static int bundle_differs(struct restore *r, struct error *e, const char *fmt, const char *what)
{
    _cleanup_free_ char *config = str_printf("%s/config.json", r->bundle);
    _cleanup_free_ char *why = str_printf("%s '%s'", fmt, what);
    return error_set(e, ERROR_CHECKPOINT, EINVAL, "restore with bundle", config,
                     "use the bundle the container was made from", "%s", why);
}

static const char *external_source(const struct restore *r, const char *dest)
{
    for (size_t i = 0; i < r->n_mounts; i++)
        if (streq(r->mounts[i].key, dest))
            return r->mounts[i].value;
    return NULL;
}

/* `source` is resolved: CRIU opens it without following a symlink (open_tree in
 * criu/mount-v2.c). */
static int add_mount(struct restore *r, const char *key, const char *source, struct error *e)
{
    if (external_source(r, key))
        return 0;
    /* The container's own cgroup is canonical, and not there yet. */
    char *value = streq_ptr(r->cgroup.path, source) ? mem_strdup(source) : realpath(source, NULL);
    if (!value)
        return error_set(e, ERROR_CONFIG, errno, "open source of bind mount", source,
                         "make it, or restore with a bundle that has the mount elsewhere", NULL);
    mem_grow(r->mounts, r->n_mounts);
    r->mounts[r->n_mounts++] = (struct criu_pair){mem_strdup(key), value};
    return 0;
}

/* Bind mounts by the bundle's config. In another runtime's checkpoint masked files are external
 * too, under their own name or that of what covers them (runc); which of them exist only the
 * container's own /proc knew, so each masked path is offered. */
static int collect_mounts(struct restore *r, struct error *e)
{
    static const char null[] = "/dev/null";
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < r->n_externals; i++)
        ret = add_mount(r, r->externals[i].dest, r->externals[i].source, e);
    for (size_t i = 0; ret == 0 && !r->has_record && i < r->plan.n_ops; i++)
        if (r->plan.ops[i].kind == ROOTFS_MASK)
            ret = add_mount(r, r->plan.ops[i].dest, null, e);
    if (ret == 0 && !r->has_record)
        ret = add_mount(r, null, null, e);
    return ret;
}

static int compare_with_bundle(struct restore *r, struct error *e)
{
    if (!r->has_record)
        return 0;
    for (char **m = r->record.external_mounts; m && *m; m++)
        if (!external_source(r, *m))
            return bundle_differs(r, e, "the checkpoint needs a mount it does not have:", *m);
    for (size_t i = 0; i < r->n_externals; i++)
        if (!strv_contains(r->record.external_mounts, r->externals[i].dest))
            return bundle_differs(
                r, e, "it has a mount the checkpoint does not know:", r->externals[i].dest);
    for (int t = 0; t < _OCI_NS_MAX; t++) {
        uint64_t flag = oci_namespace_flag((enum oci_namespace_type)t);
        if ((r->record.namespaces & flag) != (r->spec->new_namespaces & flag))
            return bundle_differs(r, e, "checkpoint and bundle differ in namespace",
                                  oci_namespace_name((enum oci_namespace_type)t));
    }
    if (r->record.joined_network != (r->spec->namespace_paths[OCI_NS_NETWORK] != NULL))
        return bundle_differs(
            r, e, "checkpoint and bundle differ in whether they join a namespace of type",
            oci_namespace_name(OCI_NS_NETWORK));
    if (r->record.terminal != r->spec->process->terminal)
        return bundle_differs(r, e, "checkpoint and bundle differ in", "process.terminal");
    return 0;
}

/* Of another runtime's checkpoint nobody knows; CRIU complains where it misses one. */
static int plan_joined(struct restore *r, struct error *e)
{
    int ret = namespaces_open(r->spec, &r->joined, e);

    if (ret < 0 || (r->joined.flags & ~(uint64_t)CLONE_NEWNET) == 0)
        return ret;
    return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "restore with bundle", r->bundle,
                     "let it name no path but for the network namespace",
                     "it joins namespaces that a restored container can't");
}

int restore_plan_bundle(struct restore *r, struct error *e)
{
    int ret = bundle_config_load(r->bundle, &r->config, e);
    if (ret < 0)
        return ret;
    r->spec = r->config.spec;
    if (!r->spec->process)
        return error_set(e, ERROR_CONFIG, EINVAL, "restore with bundle", r->bundle, NULL,
                         "its config.json has no process");
    ret = container_check_terminal(r->spec->process->terminal, r->o->console_socket,
                                   !r->o->keep_console, e);
    if (ret < 0)
        return ret;
    ret = plan_joined(r, e);
    if (ret < 0)
        return ret;
    ret = rootfs_plan_make(r->spec, r->bundle, &r->plan, e);
    if (ret < 0)
        return ret;
    ret =
        container_cgroup_plan(&r->cgroup, r->spec, r->id, CGROUP_NEED_OWN, r->o->systemd_cgroup, e);
    if (ret < 0)
        return ret;
    r->plan.cgroup_path = r->cgroup.path;
    ret = rootfs_make_mountpoints(&r->plan, r->plan.root_fd, e);
    if (ret < 0)
        return ret;
    ret = rootfs_externals(&r->plan, r->plan.root_fd, &r->externals, &r->n_externals, e);
    if (ret < 0)
        return ret;
    ret = collect_mounts(r, e);
    if (ret < 0)
        return ret;
    return compare_with_bundle(r, e);
}
