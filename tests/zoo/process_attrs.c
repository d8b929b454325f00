/* What a process carries: resource limits, umask, working directory, name, nice value, dumpable. */
#include "zoo.h"

#include <sys/prctl.h>
#include <sys/resource.h>

static char cwd[600];

/* Limits are only ever lowered here: that needs no privilege. */
static const struct {
    int resource;
    const char *name;
    rlim_t soft, hard;
} limits[] = {
    {RLIMIT_NOFILE, "nofile", 123, 456},
    {RLIMIT_CORE, "core", 0, 0},
    {RLIMIT_STACK, "stack", 4 << 20, 8 << 20},
    {RLIMIT_FSIZE, "fsize", 1 << 30, (rlim_t)1 << 40},
};

static void setup(void)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit rl = {limits[i].soft, limits[i].hard};

        must(setrlimit((__rlimit_resource_t)limits[i].resource, &rl));
    }
    must(mkdir(zoo_path("cwd"), 0700));
    umask(0137);
    must(chdir(zoo_made[zoo_made_n - 1]));
    if (!getcwd(cwd, sizeof(cwd)))
        fail_errno("getcwd");
    must(prctl(PR_SET_NAME, "zoo (a) b", 0, 0, 0));
    must(setpriority(PRIO_PROCESS, 0, 5));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void verify(void)
{
    char now[600], name[17] = "";
    mode_t mask;

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit rl;

        must(getrlimit((__rlimit_resource_t)limits[i].resource, &rl));
        if (rl.rlim_cur != limits[i].soft || rl.rlim_max != limits[i].hard)
            fail("limit %s is %llu:%llu", limits[i].name, (unsigned long long)rl.rlim_cur,
                 (unsigned long long)rl.rlim_max);
    }
    mask = umask(0137);
    if (mask != 0137)
        fail("umask is %o", mask);
    if (!getcwd(now, sizeof(now)) || strcmp(now, cwd) != 0)
        fail("the working directory is another");
    must(prctl(PR_GET_NAME, name, 0, 0, 0));
    if (strcmp(name, "zoo (a) b") != 0)
        fail("the name is %s", name);
    if (getpriority(PRIO_PROCESS, 0) != 5)
        fail("nice is %d", getpriority(PRIO_PROCESS, 0));
    if (must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) != 1)
        fail("no_new_privs is gone");
}
