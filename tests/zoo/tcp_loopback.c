/* A TCP connection over 127.0.0.1 with data under way both ways, its listener, and options. */
#include "zoo.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int listener, client, server;
static struct sockaddr_in addr = {.sin_family = AF_INET};
static unsigned char buf[20000];

/* Only in setup(): afterwards a loopback that is down is the fault to be found. */
static void loopback_up(int fd)
{
    struct ifreq ifr = {.ifr_name = "lo"};

    must(ioctl(fd, SIOCGIFFLAGS, &ifr));
    if (ifr.ifr_flags & IFF_UP)
        return;
    ifr.ifr_flags |= IFF_UP;
    must(ioctl(fd, SIOCSIFFLAGS, &ifr));
}

static void fill(void)
{
    zoo_fill(buf, sizeof(buf), 1);
    zoo_write("client to server", client, buf, sizeof(buf));
    zoo_fill(buf, 777, 2);
    zoo_write("server to client", server, buf, 777);
}

static void setup(void)
{
    socklen_t len = sizeof(addr);
    int one = 1;

    listener = must(socket(AF_INET, SOCK_STREAM, 0));
    loopback_up(listener);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
    must(getsockname(listener, (struct sockaddr *)&addr, &len));
    must(listen(listener, 4));
    client = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(client, (struct sockaddr *)&addr, sizeof(addr)));
    server = must(accept(listener, NULL, NULL));
    must(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
    fill();
}

static void verify(void)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    int value = 0, late;

    must(getpeername(client, (struct sockaddr *)&peer, &len));
    if (peer.sin_port != addr.sin_port)
        fail("the client's peer has another port");
    len = sizeof(value);
    must(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &value, &len));
    if (!value)
        fail("TCP_NODELAY is gone");

    zoo_read("client to server", server, buf, sizeof(buf));
    zoo_check("client to server", buf, sizeof(buf), 1);
    zoo_read("server to client", client, buf, 777);
    zoo_check("server to client", buf, 777, 2);
    zoo_empty("client", client);
    zoo_empty("server", server);

    late = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(late, (struct sockaddr *)&addr, sizeof(addr)));
    must(close(must(accept(listener, NULL, NULL))));
    must(close(late));
    fill();
}
