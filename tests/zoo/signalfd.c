/* A signalfd with a pending signal that carries a value, a handler, and an ignored signal. */
#include "zoo.h"

#include <sys/signalfd.h>

static int fd;
static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
    handled += sig;
}

static void pend(void)
{
    must(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 4711}));
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 1}));
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 2}));
}

static void setup(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 3);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    fd = must(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    must(sigaction(SIGWINCH, &sa, NULL));
    must(sigaction(SIGHUP, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    pend();
}

static void expect(uint32_t sig, int value)
{
    struct signalfd_siginfo si;

    zoo_read("signalfd", fd, &si, sizeof(si));
    if (si.ssi_signo != sig || si.ssi_int != value)
        fail("signal %u value %d, not %u value %d", si.ssi_signo, si.ssi_int, sig, value);
}

static void verify(void)
{
    struct sigaction sa;
    sigset_t set;

    expect(SIGUSR2, 4711);
    expect((uint32_t)SIGRTMIN + 3, 1);
    expect((uint32_t)SIGRTMIN + 3, 2);
    zoo_empty("signalfd", fd);

    handled = 0;
    must(raise(SIGWINCH));
    if (handled != SIGWINCH)
        fail("the handler of SIGWINCH did not run");
    must(sigaction(SIGWINCH, NULL, &sa));
    if (!(sa.sa_flags & SA_RESTART))
        fail("SA_RESTART is gone");
    must(sigaction(SIGHUP, NULL, &sa));
    if (sa.sa_handler != SIG_IGN)
        fail("SIGHUP is not ignored any more");
    must(sigprocmask(SIG_BLOCK, NULL, &set));
    if (!sigismember(&set, SIGUSR2) || sigismember(&set, SIGWINCH))
        fail("the signal mask changed");
    pend();
}
