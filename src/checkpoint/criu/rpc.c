/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "checkpoint/criu/internal.h"

/* One packet holds one message; a file descriptor may come along with it. */

static int ended(struct error *e)
{
    return error_set(e, ERROR_CRIU, EPIPE, "hear from CRIU", NULL, NULL,
                     "CRIU ended before it answered");
}

static int malformed(struct error *e, const char *what)
{
    return error_set(e, ERROR_CRIU, EBADMSG, "understand CRIU's answer", NULL, NULL, "%s", what);
}

/* What each type must carry for its reader; NULL where all is there. */
static const char *missing_part(const Criu__CriuResp *resp)
{
    switch ((int)resp->type) {
    case CRIU__CRIU_REQ_TYPE__NOTIFY:
        if (!resp->notify || !resp->notify->script)
            return "a notification without a script";
        return NULL;
    case CRIU__CRIU_REQ_TYPE__VERSION:
        if (!resp->success)
            return NULL;
        if (!resp->version)
            return "a version answer without a version";
        if (resp->version->major_number < 0 || resp->version->minor_number < 0 ||
            resp->version->sublevel < 0 || resp->version->major_number > 9999 ||
            resp->version->minor_number > 9999 || resp->version->sublevel > 9999)
            return "a version that can't be one";
        return NULL;
    case CRIU__CRIU_REQ_TYPE__FEATURE_CHECK:
        return resp->success && !resp->features ? "a feature answer without features" : NULL;
    case CRIU__CRIU_REQ_TYPE__RESTORE:
        if (!resp->success)
            return NULL;
        return resp->restore && resp->restore->pid > 0 ? NULL : "a restore answer without a pid";
    case CRIU__CRIU_REQ_TYPE__EMPTY:
    case CRIU__CRIU_REQ_TYPE__DUMP:
    case CRIU__CRIU_REQ_TYPE__CHECK:
    case CRIU__CRIU_REQ_TYPE__PRE_DUMP:
    case CRIU__CRIU_REQ_TYPE__PAGE_SERVER:
    case CRIU__CRIU_REQ_TYPE__CPUINFO_DUMP:
    case CRIU__CRIU_REQ_TYPE__CPUINFO_CHECK:
    case CRIU__CRIU_REQ_TYPE__WAIT_PID:
    case CRIU__CRIU_REQ_TYPE__PAGE_SERVER_CHLD:
    case CRIU__CRIU_REQ_TYPE__SINGLE_PRE_DUMP:
        return NULL;
    default:
        return "an answer of unknown type";
    }
}

int criu_response_parse(const uint8_t *data, size_t len, void **ret_resp, struct error *e)
{
    if (len > CRIU_PACKET_MAX)
        return malformed(e, "a packet above 1 MiB");
    Criu__CriuResp *resp = criu__criu_resp__unpack(NULL, len, data);
    if (!resp)
        return malformed(e, "a packet that is not CRIU's RPC");
    const char *what = missing_part(resp);
    if (what) {
        criu_response_free(resp);
        return malformed(e, what);
    }
    *ret_resp = resp;
    return 0;
}

void criu_response_free(void *resp)
{
    criu__criu_resp__free_unpacked(resp, NULL);
}

int criu_rpc_send(struct criu_swrk *s, const Criu__CriuReq *req, struct error *e)
{
    size_t n = criu__criu_req__get_packed_size(req);

    /* The sender's buffer bounds a packet (212992 by default): with many mounts that is not enough.
     * FORCE passes wmem_max, where we may. */
    int size = n > 32 * 1024 * 1024 ? 64 * 1024 * 1024 : (int)(2 * n);
    if (n > 64 * 1024 && setsockopt(s->sk, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(s->sk, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));

    _cleanup_free_ uint8_t *buf = mem_new(uint8_t, n + 1);
    (void)criu__criu_req__pack(req, buf);
    ssize_t k;
    do
        k = send(s->sk, buf, n, MSG_NOSIGNAL);
    while (k < 0 && errno == EINTR);
    if (k == (ssize_t)n)
        return 0;
    int errnum = k < 0 ? errno : EMSGSIZE;
    if (errnum == ECONNRESET || errnum == EPIPE)
        return ended(e);
    return error_set(
        e, ERROR_CRIU, errnum, "send CRIU a request", NULL, NULL,
        errnum == EMSGSIZE ? "the request is %zu bytes, more than a socket takes" : NULL, n);
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for a packet: returns its size, 0 meaning that the other end is closed. The process is
 * watched too, since a child of a CRIU that died may hold the socket open. */
static ssize_t await_packet(struct criu_swrk *s, unsigned stall_ms)
{
    int64_t end = now_ms() + stall_ms;

    for (;;) {
        struct pollfd p[2] = {{.fd = s->sk, .events = POLLIN | POLLRDHUP},
                              {.fd = s->pidfd, .events = POLLIN}};
        int64_t left = MAX(end - now_ms(), (int64_t)0);
        int r = poll(p, 2, (int)MIN(left, (int64_t)INT32_MAX));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            return -ETIMEDOUT;

        char none;
        ssize_t n = recv(s->sk, &none, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (n > 0)
            return n;
        if (n == 0) /* the end, or an empty packet from one that is still there */
            return p[0].revents & (POLLHUP | POLLRDHUP) ? 0 : -EBADMSG;
        if (errno == ECONNRESET) /* it ended without having read all we sent */
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (p[1].revents)
            return 0;
    }
}

/* The descriptor that came with a packet. More than one is closed, all of them, and refused. */
static int take_descriptor(struct msghdr *msg, int *ret_fd)
{
    size_t count = 0;
    int fd = -EBADF;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
            if (count++ == 0)
                fd = one;
            else
                (void)fd_close(one);
        }
    }
    if (count > 1 || (msg->msg_flags & MSG_CTRUNC)) {
        (void)fd_close(fd);
        return -EBADMSG;
    }
    *ret_fd = fd;
    return 0;
}

int criu_rpc_receive(struct criu_swrk *s, unsigned stall_ms, Criu__CriuResp **ret_resp, int *ret_fd,
                     struct error *e)
{
    ssize_t n = await_packet(s, stall_ms);
    if (n == 0)
        return ended(e);
    if (n == -ETIMEDOUT)
        return error_set(e, ERROR_CRIU, ETIMEDOUT, "hear from CRIU", NULL, NULL,
                         "CRIU said nothing for %u ms", stall_ms);
    if (n == -EBADMSG)
        return malformed(e, "an empty packet");
    if (n < 0)
        return error_set(e, ERROR_CRIU, (int)-n, "hear from CRIU", NULL, NULL, NULL);
    if ((size_t)n > CRIU_PACKET_MAX)
        return malformed(e, "a packet above 1 MiB");

    _cleanup_free_ uint8_t *buf = mem_new(uint8_t, (size_t)n);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = (size_t)n};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t k;
    do
        k = recvmsg(s->sk, &msg, MSG_CMSG_CLOEXEC);
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return error_set(e, ERROR_CRIU, errno, "hear from CRIU", NULL, NULL, NULL);

    _cleanup_close_ int fd = -EBADF;
    if (take_descriptor(&msg, &fd) < 0)
        return malformed(e, "more descriptors than one");
    if (k != n)
        return malformed(e, "a packet cut short");

    void *resp;
    int r = criu_response_parse(buf, (size_t)n, &resp, e);
    if (r < 0)
        return r;
    *ret_resp = resp;
    *ret_fd = TAKE_FD(fd);
    return 0;
}
