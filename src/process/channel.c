/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

#define HEAR "hear from the container's process"

int channel_open(int sync[2], struct error *e)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
        return error_errno(e, -errno, "make socket pair", NULL);
    return 0;
}

int channel_say(int fd, char what, const char *id, struct error *e)
{
    ssize_t n;

    do
        n = send(fd, &what, 1, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EPIPE)
        return error_errno(e, -errno, "talk to the container's process", id);
    return 0;
}

static void end_texts(struct program_message *m)
{
    m->step[sizeof(m->step) - 1] = '\0';
    m->subject[sizeof(m->subject) - 1] = '\0';
    m->why[sizeof(m->why) - 1] = '\0';
}

int channel_hear(int fd, const char *id, struct program_message *ret, int *ret_fd, struct error *e)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    ssize_t n;

    *ret_fd = -EBADF;
    /* A child that ends with something unread resets the connection: told once, and ahead of what
     * it said before (unix_release_sock() in net/unix/af_unix.c). */
    bool reset = false, again;
    do {
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        again = n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset));
        reset = reset || (n < 0 && errno == ECONNRESET);
    } while (again);
    if (n < 0 && errno != ECONNRESET)
        return error_errno(e, -errno, HEAR, id);
    struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(h), sizeof(int));
    if (n <= 0)
        return 0;
    if (n != sizeof(*ret)) {
        *ret_fd = fd_close(*ret_fd);
        return error_set(e, ERROR_INTERNAL, EBADMSG, HEAR, id, NULL, NULL);
    }
    end_texts(ret);
    return 1;
}

int channel_failed(const struct program_message *m, struct error *e)
{
    const char *subject = m->subject[0] ? m->subject : NULL;

    if (m->errnum == ENOENT && streq(m->step, PROGRAM_STEP_FIND))
        return error_set(e, ERROR_PROGRAM, ENOENT, m->step, subject,
                         "check process.args and PATH in process.env",
                         "executable file not found in $PATH");
    if (m->errnum == EPERM && streq(m->step, PROGRAM_STEP_LIMIT))
        return error_set(
            e, ERROR_PERMISSION, EPERM, m->step, subject,
            "ask for no more than the caller's own hard limit (ulimit -H), or run nucleus with "
            "CAP_SYS_RESOURCE",
            NULL);
    return error_set(e, streq(m->step, PROGRAM_STEP_RUN) ? ERROR_PROGRAM : ERROR_SYSTEM, m->errnum,
                     m->step, subject, NULL, m->why[0] ? "%s" : NULL, m->why);
}

/* 1 when the child is ready. */
static int take_packet(const struct program_message *m, int fd, const char *id,
                       const struct channel_handler *h, struct error *e)
{
    switch ((enum program_event)m->event) {
    case PROGRAM_CONSOLE:
        if (h->console && fd >= 0)
            return h->console(h->arg, fd, e);
        break;
    case PROGRAM_MOUNTED:
        if (h->mounted)
            return h->mounted(h->arg, e);
        break;
    case PROGRAM_SECCOMP:
        if (h->seccomp && fd >= 0)
            return h->seccomp(h->arg, fd, e);
        break;
    case PROGRAM_READY:
        return 1;
    case PROGRAM_FAILED:
        return channel_failed(m, e);
    default:
        break;
    }
    fd_close(fd);
    return error_set(e, ERROR_INTERNAL, EBADMSG, HEAR, id, NULL, NULL);
}

bool channel_await_news(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int r;

    do
        r = poll(&p, 1, timeout_ms);
    while (r < 0 && errno == EINTR);
    return r != 0;
}

int channel_await_ready(int fd, const char *id, const struct channel_handler *h, struct error *e)
{
    bool patient = h->slow;
    int r = 0;

    while (r == 0) {
        struct program_message m;
        int passed;
        if (patient && !channel_await_news(fd, h->patience_ms)) {
            h->slow(h->arg);
            patient = false;
        }
        r = channel_hear(fd, id, &m, &passed, e);
        if (r == 0)
            return error_set(e, ERROR_SYSTEM, ECHILD, "set up process of container", id, NULL,
                             "it ended before it was set up");
        if (r > 0)
            r = take_packet(&m, passed, id, h, e);
    }
    return r < 0 ? r : 0;
}

/* 1 for a packet, 0 at the end. A packet is written in one piece (PIPE_BUF). */
static int hear_report(int fd, const char *id, struct program_message *ret, struct error *e)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n;

    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return error_errno(e, -errno, HEAR, id);
    do
        n = read(fd, ret, sizeof(*ret));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(e, -errno, HEAR, id);
    if (n != 0 && n != sizeof(*ret))
        return error_set(e, ERROR_INTERNAL, EBADMSG, HEAR, id, NULL, NULL);
    end_texts(ret);
    return n > 0;
}

int channel_await_report(int fd, const char *id, struct error *e)
{
    struct program_message m;
    bool ready = false;

    for (;;) {
        int r = hear_report(fd, id, &m, e);
        if (r < 0)
            return r;
        if (r == 0 && ready)
            return 0;
        if (r == 0)
            return error_set(e, ERROR_WRONG_STATUS, ESRCH, "start container", id, NULL,
                             "container not running: it ended before its program ran");
        if (m.event == PROGRAM_FAILED)
            return channel_failed(&m, e);
        ready = m.event == PROGRAM_READY;
    }
}

int channel_await_exec(int fd, const char *id, struct error *e)
{
    struct program_message m;
    int passed;
    int r = channel_hear(fd, id, &m, &passed, e);

    fd_close(passed);
    return r > 0 ? channel_failed(&m, e) : r;
}
