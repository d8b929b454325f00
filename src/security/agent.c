/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/file.h"
#include "security/security.h"
#include "state/json_emit.h"

#define STEP "hand the seccomp listener to the agent at"
/* How long an agent may take to accept, and to read what does not fit into the socket's buffer. */
#define AGENT_TIMEOUT_S 10

static int failed(const struct oci_seccomp *spec, int errnum, struct error *e)
{
    /* What SO_SNDTIMEO makes of a wait that is over. */
    bool late = errnum == EAGAIN;

    return error_set(e, ERROR_SYSTEM, late ? ETIMEDOUT : errnum, STEP, spec->listener_path,
                     "check that a seccomp agent listens at linux.seccomp.listenerPath", NULL);
}

static int connect_agent(const struct oci_seccomp *spec, int *ret, struct error *e)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = AGENT_TIMEOUT_S};

    if (strlen(spec->listener_path) >= sizeof(addr.sun_path))
        return error_set(e, ERROR_CONFIG, ENAMETOOLONG, STEP, spec->listener_path,
                         "use a linux.seccomp.listenerPath of at most 107 bytes", NULL);
    memcpy(addr.sun_path, spec->listener_path, strlen(spec->listener_path) + 1);
    _cleanup_close_ int sk = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sk < 0)
        return failed(spec, errno, e);
    if (setsockopt(sk, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
        return failed(spec, errno, e);
    if (connect(sk, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return failed(spec, errno, e);
    *ret = TAKE_FD(sk);
    return 0;
}

/* "The file descriptors MUST be sent only in the first call" (config-linux.md). */
static ssize_t send_some(int sk, const char *text, size_t len, int fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (char *)(uintptr_t)text, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    return sendmsg(sk, &msg, MSG_NOSIGNAL);
}

/* config-linux.md, "The Container Process State". The state is JSON already, and goes in as it
 * is. */
static char *process_state(const struct oci_seccomp *spec, pid_t pid, const char *state)
{
    struct json_emit j = {0};

    json_emit_object(&j, NULL);
    json_emit_string(&j, "ociVersion", OCI_VERSION);
    json_emit_array(&j, "fds");
    json_emit_string(&j, NULL, "seccompFd");
    json_emit_array_end(&j);
    json_emit_u64(&j, "pid", (uint64_t)pid);
    if (spec->listener_metadata)
        json_emit_string(&j, "metadata", spec->listener_metadata);
    json_emit_object_end(&j);
    char *head = json_emit_take(&j);
    char *text = str_printf("%.*s,\n  \"state\": %s\n}\n", (int)(strrchr(head, '}') - head - 1),
                            head, state);
    free(head);
    return text;
}

int seccomp_notify_agent(const struct oci_seccomp *spec, int listener, pid_t pid, const char *state,
                         struct error *e)
{
    _cleanup_close_ int sk = -EBADF;
    int r = connect_agent(spec, &sk, e);
    if (r < 0)
        return r;

    _cleanup_free_ char *text = process_state(spec, pid, state);
    const char *rest = text;
    for (size_t len = strlen(text); len > 0;) {
        ssize_t n = send_some(sk, rest, len, rest == text ? listener : -EBADF);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(spec, errno, e);
        rest += n;
        len -= (size_t)n;
    }
    return 0;
}
