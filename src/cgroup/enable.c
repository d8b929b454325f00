/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/write.h"

/* Where v1 has it: "memory (/sys/fs/cgroup/memory)"; io is called blkio there. NULL: nowhere. */
static const char *find_v1(const struct cgroup_host *host, const char *controller)
{
    const char *name = streq(controller, "io") ? "blkio" : controller;

    for (char *const *v = host->v1_controllers; v && *v; v++) {
        const char *rest = str_after(*v, name);
        if (rest && *rest == ' ')
            return *v;
    }
    return NULL;
}

static int no_controller(const struct cgroup_host *host, const char *file, const char *controller,
                         struct error *e)
{
    const char *v1 = find_v1(host, controller);

    if (v1)
        return error_set(e, ERROR_CGROUP, ENOENT, "set the limit", file,
                         "boot with cgroup v2 alone (cgroup_no_v1=all), or run without this limit",
                         "the controller is not in the v2 hierarchy at %s: it is bound to cgroup "
                         "v1, as %s",
                         host->mount, v1);
    return error_set(e, ERROR_CGROUP, ENOENT, "set the limit", file,
                     "use a kernel that has it, without cgroup_disable= or a container around it "
                     "that keeps it back, or run without this limit",
                     "the controller %s is not in the v2 hierarchy at %s", controller, host->mount);
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
        size_t k = strcspn(p, " \n");
        if (k == n && memcmp(p, word, n) == 0)
            return true;
        p += k;
    }
    return false;
}

static int enable_failed(int r, const char *words, const char *file, struct error *e)
{
    const char *remedy = NULL;

    switch (r) {
    case -EBUSY:
        remedy = "move the processes of that cgroup into a child of it: with processes of its own "
                 "it can't share out controllers (cgroup-v2.rst, no internal process constraint)";
        break;
    case -ENOENT:
        remedy = "enable the controller in its parent's cgroup.subtree_control";
        break;
    case -EROFS:
        remedy =
            "remount the cgroup2 file system read-write (mount -o remount,rw), or have a cgroup "
            "delegated with this controller";
        break;
    case -EACCES:
    case -EPERM:
        remedy = "run as root, or have the cgroup delegated with this controller";
        break;
    case -EOPNOTSUPP:
        remedy = "choose a linux.cgroupsPath outside of threaded cgroups";
        break;
    default:
        break;
    }
    _cleanup_free_ char *step = str_printf("enable the controllers %s in", words);
    return error_set(e, ERROR_CGROUP, -r, step, file, remedy, NULL);
}

/* One write for all that are missing: each costs the kernel a grace period. */
static int enable_in(const char *dir, char *const *controllers, struct error *e)
{
    _cleanup_free_ char *file = path_join(dir, "cgroup.subtree_control"), *text = NULL;
    _cleanup_strbuf_ struct strbuf words = {0};

    int r = file_read_at(AT_FDCWD, file, 0, 4096, &text, NULL);
    for (char *const *c = controllers; *c; c++)
        if (r < 0 || !has_word(text, *c))
            strbuf_addf(&words, "%s+%s", words.len ? " " : "", *c);
    if (r == 0 && words.len > 0)
        r = file_write_at(AT_FDCWD, file, words.s);
    return r < 0 ? enable_failed(r, words.s, file, e) : 0;
}

int cgroup_enable(const struct cgroup_host *host, const char *path, char *const *controllers,
                  const char *file, struct error *e)
{
    if (!host->mount || !path_is_below(path, host->mount) || streq(path, host->mount))
        return error_set(e, ERROR_CGROUP, EINVAL, "set the limit", file, NULL,
                         "the cgroup %s does not lie below the cgroup2 mount (%s)", path,
                         host->mount ? host->mount : "there is none");
    if (host->mount_only) {
        struct cgroup_host whole = {0};
        int r = cgroup_host_probe(AT_FDCWD, &whole, e);
        if (r == 0)
            r = cgroup_enable(&whole, path, controllers, file, e);
        cgroup_host_done(&whole);
        return r;
    }
    for (char *const *c = controllers; *c; c++)
        if (!strv_contains(host->controllers, *c))
            return no_controller(host, file, *c, e);

    _cleanup_free_ char *dir = mem_strdup(path);
    for (size_t n = strlen(host->mount);;) {
        char saved = dir[n];
        dir[n] = '\0';
        int r = enable_in(*dir ? dir : "/", controllers, e);
        dir[n] = saved;
        if (r < 0)
            return r;
        n++;
        n += strcspn(dir + n, "/");
        if (dir[n] == '\0')
            return 0;
    }
}
