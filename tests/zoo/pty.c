/* A terminal pair of its own: settings, size, data both ways, and a child whose terminal it is. */
#include "zoo.h"

#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;
static pid_t child;
static char slave_name[64];

static void setup(void)
{
    struct winsize ws = {.ws_row = 33, .ws_col = 111};
    struct termios tio;

    master = must(posix_openpt(O_RDWR | O_NOCTTY));
    must(grantpt(master));
    must(unlockpt(master));
    if (ptsname_r(master, slave_name, sizeof(slave_name)) != 0)
        fail("ptsname");
    slave = must(open(slave_name, O_RDWR | O_NOCTTY));
    must(tcgetattr(slave, &tio));
    cfmakeraw(&tio);
    tio.c_cc[VMIN] = 1;
    tio.c_cc[VINTR] = 0x1c;
    must(tcsetattr(slave, TCSANOW, &tio));
    must(ioctl(master, TIOCSWINSZ, &ws));

    child = must(fork());
    if (child == 0) {
        char c;

        must(setsid());
        must(ioctl(slave, TIOCSCTTY, 0));
        must(close(master));
        while (read(slave, &c, 1) == 1) {
            c++;
            if (write(slave, &c, 1) != 1)
                break;
        }
        _exit(0);
    }
}

static void verify(void)
{
    struct winsize ws;
    struct termios tio;
    struct stat a, b;
    char c = 'a';

    must(tcgetattr(slave, &tio));
    if (tio.c_lflag & (ICANON | ECHO) || tio.c_cc[VINTR] != 0x1c)
        fail("the settings changed");
    must(ioctl(slave, TIOCGWINSZ, &ws));
    if (ws.ws_row != 33 || ws.ws_col != 111)
        fail("the size is %dx%d", ws.ws_col, ws.ws_row);
    must(fstat(slave, &a));
    must(stat(slave_name, &b));
    if (a.st_rdev != b.st_rdev)
        fail("%s is another terminal", slave_name);
    if (must(tcgetsid(master)) != child)
        fail("it is not the child's terminal any more");

    zoo_write("master", master, &c, 1);
    zoo_read("the child's echo", master, &c, 1);
    if (c != 'b')
        fail("the child answered 0x%02x", c);
}
