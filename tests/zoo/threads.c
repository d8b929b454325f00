/* Threads on a condition, each with a name, number, thread-local memory and signal mask. */
#include "zoo.h"

#include <pthread.h>
#include <sys/syscall.h>

enum { N = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned round_no, answered[N], ready;
static char why[N][200];
static __thread uint64_t own;

static void *body(void *arg)
{
    size_t i = (size_t)arg;
    char name[16], now[16];
    sigset_t set;
    pid_t tid = (pid_t)syscall(SYS_gettid);
    unsigned seen = 0;

    own = 1000 + i;
    snprintf(name, sizeof(name), "zoo %zu (x) y", i);
    pthread_setname_np(pthread_self(), name);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 5 + (int)i);
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    pthread_mutex_lock(&lock);
    ready++;
    pthread_cond_broadcast(&changed);
    for (;;) {
        while (seen == round_no)
            pthread_cond_wait(&changed, &lock);
        seen = round_no;
        pthread_getname_np(pthread_self(), now, sizeof(now));
        pthread_sigmask(SIG_BLOCK, NULL, &set);
        if (own != 1000 + i + seen - 1)
            snprintf(why[i], sizeof(why[i]), "thread-local memory changed");
        if (strcmp(now, name) != 0)
            snprintf(why[i], sizeof(why[i]), "its name changed");
        if (tid != (pid_t)syscall(SYS_gettid))
            snprintf(why[i], sizeof(why[i]), "its number changed");
        if (!sigismember(&set, SIGRTMIN + 5 + (int)i) ||
            sigismember(&set, SIGRTMIN + 5 + (int)((i + 1) % N)))
            snprintf(why[i], sizeof(why[i]), "its signal mask changed");
        own++;
        answered[i] = seen;
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

static void setup(void)
{
    pthread_t t;

    for (size_t i = 0; i < N; i++)
        if (pthread_create(&t, NULL, body, (void *)i) != 0)
            fail("pthread_create");
    pthread_mutex_lock(&lock);
    while (ready < N)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void verify(void)
{
    unsigned done = 0;

    pthread_mutex_lock(&lock);
    round_no++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);

    for (int tries = 0; tries < 500 && done < N; tries++) {
        zoo_nap(10);
        done = 0;
        pthread_mutex_lock(&lock);
        for (size_t i = 0; i < N; i++)
            done += answered[i] == round_no;
        pthread_mutex_unlock(&lock);
    }
    if (done < N)
        fail("only %u of %d threads answered", done, N);
    for (size_t i = 0; i < N; i++)
        if (why[i][0])
            fail("thread %zu: %s", i, why[i]);
}
