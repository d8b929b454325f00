/* A deleted file that is still open, its content, flags, and an offset two descriptors share. */
#include "zoo.h"

enum { SIZE = 200000, OFFSET = 12345 };

static int fd, twin;
static unsigned char buf[SIZE];

static void setup(void)
{
    const char *path = zoo_path("deleted");

    fd = must(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    twin = must(dup(fd));
    zoo_fill(buf, SIZE, 1);
    zoo_write("deleted file", fd, buf, SIZE);
    must(lseek(fd, OFFSET, SEEK_SET));
    must(unlink(path));
}

static void verify(void)
{
    struct stat st;

    must(fstat(fd, &st));
    if (st.st_size != SIZE || (st.st_mode & 07777) != 0640)
        fail("size %lld, mode %o", (long long)st.st_size, st.st_mode);
    if (st.st_nlink != 0)
        fail("it is not deleted any more: %d links", (int)st.st_nlink);
    if (must(lseek(fd, 0, SEEK_CUR)) != OFFSET)
        fail("the offset moved");
    if (!(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC) || must(fcntl(twin, F_GETFD)) & FD_CLOEXEC)
        fail("close-on-exec flags changed");

    must(pread(fd, buf, SIZE, 0));
    zoo_check("content", buf, SIZE, 1);

    must(lseek(twin, 7, SEEK_SET));
    if (must(lseek(fd, 0, SEEK_CUR)) != 7)
        fail("the two descriptors no longer share an offset");
    must(lseek(fd, OFFSET, SEEK_SET));
}
