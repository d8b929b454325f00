/* POSIX shared memory in /dev/shm, and a System V segment, both shared with a child. */
#include "zoo.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

enum { SIZE = 1 << 20 };

static char name[64];
static int fd, id, ask[2], reply[2];
static unsigned char *posix, *sysv;
static unsigned char round_no;

static void setup(void)
{
    snprintf(name, sizeof(name), "/zoo-%d", (int)getpid());
    fd = must(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0640));
    snprintf(zoo_made[zoo_made_n++], sizeof(zoo_made[0]), "/dev/shm%s", name);
    must(ftruncate(fd, SIZE));
    posix = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (posix == MAP_FAILED)
        fail_errno("mmap");
    id = must(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
    sysv = shmat(id, NULL, 0);
    if (sysv == (void *)-1)
        fail_errno("shmat");
    /* Marked at once: outside a container nothing is left when the last user goes. */
    must(shmctl(id, IPC_RMID, NULL));
    zoo_fill(posix, SIZE, 1);
    zoo_fill(sysv, SIZE, 2);

    must(pipe(ask));
    must(pipe(reply));
    if (must(fork()) == 0) {
        unsigned char c;

        must(close(ask[1]));
        while (read(ask[0], &c, 1) == 1) {
            posix[SIZE - 1] = c;
            sysv[SIZE - 1] = c;
            if (write(reply[1], &c, 1) != 1)
                break;
        }
        _exit(0);
    }
    must(close(ask[0]));
}

static void verify(void)
{
    unsigned char c = ++round_no, last;
    int again;

    zoo_check("POSIX", posix, SIZE - 1, 1);
    zoo_check("System V", sysv, SIZE - 1, 2);
    zoo_write("ask", ask[1], &c, 1);
    zoo_read("reply", reply[0], &last, 1);
    if (posix[SIZE - 1] != c || sysv[SIZE - 1] != c)
        fail("parent and child have parted");

    again = must(shm_open(name, O_RDONLY, 0));
    must(pread(again, &last, 1, SIZE - 1));
    must(close(again));
    if (last != c)
        fail("the name leads to another file than the mapping");
}
