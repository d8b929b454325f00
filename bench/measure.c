/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Times one command, or N runs of it, some at a time. bench/run calls it, and it is as small as
 * it is because of its memory: a child made by vfork borrows its parent's until execve, and the
 * kernel counts what it borrowed into the child's ru_maxrss. Nothing is measured as smaller than
 * this program.
 *
 * usage: measure [-n RUNS] [-p AT_A_TIME] [-e FILE] COMMAND [ARGUMENT...]
 *
 * "{}" in an argument becomes the number of the run. Standard input and output are /dev/null,
 * standard error is FILE. Prints one line: nanoseconds from before the first start to after the
 * last end; user and system time in microseconds, summed; the largest ru_maxrss in KiB; the wait
 * status of the first run that failed, or 0. CPU time and memory are those of the command and of
 * the children that it waited for. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void fail(const char *what, int error)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(error));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t microseconds(struct timeval t)
{
    return t.tv_sec * INT64_C(1000000) + t.tv_usec;
}

/* The command with the number in it. Made before the clock starts; never freed. */
static char **numbered(char *const *argv, unsigned number)
{
    size_t n = 0;

    while (argv[n])
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    if (!copy)
        fail("memory", ENOMEM);
    for (size_t i = 0; i < n; i++) {
        char *hole = strstr(argv[i], "{}");
        if (!hole)
            copy[i] = argv[i];
        else if (asprintf(&copy[i], "%.*s%u%s", (int)(hole - argv[i]), argv[i], number, hole + 2) <
                 0)
            fail("memory", ENOMEM);
    }
    return copy;
}

static unsigned parse_count(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end || n < 1 || n > 100000)
        fail(text, EINVAL);
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    unsigned runs = 1, at_a_time = 1;
    const char *errors = "/dev/null";
    int option, r;

    while ((option = getopt(argc, argv, "+n:p:e:")) >= 0) {
        if (option == 'n')
            runs = parse_count(optarg);
        else if (option == 'p')
            at_a_time = parse_count(optarg);
        else if (option == 'e')
            errors = optarg;
        else
            return 1;
    }
    if (optind == argc) {
        fprintf(stderr,
                "usage: measure [-n RUNS] [-p AT_A_TIME] [-e FILE] COMMAND [ARGUMENT...]\n");
        return 1;
    }

    posix_spawn_file_actions_t files;
    if ((r = posix_spawn_file_actions_init(&files)) ||
        (r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)) ||
        (r = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0)) ||
        (r = posix_spawn_file_actions_addopen(&files, 2, errors, O_WRONLY | O_CREAT | O_APPEND,
                                              0600)))
        fail("file actions", r);
    char ***commands = calloc(runs, sizeof(*commands));
    if (!commands)
        fail("memory", ENOMEM);
    for (unsigned i = 0; i < runs; i++)
        commands[i] = numbered(argv + optind, i);

    unsigned started = 0, ended = 0;
    int64_t user = 0, system_ = 0, begin = now_ns();
    long peak = 0;
    int bad = 0;
    while (ended < runs) {
        if (started < runs && started - ended < at_a_time) {
            pid_t pid;
            r = posix_spawnp(&pid, commands[started][0], &files, NULL, commands[started], environ);
            if (r)
                fail(commands[started][0], r);
            started++;
            continue;
        }
        struct rusage used;
        int status;
        if (wait4(-1, &status, 0, &used) < 0)
            fail("wait4", errno);
        ended++;
        user += microseconds(used.ru_utime);
        system_ += microseconds(used.ru_stime);
        if (used.ru_maxrss > peak)
            peak = used.ru_maxrss;
        if (status && !bad)
            bad = status;
    }
    int64_t took = now_ns() - begin;

    printf("%lld %lld %lld %ld %d\n", (long long)took, (long long)user, (long long)system_, peak,
           bad);
    return 0;
}
