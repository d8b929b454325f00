/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Stands in for criu, to see from when to when it ran: connects to the bench and becomes the
 * real one, which holds the connection as long as it lives. Nothing of this is between the
 * runtime and CRIU: same process, same parent, same descriptors and one more. A wrapper that
 * waits would change who the restored process's parent is.
 *
 * It lies in a directory of the bench's; the socket's (abstract) name is its own path. The real
 * criu is found by CRIU_PATH, given when this is compiled. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un bench = {.sun_family = AF_UNIX};

    (void)argc;
    ssize_t n = readlink("/proc/self/exe", bench.sun_path + 1, sizeof(bench.sun_path) - 2);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (n < 0 || s < 0 ||
        connect(s, (struct sockaddr *)&bench,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0) {
        perror("criu-clock");
        return 1;
    }
    argv[0] = (char *)CRIU_PATH;
    execv(CRIU_PATH, argv);
    perror(CRIU_PATH);
    return 1;
}
