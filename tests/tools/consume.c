/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Uses up one resource, for tests of limits: it goes into a container, so it is static. Says what
 * came of it in one line.
 *
 *   consume memory MIB     touches as much, says "ready", waits
 *   consume spin           says "ready", uses a CPU until it is killed
 *   consume bursts         uses a CPU by fits and starts
 *   consume fork N         "forked K" with N or fewer children; they wait, as it does
 *   consume huge N         "huge K": maps N huge pages of 2 MiB one by one
 *   consume read FILE N    "took MS": N blocks of 64 KiB, past the page cache; write likewise
 *   consume open FILE      "open: WHY"
 *   consume wait           says "ready", waits
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BLOCK ((size_t)64 << 10)
#define HUGE ((size_t)2 << 20)

static long now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void spin_ms(long ms)
{
    for (long end = now_ms() + ms; now_ms() < end;)
        ;
}

static void wait_for_ever(void)
{
    for (;;)
        (void)pause();
}

static void memory(size_t bytes)
{
    unsigned char *p =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        printf("memory: %s\n", strerror(errno));
        exit(1);
    }
    /* Different everywhere, so that nothing is merged or compressed away. */
    for (size_t i = 0; i < bytes; i += 64)
        *(size_t *)(void *)(p + i) = i * 2654435761u;
    puts("ready");
    wait_for_ever();
}

static void bursts(void)
{
    puts("ready");
    for (;;) {
        (void)usleep(300000);
        spin_ms(30);
    }
}

static void fork_children(int n)
{
    int forked = 0;

    for (; forked < n; forked++) {
        pid_t pid = fork();
        if (pid == 0)
            wait_for_ever();
        if (pid < 0)
            break;
    }
    printf("forked %d\n", forked);
    wait_for_ever();
}

static void huge(int n)
{
    int mapped = 0;

    for (; mapped < n; mapped++) {
        char *p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
        if (p == MAP_FAILED)
            break;
        *p = 1;
    }
    printf("huge %d\n", mapped);
}

static void transfer(const char *path, int n, int writing)
{
    void *block = NULL;
    int fd = open(path, (writing ? O_WRONLY : O_RDONLY) | O_DIRECT);
    long start = now_ms();

    if (fd < 0 || posix_memalign(&block, 4096, BLOCK) != 0) {
        printf("%s: %s\n", path, strerror(errno));
        exit(1);
    }
    memset(block, 'x', BLOCK);
    for (int i = 0; i < n; i++)
        if ((writing ? write(fd, block, BLOCK) : read(fd, block, BLOCK)) != (ssize_t)BLOCK) {
            printf("%s: %s\n", path, strerror(errno));
            exit(1);
        }
    printf("took %ld\n", now_ms() - start);
}

static void open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    printf("open: %s\n", fd < 0 ? strerror(errno) : "fine");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *arg = argc > 2 ? argv[2] : "";
    int n = atoi(argc > 3 ? argv[3] : arg);

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "memory") == 0)
        memory((size_t)n << 20);
    else if (strcmp(what, "spin") == 0 && puts("ready") >= 0)
        spin_ms(3600000);
    else if (strcmp(what, "bursts") == 0)
        bursts();
    else if (strcmp(what, "fork") == 0)
        fork_children(n);
    else if (strcmp(what, "huge") == 0)
        huge(n);
    else if (strcmp(what, "read") == 0 || strcmp(what, "write") == 0)
        transfer(arg, n, *what == 'w');
    else if (strcmp(what, "open") == 0)
        open_file(arg);
    else if (strcmp(what, "wait") == 0 && puts("ready") >= 0)
        wait_for_ever();
    else
        return 2;
    return 0;
}
