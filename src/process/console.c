/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/console.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"

int socket_send_fd(const char *socket_path, int fd, const char *name, struct error *e)
{
    static const char step[] = "send descriptor to socket";
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(socket_path) >= sizeof(addr.sun_path))
        return error_set(e, ERROR_USAGE, ENAMETOOLONG, step, socket_path,
                         "use a path of at most 107 bytes", NULL);
    memcpy(addr.sun_path, socket_path, strlen(socket_path) + 1);

    _cleanup_close_ int sk = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sk < 0)
        return error_errno(e, -errno, step, socket_path);
    if (connect(sk, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_set(e, ERROR_SYSTEM, errno, step, socket_path,
                         errno == EAGAIN ? "let its listener accept connections"
                                         : "check that somebody listens there",
                         NULL);

    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (char *)name, .iov_len = strlen(name)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    ssize_t n;
    do
        n = sendmsg(sk, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(e, -errno, step, socket_path);
    return 0;
}

int console_send(const char *socket_path, int master, struct error *e)
{
    return socket_send_fd(socket_path, master, "/dev/ptmx", e);
}

void console_raw_enter(struct console_raw *raw, int fd)
{
    raw->fd = -EBADF;
    if (tcgetattr(fd, &raw->saved) < 0)
        return;
    struct termios t = raw->saved;
    cfmakeraw(&t);
    if (tcsetattr(fd, TCSANOW, &t) == 0)
        raw->fd = fd;
}

void console_raw_leave(struct console_raw *raw)
{
    if (raw->fd >= 0)
        (void)tcsetattr(raw->fd, TCSANOW, &raw->saved);
    raw->fd = -EBADF;
}

void console_copy_size(int from, int to)
{
    struct winsize ws;

    if (ioctl(from, TIOCGWINSZ, &ws) == 0)
        (void)ioctl(to, TIOCSWINSZ, &ws);
}
