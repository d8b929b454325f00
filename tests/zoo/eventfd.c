/* Event descriptors: a counter, a semaphore, and one shared with a child. */
#include "zoo.h"

#include <sys/eventfd.h>

static int counter, semaphore, question, answer;

static void setup(void)
{
    counter = must(eventfd(41, EFD_NONBLOCK));
    semaphore = must(eventfd(3, EFD_NONBLOCK | (zoo_without("semaphore") ? 0 : EFD_SEMAPHORE)));
    question = must(eventfd(0, 0));
    answer = must(eventfd(0, 0));

    if (must(fork()) == 0) {
        pid_t parent = zoo_main_pid;
        uint64_t n;

        while (getppid() == parent) {
            struct pollfd pfd = {.fd = question, .events = POLLIN};

            if (poll(&pfd, 1, 200) != 1)
                continue;
            if (read(question, &n, sizeof(n)) != sizeof(n))
                _exit(1);
            n *= 2;
            if (write(answer, &n, sizeof(n)) != sizeof(n))
                _exit(1);
        }
        _exit(0);
    }
}

static void verify(void)
{
    uint64_t n;

    if (must(read(counter, &n, sizeof(n))) != sizeof(n) || n != 41)
        fail("counter: %llu, not 41", (unsigned long long)n);
    if (read(counter, &n, sizeof(n)) >= 0 || errno != EAGAIN)
        fail("counter: it did not empty");
    zoo_write("counter", counter, &(uint64_t){41}, sizeof(n));

    for (int i = 0; i < 3 && !zoo_without("semaphore"); i++)
        if (must(read(semaphore, &n, sizeof(n))) != sizeof(n) || n != 1)
            fail("semaphore: read %d gave %llu", i, (unsigned long long)n);
    if (!zoo_without("semaphore")) {
        if (read(semaphore, &n, sizeof(n)) >= 0 || errno != EAGAIN)
            fail("semaphore: more than 3");
        zoo_write("semaphore", semaphore, &(uint64_t){3}, sizeof(n));
    }

    zoo_write("question", question, &(uint64_t){21}, sizeof(n));
    zoo_read("answer", answer, &n, sizeof(n));
    if (n != 42)
        fail("the child answered %llu", (unsigned long long)n);
}
