/* Pipes with data in them: full, of another size, in packet mode, without writer. */
#include "zoo.h"

static int full[2], large[2], packets[2], widowed[2];
static size_t full_len;
static unsigned char buf[1 << 20];

static void fill(void)
{
    full_len = 0;
    zoo_fill(buf, sizeof(buf), 1);
    for (;;) {
        ssize_t n = write(full[1], buf + full_len, 4096);

        if (n < 0 && errno == EAGAIN)
            break;
        full_len += (size_t)must(n);
    }

    zoo_fill(buf, 100000, 2);
    zoo_write("large pipe", large[1], buf, 100000);
    for (uint64_t i = 0; i < 3; i++) {
        if (zoo_without("packets") && i > 0)
            break;
        zoo_fill(buf, 100 + i, 3 + i);
        zoo_write("packet pipe", packets[1], buf, 100 + i);
    }
}

static void widow(void)
{
    must(pipe(widowed));
    zoo_fill(buf, 300, 9);
    zoo_write("widowed pipe", widowed[1], buf, 300);
    must(close(widowed[1]));
}

static void setup(void)
{
    must(pipe2(full, O_NONBLOCK));
    must(pipe(large));
    must(fcntl(large[1], F_SETPIPE_SZ, 1 << 18));
    must(pipe2(packets, zoo_without("packets") ? 0 : O_DIRECT));
    fill();
    widow();
}

static void verify(void)
{
    if (!(must(fcntl(full[0], F_GETFL)) & O_NONBLOCK))
        fail("full pipe: O_NONBLOCK is gone");
    zoo_read("full pipe", full[0], buf, full_len);
    zoo_check("full pipe", buf, full_len, 1);
    zoo_empty("full pipe", full[0]);

    if (must(fcntl(large[0], F_GETPIPE_SZ)) != 1 << 18)
        fail("large pipe: its size changed");
    zoo_read("large pipe", large[0], buf, 100000);
    zoo_check("large pipe", buf, 100000, 2);
    zoo_empty("large pipe", large[0]);

    for (uint64_t i = 0; i < (zoo_without("packets") ? 1 : 3); i++) {
        ssize_t n = must(read(packets[0], buf, sizeof(buf)));

        if ((size_t)n != 100 + i)
            fail("packet pipe: packet %d has %zd bytes", (int)i, n);
        zoo_check("packet pipe", buf, 100 + i, 3 + i);
    }

    zoo_read("widowed pipe", widowed[0], buf, 300);
    zoo_check("widowed pipe", buf, 300, 9);
    if (must(read(widowed[0], buf, 1)) != 0)
        fail("widowed pipe: no end of file");
    must(close(widowed[0]));

    fill();
    widow();
}
