/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "oci/names.h"
#include "process/home.h"
#include "sys/fs.h"

static void find_candidates(struct program_plan *plan)
{
    const char *name = plan->argv[0];
    const char *path = NULL;

    if (strchr(name, '/')) {
        strv_push(&plan->candidates, mem_strdup(name));
        return;
    }
    for (size_t i = 0; plan->env && plan->env[i]; i++)
        if (str_after(plan->env[i], "PATH="))
            path = plan->env[i] + strlen("PATH=");
    /* A container without PATH gets the search path that execvp(3) would use for it. */
    if (!path)
        path = "/bin:/usr/bin";
    while (*path) {
        size_t n = strcspn(path, ":");
        /* An empty element means the working directory. */
        strv_push(&plan->candidates,
                  n ? str_printf("%.*s/%s", (int)n, path, name) : str_printf("./%s", name));
        path += n;
        path += *path == ':';
    }
}

static void provide_home(struct program_plan *plan)
{
    size_t n = 0;

    for (; plan->env && plan->env[n]; n++)
        if (str_after(plan->env[n], "HOME="))
            return;
    plan->home = mem_alloc(HOME_ROOM);
    plan->env_with_home = mem_alloc((n + 2) * sizeof(*plan->env_with_home));
    if (n)
        memcpy(plan->env_with_home, plan->env, n * sizeof(*plan->env_with_home));
    plan->env_with_home[n] = plan->home;
    plan->env_with_home[n + 1] = NULL;
    plan->env = plan->env_with_home;
}

void program_plan_make(struct program_plan *plan, const struct oci_process *process,
                       const struct oci_spec *spec, const struct security_plan *security, bool exec)
{
    *plan = (struct program_plan){
        .security = security,
        .procfd = -EBADF,
        .argv = process->args,
        .env = process->env,
        .cwd = process->cwd,
        .rlimits = process->rlimits,
        .n_rlimits = process->n_rlimits,
        .has_umask = process->has_umask,
        .umask = process->umask,
        .terminal = process->terminal,
        .console_width = process->console_width,
        .console_height = process->console_height,
        .sync_fd = -EBADF,
        .fifo_fd = -EBADF,
        .report_fd = -EBADF,
    };
    attributes_plan_make(&plan->attributes, process, spec, exec);
    find_candidates(plan);
    provide_home(plan);
}

bool program_needs_proc(const struct program_plan *plan)
{
    return security_needs_proc(plan->security);
}

void program_plan_done(struct program_plan *plan)
{
    strv_free(plan->candidates);
    plan->candidates = NULL;
    free(plan->env_with_home);
    plan->env_with_home = NULL;
    free(plan->home);
    plan->home = NULL;
}

/* ---- from here on: the child; nothing allocates ---- */

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = from ? strnlen(from, size - 1) : 0;

    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
}

/* Over the channel to the parent, or the FIFO to `start`. */
static void send_packet(const struct program_plan *plan, struct program_message *m, int fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = m, .iov_len = sizeof(*m)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    /* `start` is gone, and did not wait: what the program prints is all that anybody sees. */
    if (plan->sync_fd < 0 && plan->report_fd < 0) {
        (void)dprintf(STDERR_FILENO, "nucleus: cannot %s%s%s%s: %s\n", m->step,
                      m->subject[0] ? " '" : "", m->subject, m->subject[0] ? "'" : "",
                      m->why[0] ? m->why : strerrordesc_np(m->errnum));
        return;
    }
    if (fd >= 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    do
        n = plan->sync_fd >= 0 ? sendmsg(plan->sync_fd, &msg, MSG_NOSIGNAL)
                               : write(plan->report_fd, m, sizeof(*m));
    while (n < 0 && errno == EINTR);
}

void program_send(const struct program_plan *plan, enum program_event event, int errnum,
                  const char *step, const char *subject, int fd)
{
    struct program_message m = {.event = event, .errnum = errnum};

    copy_text(m.step, sizeof(m.step), step);
    copy_text(m.subject, sizeof(m.subject), subject);
    send_packet(plan, &m, fd);
}

void program_send_failure(const struct program_plan *plan, int errnum, const char *step,
                          const char *subject, const char *why)
{
    struct program_message m = {.event = PROGRAM_FAILED, .errnum = errnum};

    copy_text(m.step, sizeof(m.step), step);
    copy_text(m.subject, sizeof(m.subject), subject);
    copy_text(m.why, sizeof(m.why), why);
    send_packet(plan, &m, -EBADF);
}

_noreturn_ void program_fail(const struct program_plan *plan, int r, const char *step,
                             const char *subject)
{
    program_send(plan, PROGRAM_FAILED, r < 0 ? -r : r, step, subject, -EBADF);
    _exit(EXIT_FAILURE);
}

void program_await(const struct program_plan *plan, char what)
{
    char c = 0;
    ssize_t n;

    do
        n = recv(plan->sync_fd, &c, 1, 0);
    while (n < 0 && errno == EINTR);
    /* The parent ended, or gave up: whatever was set up goes with this process. */
    if (n != 1 || c != what)
        _exit(EXIT_FAILURE);
}

static void mount_console(const struct program_plan *plan, int slave)
{
    _cleanup_close_ int tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (tree < 0)
        program_fail(plan, tree, "clone terminal", "/dev/console");
    /* No link may say where the terminal goes: it could cover a file of /proc. */
    _cleanup_close_ int console =
        sys_open_in_root(AT_FDCWD, "/dev/console", O_PATH | O_NOFOLLOW, 0);
    if (console < 0)
        program_fail(plan, console, "open", "/dev/console");
    struct stat st;
    if (fstat(console, &st) < 0)
        program_fail(plan, errno, "look at", "/dev/console");
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        program_fail(plan, EEXIST, "mount terminal on (something else is there)", "/dev/console");
    int r = sys_move_mount(tree, console);
    if (r < 0)
        program_fail(plan, r, "mount terminal on", "/dev/console");
}

/* A pty of the container's own devpts: the slave becomes stdio and the controlling terminal (of the
 * first process /dev/console too), the master goes to the parent. Everything by descriptor: nothing
 * in the rootfs is trusted to be what its name says (CVE-2025-52565). */
static int open_console(const struct program_plan *plan, bool own_console)
{
    _cleanup_close_ int ptmx =
        sys_open_in_root(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW, 0);
    if (ptmx < 0)
        program_fail(plan, ptmx, "open terminal", "/dev/pts/ptmx");
    int unlock = 0;
    if (ioctl(ptmx, TIOCSPTLCK, &unlock) < 0)
        program_fail(plan, errno, "unlock terminal", "/dev/pts/ptmx");
    int slave = ioctl(ptmx, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        program_fail(plan, errno, "open terminal", "slave of /dev/pts/ptmx");
    if (plan->console_width && plan->console_height) {
        struct winsize ws = {.ws_col = plan->console_width, .ws_row = plan->console_height};
        if (ioctl(slave, TIOCSWINSZ, &ws) < 0)
            program_fail(plan, errno, "set size of terminal", NULL);
    }

    if (own_console)
        mount_console(plan, slave);

    if (fchown(slave, plan->security->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL)
        program_fail(plan, errno, "give terminal to the user", NULL);
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        program_fail(plan, errno, "take controlling terminal", NULL);
    program_send(plan, PROGRAM_CONSOLE, 0, NULL, NULL, ptmx);
    return slave;
}

/* A stdio descriptor on the host's /dev/null is opened again on the container's own: it would hold
 * a mount of the host, which a checkpoint could not name. */
static void reopen_null(const struct program_plan *plan, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        return;
    int flags = fcntl(fd, F_GETFL);
    /* Not blocking: a container can have put a FIFO there. */
    _cleanup_close_ int null = sys_open_in_root(
        AT_FDCWD, "/dev/null", (uint64_t)(flags & O_ACCMODE) | O_NOCTTY | O_NONBLOCK, 0);
    if (null == -ENOENT)
        return;
    if (null < 0)
        program_fail(plan, null, "open", "/dev/null");
    /* In a rootfs without a /dev of its own it can be anything (CVE-2025-31133). */
    if (fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        program_fail(plan, ENODEV, "use as null device", "/dev/null");
    if (fcntl(null, F_SETFL, 0) < 0 || dup2(null, fd) < 0)
        program_fail(plan, errno, "connect null device", NULL);
}

static void set_stdio(const struct program_plan *plan, int slave)
{
    if (slave >= 0) {
        for (int fd = 0; fd < 3; fd++)
            if (dup2(slave, fd) < 0)
                program_fail(plan, errno, "connect terminal", NULL);
        if (slave > 2)
            (void)close(slave);
        return;
    }
    for (int fd = 0; fd < 3; fd++)
        reopen_null(plan, fd);
    /* A program that runs as another user reopens its pipes by /dev/stdout (nginx does); files and
     * devices of the host keep their owner. */
    for (int fd = 0; plan->security->uid != 0 && fd < 3; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
            fchown(fd, plan->security->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL)
            program_fail(plan, errno, "give standard input or output to the user", NULL);
    }
}

/* Magic links are refused and the result is looked at: a descriptor of the host must not become the
 * working directory (CVE-2024-21626). */
static int enter_cwd(const struct program_plan *plan, bool make, int *ret_errno)
{
    char where[PATH_MAX];

    _cleanup_close_ int root = sys_openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0);
    if (root < 0)
        program_fail(plan, root, "open", "/");
    int fd = sys_open_in_root(root, plan->cwd, O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOENT && make)
        fd = sys_mkdir_in_root(root, plan->cwd, 0755);
    if (fd < 0) {
        *ret_errno = -fd;
        return -1;
    }
    int r = fchdir(fd);
    *ret_errno = errno;
    (void)close(fd);
    if (r < 0)
        return -1;
    /* The system call, not the library: glibc hides "(unreachable)" behind a search of its own. */
    if (syscall(SYS_getcwd, where, sizeof(where)) < 0)
        program_fail(plan, errno, "enter working directory", plan->cwd);
    if (where[0] != '/')
        program_fail(plan, EPERM, "enter working directory (it lies outside the container)",
                     plan->cwd);
    return 0;
}

static void set_limits(const struct program_plan *plan)
{
    for (size_t i = 0; i < plan->n_rlimits; i++) {
        const struct oci_rlimit *l = &plan->rlimits[i];
        struct rlimit rl = {.rlim_cur = l->soft, .rlim_max = l->hard};
        if (setrlimit((__rlimit_resource_t)l->resource, &rl) < 0)
            program_fail(plan, errno, PROGRAM_STEP_LIMIT, oci_rlimit_name(l->resource));
    }
}

/* The first candidate that can be run; says now what execve would say at `start`, when nobody
 * listens any more. */
static const char *find_executable(const struct program_plan *plan)
{
    int worst = ENOENT;

    for (size_t i = 0; plan->candidates && plan->candidates[i]; i++) {
        const char *path = plan->candidates[i];
        struct stat st;
        if (stat(path, &st) < 0) {
            if (errno != ENOENT && errno != ENOTDIR)
                worst = errno;
        } else if (S_ISDIR(st.st_mode)) {
            worst = EISDIR;
        } else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
            worst = errno;
        } else {
            return path;
        }
    }
    bool by_name = !strchr(plan->argv[0], '/');
    program_fail(plan, worst, worst == ENOENT && by_name ? PROGRAM_STEP_FIND : PROGRAM_STEP_RUN,
                 plan->argv[0]);
}

/* Everything but stdio, what the program is to have, and two more (-EBADF: none): even
 * close-on-exec descriptors could be reached by name while execve looks its path up
 * (CVE-2024-21626). */
static void close_others(const struct program_plan *plan, int keep, int keep_too)
{
    int first = 3 + (int)plan->preserve_fds;
    const int kept[] = {MIN(keep, keep_too), MAX(keep, keep_too)};

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        if (kept[i] < first)
            continue;
        if (kept[i] > first)
            (void)syscall(SYS_close_range, first, (unsigned)kept[i] - 1, 0);
        first = kept[i] + 1;
    }
    (void)syscall(SYS_close_range, first, ~0U, 0);
}

void program_close_others(const struct program_plan *plan)
{
    close_others(plan, plan->sync_fd, plan->procfd);
}

static void wait_for_start(const struct program_plan *plan)
{
    char c;
    ssize_t n;

    do
        n = read(plan->fifo_fd, &c, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(EXIT_FAILURE);
}

static _noreturn_ void exec_failed(const struct program_plan *plan, const char *path)
{
    int saved = errno;

    program_send(plan, PROGRAM_FAILED, saved, PROGRAM_STEP_RUN, path, -EBADF);
    _exit(saved == ENOENT ? 127 : 126);
}

/* There is room for the digits of any pid behind the '='. */
static void fill_listen_pid(char *text)
{
    pid_t pid = (pid_t)syscall(SYS_getpid);
    char digits[16];
    size_t n = 0;

    for (; pid > 0 && n < sizeof(digits); pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    for (text = strchr(text, '=') + 1; n > 0;)
        *text++ = digits[--n];
    *text = '\0';
}

static void load_filter(const struct program_plan *plan, enum security_stage stage)
{
    enum security_step step = 0;
    int listener;
    int r = security_load_filter(plan->security, stage, &listener, &step);

    if (r < 0)
        program_fail(plan, r, security_step_name(step), "linux.seccomp");
    if (listener >= 0) {
        program_send(plan, PROGRAM_SECCOMP, 0, NULL, NULL, listener);
        (void)close(listener);
    }
}

static void apply_attributes(const struct program_plan *plan)
{
    enum attributes_step attribute = 0;
    enum security_step step = 0;
    int r = attributes_apply(&plan->attributes, &attribute);

    if (r < 0)
        program_fail(plan, r, attributes_step_name(attribute), attributes_step_field(attribute));
    r = security_apply_labels(plan->security, plan->procfd, &step);
    if (r < 0) {
        program_send_failure(plan, -r, security_step_name(step),
                             security_step_subject(plan->security, step),
                             security_step_why(step, -r));
        _exit(EXIT_FAILURE);
    }
}

const char *program_enter(const struct program_plan *plan, bool first)
{
    set_stdio(plan, plan->terminal ? open_console(plan, first) : -EBADF);

    int cwd_errno = 0;
    bool in_cwd = enter_cwd(plan, first, &cwd_errno) == 0;
    if (!in_cwd && cwd_errno != EACCES)
        program_fail(plan, cwd_errno, "enter working directory", plan->cwd);
    (void)umask(plan->has_umask ? plan->umask : 0022);
    set_limits(plan);

    if (plan->home)
        home_find(plan->security->uid, plan->home);
    apply_attributes(plan);
    load_filter(plan, SECURITY_EARLY);
    enum security_step step = 0;
    int r = security_apply_credentials(plan->security, &step);
    if (r < 0)
        program_fail(plan, r, security_step_name(step), NULL);
    /* A change of ids makes it whatever fs.suid_dumpable says: with 1, open to the same user. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* A directory that only the user may enter (a network home): root could not, the user can. */
    if (!in_cwd && enter_cwd(plan, first, &cwd_errno) < 0)
        program_fail(plan, cwd_errno, "enter working directory", plan->cwd);
    return find_executable(plan);
}

static void run_start_hooks(const struct program_plan *plan)
{
    struct hook_failure f;

    if (plan->start_hooks && hooks_run_in_child(OCI_HOOK_START_CONTAINER, plan->start_hooks,
                                                plan->start_state, -EBADF, &f) < 0) {
        program_send_failure(plan, f.errnum, HOOK_STEP, f.subject, f.why);
        _exit(EXIT_FAILURE);
    }
}

_noreturn_ void program_run(const struct program_plan *plan, const char *path)
{
    struct program_plan late = *plan;

    load_filter(plan, SECURITY_READY);
    program_send(plan, PROGRAM_READY, 0, NULL, NULL, -EBADF);
    program_await(plan, PROGRAM_COMMIT);
    if (plan->fifo_fd >= 0) {
        close_others(plan, plan->fifo_fd, plan->report_fd);
        wait_for_start(plan);
        late.sync_fd = -EBADF;
    }
    close_others(plan, late.sync_fd, plan->report_fd);
    if (plan->listen_pid)
        fill_listen_pid(plan->listen_pid);

    run_start_hooks(&late);
    /* So that `start` can tell execve, which closes the other end, from a death on the way. */
    if (late.sync_fd < 0 && plan->report_fd >= 0)
        program_send(&late, PROGRAM_READY, 0, NULL, NULL, -EBADF);
    load_filter(&late, SECURITY_LAST);
    (void)execve(path, plan->argv, plan->env);
    exec_failed(&late, path);
}
