/*
 * A POSIX message queue with messages of two priorities in it.
 *
 * CRIU 4.2 has no support for message queues: with this program in it a container can't be
 * checkpointed, and the runtime has to say so and let it run on.
 */
#include "zoo.h"

#include <mqueue.h>

static mqd_t mq;
static char name[64];
static unsigned char buf[256];

static void fill(void)
{
    for (unsigned i = 0; i < 4; i++) {
        zoo_fill(buf, 50 + i, i);
        must(mq_send(mq, (char *)buf, 50 + i, i));
    }
}

static void unlink_queue(void)
{
    (void)mq_unlink(name);
}

static void setup(void)
{
    struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = sizeof(buf)};

    snprintf(name, sizeof(name), "/zoo-%d", (int)getpid());
    mq = must(mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr));
    zoo_on_exit = unlink_queue;
    fill();
}

static void verify(void)
{
    struct mq_attr attr;
    unsigned prio;
    mqd_t by_name;

    must(mq_getattr(mq, &attr));
    if (attr.mq_curmsgs != 4 || attr.mq_maxmsg != 8 || attr.mq_msgsize != (long)sizeof(buf) ||
        !(attr.mq_flags & O_NONBLOCK))
        fail("attributes: %ld messages", attr.mq_curmsgs);
    for (unsigned i = 4; i-- > 0;) {
        ssize_t n = must(mq_receive(mq, (char *)buf, sizeof(buf), &prio));

        if ((size_t)n != 50 + i || prio != i)
            fail("message %u: %zd bytes, priority %u", i, n, prio);
        zoo_check("message", buf, 50 + i, i);
    }
    by_name = must(mq_open(name, O_RDWR));
    must(mq_close(by_name));
    fill();
}
