/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/creation.h"

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
#include "base/mem.h"
#include "process/channel.h"
#include "process/console.h"
#include "process/netdevices.h"
#include "sys/process.h"

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
    free(c->init.time_offsets);
    namespaces_done(&c->joined);
    container_cgroup_done(&c->cgroup);
    bundle_config_done(&c->config);
    state_free(c->record);
    sysctl_plan_done(&c->sysctls);
    hooks_state_done(&c->create_state);
    hooks_state_done(&c->start_state);
    rdt_group_done(&c->rdt);
    fd_close(c->fifo_fd);
    fd_close(c->report_fd);
    fd_close(c->procfd);
    fd_close(c->spawn.sync[0]);
    fd_close(c->spawn.sync[1]);
    container_process_done(&c->process);
    free(c->bundle);
    free(c->fifo);
    free(c->report);
}

static int run_hooks(struct creation *c, enum oci_hook_kind kind, enum state_status status,
                     struct error *e)
{
    const struct oci_hook_list *hooks = &c->config.spec->hooks[kind];

    if (hooks->n == 0)
        return 0;
    _cleanup_free_ char *state = state_render_oci(c->record, status);
    c->hooked = true;
    return hooks_run(kind, hooks, state, c->bundle, e);
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
    container_cgroup_undo(&c->cgroup);
    if (c->rdt_made)
        rdt_undo(&c->rdt);
    if (c->fifo_made)
        (void)unlinkat(c->store->dirfd, c->fifo, 0);
    if (c->report_made)
        (void)unlinkat(c->store->dirfd, c->report, 0);
    if (c->record_saved)
        (void)store_remove(c->store, c->o->id, NULL);
    if (c->hooked)
        (void)run_hooks(c, OCI_HOOK_POSTSTOP, STATE_STOPPED, NULL);
}

/* Both ends: the reader must not see end of file before anybody wrote. */
static int make_fifo(const struct store *store, const char *name, bool *made, int *ret_fd,
                     struct error *e)
{
    (void)unlinkat(store->dirfd, name, 0);
    if (mkfifoat(store->dirfd, name, 0600) < 0)
        return error_set(e, ERROR_STATE, errno, "make FIFO", name, NULL, NULL);
    *made = true;
    *ret_fd = openat(store->dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return error_set(e, ERROR_STATE, errno, "open FIFO", name, NULL, NULL);
    return 0;
}

static int make_fifos(struct creation *c, struct error *e)
{
    const struct oci_hook_list *hooks = c->config.spec->hooks;

    if (!c->hold)
        return 0;
    c->fifo = state_fifo_name(c->o->id);
    int r = make_fifo(c->store, c->fifo, &c->fifo_made, &c->fifo_fd, e);
    if (r < 0 || (hooks[OCI_HOOK_START_CONTAINER].n == 0 && hooks[OCI_HOOK_POSTSTART].n == 0))
        return r;
    c->report = state_report_name(c->o->id);
    return make_fifo(c->store, c->report, &c->report_made, &c->report_fd, e);
}

/* What can't be foreseen: that the caller may make no cgroup. */
static int make_cgroup(struct creation *c, struct error *e)
{
    const struct oci_spec *spec = c->config.spec;
    int r = container_cgroup_make(&c->cgroup, spec, c->o->id, e);
    if (r == 0)
        r = container_cgroup_limit(&c->cgroup, spec, e);
    if (r < 0)
        return r;
    free(c->record->cgroup_path);
    c->record->cgroup_path = mem_strdup(c->cgroup.path);
    c->rootfs.cgroup_path = c->cgroup.path;
    return 0;
}

/* Room for the texts; the pid, which is not known yet, makes them longer by its digits. */
static int make_hook_states(struct creation *c, struct error *e)
{
    _cleanup_free_ char *text = state_render_oci(c->record, STATE_CREATED);
    size_t len = strlen(text) + 64;
    int r = 0;

    if (c->init.create_hooks)
        r = hooks_state_make(&c->create_state, len, e);
    if (r == 0 && c->init.program.start_hooks)
        r = hooks_state_make(&c->start_state, len, e);
    return r;
}

static int fill_hook_states(struct creation *c, struct error *e)
{
    _cleanup_free_ char *creating = state_render_oci(c->record, STATE_CREATING);
    _cleanup_free_ char *created = state_render_oci(c->record, STATE_CREATED);
    int r = 0;

    if (c->init.create_hooks)
        r = hooks_state_fill(&c->create_state, creating, e);
    if (r == 0 && c->init.program.start_hooks)
        r = hooks_state_fill(&c->start_state, created, e);
    return r;
}

/* Of an ordinary user's own systemd; the process waits. */
static int start_scope(struct creation *c, struct error *e)
{
    if (!c->cgroup.systemd || c->cgroup.path)
        return 0;
    int r = container_cgroup_start(&c->cgroup, c->config.spec, c->o->id, c->process.pid, e);
    if (r < 0)
        return r;
    c->record->cgroup_path = mem_strdup(c->cgroup.path);
    return container_cgroup_limit(&c->cgroup, c->config.spec, e);
}

/* What need be there only when the program, or a hook, runs. */
static int prepare_program(struct creation *c, struct error *e)
{
    int r = container_cgroup_limit_devices(&c->cgroup, c->config.spec, e);
    return r < 0 ? r : store_save_config(c->store, c->o->id, c->config.text, c->config.len, e);
}

/* The record first, then what it names: a `create` that is killed leaves nothing that nobody can
 * find again. */
static int prepare(struct creation *c, struct error *e)
{
    c->record =
        container_new_record(c->o->id, c->o->id, c->bundle, c->config.spec, c->cgroup.path);
    if (c->cgroup.systemd)
        c->record->systemd_unit = mem_strdup(c->cgroup.unit.name);
    int r = store_save(c->store, c->record, e);
    if (r < 0)
        return r;
    c->record_saved = true;

    r = make_cgroup(c, e);
    if (r == 0 && !c->unattended)
        r = prepare_program(c, e);
    if (r == 0)
        r = rootfs_plan_open(&c->rootfs, e);
    if (r == 0)
        r = make_fifos(c, e);
    if (r == 0)
        r = make_hook_states(c, e);
    if (r == 0 && c->config.spec->intel_rdt) {
        r = rdt_prepare(c->config.spec->intel_rdt, c->o->id, RDT_ROOT, false, &c->rdt, e);
        c->rdt_made = r == 0;
    }
    return r < 0 ? r : channel_open(c->spawn.sync, e);
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

int container_set_oom_score(int procfd, pid_t pid, int value, struct error *e)
{
    _cleanup_free_ char *path = str_printf("%d/oom_score_adj", (int)pid);
    _cleanup_free_ char *text = str_printf("%d", value);
    int r = file_write_at(procfd, path, text);
    if (r < 0)
        return error_set(e, ERROR_PERMISSION, -r, "set process.oomScoreAdj to", text,
                         "lowering it needs CAP_SYS_RESOURCE on the host", NULL);
    return 0;
}

static _noreturn_ void run_init(const void *arg)
{
    init_run(arg);
}

static int spawn(struct creation *c, struct error *e)
{
    c->init.program.sync_fd = c->spawn.sync[1];
    c->init.program.fifo_fd = c->fifo_fd;
    c->init.program.report_fd = c->report_fd;
    c->spawn.set = &c->joined;
    c->spawn.new_namespaces = c->init.namespaces & ~(uint64_t)(CLONE_NEWCGROUP | CLONE_NEWTIME);
    c->spawn.cgroup_fd = c->cgroup.fd;
    c->spawn.id = c->o->id;
    c->spawn.run = run_init;
    c->spawn.arg = &c->init;
    /* With one in between it may not be heard before that one. */
    bool early = c->unattended && c->joined.flags == 0;
    int r = early ? channel_say(c->spawn.sync[0], PROGRAM_GO, c->o->id, e) : 0;
    if (r == 0)
        r = join_spawn(&c->spawn, &c->process.pid, &c->process.pidfd, e);
    if (r == 0 && c->unattended && !early)
        r = channel_say(c->spawn.sync[0], PROGRAM_GO, c->o->id, e);
    return r;
}

static int on_mounted(void *arg, struct error *e)
{
    struct creation *c = arg;
    int r = run_hooks(c, OCI_HOOK_PRESTART, STATE_CREATING, e);

    if (r == 0)
        r = run_hooks(c, OCI_HOOK_CREATE_RUNTIME, STATE_CREATING, e);
    return r < 0 ? r : channel_say(c->spawn.sync[0], PROGRAM_HOOKED, c->o->id, e);
}

static int on_listener(void *arg, int listener, struct error *e)
{
    struct creation *c = arg;
    _cleanup_close_ int fd = listener;
    _cleanup_free_ char *state = state_render_oci(c->record, STATE_CREATING);

    return seccomp_notify_agent(c->config.spec->seccomp, fd, c->process.pid, state, e);
}

/* What the child can't do for itself, before it goes on. */
static int set_up_from_outside(struct creation *c, struct error *e)
{
    const struct oci_spec *spec = c->config.spec;
    int r = start_scope(c, e);

    if (r == 0 && (spec->new_namespaces & CLONE_NEWUSER))
        r = idmap_write(&c->idmap, c->procfd, c->process.pid, spec, e);
    if (r == 0 && (spec->joined_namespaces & CLONE_NEWUSER))
        r = idmap_compare(c->procfd, c->process.pid, spec, e);
    if (r == 0 && spec->process->has_oom_score_adj)
        r = container_set_oom_score(c->procfd, c->process.pid, spec->process->oom_score_adj, e);
    if (r == 0 && spec->n_net_devices > 0)
        r = netdevices_move(spec, c->procfd, c->process.pid, e);
    if (r == 0 && c->rdt_made)
        r = rdt_enter(&c->rdt, c->process.pid, e);
    return r < 0 ? r : fill_hook_states(c, e);
}

static int record(struct creation *c, struct error *e)
{
    c->record->start_ticks = sys_start_ticks(-EBADF, c->process.pid, NULL);
    if (c->record->start_ticks == 0)
        return error_set(e, ERROR_SYSTEM, ESRCH, "read start time of process", c->o->id,
                         "check that /proc is mounted and shows all processes", NULL);
    c->record->status = c->hold ? STATE_CREATED : STATE_RUNNING;
    int r = store_save(c->store, c->record, e);
    if (r == 0 && c->o->pid_file) {
        r = container_write_pid_file(c->o->pid_file, c->process.pid, e);
        c->pid_file_made = r == 0;
    }
    if (r == 0 && c->o->pidfd_socket)
        r = socket_send_fd(c->o->pidfd_socket, c->process.pidfd, "pidfd", e);
    return r;
}

static int await_ready(struct creation *c, struct error *e)
{
    const struct channel_handler handler = {
        .console = take_console, .mounted = on_mounted, .seccomp = on_listener, .arg = c};

    return channel_await_ready(c->spawn.sync[0], c->o->id, &handler, e);
}

/* The child waits where it must. */
static int attend(struct creation *c, struct error *e)
{
    int r = set_up_from_outside(c, e);

    if (r == 0)
        r = channel_say(c->spawn.sync[0], PROGRAM_GO, c->o->id, e);
    /* From here the child runs its own. */
    c->hooked = c->hooked || c->init.create_hooks || c->init.program.start_hooks;
    if (r == 0)
        r = await_ready(c, e);
    if (r == 0)
        r = attributes_give(&c->init.program.attributes, c->process.pid, e);
    if (r == 0)
        r = record(c, e);
    return r < 0 ? r : channel_say(c->spawn.sync[0], PROGRAM_COMMIT, c->o->id, e);
}

/* The child sets itself up meanwhile, without a word from here: what is done now costs no time
 * where there is a second CPU. The record waits until it is done. Before, the child is in the
 * host's mounts still, and whoever found it in a record could go in there: this process may be
 * killed, and its lock be free. */
static int leave_alone(struct creation *c, struct error *e)
{
    int r = prepare_program(c, e);

    if (r == 0)
        r = await_ready(c, e);
    if (r == 0)
        r = record(c, e);
    return r < 0 ? r : channel_say(c->spawn.sync[0], PROGRAM_COMMIT, c->o->id, e);
}

static int set_up(struct creation *c, struct error *e)
{
    container_cgroup_settled(&c->cgroup);
    c->record->pid = c->process.pid;
    return c->unattended ? leave_alone(c, e) : attend(c, e);
}

/* The child is at its wait for `start`, or on its way to execve, whose success closes the socket.
 */
static int settle(struct creation *c, struct error *e)
{
    if (c->hold && sys_pidfd_wait(c->process.pidfd, 0) == 0)
        return error_set(e, ERROR_SYSTEM, ECHILD, "create container", c->o->id, NULL,
                         "its first process has ended");
    if (c->hold)
        return 0;
    return channel_await_exec(c->spawn.sync[0], c->o->id, e);
}

/* Hooks on the way to the program, or behind it, are run as by `start`: without the lock. */
static int start_staged(struct creation *c, struct error *e)
{
    /* `start` waits for the end of what is written there. */
    c->fifo_fd = fd_close(c->fifo_fd);
    c->report_fd = fd_close(c->report_fd);
    int r = container_start(c->store, c->o->id, e);
    if (r == 0)
        return 0;
    (void)container_delete(c->store, c->o->id, true, NULL);
    while (waitpid(c->process.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (c->o->pid_file)
        (void)unlink(c->o->pid_file);
    return r;
}

int container_create(const struct store *store, const struct container_create_options *o,
                     struct container_process *ret, struct error *e)
{
    _cleanup_(creation_done) struct creation c = {
        .store = store,
        .o = o,
        .rootfs = {.root_fd = -EBADF},
        .cgroup = CONTAINER_CGROUP_NONE,
        .joined = NAMESPACE_SET_EMPTY,
        .fifo_fd = -EBADF,
        .report_fd = -EBADF,
        .rdt = RDT_GROUP_EMPTY,
        .procfd = -EBADF,
        .spawn = {.sync = {-EBADF, -EBADF}},
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

    c.spawn.lock_fd = &lock.fd;
    r = creation_plan(&c, e);
    if (r == 0)
        r = prepare(&c, e);
    if (r == 0)
        r = spawn(&c, e);
    if (r == 0)
        r = set_up(&c, e);
    if (r == 0)
        r = settle(&c, e);
    if (r < 0) {
        creation_undo(&c);
        return r;
    }
    state_lock_done(&lock);
    if (c.hold && !o->hold) {
        r = start_staged(&c, e);
        if (r < 0)
            return r;
    }
    log_debug("container '%s': first process %d, cgroup '%s'", o->id, (int)c.process.pid,
              c.cgroup.path ? c.cgroup.path : "-");
    *ret = c.process;
    c.process = (struct container_process){.pidfd = -EBADF, .console_fd = -EBADF};
    return 0;
}
