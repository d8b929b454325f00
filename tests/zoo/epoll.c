/* An epoll instance that watches a pipe (level), a socket (edge), and an eventfd (one-shot). */
#include "zoo.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static int ep, nested, pipefd[2], sock[2], ev;

static void add(int into, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event e = {.events = events, .data.u64 = tag};

    must(epoll_ctl(into, EPOLL_CTL_ADD, fd, &e));
}

static void setup(void)
{
    ep = must(epoll_create1(EPOLL_CLOEXEC));
    nested = must(epoll_create1(0));
    must(pipe(pipefd));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
    ev = must(eventfd(0, EFD_NONBLOCK));
    add(ep, pipefd[0], EPOLLIN, 0xfeedfacecafe0001u);
    add(ep, sock[0], EPOLLIN | EPOLLET, 0xfeedfacecafe0002u);
    add(ep, ev, EPOLLIN | EPOLLONESHOT, 0xfeedfacecafe0003u);
    add(nested, ep, EPOLLIN, 0xfeedfacecafe0004u);
}

static void quiet(const char *when)
{
    struct epoll_event e;
    int n = must(epoll_wait(ep, &e, 1, 0));

    if (n != 0)
        fail("an event nobody caused (%s): %llx", when, (unsigned long long)e.data.u64);
}

static void expect(int from, const char *what, uint64_t tag)
{
    struct epoll_event e;

    for (int i = 0; i < 100; i++) {
        int n = epoll_wait(from, &e, 1, 50);

        if (n < 0 && errno != EINTR)
            fail_errno("epoll_wait");
        if (n <= 0)
            continue;
        if (e.data.u64 != tag || !(e.events & EPOLLIN))
            fail("%s: event %x, data %llx", what, e.events, (unsigned long long)e.data.u64);
        return;
    }
    fail("%s: no event", what);
}

static void verify(void)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 0xfeedfacecafe0003u};
    uint64_t one = 1;
    char c = 'x';

    quiet("at start");
    if (!(must(fcntl(ep, F_GETFD)) & FD_CLOEXEC))
        fail("close-on-exec is gone");

    zoo_write("pipe", pipefd[1], &c, 1);
    expect(ep, "pipe", 0xfeedfacecafe0001u);
    expect(ep, "pipe again, for it is level triggered", 0xfeedfacecafe0001u);
    expect(nested, "nested", 0xfeedfacecafe0004u);
    zoo_read("pipe", pipefd[0], &c, 1);
    quiet("after the pipe");

    zoo_write("socket", sock[1], &c, 1);
    expect(ep, "socket", 0xfeedfacecafe0002u);
    quiet("after the edge");
    zoo_read("socket", sock[0], &c, 1);

    zoo_write("eventfd", ev, &one, sizeof(one));
    expect(ep, "eventfd", 0xfeedfacecafe0003u);
    quiet("after the one shot");
    zoo_read("eventfd", ev, &one, sizeof(one));
    must(epoll_ctl(ep, EPOLL_CTL_MOD, ev, &e));
}
