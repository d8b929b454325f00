/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "cgroup/systemd.h"
#include "process/bundle.h"
#include "process/channel.h"
#include "process/console.h"
#include "process/rdt.h"
#include "process/exec-child.h"
#include "process/join.h"
#include "sys/fs.h"
#include "sys/process.h"

#define STEP "exec in container"

/* How long the container's own file systems may take before the lock is let go of. */
#define PATIENCE_MS 5000
/* How long to wait for the end of a container that is ending by all appearances. */
#define DYING_MS 2000

struct exec {
    const struct store *store;
    const struct container_exec_options *o;
    struct state_lock lock;
    struct state *container;
    enum state_status status;
    struct state_live live;
    struct oci_spec *spec;
    struct security_plan security;
    struct exec_plan plan;
    struct namespace_set set;
    struct join_plan spawn;
    int procfd;
    struct container_process process;
    bool pid_file_made;
    bool attach; /* systemd moves it into the cgroup */
};

static void exec_done(struct exec *x)
{
    program_plan_done(&x->plan.program);
    security_plan_done(&x->security);
    oci_spec_free(x->spec);
    namespaces_done(&x->set);
    container_process_done(&x->process);
    fd_close(x->spawn.cgroup_fd);
    fd_close(x->spawn.sync[0]);
    fd_close(x->spawn.sync[1]);
    fd_close(x->procfd);
    state_live_done(&x->live);
    state_free(x->container);
    state_lock_done(&x->lock);
}

/* ---- which container ---- */

static int wrong_status(const struct exec *x, enum state_status status, const char *rule,
                        struct error *e)
{
    return error_set(e, ERROR_WRONG_STATUS, EINVAL, STEP, x->container->id, NULL, "%s (it is %s)",
                     rule, state_status_name(status));
}

static int not_running(const struct exec *x, struct error *e)
{
    return wrong_status(x, STATE_STOPPED, "container not running", e);
}

/* It may take for ever, so the caller's signals must work, whatever foreground_prepare() has
 * done. */
static int await_resume(const struct exec *x, struct error *e)
{
    sigset_t none, before;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, &before);
    int r = cgroup_await_thaw(x->container->cgroup_path, x->live.pidfd, e);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}

/* What is true now, and under the lock. */
static int look_at_container(struct exec *x, struct error *e)
{
    int r = container_open(x->store, x->o->ref, &x->lock, &x->container, e);

    if (r < 0)
        return r;
    x->status = container_status_locked(x->store, x->container);
    if (x->status == STATE_STOPPED)
        return wrong_status(x, x->status, "cannot exec in a stopped container", e);
    state_live(x->container, -EBADF, &x->live);
    if (!x->live.running)
        return not_running(x, e);
    if (x->live.pidfd < 0)
        return error_set(e, ERROR_SYSTEM, EMFILE, STEP, x->container->id, NULL,
                         "its first process can't be held on to");
    return 0;
}

/* Waits for a paused one without the lock: `resume` takes it, too. */
static int open_container(struct exec *x, struct error *e)
{
    int r = look_at_container(x, e);

    while (r == 0 && x->status == STATE_PAUSED) {
        if (!x->o->ignore_paused)
            return wrong_status(
                x, x->status, "cannot exec in a paused container (use --ignore-paused to override)",
                e);
        state_lock_done(&x->lock);
        r = await_resume(x, e);
        state_live_done(&x->live);
        state_free(TAKE_PTR(x->container));
        if (r == 0)
            r = look_at_container(x, e);
    }
    return r;
}

/* ---- its cgroup ---- */

static int open_cgroup_dir(const char *path, int *ret, struct error *e)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "open the container's cgroup", path, NULL, NULL);
    *ret = fd;
    return 0;
}

/* As runc has it: below the container's, whether or not it begins with a slash. */
static int open_sub_cgroup(int cgroup, const char *sub, int *ret, struct error *e)
{
    const char *path = sub + strspn(sub, "/");

    if (strchr(sub, ':'))
        return error_set(e, ERROR_USAGE, EINVAL, "use --cgroup", sub, "give a path alone",
                         "controllers have no cgroups of their own in cgroup v2");
    int fd = sys_openat2(cgroup, *path ? path : ".", O_PATH | O_DIRECTORY, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd == -EXDEV)
        return error_set(e, ERROR_USAGE, EXDEV, "use --cgroup", sub, NULL,
                         "it is not below the container's cgroup");
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, -fd, "open the sub-cgroup", sub,
                         "make it first, or leave --cgroup out", NULL);
    *ret = fd;
    return 0;
}

static int plan_cgroup(struct exec *x, struct error *e)
{
    const char *path = x->container->cgroup_path, *sub = x->o->cgroup;
    _cleanup_close_ int fd = -EBADF;

    if (!path)
        return sub ? container_check_cgroup(x->container, "use --cgroup in container", e) : 0;
    int r = open_cgroup_dir(path, &fd, e);
    if (r == 0 && sub)
        return open_sub_cgroup(fd, sub, &x->spawn.cgroup_fd, e);
    x->spawn.cgroup_fd = TAKE_FD(fd);
    return r;
}

/* A container may have moved its processes further down and passed its controllers on: then its
 * cgroup takes none any more (cgroup-v2.rst, "No Internal Process Constraint"), but the one of its
 * first process does. */
static int use_cgroup_of_first_process(struct exec *x, struct error *e)
{
    _cleanup_free_ char *file = str_printf("%d/cgroup", (int)x->container->pid), *text = NULL;
    _cleanup_free_ char *path = NULL;
    struct cgroup_host host = {0};
    int r = file_read_at(x->procfd, file, 0, (size_t)1 << 20, &text, NULL);

    if (r < 0)
        return error_errno(e, r, "read the cgroup of the container's first process", file);
    r = cgroup_host_probe(AT_FDCWD, &host, e);
    if (r < 0)
        return r;
    /* The line of the v2 hierarchy, cgroups(7). */
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (line && host.mount) {
        line = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        path = path_join(host.mount, line);
    }
    cgroup_host_done(&host);
    if (!path || !path_is_below(path, x->container->cgroup_path))
        return error_set(e, ERROR_CGROUP, EBUSY, "add a process to the container's cgroup",
                         x->container->cgroup_path, "name a cgroup below it with --cgroup",
                         "it has passed its controllers on, and its first process is elsewhere");
    x->spawn.cgroup_fd = fd_close(x->spawn.cgroup_fd);
    return open_cgroup_dir(path, &x->spawn.cgroup_fd, e);
}

/* ---- planning ---- */

/* In a user namespace whose one group is its owner's there is no setgroups(2)
 * (user_namespaces(7)). */
static int plan_groups(struct exec *x, struct error *e)
{
    _cleanup_free_ char *file = str_printf("%d/setgroups", (int)x->container->pid), *text = NULL;
    int r = file_read_at(x->procfd, file, 0, 64, &text, NULL);

    if (r == -ENOENT)
        return 0; /* a kernel without user namespaces */
    if (r < 0)
        return error_errno(e, r, "read", file);
    if (!str_after(text, "deny"))
        return 0;
    if (x->security.n_additional_gids > 0)
        return error_set(e, ERROR_PERMISSION, EPERM, "set additional groups in container",
                         x->container->id, "leave them out",
                         "its user namespace allows none (setgroups is denied)");
    x->security.set_groups = false;
    return 0;
}

static int plan_namespaces(struct exec *x, struct error *e)
{
    int r = namespaces_open_of(x->procfd, x->container->pid, &x->set, e);

    if (r < 0)
        return r;
    if (!(x->set.flags & CLONE_NEWNS))
        return error_set(e, ERROR_UNSUPPORTED, EINVAL, STEP, x->container->id,
                         "call nucleus from outside of the container",
                         "its mount namespace is the caller's own");
    /* One that its first process made for itself is that process's to rule: "root" in there would
     * be whoever it says. */
    if ((x->set.flags & CLONE_NEWUSER) && !oci_spec_isolates(x->spec, CLONE_NEWUSER))
        return error_set(
            e, ERROR_PERMISSION, EPERM, STEP, x->container->id, NULL,
            "its first process is in a user namespace that its config.json does not have");
    return 0;
}

static int plan(struct exec *x, struct error *e)
{
    const struct container_exec_options *o = x->o;
    int r = container_load_spec(x->store, x->container, &x->spec, e);
    if (r < 0)
        return r;
    if (!x->spec->process)
        return error_set(e, ERROR_CONFIG, EINVAL, STEP, x->container->id, NULL,
                         "its config.json has no process");
    r = exec_process_make(&x->spec->process, &o->process, e);
    if (r < 0)
        return r;
    const struct oci_process *p = x->spec->process;
    r = container_check_terminal(p->terminal, o->console_socket, !o->keep_console, e);
    if (r == 0)
        r = security_plan(p, x->spec->seccomp, x->store->dirfd, &x->security, e);
    if (r < 0)
        return r;
    security_plan_grant(&x->security, oci_spec_isolates(x->spec, CLONE_NEWUSER));
    x->procfd = sys_open_private_proc();
    if (x->procfd < 0)
        return error_errno(e, x->procfd, "open a procfs of its own", "/proc");
    r = plan_groups(x, e);
    if (r == 0)
        r = plan_namespaces(x, e);
    if (r == 0)
        r = plan_cgroup(x, e);
    if (r < 0)
        return r;

    program_plan_make(&x->plan.program, p, x->spec, &x->security, true);
    x->plan.program.preserve_fds = o->preserve_fds;
    if (program_needs_proc(&x->plan.program))
        x->plan.program.procfd = x->procfd;
    x->plan.other_user_namespace = x->set.flags & CLONE_NEWUSER;
    return 0;
}

/* ---- the process ---- */

static void let_go_of_lock(void *arg)
{
    struct exec *x = arg;

    log_debug("container '%s' is slow to take a process; its lock is released", x->container->id);
    state_lock_done(&x->lock);
}

/* Another way in, after the kernel has refused to have it born in the cgroup. */
static int join_elsewhere(struct exec *x, int refused, struct error *why, struct error *e)
{
    int r = 0;

    if (refused == -EBUSY && !x->o->cgroup) {
        r = use_cgroup_of_first_process(x, e);
    } else if (refused == -EACCES && x->container->systemd_unit) {
        /* A user whose session is in another branch than the user's manager may move nothing from
         * here to there (cgroups(7), "Cgroups delegation"); the manager can have it done. */
        x->attach = true;
        x->spawn.cgroup_fd = fd_close(x->spawn.cgroup_fd);
        /* The static executable hands over here, before there is another process to lose. */
        r = cgroup_systemd_prepare(e);
    } else {
        error_move(e, why);
        return refused;
    }
    error_done(why);
    return r < 0 ? r : join_spawn(&x->spawn, &x->process.pid, &x->process.pidfd, e);
}

static int join(struct exec *x, struct error *e)
{
    struct error why = {0};
    int r = join_spawn(&x->spawn, &x->process.pid, &x->process.pidfd, &why);

    if (r < 0 && x->spawn.cgroup_fd >= 0)
        return join_elsewhere(x, r, &why, e);
    if (r < 0)
        error_move(e, &why);
    return r;
}

/* It is born with the container's oom_score_adj: this process takes that on for a moment.
 * Afterwards an ordinary user could not write the file of one that is closed to everybody
 * (PR_SET_DUMPABLE). */
static int join_with_oom_score(struct exec *x, struct error *e)
{
    const struct oci_process *p = x->spec->process;
    _cleanup_free_ char *own = NULL;

    if (!p->has_oom_score_adj)
        return join(x, e);
    int r = file_read_at(x->procfd, "self/oom_score_adj", 0, 64, &own, NULL);
    if (r < 0)
        return error_errno(e, r, "read", "/proc/self/oom_score_adj");
    r = container_set_oom_score(x->procfd, getpid(), p->oom_score_adj, e);
    if (r == 0)
        r = join(x, e);
    (void)file_write_at(x->procfd, "self/oom_score_adj", own);
    return r;
}

static int spawn(struct exec *x, struct error *e)
{
    int r = channel_open(x->spawn.sync, e);

    if (r == 0)
        r = attributes_begin(&x->plan.program.attributes, e);
    if (r < 0)
        return r;
    x->plan.program.sync_fd = x->spawn.sync[1];
    x->spawn.set = &x->set;
    x->spawn.id = x->container->id;
    x->spawn.run = exec_run;
    x->spawn.arg = &x->plan;
    x->spawn.slow = let_go_of_lock;
    x->spawn.lock_fd = &x->lock.fd;
    x->spawn.patience_ms = PATIENCE_MS;
    x->spawn.slow_arg = x;
    return join_with_oom_score(x, e);
}

static int attach(struct exec *x, struct error *e)
{
    _cleanup_free_ char *below = x->o->cgroup ? path_join("/", x->o->cgroup) : NULL;

    return cgroup_systemd_attach(x->container->systemd_unit, true, below, x->process.pid, e);
}

static int take_console(void *arg, int master, struct error *e)
{
    struct exec *x = arg;

    if (x->o->console_socket) {
        int r = console_send(x->o->console_socket, master, e);
        fd_close(master);
        return r;
    }
    fd_close(x->process.console_fd);
    x->process.console_fd = master;
    return 0;
}

static int pass_listener(void *arg, int listener, struct error *e)
{
    struct exec *x = arg;
    _cleanup_close_ int fd = listener;
    _cleanup_free_ char *state = state_render_oci(x->container, x->status);

    return seccomp_notify_agent(x->spec->seccomp, fd, x->process.pid, state, e);
}

/* The group is there, or is what it would be made as. */
static int join_rdt_group(struct exec *x, struct error *e)
{
    _cleanup_rdt_ struct rdt_group group = RDT_GROUP_EMPTY;

    if (!x->spec->intel_rdt)
        return 0;
    int r = rdt_prepare(x->spec->intel_rdt, x->container->id, RDT_ROOT, false, &group, e);
    return r < 0 ? r : rdt_enter(&group, x->process.pid, e);
}

static int set_up(struct exec *x, struct error *e)
{
    const struct channel_handler handler = {
        .console = take_console,
        .seccomp = pass_listener,
        .slow = let_go_of_lock,
        .patience_ms = PATIENCE_MS,
        .arg = x,
    };
    int r = x->attach ? attach(x, e) : 0;

    if (r == 0)
        r = join_rdt_group(x, e);
    if (r == 0)
        r = channel_say(x->spawn.sync[0], PROGRAM_GO, x->container->id, e);

    if (r == 0)
        r = channel_await_ready(x->spawn.sync[0], x->container->id, &handler, e);
    if (r == 0)
        r = attributes_give(&x->plan.program.attributes, x->process.pid, e);
    return r;
}

/* Those who are to know of the process learn of it before the program runs. */
static int announce(struct exec *x, struct error *e)
{
    int r = 0;

    if (x->o->pid_file) {
        r = container_write_pid_file(x->o->pid_file, x->process.pid, e);
        x->pid_file_made = r == 0;
    }
    if (r == 0 && x->o->pidfd_socket)
        r = socket_send_fd(x->o->pidfd_socket, x->process.pidfd, "pidfd", e);
    return r;
}

static int release(struct exec *x, struct error *e)
{
    /* One without a pid namespace would be outlived by what is added to it now. */
    if (sys_pidfd_wait(x->live.pidfd, 0) == 0)
        return not_running(x, e);
    int r = channel_say(x->spawn.sync[0], PROGRAM_COMMIT, x->container->id, e);
    if (r < 0)
        return r;
    if (!channel_await_news(x->spawn.sync[0], PATIENCE_MS))
        let_go_of_lock(x);
    return channel_await_exec(x->spawn.sync[0], x->container->id, e);
}

/* ---- failure ---- */

static void take_back(struct exec *x)
{
    if (x->process.pid > 0) {
        (void)sys_pidfd_send_signal(x->process.pidfd, SIGKILL);
        while (waitpid(x->process.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (x->pid_file_made)
        (void)unlink(x->o->pid_file);
}

/* A container that ends at this very moment shows in many ways: its processes are killed (ECHILD),
 * its pid namespace takes no new one (ENOMEM, kernel/pid.c), its files in /proc can't be read
 * (ESRCH). The first process ends after all the others of its pid namespace, so it is waited
 * for. */
static int explain(const struct exec *x, int r, struct error *e)
{
    bool dying = r == -ECHILD || r == -ENOMEM || r == -ESRCH;

    if (!e || e->code != ERROR_SYSTEM || x->live.pidfd < 0)
        return r;
    if (sys_pidfd_wait(x->live.pidfd, dying ? DYING_MS : 0) < 0)
        return r;
    return not_running(x, e);
}

int container_exec(const struct store *store, const struct container_exec_options *o,
                   struct container_process *ret, struct error *e)
{
    _cleanup_(exec_done) struct exec x = {
        .store = store,
        .o = o,
        .lock = {.fd = -EBADF},
        .live = {.pidfd = -EBADF},
        .set = NAMESPACE_SET_EMPTY,
        .spawn = {.cgroup_fd = -EBADF, .sync = {-EBADF, -EBADF}},
        .procfd = -EBADF,
        .process = {.pidfd = -EBADF, .console_fd = -EBADF},
    };
    int r = open_container(&x, e);

    if (r == 0)
        r = plan(&x, e);
    if (r == 0)
        r = spawn(&x, e);
    if (r == 0)
        r = set_up(&x, e);
    if (r == 0)
        r = announce(&x, e);
    if (r == 0)
        r = release(&x, e);
    if (r < 0) {
        take_back(&x);
        return explain(&x, r, e);
    }
    log_debug("container '%s': process %d was added", x.container->id, (int)x.process.pid);
    *ret = x.process;
    x.process = (struct container_process){.pidfd = -EBADF, .console_fd = -EBADF};
    return 0;
}
