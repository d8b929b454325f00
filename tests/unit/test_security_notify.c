/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/str.h"
#include "security/security.h"

/* seccomp notifications: the filter that has them, the way of its listener, and the agent. */

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define PATIENCE_MS 20000

static char *mkdir_name[] = {(char *)(uintptr_t) "mkdir", NULL};
static char *sendmsg_name[] = {(char *)(uintptr_t) "openat", (char *)(uintptr_t) "sendmsg", NULL};

static struct oci_seccomp_rule notify_mkdir(void)
{
    return (struct oci_seccomp_rule){.names = mkdir_name, .action = SECCOMP_RET_USER_NOTIF};
}

static void refuse(const struct oci_seccomp *spec, const char *says)
{
    struct seccomp_program program = {0};
    struct error e = {0};

    if (seccomp_compile(spec, -EBADF, &program, &e) >= 0)
        fail_msg("accepted, although %s", says);
    assert_int_equal(e.code, ERROR_CONFIG);
    assert_error_says(&e, says);
    error_done(&e);
}

static uint32_t flags_of(const struct oci_seccomp *spec)
{
    struct seccomp_program program;
    struct error e = {0};

    if (seccomp_compile(spec, -EBADF, &program, &e) < 0)
        fail_msg("%s", error_render(&e));
    uint32_t flags = program.flags;
    seccomp_program_done(&program);
    return flags;
}

static void test_flags(void **state)
{
    struct oci_seccomp_rule rule = notify_mkdir();
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    (void)state;
    assert_int_equal(flags_of(&spec), SECCOMP_FILTER_FLAG_NEW_LISTENER);
    spec.flags = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    assert_int_equal(flags_of(&spec),
                     SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    spec.flags = SECCOMP_FILTER_FLAG_TSYNC;
    assert_int_equal(flags_of(&spec), SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC |
                                          SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
    /* Without a rule that notifies there is nobody to wait for. */
    rule.action = SECCOMP_RET_ERRNO;
    spec.flags = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_LOG;
    assert_int_equal(flags_of(&spec), SECCOMP_FILTER_FLAG_LOG);
}

/* The listener has to get out of the process that is under the filter already. */
static void test_a_listener_that_could_not_be_handed_over(void **state)
{
    struct oci_seccomp_arg arg = {.op = OCI_CMP_EQ, .value = 5};
    struct oci_seccomp_rule rules[] = {notify_mkdir(), {.names = sendmsg_name}};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = rules, .n_rules = 2};
    static const uint32_t denying[] = {SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ERRNO,
                                       SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(denying); i++) {
        rules[1].action = denying[i];
        refuse(&spec, "sendmsg");
    }
    rules[1] = (struct oci_seccomp_rule){
        .names = sendmsg_name, .action = SECCOMP_RET_USER_NOTIF, .args = &arg, .n_args = 1};
    refuse(&spec, "sendmsg");

    /* Not allowed at all, or only under conditions. */
    spec.default_action = SECCOMP_RET_ERRNO;
    spec.n_rules = 1;
    refuse(&spec, "SCMP_ACT_ERRNO for it");
    spec.n_rules = 2;
    rules[1].action = SECCOMP_RET_ALLOW;
    refuse(&spec, "sendmsg");
    rules[1].n_args = 0;
    assert_int_equal(flags_of(&spec), SECCOMP_FILTER_FLAG_NEW_LISTENER);

    spec.default_action = SECCOMP_RET_USER_NOTIF;
    refuse(&spec, "linux.seccomp.defaultAction");
}

static void send_fd(int sk, int fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (char *)(uintptr_t) "x", .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    if (sendmsg(sk, &msg, 0) < 0)
        _exit(10);
}

/* What comes by a socket, with the one descriptor that must come with its first byte. */
static size_t receive(int sk, char *data, size_t size, int *ret_fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct pollfd p = {.fd = sk, .events = POLLIN};
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    ssize_t n = recvmsg(sk, &msg, MSG_CMSG_CLOEXEC);
    assert_true(n >= 0);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    *ret_fd = -EBADF;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    return (size_t)n;
}

/* Answers one notification as an agent would. */
static void answer(int listener, pid_t pid, int errnum)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    struct seccomp_notif n = {0};

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n), 0);
    assert_int_equal(n.data.nr, SYS_mkdir);
    assert_int_equal(n.pid, pid);
    struct seccomp_notif_resp r = {.id = n.id, .error = -errnum};
    assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r), 0);
}

/* A child under the filter; its listener arrives, and decides. */
static void notified_at(enum security_stage stage, bool no_new_privileges)
{
    struct oci_seccomp_rule rule = notify_mkdir();
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};
    struct security_plan plan = {.no_new_privileges = no_new_privileges};
    struct error e = {0};
    int sk[2], status, listener;
    char byte;

    if (seccomp_compile(&spec, -EBADF, &plan.seccomp, &e) < 0)
        fail_msg("%s", error_render(&e));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enum security_step step = 0;
        if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            _exit(11);
        for (int other = SECURITY_EARLY; other <= SECURITY_LAST; other++)
            if (other != (int)stage &&
                (security_load_filter(&plan, (enum security_stage)other, &listener, &step) < 0 ||
                 listener != -EBADF))
                _exit(12);
        if (security_load_filter(&plan, stage, &listener, &step) < 0 || listener < 0)
            _exit(13);
        send_fd(sk[1], listener);
        (void)close(listener);
        _exit(syscall(SYS_mkdir, "/nonexistent/x", 0755) == -1 && errno == EXDEV ? 0 : 14);
    }
    (void)close(sk[1]);
    assert_int_equal(receive(sk[0], &byte, 1, &listener), 1);
    assert_true(listener >= 0);
    answer(listener, pid, EXDEV);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(listener);
    (void)close(sk[0]);
    security_plan_done(&plan);
}

static void test_the_listener_answers(void **state)
{
    (void)state;
    notified_at(SECURITY_READY, true);
    if (geteuid() == 0)
        notified_at(SECURITY_EARLY, false);
}

/* --- the agent ------------------------------------------------------------------------------ */

static int listen_at(const char *path, int backlog)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int sk = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(sk >= 0);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    assert_int_equal(bind(sk, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(sk, backlog), 0);
    return sk;
}

static void test_what_the_agent_gets(void **state)
{
    const struct temp_dir *d = *state;
    char *path = str_printf("%s/agent", d->path);
    struct oci_seccomp spec = {
        .listener_path = path,
        .listener_metadata = (char *)(uintptr_t) "a \"quoted\" thing",
    };
    struct error e = {0};
    int pipes[2], fd, sk = listen_at(path, 1);

    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    if (seccomp_notify_agent(&spec, pipes[1], 4242, "{\"id\": \"web\"}", &e) < 0)
        fail_msg("%s", error_render(&e));
    int peer = accept4(sk, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    char text[4096] = "";
    size_t n = receive(peer, text, sizeof(text) - 1, &fd);
    assert_true(fd >= 0);
    text[n] = '\0';
    assert_string_equal(text, "{\n"
                              "  \"ociVersion\": \"" OCI_VERSION "\",\n"
                              "  \"fds\": [\n"
                              "    \"seccompFd\"\n"
                              "  ],\n"
                              "  \"pid\": 4242,\n"
                              "  \"metadata\": \"a \\\"quoted\\\" thing\",\n"
                              "  \"state\": {\"id\": \"web\"}\n"
                              "}\n");
    /* It is that pipe, and the connection ends with the one message. */
    assert_int_equal(write(fd, "!", 1), 1);
    char c = 0;
    assert_int_equal(read(pipes[0], &c, 1), 1);
    assert_int_equal(c, '!');
    assert_int_equal(read(peer, text, sizeof(text)), 0);
    (void)close(fd), (void)close(peer), (void)close(sk), (void)close(pipes[0]),
        (void)close(pipes[1]);
    free(path);
}

static int tick_fd;

static void tick(int sig)
{
    (void)sig;
    if (write(tick_fd, "t", 1) != 1)
        _exit(12);
}

/* More than a socket's buffer holds, and interrupted while it waits: the rest goes without the
 * descriptor. */
static void test_a_long_state(void **state)
{
    const struct temp_dir *d = *state;
    char *path = str_printf("%s/agent", d->path);
    struct oci_seccomp spec = {.listener_path = path};
    const size_t long_enough = 4u << 20;
    int status, ticks[2], sk = listen_at(path, 1);
    char first[4];

    assert_int_equal(pipe2(ticks, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct itimerval often = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};
        struct sigaction action = {.sa_handler = tick};
        tick_fd = ticks[1];
        if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &often, NULL) < 0)
            _exit(11);
        char *json = malloc(long_enough + 3);
        memset(json, ' ', long_enough);
        memcpy(json + long_enough, "{}", 3);
        _exit(seccomp_notify_agent(&spec, sk, 1, json, NULL) == 0 ? 0 : 1);
    }
    int peer = accept4(sk, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    /* One of these came when it could send no more. */
    assert_int_equal(fd_read_full(ticks[0], first, sizeof(first)), sizeof(first));
    (void)close(ticks[0]); /* the child has this end, too: no SIGPIPE */
    static char text[65536];
    size_t total = 0, with_fd = 0;
    for (;;) {
        int fd;
        size_t n = receive(peer, text, sizeof(text), &fd);
        if (fd >= 0) {
            with_fd++;
            assert_int_equal(total, 0);
            (void)close(fd);
        }
        if (n == 0)
            break;
        total += n;
    }
    assert_int_equal(with_fd, 1);
    assert_true(total > long_enough);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(peer), (void)close(sk);
    free(path);
}

static void no_agent(const char *path, enum error_code code, const char *says)
{
    struct oci_seccomp spec = {.listener_path = (char *)(uintptr_t)path};
    struct error e = {0};

    assert_true(seccomp_notify_agent(&spec, STDIN_FILENO, 1, "{}", &e) < 0);
    assert_int_equal(e.code, code);
    assert_error_says(&e, says);
    error_done(&e);
}

static void test_no_agent(void **state)
{
    const struct temp_dir *d = *state;
    char *path = str_printf("%s/agent", d->path);

    no_agent(path, ERROR_SYSTEM, path);
    temp_text(d, "agent", "no socket");
    no_agent(path, ERROR_SYSTEM, "linux.seccomp.listenerPath");
    char *deep = str_printf("%s/%0200d", d->path, 0);
    no_agent(deep, ERROR_CONFIG, "107");
    free(deep);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_a_listener_that_could_not_be_handed_over),
        cmocka_unit_test(test_the_listener_answers),
        temp_test(test_what_the_agent_gets),
        temp_test(test_a_long_state),
        temp_test(test_no_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
