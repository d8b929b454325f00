/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/fs.h"

/* ---- in the parent ---- */

static int refuse(const char *key, const char *why, struct error *e)
{
    return error_set(e, ERROR_CONFIG, EINVAL, "use linux.sysctl", key,
                     "name it as sysctl(8) does, \"net.ipv4.ip_forward\"", "%s", why);
}

static int check_parts(const char *key, const char *path, struct error *e)
{
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0)
            return refuse(key, "a part of it is empty", e);
        if (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.')))
            return refuse(key, "a part of it is \".\" or \"..\"", e);
        p += n;
        if (!*p)
            return 0;
    }
}

static void swap_separators(char *path)
{
    for (char *p = path; *p; p++) {
        if (*p == '.')
            *p = '/';
        else if (*p == '/')
            *p = '.';
    }
}

int sysctl_plan_make(const struct oci_annotation *list, size_t n, struct sysctl_plan *ret,
                     struct error *e)
{
    struct sysctl_plan plan = {0};

    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *path = mem_strdup(list[i].key);
        swap_separators(path);
        int r = check_parts(list[i].key, path, e);
        if (r < 0) {
            sysctl_plan_done(&plan);
            return r;
        }
        mem_grow(plan.list, plan.n);
        plan.list[plan.n++] = (struct sysctl_entry){
            .key = list[i].key,
            .value = list[i].value,
            .path = str_printf("sys/%s", path),
        };
    }
    *ret = plan;
    return 0;
}

void sysctl_plan_done(struct sysctl_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        free(plan->list[i].path);
    free(plan->list);
    *plan = (struct sysctl_plan){0};
}

/* ---- in the child ---- */

static int write_one(const struct sysctl_entry *s, int procfd)
{
    uint64_t magic = 0;

    _cleanup_close_ int fd = sys_openat2(procfd, s->path, O_WRONLY | O_NOCTTY, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fd;
    int r = sys_fs_magic(fd, &magic);
    if (r < 0)
        return r;
    if (magic != PROC_SUPER_MAGIC)
        return -EXDEV;
    /* A second write would be a new value, not the rest of this one (sysctl_writes_strict). */
    size_t len = strlen(s->value);
    ssize_t n = write(fd, s->value, len);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EINVAL;
}

int sysctl_write_all(const struct sysctl_plan *plan, int procfd, const char **ret_key)
{
    for (size_t i = 0; i < plan->n; i++) {
        int r = write_one(&plan->list[i], procfd);
        if (r < 0) {
            *ret_key = plan->list[i].key;
            return r;
        }
    }
    return 0;
}
