/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/policy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/num.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "security/security.h"

/* The first release that keeps it (checkpoint-restore/criu#2228). */
#define CRIU_KEEPS_NO_NEW_PRIVS 31900

static int field(const char *text, const char *name, const char *format, unsigned long long *ret)
{
    const char *at = strstr(text, name);

    return at && sscanf(at + strlen(name), format, ret) == 1 ? 0 : -EINVAL;
}

int policy_parse_status(const char *text, struct policy_status *ret)
{
    static const char *const names[] = {
        "\nNoNewPrivs:", "\nSeccomp:", "\nCapInh:", "\nCapPrm:",
        "\nCapEff:",     "\nCapBnd:",  "\nCapAmb:",
    };
    unsigned long long v[ARRAY_SIZE(names)];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int r = field(text, names[i], i < 2 ? " %llu" : " %llx", &v[i]);
        if (r < 0)
            return r;
    }
    *ret = (struct policy_status){
        .no_new_privs = v[0] != 0,
        .seccomp = v[1],
        .inheritable = v[2],
        .permitted = v[3],
        .effective = v[4],
        .bounding = v[5],
        .ambient = v[6],
    };
    return 0;
}

/* The user namespace of a process, as the inode of its nsfs file. */
static int user_namespace(pid_t pid, ino_t *ret)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/user", (int)pid);
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    *ret = st.st_ino;
    return 0;
}

struct judge {
    const struct oci_spec *spec;
    ino_t user_ns; /* of the container's first process */
    uint64_t bounding, any;
    pid_t criu;            /* it works inside the cgroup; it and its children are not judged */
    uint32_t criu_version; /* for a dump; 0: a restore */
};

static int beyond(struct error *e, pid_t pid, const char *what, const char *remedy)
{
    _cleanup_free_ char *subject = str_printf("process %d", (int)pid);
    return error_set(e, ERROR_CHECKPOINT, EPERM, "let go on", subject, remedy, "%s", what);
}

static int judge_restored(const struct judge *j, pid_t pid, const struct policy_status *s,
                          struct error *e)
{
    static const char remedy[] = "restore it with the bundle, and the CRIU, that it was made with";
    const struct oci_process *p = j->spec->process;
    ino_t ns = 0;
    int r = user_namespace(pid, &ns);

    if (r < 0)
        return error_errno(e, r, "look at restored process", NULL);
    if (p->no_new_privileges && !s->no_new_privs)
        return beyond(e, pid, "it came back without no_new_privs, which the bundle asks for",
                      remedy);
    if (j->spec->seccomp && s->seccomp != 2)
        return beyond(e, pid, "it came back without a seccomp filter, which the bundle asks for",
                      remedy);
    if (ns != j->user_ns)
        return 0;
    uint64_t held = s->inheritable | s->permitted | s->effective | s->ambient;
    uint64_t extra = (s->bounding & ~j->bounding) | (held & ~j->any);
    for (int cap = 0; cap < 64; cap++) {
        if (!(extra >> cap & 1))
            continue;
        const char *name = capability_name(cap);
        _cleanup_free_ char *what =
            str_printf("it came back with %s, which the bundle does not give it",
                       name ? name : "a capability");
        return beyond(e, pid, what, remedy);
    }
    return 0;
}

static int judge_dump(const struct judge *j, pid_t pid, const struct policy_status *s,
                      struct error *e)
{
    if (!s->no_new_privs || j->criu_version >= CRIU_KEEPS_NO_NEW_PRIVS)
        return 0;
    _cleanup_free_ char *subject = str_printf("process %d", (int)pid);
    return error_set(e, ERROR_CRIU, EOPNOTSUPP, "checkpoint", subject,
                     "install CRIU 3.19 or newer (scripts/install-criu), or run the container "
                     "without process.noNewPrivileges",
                     "it has no_new_privs, which this CRIU would lose");
}

/* The restored processes are this process's descendants, never CRIU's. */
static bool is_criu(const struct judge *j, pid_t pid)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/status", (int)pid), *text = NULL;
    unsigned long long parent;

    if (j->criu <= 0 || pid == j->criu)
        return j->criu > 0;
    return file_read_at(AT_FDCWD, path, 0, 65536, &text, NULL) == 0 &&
           field(text, "\nPPid:", " %llu", &parent) == 0 && (pid_t)parent == j->criu;
}

static int judge_process(const struct judge *j, pid_t pid, struct error *e)
{
    if (is_criu(j, pid))
        return 0;
    _cleanup_free_ char *path = str_printf("/proc/%d/task", (int)pid);
    _cleanup_closedir_ DIR *d = opendir(path);

    /* It has ended meanwhile, and can do nothing any more. */
    if (!d)
        return errno == ENOENT ? 0 : error_errno(e, -errno, "look at process", path);
    for (struct dirent *de; (de = readdir(d));) {
        uint64_t tid;
        if (num_parse_u64_max(de->d_name, INT32_MAX, &tid) < 0)
            continue;
        _cleanup_free_ char *name = str_printf("%s/status", de->d_name), *text = NULL;
        struct policy_status s;
        int r = file_read_at(dirfd(d), name, 0, 65536, &text, NULL);
        if (r == -ENOENT || r == -ESRCH)
            continue;
        if (r == 0)
            r = policy_parse_status(text, &s);
        if (r < 0)
            return error_errno(e, r, "read status of process", path);
        r = j->criu_version ? judge_dump(j, (pid_t)tid, &s, e)
                            : judge_restored(j, (pid_t)tid, &s, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int judge_all(const struct judge *j, const char *cgroup_path, struct error *e)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = cgroup_pids(cgroup_path, &pids, &n, e);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge_process(j, pids[i], e);
    return r;
}

int policy_check(const char *cgroup_path, pid_t init, pid_t criu, const struct oci_spec *spec,
                 struct error *e)
{
    const struct oci_capabilities *c = &spec->process->capabilities;
    struct judge j = {
        .spec = spec,
        .criu = criu,
        .bounding = c->bounding,
        .any = c->bounding | c->permitted | c->inheritable | c->effective | c->ambient,
    };
    ino_t own = 0;
    int r = user_namespace(init, &j.user_ns);

    if (r == 0)
        r = user_namespace(getpid(), &own);
    if (r < 0)
        return error_errno(e, r, "look at restored process", NULL);
    if ((j.user_ns != own) != ((spec->new_namespaces & CLONE_NEWUSER) != 0))
        return beyond(e, init, "its user namespace is not what the bundle asks for",
                      "restore it with the bundle it was made with");
    return judge_all(&j, cgroup_path, e);
}

int policy_check_dump(const char *cgroup_path, uint32_t criu_version, struct error *e)
{
    struct judge j = {.criu_version = criu_version};

    return judge_all(&j, cgroup_path, e);
}
