/* A tree on a tmpfs: content, a hole, modes, times, links, and an open file on it. */
#include "zoo.h"

#include <linux/magic.h>
#include <sys/statfs.h>

enum { SIZE = 3 << 20 };

static char dir[300];
static int held;
static unsigned char buf[SIZE];
static struct timespec stamp[2] = {{1000000000, 123456789}, {1100000000, 987654321}};

static char *in(const char *name)
{
    static char path[4][600];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static bool is_tmpfs(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static void setup(void)
{
    int fd;

    /* Outside a container /tmp may be on a disk; /dev/shm is a tmpfs everywhere. */
    if (!is_tmpfs(zoo_dir))
        zoo_dir = "/dev/shm";
    if (!is_tmpfs(zoo_dir))
        fail("no tmpfs at /tmp or /dev/shm");
    snprintf(dir, sizeof(dir), "%.250s", zoo_path("tmpfs"));
    must(mkdir(dir, 0751));

    fd = must(open(in("content"), O_RDWR | O_CREAT, 04640));
    zoo_fill(buf, SIZE, 1);
    zoo_write("content", fd, buf, SIZE);
    must(fchmod(fd, 04640)); /* last, for writing takes the set-uid bit away */
    must(lseek(fd, 4321, SEEK_SET));
    held = fd;

    fd = must(open(in("sparse"), O_RDWR | O_CREAT, 0600));
    must(ftruncate(fd, 64 << 20));
    must(pwrite(fd, "end", 3, (64 << 20) - 3));
    must(close(fd));
    must(symlink("content", in("symlink")));
    must(link(in("content"), in("hardlink")));
    must(mkfifo(in("fifo"), 0620));
    must(mkdir(in("directory"), 01777));
    must(chmod(in("directory"), 01777));
    must(utimensat(AT_FDCWD, in("sparse"), stamp, 0));

    for (const char *const *n = (const char *const[]){"directory", "fifo", "hardlink", "symlink",
                                                      "sparse", "content", NULL};
         *n; n++)
        snprintf(zoo_made[zoo_made_n++], sizeof(zoo_made[0]), "%.500s", in(*n));
}

static void verify(void)
{
    struct stat st, other;
    char target[20] = "";

    if (!is_tmpfs(dir))
        fail("%s is not a tmpfs any more", dir);
    must(stat(dir, &st));
    if ((st.st_mode & 07777) != 0751)
        fail("mode of the directory: %o", st.st_mode);
    must(stat(in("content"), &st));
    if (st.st_size != SIZE || (st.st_mode & 07777) != 04640)
        fail("content: size %lld, mode %o", (long long)st.st_size, st.st_mode);
    must(fstat(held, &other));
    if (other.st_ino != st.st_ino || other.st_dev != st.st_dev)
        fail("the open file is another one than the named one");
    must(stat(in("hardlink"), &other));
    if (other.st_ino != st.st_ino || st.st_nlink != 2)
        fail("the hard link is a copy");
    if (must(lseek(held, 0, SEEK_CUR)) != 4321)
        fail("the offset moved");
    must(pread(held, buf, SIZE, 0));
    zoo_check("content", buf, SIZE, 1);

    must(stat(in("sparse"), &st));
    if (st.st_size != 64 << 20 || st.st_blocks > 2048)
        fail("sparse: size %lld, %lld blocks", (long long)st.st_size, (long long)st.st_blocks);
    if (st.st_mtim.tv_sec != stamp[1].tv_sec)
        fail("sparse: its time changed");
    must(readlink(in("symlink"), target, sizeof(target) - 1));
    if (strcmp(target, "content") != 0)
        fail("symlink: to %s", target);
    must(stat(in("fifo"), &st));
    if (!S_ISFIFO(st.st_mode))
        fail("fifo: it is none");
    must(stat(in("directory"), &st));
    if ((st.st_mode & 07777) != 01777)
        fail("directory: mode %o", st.st_mode);
}
