/* File locks: flock (exclusive, and shared by two descriptors) and POSIX record locks. */
#include "zoo.h"

#include <sys/file.h>

static const char *path[2];
static int exclusive, shared[2], record;

static void setup(void)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};

    path[0] = zoo_path("flock");
    path[1] = zoo_path("flock-shared");
    exclusive = must(open(path[0], O_RDWR | O_CREAT, 0600));
    must(flock(exclusive, LOCK_EX));
    for (int i = 0; i < 2; i++) {
        shared[i] = must(open(path[1], O_RDWR | O_CREAT, 0600));
        must(flock(shared[i], LOCK_SH));
    }
    record = must(open(zoo_path("flock-record"), O_RDWR | O_CREAT, 0600));
    must(fcntl(record, F_SETLK, &range));
}

static void refused(const char *file, int op)
{
    int fd = must(open(file, O_RDWR));

    if (flock(fd, op | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        fail("%s: the lock is gone", file);
    must(close(fd));
}

/* A process is never in its own way: only another one can see a record lock. */
static int conflicting(short type, off_t start)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
    int status;
    pid_t pid = must(fork());

    if (pid == 0) {
        if (fcntl(record, F_GETLK, &range) < 0)
            _exit(9);
        _exit(range.l_type == F_UNLCK ? 0 : range.l_pid == zoo_main_pid ? 1 : 2);
    }
    must(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void verify(void)
{
    int fd;

    refused(path[0], LOCK_SH);
    refused(path[1], LOCK_EX);
    fd = must(open(path[1], O_RDWR));
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        fail("shared: it became exclusive");
    must(close(fd));
    must(flock(shared[0], LOCK_UN));
    refused(path[1], LOCK_EX);
    must(flock(shared[0], LOCK_SH));

    if (conflicting(F_RDLCK, 9) != 0 || conflicting(F_RDLCK, 30) != 0)
        fail("record lock: it grew");
    if (conflicting(F_RDLCK, 10) != 1 || conflicting(F_RDLCK, 29) != 1)
        fail("record lock: it shrank, or is not mine");
}
