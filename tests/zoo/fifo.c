/* A named pipe, open at both ends, with data in it. */
#include "zoo.h"

static const char *path;
static int in, out;
static unsigned char buf[5000];

static void fill(void)
{
    zoo_fill(buf, sizeof(buf), 1);
    zoo_write("fifo", out, buf, sizeof(buf));
}

static void setup(void)
{
    path = zoo_path("fifo");
    must(mkfifo(path, 0600));
    in = must(open(path, O_RDONLY | O_NONBLOCK));
    out = must(open(path, O_WRONLY));
    fill();
}

static void verify(void)
{
    int late;

    zoo_read("fifo", in, buf, sizeof(buf));
    zoo_check("fifo", buf, sizeof(buf), 1);
    zoo_empty("fifo", in);
    late = must(open(path, O_WRONLY | O_NONBLOCK));
    zoo_write("fifo by name", late, "x", 1);
    must(close(late));
    zoo_read("fifo by name", in, buf, 1);
    fill();
}
