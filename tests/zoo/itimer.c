/* Interval timers (setitimer) and POSIX timers that deliver signals. */
#include "zoo.h"

#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t alarms, rt_signals, rt_value;
static timer_t timer;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void on_rt(int sig, siginfo_t *si, void *context)
{
    (void)sig;
    (void)context;
    rt_signals++;
    rt_value = si->si_value.sival_int;
}

static void setup(void)
{
    struct itimerval often = {{0, 50000}, {0, 50000}}, far = {{0, 0}, {360000, 0}};
    struct itimerspec posix = {{0, 70000000}, {0, 70000000}};
    struct sigevent ev = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 99};

    must(sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL));
    must(sigaction(SIGRTMIN + 1, &(struct sigaction){.sa_sigaction = on_rt, .sa_flags = SA_SIGINFO},
                   NULL));
    must(setitimer(ITIMER_REAL, &often, NULL));
    must(setitimer(ITIMER_VIRTUAL, &far, NULL));
    must(timer_create(CLOCK_MONOTONIC, &ev, &timer));
    must(timer_settime(timer, 0, &posix, NULL));
}

static void verify(void)
{
    struct itimerval now;
    int tries = 0;

    alarms = 0;
    rt_signals = 0;
    /* A nap ends early at each signal, so this counts generously. */
    while ((alarms < 3 || rt_signals < 3) && tries++ < 2000)
        zoo_nap(10);
    if (alarms < 3)
        fail("ITIMER_REAL: %d ticks", (int)alarms);
    if (rt_signals < 3)
        fail("POSIX timer: %d ticks", (int)rt_signals);
    if (rt_value != 99)
        fail("POSIX timer: value %d, not 99", (int)rt_value);
    must(getitimer(ITIMER_REAL, &now));
    if (now.it_interval.tv_usec < 49000 || now.it_interval.tv_usec > 51000)
        fail("ITIMER_REAL: interval %ld us", (long)now.it_interval.tv_usec);
    must(getitimer(ITIMER_VIRTUAL, &now));
    if (now.it_value.tv_sec <= 0)
        fail("ITIMER_VIRTUAL is disarmed");
}
