/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/rootfs.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "rootfs/options.h"

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

/* `kind` is that of options that set; the one behind it in the enum clears. */
static void render_attr(struct strbuf *b, enum rootfs_option_kind kind, uint64_t set,
                        uint64_t clear)
{
    for (const struct rootfs_option *o = rootfs_option_table; o->name; o++) {
        uint64_t in = o->kind == kind ? set : o->kind == kind + 1 ? clear & ~set : 0;
        if (o->value & MOUNT_ATTR__ATIME) {
            /* One field; clearing it is what "relatime" does. */
            if (o->kind == kind && (in & MOUNT_ATTR__ATIME) == o->value)
                strbuf_addf(b, " %s", o->name);
        } else if (o->kind == kind && o->value == MOUNT_ATTR_RELATIME) {
            if ((clear & MOUNT_ATTR__ATIME) && !(set & MOUNT_ATTR__ATIME))
                strbuf_addf(b, " %s", o->name);
        } else if (in & o->value) {
            strbuf_addf(b, " %s", o->name);
        }
    }
}

static void render_maps(struct strbuf *b, const char *what, const struct oci_id_map *maps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_addf(b, "%s%u:%u:%u", i ? "," : what, maps[i].container_id, maps[i].host_id,
                    maps[i].size);
}

static void render_idmap(struct strbuf *b, const struct rootfs_idmap *map)
{
    strbuf_add(b, map->recursive ? " ridmap" : " idmap");
    if (map->userns)
        strbuf_addf(b, "=%s", map->userns);
    render_maps(b, " uids=", map->uids, map->n_uids);
    render_maps(b, " gids=", map->gids, map->n_gids);
}

static void render_device(struct strbuf *b, const struct rootfs_op *op)
{
    if (S_ISFIFO(op->mode))
        strbuf_addf(b, "fifo %s %04o", op->dest, op->mode & 07777);
    else
        strbuf_addf(b, "%s %s %u:%u %04o", S_ISBLK(op->mode) ? "block device" : "device", op->dest,
                    major(op->dev), minor(op->dev), op->mode & 07777);
    if (op->uid || op->gid)
        strbuf_addf(b, " %u:%u", op->uid, op->gid);
    if (op->must_exist)
        strbuf_add(b, " (must be there)");
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
    case ROOTFS_REMOUNT:
        strbuf_addf(b, "remount %s", op->dest);
        break;
    case ROOTFS_DEVICE:
        render_device(b, op);
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
    render_attr(b, ROOTFS_OPTION_ATTR, op->attr_set, op->attr_clear);
    render_attr(b, ROOTFS_OPTION_TREE_ATTR, op->tree_set, op->tree_clear);
    if (op->late_readonly)
        strbuf_add(b, " (read-only at the end)");
    if (op->copyup)
        strbuf_add(b, " tmpcopyup");
    if (op->has_idmap)
        render_idmap(b, &op->idmap);
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

    strbuf_addf(&b, "root %s%s %s%s%s\n", plan->root, plan->readonly ? " ro" : "",
                plan->propagation_recursive ? "r" : "", propagation_name(plan->propagation),
                plan->user_namespace ? " userns" : "");
    for (size_t i = 0; i < plan->n_ops; i++)
        render_op(&b, &plan->ops[i]);
    return strbuf_take(&b);
}
