/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Creates, starts, kills and deletes containers, many at a time, and counts what the kernel has
 * before and after: what one cycle leaves behind adds up. In C, as Python is slow where the
 * processor is emulated.
 *
 *   cycles NUCLEUS BUNDLE STATE LOG COUNT AT_A_TIME
 *
 * Prints "THING: BEFORE AFTER" a line each, and "COUNT cycles in SECONDS s"; status 0 if nothing
 * was left. Only for a machine of its own: it counts all cgroups, processes and namespaces there
 * are, the latter by lowering their limits (namespaces(7)) to where the kernel refuses one more,
 * since a namespace that nothing but a leaked reference holds is seen nowhere else. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_A_TIME_MAX 64
#define MANY 20
#define TRIES 30
#define SETTLE_SECONDS 60 /* namespaces go in the background; the machine is emulated */

_Noreturn static void die(const char *what)
{
    (void)fprintf(stderr, "cycles: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- what there is ---- */

static long mounts(void)
{
    FILE *f = fopen("/proc/self/mounts", "re");
    long lines = 0;

    if (!f)
        die("/proc/self/mounts");
    for (int c; (c = getc(f)) != EOF;)
        lines += c == '\n';
    (void)fclose(f);
    return lines;
}

static long cgroups(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cgroup.stat", "re");
    long n;

    if (!f || fscanf(f, "nr_descendants %ld", &n) != 1)
        die("/sys/fs/cgroup/cgroup.stat");
    (void)fclose(f);
    return n;
}

static long entries(const char *directory)
{
    DIR *d = opendir(directory);
    long n = 0;

    if (!d)
        die(directory);
    for (const struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    return n;
}

/* Without the kernel's threads, which come and go. */
static long processes(void)
{
    DIR *d = opendir("/proc");
    long n = 0;

    if (!d)
        die("/proc");
    for (const struct dirent *e; (e = readdir(d));) {
        char path[300], stat[512];

        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        size_t length = fread(stat, 1, sizeof(stat) - 1, f);
        (void)fclose(f);
        stat[length] = '\0';
        const char *end = strrchr(stat, ')'); /* of the name, which may hold anything */
        int parent;
        if (end && sscanf(end, ") %*c %d", &parent) == 1 && parent != 2 &&
            strcmp(e->d_name, "2") != 0)
            n++;
    }
    (void)closedir(d);
    return n;
}

static bool fits_one_more(int flag)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        die("fork");
    if (pid == 0)
        _exit(unshare(flag) == 0 ? 0 : errno == ENOSPC ? 1 : 2);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        die("unshare");
    return WEXITSTATUS(status) == 0;
}

/* Up to MANY. */
static long namespaces(const char *kind, int flag)
{
    char path[64];
    long before, n = 0;
    bool fits = false;

    (void)snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kind);
    FILE *f = fopen(path, "r+e");
    if (!f || fscanf(f, "%ld", &before) != 1 || setvbuf(f, NULL, _IONBF, 0) != 0)
        die(path);
    while (n < MANY) {
        rewind(f);
        if (fprintf(f, "%ld", n + 1) < 0)
            die(path);
        /* The one before, of the last count as well, may be on its way out. */
        for (int try = 0; try < TRIES && !(fits = fits_one_more(flag)); try++)
            (void)usleep(100000);
        if (fits)
            break;
        n++;
    }
    rewind(f);
    if (fprintf(f, "%ld", before) < 0)
        die(path);
    (void)fclose(f);
    return n;
}

static const struct {
    const char *name;
    int flag;
} kinds[] = {
    {"net", CLONE_NEWNET}, {"mnt", CLONE_NEWNS},  {"pid", CLONE_NEWPID},
    {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP},
};

enum { MOUNTS, CGROUPS, PROCESSES, DESCRIPTORS, STATES, NAMESPACES, THINGS = NAMESPACES + 6 };
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == THINGS - NAMESPACES, "one name each");

static void count(long ret_counts[static THINGS], const char *state)
{
    ret_counts[MOUNTS] = mounts();
    ret_counts[CGROUPS] = cgroups();
    ret_counts[PROCESSES] = processes();
    ret_counts[DESCRIPTORS] = entries("/proc/self/fd");
    ret_counts[STATES] = entries(state);
    for (int i = 0; i < THINGS - NAMESPACES; i++)
        ret_counts[NAMESPACES + i] = namespaces(kinds[i].name, kinds[i].flag);
}

/* ---- cycles ---- */

struct slot {
    pid_t pid; /* of the command that runs, or 0 */
    int step;
    char id[32];
};

static const char *nucleus, *bundle, *state, *log_file;

static void spawn(struct slot *s)
{
    const char *const steps[][8] = {
        {nucleus, "--root", state, "create", "-b", bundle, s->id},
        {nucleus, "--root", state, "start", s->id},
        {nucleus, "--root", state, "kill", s->id, "KILL"},
        {nucleus, "--root", state, "delete", "-f", s->id},
    };
    posix_spawn_file_actions_t actions;
    extern char **environ;

    /* The container keeps what it is given: files, as a pipe would not end before it does. */
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) != 0 ||
        posix_spawn_file_actions_addopen(&actions, 1, log_file, O_WRONLY | O_APPEND | O_CREAT,
                                         0600) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, 1, 2) != 0)
        die("posix_spawn_file_actions");
    errno = posix_spawn(&s->pid, nucleus, &actions, NULL, (char *const *)steps[s->step], environ);
    if (errno != 0)
        die(nucleus);
    (void)posix_spawn_file_actions_destroy(&actions);
}

static void cycles(int total, int at_a_time)
{
    struct slot slots[AT_A_TIME_MAX] = {};
    int begun = 0, busy = 0;

    for (;;) {
        for (int i = 0; i < at_a_time && begun < total; i++)
            if (slots[i].pid == 0) {
                slots[i].step = 0;
                (void)snprintf(slots[i].id, sizeof(slots[i].id), "cycle%d", begun++);
                spawn(&slots[i]);
                busy++;
            }
        if (busy == 0)
            return;
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0)
            die("waitpid");
        for (int i = 0; i < at_a_time; i++) {
            struct slot *s = &slots[i];

            if (s->pid != pid) /* or one of a container, which came to its subreaper */
                continue;
            if (status != 0) {
                (void)fprintf(stderr, "cycles: %s, step %d: status %#x\n", s->id, s->step, status);
                exit(1);
            }
            s->pid = 0;
            if (++s->step < 4)
                spawn(s);
            else
                busy--;
        }
    }
}

int main(int argc, char **argv)
{
    long before[THINGS], after[THINGS];

    if (argc != 7) {
        (void)fputs("usage: cycles NUCLEUS BUNDLE STATE LOG COUNT AT_A_TIME\n", stderr);
        return 2;
    }
    nucleus = argv[1], bundle = argv[2], state = argv[3], log_file = argv[4];
    int total = atoi(argv[5]), at_a_time = atoi(argv[6]);
    if (total < 1 || at_a_time < 1 || at_a_time > AT_A_TIME_MAX)
        die("COUNT or AT_A_TIME");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        die("prctl");

    count(before, state);
    time_t start = time(NULL);
    cycles(total, at_a_time);
    time_t end = time(NULL);
    do {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        count(after, state);
    } while (memcmp(before, after, sizeof(before)) != 0 && time(NULL) < end + SETTLE_SECONDS &&
             usleep(100000) == 0);

    static const char *const names[] = {"mounts", "cgroups", "processes", "descriptors", "states"};
    for (int i = 0; i < THINGS; i++)
        printf("%s%s: %ld %ld\n", i < NAMESPACES ? names[i] : kinds[i - NAMESPACES].name,
               i < NAMESPACES ? "" : " namespaces", before[i], after[i]);
    printf("%d cycles in %ld s\n", total, (long)(end - start));
    return memcmp(before, after, sizeof(before)) != 0;
}
