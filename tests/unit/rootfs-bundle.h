/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "rootfs/options.h"
#include "rootfs/rootfs.h"
#include "sys/fs.h"
#include "sys/process.h"

/* A bundle below a temporary directory, and a spec that is built by hand. */

#define MAX_MOUNTS 16

struct bundle {
    char dir[64];
    char *root;    /* dir/rootfs */
    char *outside; /* dir/outside: what no container may touch */
    struct oci_spec spec;
    struct oci_mount mounts[MAX_MOUNTS];
    struct error e;
};

static inline void make_dir(const char *a, const char *b)
{
    _cleanup_free_ char *p = path_join(a, b);
    assert_int_equal(dir_make_parents(p, 0755), 0);
}

static inline void make_file(const char *a, const char *b, const char *text)
{
    _cleanup_free_ char *p = path_join(a, b);
    int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(fd);
}

static inline void make_link(const char *a, const char *b, const char *target)
{
    _cleanup_free_ char *p = path_join(a, b);
    assert_int_equal(symlink(target, p), 0);
}

static inline int setup(void **state)
{
    struct bundle *b = mem_new0(struct bundle);

    (void)umask(0022);
    strcpy(b->dir, "/tmp/nucleus-rootfs-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    assert_int_equal(chmod(b->dir, 0755), 0);
    b->root = path_join(b->dir, "rootfs");
    b->outside = path_join(b->dir, "outside");
    make_dir(b->root, "etc");
    make_dir(b->outside, ".");
    make_file(b->root, "etc/passwd", "root\n");
    make_file(b->outside, "secret", "secret\n");
    b->spec.root_path = (char *)"rootfs";
    b->spec.new_namespaces = CLONE_NEWNS;
    b->spec.mounts = b->mounts;
    *state = b;
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct bundle *b = *state;

    assert_int_equal(nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    for (size_t i = 0; i < b->spec.n_mounts; i++)
        strv_free(b->mounts[i].options);
    free(b->root);
    free(b->outside);
    error_done(&b->e);
    free(b);
    return 0;
}

/* `options` separated by commas. */
static inline void add_mount(struct bundle *b, const char *dest, const char *type,
                             const char *source, const char *options)
{
    struct oci_mount *m = &b->mounts[b->spec.n_mounts++];
    assert_true(b->spec.n_mounts <= MAX_MOUNTS);

    m->destination = (char *)(uintptr_t)dest;
    m->type = (char *)(uintptr_t)type;
    m->source = (char *)(uintptr_t)source;
    while (options && *options) {
        size_t n = strcspn(options, ",");
        strv_push(&m->options, mem_strndup(options, n));
        options += n + (options[n] == ',');
    }
}

static inline void plan_make(struct bundle *b, struct rootfs_plan *plan)
{
    int r = rootfs_plan_make(&b->spec, b->dir, plan, &b->e);
    if (r < 0) {
        _cleanup_free_ char *text = error_render(&b->e);
        fail_msg("%s", text);
    }
}

/* The plan must be refused, with this code and these words. */
static inline void assert_refused(struct bundle *b, enum error_code code, const char *words)
{
    struct rootfs_plan plan = {0};

    error_done(&b->e);
    assert_true(rootfs_plan_make(&b->spec, b->dir, &plan, &b->e) < 0);
    assert_null(plan.root);
    _cleanup_free_ char *text = error_render(&b->e);
    assert_int_equal(b->e.code, code);
    if (!strstr(text, words))
        fail_msg("'%s' is not in: %s", words, text);
}

/* What the child of run() tells. */
struct outcome {
    int r;
    char step[128], subject[256];
    int line; /* of the check that failed inside, or 0 */
};

/* Runs as the container's first process; the line of the check that failed, or 0. */
typedef int (*inside)(const struct bundle *b);
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            return __LINE__;                                                                       \
    } while (0)

static inline void child(const struct bundle *b, const struct rootfs_plan *plan, inside check,
                         int go, int out)
{
    struct outcome o = {0};
    struct rootfs_failure f = {0};
    char c;

    if (read(go, &c, 1) != 1)
        _exit(1);
    if (plan->user_namespace && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        _exit(1);
    if (plan->cgroup_namespace && unshare(CLONE_NEWCGROUP) < 0)
        _exit(1);
    (void)umask(0077); /* must not matter */
    o.r = rootfs_mount_all(plan, &f);
    if (o.r == 0)
        o.r = rootfs_pivot(plan, &f);
    if (o.r == 0 && check)
        o.line = check(b);
    if (f.step)
        snprintf(o.step, sizeof(o.step), "%s", f.step);
    if (f.subject)
        snprintf(o.subject, sizeof(o.subject), "%s", f.subject);
    if (write(out, &o, sizeof(o)) != sizeof(o))
        _exit(1);
    _exit(0);
}

static _unused_ unsigned first_id, n_ids = 65536;

static inline void write_map(pid_t pid, const char *name)
{
    char path[64], text[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    snprintf(text, sizeof(text), "0 %u %u", first_id, n_ids);
    assert_int_equal(file_write_at(AT_FDCWD, path, text), 0);
}

/* A group map of a caller without privileges. */
static inline void deny_groups(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
    assert_int_equal(file_write_at(AT_FDCWD, path, "deny"), 0);
}

static inline struct outcome run_plan(struct bundle *b, const struct rootfs_plan *plan,
                                      inside check)
{
    struct outcome o = {.r = 1};
    int go[2], out[2], pidfd = -EBADF, status = 0;

    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    /* The child of the system call has no stdio of its own to flush. */
    pid_t pid = sys_clone3(b->spec.new_namespaces & ~(uint64_t)CLONE_NEWCGROUP, -1, &pidfd);
    assert_true(pid >= 0);
    if (pid == 0)
        child(b, plan, check, go[0], out[1]);
    if (plan->user_namespace) {
        if (n_ids == 1)
            deny_groups(pid);
        write_map(pid, "uid_map");
        write_map(pid, "gid_map");
    }
    assert_int_equal(write(go[1], "", 1), 1);
    fd_close(out[1]);
    assert_int_equal(fd_read_full(out[0], &o, sizeof(o)), sizeof(o));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fd_close(go[0]);
    fd_close(go[1]);
    fd_close(out[0]);
    fd_close(pidfd);
    return o;
}

static inline struct outcome run(struct bundle *b, inside check)
{
    struct rootfs_plan plan;

    plan_make(b, &plan);
    int r = rootfs_plan_open(&plan, &b->e);
    if (r < 0) {
        _cleanup_free_ char *text = error_render(&b->e);
        fail_msg("%s", text);
    }
    struct outcome o = run_plan(b, &plan, check);
    rootfs_plan_done(&plan);
    return o;
}

static inline void assert_runs(struct bundle *b, inside check)
{
    struct outcome o = run(b, check);
    if (o.r != 0)
        fail_msg("cannot %s '%s': %s", o.step, o.subject, strerror(-o.r));
    if (o.line != 0)
        fail_msg("the check in line %d failed inside", o.line);
}

static inline void assert_fails(struct bundle *b, int r, const char *step, const char *subject)
{
    struct outcome o = run(b, NULL);
    if (o.r != r || !strstr(o.step, step) || !streq(o.subject, subject))
        fail_msg("got %d, step '%s', subject '%s'", o.r, o.step, o.subject);
}

static inline void skip_unless_root(void)
{
    if (geteuid() != 0)
        skip();
}

static inline bool is_device(const char *path, unsigned maj, unsigned min)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(maj, min);
}

static inline bool on_fs(const char *path, long magic)
{
    struct statfs sf;
    return statfs(path, &sf) == 0 && sf.f_type == magic;
}

static inline bool link_is(const char *path, const char *target)
{
    char text[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof(text) - 1);
    if (n < 0)
        return false;
    text[n] = '\0';
    return streq(text, target);
}

static inline bool has_flags(const char *path, unsigned long flags)
{
    struct statvfs sv;
    return statvfs(path, &sv) == 0 && (sv.f_flag & flags) == flags;
}

static inline bool holds(const char *path, const char *text)
{
    _cleanup_free_ char *data = NULL;
    return file_read_at(AT_FDCWD, path, 0, 1 << 20, &data, NULL) == 0 && streq(data, text);
}

static inline bool is_there(const char *dir, const char *name)
{
    _cleanup_free_ char *p = path_join(dir, name);
    struct stat st;
    return lstat(p, &st) == 0;
}

/* The last line of /proc/self/mountinfo for a mount point holds the word. */
static inline bool mountinfo_has(const char *point, const char *word)
{
    _cleanup_free_ char *data = NULL;
    char *save = NULL, *save_field = NULL;
    bool has = false;

    if (file_read_at(AT_FDCWD, "/proc/self/mountinfo", 0, 1 << 20, &data, NULL) < 0)
        return false;
    for (char *l = strtok_r(data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        bool found = strstr(l, word);
        char *field = strtok_r(l, " ", &save_field);
        for (int i = 1; field && i < 5; i++)
            field = strtok_r(NULL, " ", &save_field);
        if (field && streq(field, point))
            has = found;
    }
    return has;
}
