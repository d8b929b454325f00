/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "checkpoint/criu/internal.h"
#include "sys/process.h"

#define INHERIT_MAX 256
#define FIRST_INHERITED 4

enum step {
    STEP_PARENT,
    STEP_KEYRING,
    STEP_CGROUP_NS,
    STEP_MOUNT_NS,
    STEP_PRIVATE,
    STEP_SETUP,
    STEP_DESCRIPTORS,
    STEP_EXEC,
};

static const char *const step_names[] = {
    [STEP_PARENT] = "tie CRIU's life to ours",
    [STEP_KEYRING] = "give CRIU a session keyring",
    [STEP_CGROUP_NS] = "give CRIU a cgroup namespace",
    [STEP_MOUNT_NS] = "give CRIU a mount namespace",
    [STEP_PRIVATE] = "make CRIU's mounts private",
    [STEP_SETUP] = "prepare CRIU's surroundings",
    [STEP_DESCRIPTORS] = "hand CRIU its descriptors",
    [STEP_EXEC] = "start CRIU",
};

/* What the child sends when it can't go on. */
struct report {
    int step;
    int errnum;
};

/* All that the child needs, made before it exists. */
struct plan {
    const struct criu_spawn *how;
    bool die_with_parent;
    pid_t parent;
    int sk, null, err, report;
    int *moved; /* room for 3 + n_inherit */
    const char *const *argv;
};

static _noreturn_ void give_up(int report, enum step step, int errnum)
{
    struct report r = {.step = (int)step, .errnum = errnum};

    (void)fd_write_all(report, &r, sizeof(r));
    _exit(127);
}

/* 0 and 1 null, 2 stderr, 3 the socket, 4… the inherited. Everything is copied above that range
 * first, so no target is still a source when it is overwritten. Returns the report's new number,
 * above the range too. */
static int arrange_descriptors(const struct plan *p)
{
    size_t n = p->how->n_inherit;
    int above = FIRST_INHERITED + (int)n;

    int report = fcntl(p->report, F_DUPFD_CLOEXEC, above);
    if (report < 0)
        return -errno;
    for (size_t i = 0; i < n + 3; i++) {
        int fd = i == 0 ? p->null : i == 1 ? p->err : i == 2 ? p->sk : p->how->inherit_fds[i - 3];
        p->moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, above);
        if (p->moved[i] < 0)
            return -errno;
    }
    if (dup2(p->moved[0], 0) < 0 || dup2(p->moved[0], 1) < 0 || dup2(p->moved[1], 2) < 0 ||
        dup2(p->moved[2], 3) < 0)
        return -errno;
    for (size_t i = 0; i < n; i++)
        if (dup2(p->moved[3 + i], FIRST_INHERITED + (int)i) < 0)
            return -errno;
    /* The rest goes at execve, and with it the report, which tells the parent that it happened. */
    int r = sys_cloexec_from((unsigned)above);
    return r < 0 ? r : report;
}

/* Runs between clone3 and execve: nothing here allocates or takes a lock. */
static _noreturn_ void child(const struct plan *p)
{
    /* Ignored signals survive execve, and CRIU must see SIGCHLD. */
    sys_reset_signals();
    if (p->die_with_parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
            give_up(p->report, STEP_PARENT, errno);
        if (getppid() != p->parent)
            _exit(127);
    } else if (setpgid(0, 0) < 0) {
        /* Else Ctrl-C on our terminal would end it in the midst of a dump. */
        give_up(p->report, STEP_PARENT, errno);
    }
    /* CRIU knows nothing of keyrings: what it restores has its own, which must not be the caller's.
     */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
        give_up(p->report, STEP_KEYRING, errno);
    if (p->how->new_cgroup_ns && unshare(CLONE_NEWCGROUP) < 0)
        give_up(p->report, STEP_CGROUP_NS, errno);
    if (p->how->private_mounts) {
        if (unshare(CLONE_NEWNS) < 0)
            give_up(p->report, STEP_MOUNT_NS, errno);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            give_up(p->report, STEP_PRIVATE, errno);
    }
    if (p->how->setup) {
        int r = p->how->setup(p->how->setup_arg);
        if (r < 0)
            give_up(p->report, STEP_SETUP, -r);
    }
    int report = arrange_descriptors(p);
    if (report < 0)
        give_up(p->report, STEP_DESCRIPTORS, -report);
    static const char *const envp[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    (void)execve(p->how->binary, (char *const *)p->argv, (char *const *)envp);
    give_up(report, STEP_EXEC, errno);
}

/* Waits until the child runs CRIU (the pipe closes) or says why it does not. */
static int await_exec(int fd, const struct criu_spawn *how, struct error *e)
{
    struct report r;
    ssize_t n = fd_read_full(fd, &r, sizeof(r));

    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(r) || r.step < 0 || r.step > STEP_EXEC || r.errnum <= 0)
        return error_set(e, ERROR_CRIU, EIO, "start CRIU", how->binary, NULL, NULL);
    if (r.step == STEP_EXEC && r.errnum == ENOENT)
        return error_set(e, ERROR_CRIU, r.errnum, "start CRIU", how->binary,
                         "install criu again, its interpreter or loader is missing", NULL);
    return error_set(e, ERROR_CRIU, r.errnum, step_names[r.step], how->binary, NULL, NULL);
}

static void swrk_init(struct criu_swrk *s)
{
    *s = (struct criu_swrk){
        .pid = -1, .pidfd = -EBADF, .sk = -EBADF, .stderr_fd = -EBADF, .wait_status = -1};
}

/* clone3 with all signals blocked, so that no handler of ours runs in the child. */
static pid_t clone_child(const struct plan *p, int *ret_pidfd)
{
    sigset_t all, old;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = sys_clone3(0, p->how->cgroup_fd, ret_pidfd);
    if (pid == 0)
        child(p);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

int criu_spawn(const struct criu_spawn *how, bool die_with_parent, struct criu_swrk *ret,
               struct error *e)
{
    static const char *const argv[] = {"criu", "swrk", "3", NULL};

    return criu_spawn_args(how, argv, die_with_parent, ret, e);
}

int criu_spawn_args(const struct criu_spawn *how, const char *const *argv, bool die_with_parent,
                    struct criu_swrk *ret, struct error *e)
{
    if (how->n_inherit > INHERIT_MAX)
        return error_set(e, ERROR_INTERNAL, E2BIG, "start CRIU", how->binary, NULL, NULL);

    int pair[2], pipefd[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, -errno, "make a socket pair for CRIU", NULL);
    _cleanup_close_ int ours = pair[0], theirs = pair[1];
    if (pipe2(pipefd, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "make a pipe for CRIU", NULL);
    _cleanup_close_ int from_child = pipefd[0], to_parent = pipefd[1];
    _cleanup_close_ int err = memfd_create("criu-stderr", MFD_CLOEXEC);
    if (err < 0)
        return error_errno(e, -errno, "make a file for CRIU's messages", NULL);
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (null < 0)
        return error_errno(e, -errno, "open", "/dev/null");

    _cleanup_free_ int *moved = mem_new(int, 3 + how->n_inherit);
    struct plan plan = {
        .how = how,
        .die_with_parent = die_with_parent,
        .parent = getpid(),
        .sk = theirs,
        .null = null,
        .err = err,
        .report = to_parent,
        .moved = moved,
        .argv = argv,
    };
    struct criu_swrk s;
    swrk_init(&s);
    s.pid = clone_child(&plan, &s.pidfd);
    if (s.pid < 0)
        return error_set(e, ERROR_CRIU, -s.pid,
                         how->cgroup_fd >= 0 ? "start CRIU in the container's cgroup"
                                             : "start CRIU",
                         how->binary, NULL, NULL);
    theirs = fd_close(theirs);
    to_parent = fd_close(to_parent);
    s.sk = TAKE_FD(ours);
    s.stderr_fd = TAKE_FD(err);
    s.binary = mem_strdup(how->binary);

    int r = await_exec(from_child, how, e);
    if (r < 0) {
        criu_swrk_done(&s);
        return r;
    }
    *ret = s;
    return 0;
}

/* A CRIU that did not end well can leave helpers at work, which go on writing images. They are in
 * its process group, whose number is taken for as long as it has not been waited for. After a
 * success there are none, and with --shell-job what was restored is in that group. */
static void end_helpers(const struct criu_swrk *s)
{
    siginfo_t si = {0};

    if (waitid(P_PIDFD, (id_t)s->pidfd, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
        return;
    bool well = si.si_code == CLD_EXITED && si.si_status == 0;
    if (!well && getpgid(s->pid) == s->pid)
        (void)kill(-s->pid, SIGKILL);
}

static bool reap(struct criu_swrk *s, int wait_ms)
{
    if (sys_pidfd_wait(s->pidfd, wait_ms) < 0)
        return false;
    end_helpers(s);
    siginfo_t si = {0};
    int r;
    do
        r = waitid(P_PIDFD, (id_t)s->pidfd, &si, WEXITED);
    while (r < 0 && errno == EINTR);
    s->ended = true;
    /* ECHILD where the caller ignores SIGCHLD. */
    s->wait_status = r < 0                      ? -1
                     : si.si_code == CLD_EXITED ? W_EXITCODE(si.si_status, 0)
                                                : W_EXITCODE(0, si.si_status);
    return true;
}

void criu_swrk_end(struct criu_swrk *s, int wait_ms)
{
    /* Not left to close(): a guardian has a copy, and swrk would wait for our next word. */
    if (s->sk >= 0)
        (void)shutdown(s->sk, SHUT_RDWR);
    s->sk = fd_close(s->sk);
    if (s->ended || s->pidfd < 0 || reap(s, wait_ms))
        return;
    (void)sys_pidfd_send_signal(s->pidfd, SIGKILL);
    /* Even a kill takes no effect in a frozen v1 cgroup or an uninterruptible wait. */
    (void)reap(s, CRIU_END_MS);
}

char *criu_swrk_describe_end(const struct criu_swrk *s)
{
    if (!s->ended)
        return mem_strdup("still running");
    if (s->wait_status < 0)
        return mem_strdup("exit status unknown");
    if (WIFSIGNALED(s->wait_status)) {
        const char *name = sys_signal_name(WTERMSIG(s->wait_status));
        if (name)
            return str_printf("killed by %s", name);
        return str_printf("killed by signal %d", WTERMSIG(s->wait_status));
    }
    return str_printf("exit status %d", WEXITSTATUS(s->wait_status));
}

char *criu_swrk_stderr(const struct criu_swrk *s, size_t *ret_len)
{
    struct stat st;
    *ret_len = 0;

    if (s->stderr_fd < 0 || fstat(s->stderr_fd, &st) < 0 || st.st_size <= 0)
        return mem_strdup("");
    size_t n = MIN((size_t)st.st_size, CRIU_STDERR_MAX);
    char *text = mem_alloc(n + 1);
    ssize_t k;
    do
        k = pread(s->stderr_fd, text, n, st.st_size - (off_t)n);
    while (k < 0 && errno == EINTR);
    *ret_len = k < 0 ? 0 : (size_t)k;
    text[*ret_len] = '\0';
    return text;
}

void criu_swrk_done(struct criu_swrk *s)
{
    if (!s->binary)
        return; /* never started, or done before */
    criu_swrk_end(s, CRIU_END_MS);
    (void)fd_close(s->pidfd);
    (void)fd_close(s->stderr_fd);
    free(s->binary);
    swrk_init(s);
}
