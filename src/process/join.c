/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/join.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "process/channel.h"
#include "sys/process.h"

/* The file's name in /proc/PID/ns. */
static const char *const file_names[] = {
    [OCI_NS_PID] = "pid",       [OCI_NS_NETWORK] = "net", [OCI_NS_MOUNT] = "mnt",
    [OCI_NS_IPC] = "ipc",       [OCI_NS_UTS] = "uts",     [OCI_NS_USER] = "user",
    [OCI_NS_CGROUP] = "cgroup", [OCI_NS_TIME] = "time",
};

/* The user namespace first: its rights are what the others may be joined by. The mount namespace
 * last: paths mean something else behind it. */
static const enum oci_namespace_type order[] = {
    OCI_NS_USER, OCI_NS_PID,    OCI_NS_NETWORK, OCI_NS_IPC,
    OCI_NS_UTS,  OCI_NS_CGROUP, OCI_NS_TIME,    OCI_NS_MOUNT,
};

static void add(struct namespace_set *set, enum oci_namespace_type type, int fd)
{
    set->fd[type] = fd;
    set->flags |= oci_namespace_flag(type);
}

void namespaces_done(struct namespace_set *set)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->fd); i++)
        set->fd[i] = fd_close(set->fd[i]);
    set->flags = 0;
}

static bool same_file(int fd, const struct stat *other)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == other->st_dev && st.st_ino == other->st_ino;
}

/* 1 where it is the caller's own: there is nothing to join, and setns(2) refuses a user namespace
 * that one is in already. */
static int check_path(int fd, enum oci_namespace_type type, const char *path, struct error *e)
{
    static const char step[] = "join namespace";
    _cleanup_free_ char *own_path = str_printf("/proc/self/ns/%s", file_names[type]);
    struct stat own;
    int found = ioctl(fd, NS_GET_NSTYPE);

    if (found < 0)
        return error_set(e, ERROR_CONFIG, EINVAL, step, path,
                         "name a file like /proc/PID/ns/net or a bind mount of one",
                         "it is no namespace");
    if ((uint64_t)found != oci_namespace_flag(type))
        return error_set(e, ERROR_CONFIG, EINVAL, step, path, NULL, "it is not of type %s",
                         oci_namespace_name(type));
    if (stat(own_path, &own) < 0)
        return error_errno(e, -errno, "look at namespace", own_path);
    if (!same_file(fd, &own))
        return 0;
    if (type == OCI_NS_MOUNT)
        return error_set(e, ERROR_CONFIG, EINVAL, step, path,
                         "leave the path out for a new mount namespace",
                         "the container's root would become that of the host");
    return 1;
}

int namespaces_open(const struct oci_spec *spec, struct namespace_set *ret, struct error *e)
{
    _cleanup_namespaces_ struct namespace_set set = NAMESPACE_SET_EMPTY;

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        const char *path = spec->namespace_paths[order[i]];
        if (!path)
            continue;
        /* Not blocking: it might name a FIFO. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            return error_set(e, ERROR_CONFIG, errno, "open namespace", path, NULL, NULL);
        int r = check_path(fd, order[i], path, e);
        if (r < 0)
            return r;
        if (r == 0)
            add(&set, order[i], TAKE_FD(fd));
    }
    *ret = set;
    set = (struct namespace_set)NAMESPACE_SET_EMPTY;
    return 0;
}

int namespaces_open_of(int procfd, pid_t pid, struct namespace_set *ret, struct error *e)
{
    _cleanup_namespaces_ struct namespace_set set = NAMESPACE_SET_EMPTY;

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        char own[32], theirs[32];
        struct stat st;
        (void)snprintf(own, sizeof(own), "self/ns/%s", file_names[order[i]]);
        (void)snprintf(theirs, sizeof(theirs), "%d/ns/%s", (int)pid, file_names[order[i]]);
        _cleanup_close_ int fd = openat(procfd, theirs, O_RDONLY | O_CLOEXEC);
        /* A kernel without this kind of namespace has no such file. */
        if (fd < 0 && errno == ENOENT && fstatat(procfd, own, &st, 0) < 0)
            continue;
        /* A process that is ending has left its namespaces before it leaves /proc. */
        if (fd < 0)
            return error_set(e, ERROR_SYSTEM, errno == ENOENT ? ESRCH : errno,
                             "open namespace of the container", theirs, NULL, NULL);
        if (fstatat(procfd, own, &st, 0) < 0)
            return error_errno(e, -errno, "look at namespace", own);
        if (!same_file(fd, &st))
            add(&set, order[i], TAKE_FD(fd));
    }
    *ret = set;
    set = (struct namespace_set)NAMESPACE_SET_EMPTY;
    return 0;
}

/* ---- the process in between; nothing allocates ---- */

static _noreturn_ void between_failed(const struct program_plan *plan, const char *step,
                                      const char *subject)
{
    program_fail(plan, errno, step, subject);
}

/* Whoever owns a namespace has to be the one who joins it: the host's root for a network namespace
 * that an engine has made there, the root of the container's user namespace for what was made
 * inside. So what the caller may join comes first, then the user namespace, then what that one's
 * rights are for. */
static void join_all(const struct namespace_set *set, const struct program_plan *channel)
{
    bool joined[_OCI_NS_MAX] = {false};

    /* Behind it they could no longer be given up where that user namespace denies setgroups(2), and
     * whoever owns it would have the host's groups in what runs there. An ordinary user may not,
     * here or there. */
    if (set->fd[OCI_NS_USER] >= 0 && syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
        between_failed(channel, "drop additional groups", NULL);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
            enum oci_namespace_type type = order[i];
            bool early = round == 0 && set->fd[OCI_NS_USER] >= 0;
            if (set->fd[type] < 0 || joined[type] || (early && type == OCI_NS_USER))
                continue;
            joined[type] = setns(set->fd[type], (int)oci_namespace_flag(type)) == 0;
            if (!joined[type] && !(early && errno == EPERM))
                between_failed(channel, "join namespace of type", oci_namespace_name(type));
        }
}

static _noreturn_ void join_and_spawn(const struct join_plan *plan)
{
    const struct program_plan channel = {.sync_fd = plan->sync[1]};
    int pidfd = -EBADF;

    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    join_all(plan->set, &channel);
    pid_t pid = sys_clone3_sibling(plan->new_namespaces, &pidfd);
    if (pid == 0)
        plan->run(plan->arg);
    if (pid < 0) {
        errno = (int)-pid;
        between_failed(&channel, "make process in the joined namespaces", NULL);
    }
    program_send(&channel, PROGRAM_SPAWNED, (int)pid, NULL, NULL, pidfd);
    _exit(EXIT_SUCCESS);
}

/* ---- the parent ---- */

static int await_spawned(struct join_plan *plan, pid_t *ret_pid, int *ret_pidfd, struct error *e)
{
    struct program_message m;
    int fd = -EBADF;
    /* What it said is there by now. One that was killed may have left a process that holds the
     * other end, and waits for this one. */
    int r = channel_await_news(plan->sync[0], 0) ? channel_hear(plan->sync[0], plan->id, &m, &fd, e)
                                                 : 0;

    if (r < 0)
        return r;
    if (r > 0 && m.event == PROGRAM_SPAWNED && fd >= 0 && m.errnum > 0) {
        *ret_pid = m.errnum;
        *ret_pidfd = fd;
        return 0;
    }
    fd_close(fd);
    if (r > 0 && m.event == PROGRAM_FAILED)
        return channel_failed(&m, e);
    return error_set(e, ERROR_SYSTEM, ECHILD, "join namespaces of container", plan->id, NULL,
                     "the process that was to do it has ended");
}

static int cannot_clone(const struct join_plan *plan, pid_t r, struct error *e)
{
    return error_set(e, ERROR_SYSTEM, (int)-r, "make namespaces for container", plan->id,
                     r == -EPERM ? "run nucleus as root, or add a user namespace" : NULL, NULL);
}

int join_spawn(struct join_plan *plan, pid_t *ret_pid, int *ret_pidfd, struct error *e)
{
    _cleanup_close_ int between = -EBADF;
    bool direct = plan->set->flags == 0;

    /* Buffers that stdio still holds would be written twice. */
    (void)fflush(NULL);
    pid_t pid = sys_clone3(direct ? plan->new_namespaces : 0, plan->cgroup_fd,
                           direct ? ret_pidfd : &between);
    if (pid == 0) {
        (void)close(plan->sync[0]);
        /* flock(2) goes with the open file: a child that was frozen or stopped on its way would
         * keep the lock when this process is killed. */
        if (plan->lock_fd && *plan->lock_fd >= 0)
            (void)close(*plan->lock_fd);
        if (!direct)
            join_and_spawn(plan);
        plan->run(plan->arg);
    }
    if (pid < 0)
        return cannot_clone(plan, pid, e);
    if (direct) {
        *ret_pid = pid;
        plan->sync[1] = fd_close(plan->sync[1]);
        return 0;
    }
    /* A cgroup that the container has frozen freezes what is born in it. */
    if (plan->slow && sys_pidfd_wait(between, plan->patience_ms) == -ETIMEDOUT)
        plan->slow(plan->slow_arg);
    /* The real process has the other end, too, by now or never. */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    plan->sync[1] = fd_close(plan->sync[1]);
    return await_spawned(plan, ret_pid, ret_pidfd, e);
}
