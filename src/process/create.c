/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cgroup/devices.h"
#include "process/channel.h"
#include "process/console.h"
#include "process/idmap.h"
#include "process/init.h"
#include "sys/fs.h"
#include "sys/process.h"

/* What exists so far of a container that is being made; taken back when a later step fails. */
struct creation {
    const struct store *store;
    const struct container_create_options *o;
    char *bundle;
    struct oci_spec *spec;
    struct rootfs_plan rootfs;
    struct security_plan security;
    struct init_plan init;
    struct cgroup_host host;
    char *cgroup_path;
    int cgroup_fd;
    char *fifo;
    int fifo_fd;
    int sync[2]; /* parent's end, child's end */
    struct state *record;
    struct container_process process;
    bool fifo_made, record_saved, cgroup_made, pid_file_made;
};

void container_process_done(struct container_process *p)
{
    p->pidfd = fd_close(p->pidfd);
    p->console_fd = fd_close(p->console_fd);
}

static void creation_done(struct creation *c)
{
    rootfs_plan_done(&c->rootfs);
    security_plan_done(&c->security);
    program_plan_done(&c->init.program);
    cgroup_host_done(&c->host);
    oci_spec_free(c->spec);
    state_free(c->record);
    fd_close(c->cgroup_fd);
    fd_close(c->fifo_fd);
    fd_close(c->sync[0]);
    fd_close(c->sync[1]);
    container_process_done(&c->process);
    free(c->bundle);
    free(c->cgroup_path);
    free(c->fifo);
}

/* Takes back what was made, last first. The error that led here is the one to tell. */
static void creation_undo(struct creation *c)
{
    if (c->process.pid > 0) {
        (void)sys_pidfd_send_signal(c->process.pidfd, SIGKILL);
        while (waitpid(c->process.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (c->pid_file_made)
        (void)unlink(c->o->pid_file);
    if (c->cgroup_made)
        (void)cgroup_remove(&c->host, c->cgroup_path, true, CONTAINER_KILL_TIMEOUT_MS, NULL);
    if (c->fifo_made)
        (void)unlinkat(c->store->dirfd, c->fifo, 0);
    if (c->record_saved)
        (void)store_remove(c->store, c->o->id, NULL);
}

static int plan(struct creation *c, struct error *e)
{
    int r = container_bundle_path(c->o->bundle, &c->bundle, e);
    if (r < 0)
        return r;
    r = oci_spec_load(c->bundle, &c->spec, e);
    if (r < 0)
        return r;
    const struct oci_process *p = c->spec->process;
    if (!p)
        return error_set(e, ERROR_CONFIG, EINVAL, "create container", c->o->id,
                         "add process to config.json", "config.json has no process to run");
    r = container_check_terminal(p->terminal, c->o->console_socket, !c->o->keep_console, e);
    if (r < 0)
        return r;
    r = rootfs_plan_make(c->spec, c->bundle, &c->rootfs, e);
    if (r < 0)
        return r;
    r = security_plan(p, c->spec->seccomp, &c->security, e);
    if (r < 0)
        return r;
    r = cgroup_host_probe(AT_FDCWD, &c->host, e);
    if (r < 0)
        return r;
    r = cgroup_choose_path(&c->host, c->spec->cgroups_path, c->o->id, &c->cgroup_path, e);
    if (r < 0)
        return r;

    c->init = (struct init_plan){
        .namespaces = c->spec->new_namespaces,
        .rootfs = &c->rootfs,
        .hostname = c->spec->hostname,
        .domainname = c->spec->domainname,
    };
    program_plan_make(&c->init.program, p, &c->security);
    return 0;
}

static int make_fifo(struct creation *c, struct error *e)
{
    c->fifo = state_fifo_name(c->o->id);
    (void)unlinkat(c->store->dirfd, c->fifo, 0);
    if (mkfifoat(c->store->dirfd, c->fifo, 0600) < 0)
        return error_set(e, ERROR_STATE, errno, "make FIFO", c->fifo, NULL, NULL);
    c->fifo_made = true;
    /* Both ends: the reader must not see end of file before anybody wrote. */
    c->fifo_fd = openat(c->store->dirfd, c->fifo, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (c->fifo_fd < 0)
        return error_set(e, ERROR_STATE, errno, "open FIFO", c->fifo, NULL, NULL);
    return 0;
}

/* The record first, then what it names: a `create` that is killed leaves nothing that nobody can
 * find again. */
static int prepare(struct creation *c, struct error *e)
{
    c->record = container_new_record(c->o->id, c->o->id, c->bundle, c->spec, c->cgroup_path);
    int r = store_save(c->store, c->record, e);
    if (r < 0)
        return r;
    c->record_saved = true;

    r = cgroup_create(&c->host, c->cgroup_path, &c->cgroup_fd, e);
    if (r < 0)
        return r;
    c->cgroup_made = true;
    /* An unprivileged caller may open no more than its own devices anyway, and may attach no program. */
    if (geteuid() == 0) {
        r = cgroup_set_devices(c->cgroup_fd, c->cgroup_path, c->spec->resources.devices,
                               c->spec->resources.n_devices, e);
        if (r < 0)
            return r;
    }
    r = rootfs_plan_open(&c->rootfs, e);
    if (r < 0)
        return r;
    if (c->o->hold) {
        r = make_fifo(c, e);
        if (r < 0)
            return r;
    }
    return channel_open(c->sync, e);
}

static int take_console(void *arg, int master, struct error *e)
{
    struct creation *c = arg;

    if (c->o->console_socket) {
        int r = console_send(c->o->console_socket, master, e);
        fd_close(master);
        return r;
    }
    fd_close(c->process.console_fd);
    c->process.console_fd = master;
    return 0;
}

static int set_oom_score(int procfd, pid_t pid, int value, struct error *e)
{
    _cleanup_free_ char *path = str_printf("%d/oom_score_adj", (int)pid);
    _cleanup_free_ char *text = str_printf("%d", value);
    int r = file_write_at(procfd, path, text);
    if (r < 0)
        return error_set(e, ERROR_PERMISSION, -r, "set process.oomScoreAdj to", text,
                         "lowering it needs CAP_SYS_RESOURCE on the host", NULL);
    return 0;
}

static int spawn(struct creation *c, struct error *e)
{
    c->init.program.sync_fd = c->sync[1];
    c->init.program.fifo_fd = c->fifo_fd;

    /* Buffers that stdio still holds would be written twice. */
    (void)fflush(NULL);
    pid_t pid = sys_clone3(c->init.namespaces & ~(uint64_t)CLONE_NEWCGROUP, c->cgroup_fd,
                           &c->process.pidfd);
    if (pid == 0) {
        (void)close(c->sync[0]);
        init_run(&c->init);
    }
    if (pid < 0)
        return error_set(e, ERROR_SYSTEM, (int)-pid, "make namespaces for container", c->o->id,
                         pid == -EPERM ? "run nucleus as root" : NULL, NULL);
    c->process.pid = pid;
    c->sync[1] = fd_close(c->sync[1]);
    return 0;
}

static int set_up(struct creation *c, struct error *e)
{
    const struct channel_handler handler = {.console = take_console, .arg = c};
    bool maps = c->init.namespaces & CLONE_NEWUSER;
    bool oom = c->spec->process->has_oom_score_adj;
    _cleanup_close_ int procfd = maps || oom ? sys_open_private_proc() : -EBADF;
    int r = 0;

    if ((maps || oom) && procfd < 0)
        return error_errno(e, procfd, "open a procfs of its own", "/proc");
    if (maps)
        r = idmap_write(procfd, c->process.pid, c->spec, e);
    if (r == 0 && oom)
        r = set_oom_score(procfd, c->process.pid, c->spec->process->oom_score_adj, e);
    if (r == 0)
        r = channel_say(c->sync[0], PROGRAM_GO, c->o->id, e);
    if (r == 0)
        r = channel_await_ready(c->sync[0], c->o->id, &handler, e);
    return r;
}

static int record(struct creation *c, struct error *e)
{
    c->record->pid = c->process.pid;
    c->record->start_ticks = sys_start_ticks(-EBADF, c->process.pid, NULL);
    if (c->record->start_ticks == 0)
        return error_set(e, ERROR_SYSTEM, ESRCH, "read start time of process", c->o->id,
                         "check that /proc is mounted and shows all processes", NULL);
    c->record->status = c->o->hold ? STATE_CREATED : STATE_RUNNING;
    int r = store_save(c->store, c->record, e);
    if (r == 0 && c->o->pid_file) {
        r = container_write_pid_file(c->o->pid_file, c->process.pid, e);
        c->pid_file_made = r == 0;
    }
    return r;
}

/* Lets the child go on: to its wait for `start`, or to execve, whose success closes the socket. */
static int release(struct creation *c, struct error *e)
{
    int r = channel_say(c->sync[0], PROGRAM_COMMIT, c->o->id, e);
    if (r < 0 || c->o->hold)
        return r;
    return channel_await_exec(c->sync[0], c->o->id, e);
}

int container_create(const struct store *store, const struct container_create_options *o,
                     struct container_process *ret, struct error *e)
{
    _cleanup_(creation_done) struct creation c = {
        .store = store,
        .o = o,
        .rootfs = {.root_fd = -EBADF},
        .cgroup_fd = -EBADF,
        .fifo_fd = -EBADF,
        .sync = {-EBADF, -EBADF},
        .process = {.pidfd = -EBADF, .console_fd = -EBADF},
    };
    int r = state_id_check(o->id, e);
    if (r < 0)
        return r;

    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    r = state_lock(store, o->id, false, &lock, e);
    if (r < 0)
        return r;
    _cleanup_state_ struct state *there = NULL;
    struct error absent = {0};
    r = store_load(store, o->id, &there, &absent);
    bool free_id = r < 0 && absent.code == ERROR_NOT_FOUND;
    error_done(&absent);
    if (!free_id)
        return error_set(e, ERROR_EXISTS, EEXIST, "create container", o->id,
                         "choose another id, or delete that one first",
                         "container with given ID already exists");

    r = plan(&c, e);
    if (r == 0)
        r = prepare(&c, e);
    if (r == 0)
        r = spawn(&c, e);
    if (r == 0)
        r = set_up(&c, e);
    if (r == 0)
        r = record(&c, e);
    if (r == 0)
        r = release(&c, e);
    if (r < 0) {
        creation_undo(&c);
        return r;
    }
    log_debug("container '%s': first process %d, cgroup '%s'", o->id, (int)c.process.pid,
              c.cgroup_path);
    *ret = c.process;
    c.process = (struct container_process){.pidfd = -EBADF, .console_fd = -EBADF};
    return 0;
}
