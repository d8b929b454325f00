/* Timer descriptors: a periodic one that keeps ticking, one far away, one disarmed. */
#include "zoo.h"

#include <sys/timerfd.h>

static int ticking, far, idle;

static void setup(void)
{
    struct itimerspec often = {.it_interval.tv_nsec = 50000000, .it_value.tv_nsec = 50000000};
    struct itimerspec late = {.it_value.tv_sec = 360000};

    ticking = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    far = must(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
    idle = must(timerfd_create(CLOCK_BOOTTIME, 0));
    must(timerfd_settime(ticking, 0, &often, NULL));
    must(timerfd_settime(far, 0, &late, NULL));
}

static void verify(void)
{
    struct itimerspec now;
    uint64_t n;

    for (int i = 0; i < 3; i++) {
        zoo_read("periodic timer", ticking, &n, sizeof(n));
        if (n == 0)
            fail("periodic timer: 0 ticks");
    }
    must(timerfd_gettime(ticking, &now));
    if (now.it_interval.tv_sec != 0 || now.it_interval.tv_nsec != 50000000)
        fail("periodic timer: its interval changed");

    must(timerfd_gettime(far, &now));
    if (now.it_value.tv_sec <= 0 || now.it_value.tv_sec > 360000 || now.it_interval.tv_sec != 0)
        fail("far timer: %lld s are left", (long long)now.it_value.tv_sec);
    zoo_empty("far timer", far);

    must(timerfd_gettime(idle, &now));
    if (now.it_value.tv_sec != 0 || now.it_value.tv_nsec != 0)
        fail("idle timer: it is armed");
}
