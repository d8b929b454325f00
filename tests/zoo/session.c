/* Sessions and process groups: a child that leads a session, with two groups in it. */
#include "zoo.h"

struct ident {
    pid_t pid, pgid, sid;
};

enum { N = 3 };

static int ask[N][2], reply[2];
static struct ident before[N], mine;

static void serve(int i)
{
    char c;

    for (int k = 0; k < N; k++)
        if (ask[k][1] >= 0)
            must(close(ask[k][1]));
    while (read(ask[i][0], &c, 1) == 1) {
        struct ident id = {getpid(), getpgid(0), getsid(0)};

        if (write(reply[1], &id, sizeof(id)) != sizeof(id))
            break;
    }
    _exit(0);
}

static void query(struct ident *ret)
{
    for (int i = 0; i < N; i++) {
        zoo_write("ask", ask[i][1], "?", 1);
        zoo_read("reply", reply[0], &ret[i], sizeof(*ret));
    }
}

static void setup(void)
{
    must(pipe(reply));
    for (int i = 0; i < N; i++)
        must(pipe(ask[i]));

    if (must(fork()) == 0) {
        must(setsid());
        if (must(fork()) == 0)
            serve(1); /* in the leader's group */
        if (must(fork()) == 0) {
            must(setpgid(0, 0));
            serve(2); /* leads a group */
        }
        serve(0); /* leads the session */
    }
    for (int i = 0; i < N; i++)
        must(close(ask[i][0]));
    /* The answer of 2 counts only once it has its own group. */
    for (int tries = 0; tries < 500; tries++) {
        query(before);
        if (before[2].pgid == before[2].pid && before[0].sid == before[0].pid)
            break;
        zoo_nap(10);
    }
    mine = (struct ident){getpid(), getpgid(0), getsid(0)};
}

static void verify(void)
{
    struct ident now[N], me = {getpid(), getpgid(0), getsid(0)};

    query(now);
    for (int i = 0; i < N; i++)
        if (memcmp(&now[i], &before[i], sizeof(now[i])) != 0)
            fail("process %d: pid %d group %d session %d, not %d %d %d", i, now[i].pid, now[i].pgid,
                 now[i].sid, before[i].pid, before[i].pgid, before[i].sid);
    if (now[0].sid != now[0].pid || now[1].pgid != now[0].pid || now[2].pgid != now[2].pid ||
        now[2].sid != now[0].pid)
        fail("sessions and groups have another shape");
    if (memcmp(&me, &mine, sizeof(me)) != 0)
        fail("my own group or session changed");
}
