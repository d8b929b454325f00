/* An inotify instance with a watch on a directory and one on a file. */
#include "zoo.h"

#include <limits.h>
#include <sys/inotify.h>

static int fd, dir_wd, file_wd;
static const char *dir;
static char file[600], fresh[600];

static void touch(const char *path)
{
    must(close(must(open(path, O_WRONLY | O_CREAT, 0600))));
}

static void setup(void)
{
    dir = zoo_path("inotify");
    must(mkdir(dir, 0700));
    snprintf(file, sizeof(file), "%s", zoo_path("inotify-file"));
    snprintf(fresh, sizeof(fresh), "%s/fresh", dir);
    touch(file);
    fd = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    dir_wd = must(inotify_add_watch(fd, dir, IN_CREATE | IN_DELETE));
    file_wd = must(inotify_add_watch(fd, file, IN_MODIFY));
}

static void expect(int wd, uint32_t mask, const char *name)
{
    union {
        struct inotify_event e;
        char room[sizeof(struct inotify_event) + NAME_MAX + 1];
    } u;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    if (poll(&pfd, 1, 5000) != 1)
        fail("no event %x", mask);
    must(read(fd, &u, sizeof(u)));
    if (u.e.wd != wd || !(u.e.mask & mask))
        fail("event %x of watch %d, not %x of %d", u.e.mask, u.e.wd, mask, wd);
    if (name && (u.e.len == 0 || strcmp(u.e.name, name) != 0))
        fail("event of another name");
}

static void verify(void)
{
    char room[8192];
    int out;

    /* What restoring itself did to the files may be queued. */
    while (read(fd, room, sizeof(room)) > 0)
        ;
    touch(fresh);
    expect(dir_wd, IN_CREATE, "fresh");
    must(unlink(fresh));
    expect(dir_wd, IN_DELETE, "fresh");

    out = must(open(file, O_WRONLY | O_APPEND));
    zoo_write("file", out, "x", 1);
    must(close(out));
    expect(file_wd, IN_MODIFY, NULL);
}
