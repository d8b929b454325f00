/*
 * The frame of the zoo: small programs in the style of CRIU's ZDTM, each holding one kind of
 * resource and checking it itself.
 *
 * A program includes this header and defines setup() and verify(). main() is here:
 *
 *     setup(), print "ready", wait
 *     SIGUSR1 -> verify(), print "pass" (and wait again), or "fail: why" and exit 1
 *     SIGTERM -> remove what was made, exit 0
 *
 * verify() leaves the resource as setup() left it, so that one process can be checked again and
 * again, before a checkpoint, after it, and after the second and third restore.
 *
 * SIGUSR1 and SIGTERM stay blocked and are taken by sigwaitinfo(): a process that is PID 1 of its
 * pid namespace gets them so too, threads never see them, and one sent while the process is frozen
 * or restored is kept by the kernel.
 *
 * Files are made below $ZOO_DIR, or the first argument, or /tmp. Time may jump: nothing here
 * compares two clocks, and waiting counts short polls rather than time passed.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define ZOO_UNUSED __attribute__((unused))

/* Makes the resource. */
static void setup(void);

/* Checks it, and calls fail() if it is not as it was. */
static void verify(void);

static const char *zoo_dir = "/tmp";
static pid_t zoo_main_pid;
static char zoo_made[16][512];
static int zoo_made_n;

/* Whether $ZOO_WITHOUT, a comma list, names the part: what CRIU refuses as a whole, so that the rest of a
 * program can be tried. */
ZOO_UNUSED static bool zoo_without(const char *part)
{
    const char *list = getenv("ZOO_WITHOUT");
    size_t n = strlen(part);

    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, part, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

/* What remove() can't do, set by setup(). */
static void (*zoo_on_exit)(void);

static void zoo_cleanup(void)
{
    if (getpid() != zoo_main_pid)
        return;
    if (zoo_on_exit)
        zoo_on_exit();
    while (zoo_made_n > 0)
        (void)remove(zoo_made[--zoo_made_n]);
}

/* Prints "fail: why" in one write and ends the process. */
ZOO_UNUSED __attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
    char why[512], line[600];
    va_list ap;
    int n;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);

    n = snprintf(line, sizeof(line), "fail: %s\n", why);
    if (write(STDOUT_FILENO, line, (size_t)n) < 0)
        _exit(3);
    zoo_cleanup();
    _exit(1);
}

/* Fails with the text of errno. */
#define fail_errno(what) fail("%s: %s", (what), strerror(errno))

/* A system call that must succeed; yields its result. */
#define must(call) zoo_must((call), #call)

ZOO_UNUSED static long zoo_must(long result, const char *what)
{
    if (result == -1)
        fail_errno(what);
    return result;
}

/* A path "<dir>/zoo-<name>" which main removes at SIGTERM. The result is static, per name. */
ZOO_UNUSED static const char *zoo_path(const char *name)
{
    char *path;

    if (zoo_made_n == (int)(sizeof(zoo_made) / sizeof(zoo_made[0])))
        fail("too many paths");
    path = zoo_made[zoo_made_n++];
    if (snprintf(path, sizeof(zoo_made[0]), "%s/zoo-%s-%d", zoo_dir, name, (int)zoo_main_pid) >=
        (int)sizeof(zoo_made[0]))
        fail("path too long");
    return path;
}

/* Deterministic bytes (xorshift64): the same seed and offset give the same byte. */
static uint64_t zoo_word(uint64_t seed, uint64_t index)
{
    uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;

    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    return x;
}

ZOO_UNUSED static void zoo_fill(void *buf, size_t len, uint64_t seed)
{
    unsigned char *p = buf;

    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)(zoo_word(seed, i / 8) >> (i % 8 * 8));
}

/* Fails, naming the first byte that differs from what zoo_fill() wrote. */
ZOO_UNUSED static void zoo_check(const char *what, const void *buf, size_t len, uint64_t seed)
{
    const unsigned char *p = buf;

    for (size_t i = 0; i < len; i++) {
        unsigned char want = (unsigned char)(zoo_word(seed, i / 8) >> (i % 8 * 8));

        if (p[i] != want)
            fail("%s: byte %zu of %zu is 0x%02x, not 0x%02x", what, i, len, p[i], want);
    }
}

/* Reads exactly len bytes within 5 s, or fails. */
ZOO_UNUSED static void zoo_read(const char *what, int fd, void *buf, size_t len)
{
    unsigned char *p = buf;
    int tries = 0;

    while (len > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&pfd, 1, 50) <= 0) {
            if (++tries > 100)
                fail("%s: nothing to read, %zu bytes are missing", what, len);
            continue;
        }
        n = read(fd, p, len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            fail_errno(what);
        if (n == 0)
            fail("%s: end of file, %zu bytes are missing", what, len);
        p += n;
        len -= (size_t)n;
    }
}

ZOO_UNUSED static void zoo_write(const char *what, int fd, const void *buf, size_t len)
{
    const unsigned char *p = buf;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail_errno(what);
        p += n;
        len -= (size_t)n;
    }
}

/* Fails if there is anything to read. */
ZOO_UNUSED static void zoo_empty(const char *what, int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    if (poll(&pfd, 1, 0) > 0 && pfd.revents & POLLIN)
        fail("%s: more to read than was written", what);
}

/* Sleeps for ms milliseconds, or less if a signal comes. */
ZOO_UNUSED static void zoo_nap(int ms)
{
    (void)poll(NULL, 0, ms);
}

int main(int argc, char **argv)
{
    sigset_t set;

    zoo_main_pid = getpid();
    if (argc > 1)
        zoo_dir = argv[1];
    if (getenv("ZOO_DIR"))
        zoo_dir = getenv("ZOO_DIR");
    (void)setvbuf(stdout, NULL, _IOLBF, 0);

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &set, NULL));

    setup();
    puts("ready");
    fflush(stdout);

    for (;;) {
        int sig = sigwaitinfo(&set, NULL);

        if (sig == SIGTERM) {
            zoo_cleanup();
            return 0;
        }
        if (sig != SIGUSR1)
            continue;
        verify();
        puts("pass");
        fflush(stdout);
    }
}
