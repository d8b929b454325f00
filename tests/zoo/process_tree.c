/* A child, a grandchild, and a zombie that nobody has waited for. */
#include "zoo.h"

struct ident {
    pid_t pid, ppid;
    uint64_t secret;
};

static int ask[2], reply[2];
static pid_t child_pid, zombie_pid;
static struct ident before[2];

/* Each process of the chain answers with what it is, after the one below it has. */
static void serve(int in, int out)
{
    int down[2] = {-1, -1}, up[2] = {-1, -1};
    uint64_t secret = 3;
    bool last = false;
    char c;

    must(pipe(down));
    must(pipe(up));
    if (must(fork()) == 0) {
        must(close(in));
        in = down[0];
        out = up[1];
        must(close(down[1]));
        must(close(up[0]));
        secret = 21;
        last = true;
    } else {
        must(close(down[0]));
        must(close(up[1]));
    }

    while (read(in, &c, 1) == 1) {
        struct ident id = {getpid(), getppid(), secret}, below;

        if (!last) {
            if (write(down[1], &c, 1) != 1 || read(up[0], &below, sizeof(below)) != sizeof(below))
                _exit(1);
            if (write(out, &below, sizeof(below)) != sizeof(below))
                _exit(1);
        }
        if (write(out, &id, sizeof(id)) != sizeof(id))
            _exit(1);
    }
    _exit(0);
}

static void make_zombie(void)
{
    siginfo_t si;

    zombie_pid = must(fork());
    if (zombie_pid == 0)
        _exit(7);
    must(waitid(P_PID, (id_t)zombie_pid, &si, WEXITED | WNOWAIT));
}

static void query(struct ident ret[2])
{
    zoo_write("ask", ask[1], "?", 1);
    zoo_read("reply", reply[0], ret, 2 * sizeof(*ret));
}

static void setup(void)
{
    must(pipe(ask));
    must(pipe(reply));
    child_pid = must(fork());
    if (child_pid == 0) {
        must(close(ask[1]));
        must(close(reply[0]));
        serve(ask[0], reply[1]);
    }
    must(close(ask[0]));
    must(close(reply[1]));
    query(before);
    make_zombie();
}

static void verify(void)
{
    struct ident now[2];
    siginfo_t si = {0};
    int status;

    if (getpid() != zoo_main_pid)
        fail("my pid changed");
    query(now);
    for (int i = 0; i < 2; i++)
        if (memcmp(&now[i], &before[i], sizeof(now[i])) != 0)
            fail("%s: pid %d of %d is now pid %d of %d", i ? "child" : "grandchild", before[i].pid,
                 before[i].ppid, now[i].pid, now[i].ppid);
    if (now[1].pid != child_pid || now[1].ppid != zoo_main_pid || now[0].ppid != child_pid)
        fail("the tree has another shape");

    must(waitid(P_PID, (id_t)zombie_pid, &si, WEXITED | WNOWAIT | WNOHANG));
    if (si.si_pid != zombie_pid)
        fail("the zombie is not one any more");
    if (must(waitpid(zombie_pid, &status, 0)) != zombie_pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 7)
        fail("the zombie's status is %x", status);
    make_zombie();
}
