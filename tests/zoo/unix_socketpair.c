/* Unix socket pairs of each type with queued data, one half shut, and a bound listener. */
#include "zoo.h"

#include <sys/socket.h>
#include <sys/un.h>

static int stream[2], dgram[2], seq[2], shut[2], passcred, listener, client, server;
static struct sockaddr_un addr = {.sun_family = AF_UNIX};
static unsigned char buf[4096];

static void fill(void)
{
    zoo_fill(buf, 3000, 1);
    zoo_write("stream", stream[0], buf, 3000);
    zoo_fill(buf, 500, 2);
    zoo_write("stream back", stream[1], buf, 500);
    for (uint64_t i = 0; i < 3; i++) {
        zoo_fill(buf, 10 + i, 10 + i);
        zoo_write("dgram", dgram[0], buf, 10 + i);
        zoo_write("seqpacket", seq[1], buf, 10 + i);
    }
}

static void setup(void)
{
    int one = 1;

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dgram));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, shut));
    must(shutdown(shut[0], SHUT_WR));
    /* What waits in a queue of such a socket has credentials with it. */
    passcred = zoo_without("credentials") ? shut[0] : stream[1];
    must(setsockopt(passcred, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", zoo_path("listener"));
    listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
    must(listen(listener, 4));
    client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(client, (struct sockaddr *)&addr, sizeof(addr)));
    server = must(accept(listener, NULL, NULL));
    fill();
}

static void packet(const char *what, int fd, uint64_t i)
{
    ssize_t n = must(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));

    if ((size_t)n != 10 + i)
        fail("%s: packet %d has %zd bytes", what, (int)i, n);
    zoo_check(what, buf, 10 + i, 10 + i);
}

static void pass_byte(const char *what, int from, int to)
{
    char c = 'x', d = 0;

    zoo_write(what, from, &c, 1);
    zoo_read(what, to, &d, 1);
    if (c != d)
        fail("%s: another byte arrived", what);
}

static void verify(void)
{
    int value = 0, late;
    socklen_t len = sizeof(value);

    zoo_read("stream", stream[1], buf, 3000);
    zoo_check("stream", buf, 3000, 1);
    zoo_read("stream back", stream[0], buf, 500);
    zoo_check("stream back", buf, 500, 2);
    for (uint64_t i = 0; i < 3; i++) {
        packet("dgram", dgram[1], i);
        packet("seqpacket", seq[0], i);
    }
    if (recv(dgram[1], buf, 1, MSG_DONTWAIT) >= 0)
        fail("dgram: a packet too many");
    if (!(must(fcntl(dgram[1], F_GETFL)) & O_NONBLOCK))
        fail("dgram: O_NONBLOCK is gone");

    must(getsockopt(passcred, SOL_SOCKET, SO_PASSCRED, &value, &len));
    if (value != 1)
        fail("SO_PASSCRED is gone");
    if (must(read(shut[1], buf, 1)) != 0)
        fail("shut pair: no end of file");
    pass_byte("shut pair, open half", shut[1], shut[0]);

    pass_byte("connection", client, server);
    pass_byte("connection back", server, client);
    late = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(late, (struct sockaddr *)&addr, sizeof(addr)));
    must(close(must(accept(listener, NULL, NULL))));
    must(close(late));

    fill();
}
