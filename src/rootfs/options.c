/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "rootfs/rootfs.h"

#define OPTION(n, kind, v)                                                                         \
    {                                                                                              \
        (n), ROOTFS_OPTION_##kind, (v), NULL                                                       \
    }
#define SUPER_CLEAR(n, off)                                                                        \
    {                                                                                              \
        (n), ROOTFS_OPTION_SUPER_CLEAR, 0, (off)                                                   \
    }
#define ATTR(n, v) OPTION(n, ATTR, v)
#define ATTR_CLEAR(n, v) OPTION(n, ATTR_CLEAR, v)
#define TREE_ATTR(n, v) OPTION(n, TREE_ATTR, v)
#define TREE_ATTR_CLEAR(n, v) OPTION(n, TREE_ATTR_CLEAR, v)
#define PROPAGATION(n, v) OPTION(n, PROPAGATION, v)

const struct rootfs_option rootfs_option_table[] = {
    ATTR("ro", MOUNT_ATTR_RDONLY),
    ATTR_CLEAR("rw", MOUNT_ATTR_RDONLY),
    ATTR("nosuid", MOUNT_ATTR_NOSUID),
    ATTR_CLEAR("suid", MOUNT_ATTR_NOSUID),
    ATTR("nodev", MOUNT_ATTR_NODEV),
    ATTR_CLEAR("dev", MOUNT_ATTR_NODEV),
    ATTR("noexec", MOUNT_ATTR_NOEXEC),
    ATTR_CLEAR("exec", MOUNT_ATTR_NOEXEC),
    ATTR("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW),
    ATTR_CLEAR("symfollow", MOUNT_ATTR_NOSYMFOLLOW),
    ATTR("nodiratime", MOUNT_ATTR_NODIRATIME),
    ATTR_CLEAR("diratime", MOUNT_ATTR_NODIRATIME),
    /* One of three values, not bits: see set_attr(). */
    ATTR("relatime", MOUNT_ATTR_RELATIME),
    ATTR_CLEAR("norelatime", MOUNT_ATTR_RELATIME),
    ATTR("noatime", MOUNT_ATTR_NOATIME),
    ATTR_CLEAR("atime", MOUNT_ATTR_NOATIME),
    ATTR("strictatime", MOUNT_ATTR_STRICTATIME),
    ATTR_CLEAR("nostrictatime", MOUNT_ATTR_STRICTATIME),

    TREE_ATTR("rro", MOUNT_ATTR_RDONLY),
    TREE_ATTR_CLEAR("rrw", MOUNT_ATTR_RDONLY),
    TREE_ATTR("rnosuid", MOUNT_ATTR_NOSUID),
    TREE_ATTR_CLEAR("rsuid", MOUNT_ATTR_NOSUID),
    TREE_ATTR("rnodev", MOUNT_ATTR_NODEV),
    TREE_ATTR_CLEAR("rdev", MOUNT_ATTR_NODEV),
    TREE_ATTR("rnoexec", MOUNT_ATTR_NOEXEC),
    TREE_ATTR_CLEAR("rexec", MOUNT_ATTR_NOEXEC),
    TREE_ATTR("rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW),
    TREE_ATTR_CLEAR("rsymfollow", MOUNT_ATTR_NOSYMFOLLOW),
    TREE_ATTR("rnodiratime", MOUNT_ATTR_NODIRATIME),
    TREE_ATTR_CLEAR("rdiratime", MOUNT_ATTR_NODIRATIME),
    TREE_ATTR("rrelatime", MOUNT_ATTR_RELATIME),
    TREE_ATTR_CLEAR("rnorelatime", MOUNT_ATTR_RELATIME),
    TREE_ATTR("rnoatime", MOUNT_ATTR_NOATIME),
    TREE_ATTR_CLEAR("ratime", MOUNT_ATTR_NOATIME),
    TREE_ATTR("rstrictatime", MOUNT_ATTR_STRICTATIME),
    TREE_ATTR_CLEAR("rnostrictatime", MOUNT_ATTR_STRICTATIME),

    OPTION("bind", BIND, 0),
    OPTION("rbind", BIND, MS_REC),
    OPTION("idmap", IDMAP, 0),
    OPTION("ridmap", IDMAP, MS_REC),
    OPTION("remount", REMOUNT, 0),
    OPTION("tmpcopyup", COPYUP, 0),

    PROPAGATION("private", MS_PRIVATE),
    PROPAGATION("rprivate", MS_PRIVATE | MS_REC),
    PROPAGATION("shared", MS_SHARED),
    PROPAGATION("rshared", MS_SHARED | MS_REC),
    PROPAGATION("slave", MS_SLAVE),
    PROPAGATION("rslave", MS_SLAVE | MS_REC),
    PROPAGATION("unbindable", MS_UNBINDABLE),
    PROPAGATION("runbindable", MS_UNBINDABLE | MS_REC),

    OPTION("sync", SUPER, 0),
    SUPER_CLEAR("async", "sync"),
    OPTION("dirsync", SUPER, 0),
    OPTION("lazytime", SUPER, 0),
    SUPER_CLEAR("nolazytime", "lazytime"),

    OPTION("defaults", NOTHING, 0),
    OPTION("silent", NOTHING, 0),
    OPTION("loud", NOTHING, 0),
    /* fsconfig(2) has no flag for it. File systems that keep a change counter do so unasked, ext4,
     * the last that wanted to be told, since Linux 6.1. */
    OPTION("iversion", NOTHING, 0),
    OPTION("noiversion", NOTHING, 0),
    /* Mandatory locks went with Linux 5.15. */
    OPTION("mand", GONE, 0),
    OPTION("nomand", NOTHING, 0),
    {NULL, ROOTFS_OPTION_NOTHING, 0, NULL},
};

const char *rootfs_option_name(size_t i)
{
    for (const struct rootfs_option *o = rootfs_option_table; o->name; o++)
        if (o->kind != ROOTFS_OPTION_GONE && i-- == 0)
            return o->name;
    return NULL;
}

static const struct rootfs_option *option_find(const char *name)
{
    for (const struct rootfs_option *o = rootfs_option_table; o->name; o++)
        if (streq(o->name, name))
            return o;
    return NULL;
}

static bool is_atime(const struct rootfs_option *o)
{
    /* RELATIME is 0, no other attribute is. */
    return o->value == MOUNT_ATTR_RELATIME || (o->value & MOUNT_ATTR__ATIME);
}

/* What is to be set, and what to be cleared before, of one mount or of a tree of them. */
static void set_attr(uint64_t *to_set, uint64_t *to_clear, const struct rootfs_option *t, bool set)
{
    if (!is_atime(t)) {
        *to_set = set ? *to_set | t->value : *to_set & ~t->value;
        *to_clear = set ? *to_clear & ~t->value : *to_clear | t->value;
        return;
    }
    /* mount_setattr() wants the whole field cleared for any change of it. "no…" leads back to the
     * kernel's default, relatime, unless another value was chosen already. */
    uint64_t now = *to_set & MOUNT_ATTR__ATIME;
    if (!set && now != 0 && now != t->value)
        return;
    *to_clear |= MOUNT_ATTR__ATIME;
    *to_set = (*to_set & ~(uint64_t)MOUNT_ATTR__ATIME) | (set ? t->value : 0);
}

static void data_remove(char **data, const char *name)
{
    char **to = data;

    for (; data && *data; data++) {
        if (streq(*data, name))
            free(*data);
        else
            *to++ = *data;
    }
    if (to)
        *to = NULL;
}

static void set_super(struct rootfs_options *o, const struct rootfs_option *t, const char *where)
{
    if (o->bind) {
        if (t->kind == ROOTFS_OPTION_SUPER)
            log_warning("%s: '%s' belongs to a file system and changes nothing on a bind mount",
                        where, t->name);
        return;
    }
    data_remove(o->data, t->off ? t->off : t->name);
    if (t->kind == ROOTFS_OPTION_SUPER)
        strv_push(&o->data, mem_strdup(t->name));
}

static int add_data(struct rootfs_options *o, const char *text, const char *where, struct error *e)
{
    if (o->bind)
        return error_set(e, ERROR_CONFIG, EINVAL, "use mount option", text,
                         "remove it, or correct its spelling",
                         "%s: a bind mount has no such option", where);
    const char *eq = strchr(text, '=');
    size_t key = eq ? (size_t)(eq - text) : strlen(text);
    if (key == 0)
        return error_set(e, ERROR_CONFIG, EINVAL, "use mount option", text, NULL,
                         "%s: the option has no name", where);
    /* fsconfig(2) copies at most 256 bytes, the NUL counted, of a key and of a value. */
    if (key > 255 || (eq && strlen(eq + 1) > 255))
        return error_set(e, ERROR_UNSUPPORTED, E2BIG, "use mount option", text,
                         "mount it on the host and bind it",
                         "%s: the kernel's mount interface takes 255 bytes for an option", where);
    strv_push(&o->data, mem_strdup(text));
    return 0;
}

static int add_option(struct rootfs_options *o, const char *text, const char *where,
                      struct error *e)
{
    const struct rootfs_option *t = option_find(text);

    if (!t)
        return add_data(o, text, where, e);
    switch (t->kind) {
    case ROOTFS_OPTION_ATTR:
    case ROOTFS_OPTION_ATTR_CLEAR:
        set_attr(&o->attr_set, &o->attr_clear, t, t->kind == ROOTFS_OPTION_ATTR);
        break;
    case ROOTFS_OPTION_TREE_ATTR:
    case ROOTFS_OPTION_TREE_ATTR_CLEAR:
        set_attr(&o->tree_set, &o->tree_clear, t, t->kind == ROOTFS_OPTION_TREE_ATTR);
        break;
    case ROOTFS_OPTION_PROPAGATION:
        o->propagation = t->value & ~(uint64_t)MS_REC;
        o->propagation_recursive = t->value & MS_REC;
        break;
    case ROOTFS_OPTION_IDMAP:
        o->idmap = true;
        o->idmap_recursive = t->value & MS_REC;
        break;
    case ROOTFS_OPTION_SUPER:
    case ROOTFS_OPTION_SUPER_CLEAR:
        set_super(o, t, where);
        break;
    case ROOTFS_OPTION_REMOUNT:
        o->remount = true;
        break;
    case ROOTFS_OPTION_COPYUP:
        o->copyup = true;
        break;
    case ROOTFS_OPTION_GONE:
        log_warning("%s: the kernel has no '%s' any more; it changes nothing", where, t->name);
        break;
    case ROOTFS_OPTION_BIND:
    case ROOTFS_OPTION_NOTHING:
        break;
    }
    return 0;
}

int rootfs_options_parse(char *const *options, bool bind, const char *where,
                         struct rootfs_options *ret, struct error *e)
{
    struct rootfs_options o = {.bind = bind};

    /* What the mount is decides about the others, wherever it stands. */
    for (size_t i = 0; options && options[i]; i++) {
        const struct rootfs_option *t = option_find(options[i]);
        if (t && t->kind == ROOTFS_OPTION_BIND) {
            o.bind = true;
            o.recursive |= t->value == MS_REC;
        }
    }
    for (size_t i = 0; options && options[i]; i++) {
        int r = add_option(&o, options[i], where, e);
        if (r < 0) {
            rootfs_options_done(&o);
            return r;
        }
    }
    *ret = o;
    return 0;
}

void rootfs_options_done(struct rootfs_options *o)
{
    strv_free(o->data);
    *o = (struct rootfs_options){0};
}
