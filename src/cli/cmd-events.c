/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/file.h"
#include "cgroup/watch.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stats-json.h"
#include "process/container.h"
#include "sys/process.h"

#define NS_PER_S 1000000000

struct values {
    const char *interval;
    bool stats;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {0, "interval", OPTION_STRING, VALUE(interval), "DURATION",
     "time between two statistics: 5s (default), 500ms, 1m30s"},
    {0, "stats", OPTION_FLAG, VALUE(stats), NULL, "print the statistics once"},
    {0},
};

static int parse_interval(const char *text, struct timespec *ret, struct error *e)
{
    int64_t ns = 5LL * NS_PER_S;
    int r = text ? duration_parse_ns(text, &ns) : 0;

    if (r < 0)
        return error_set(e, ERROR_USAGE, -r, "use interval", text,
                         "give a number with its unit: 500ms, 5s, 1m30s", "it is no duration");
    if (ns <= 0)
        return error_set(e, ERROR_USAGE, EINVAL, "use interval", text, NULL,
                         "duration interval must be greater than 0");
    *ret = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    return 0;
}

/* One line; `data` (taken) may be NULL. */
static int print_event(const char *type, const char *id, struct json_object *data, struct error *e)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "type", json_object_new_string(type));
    json_object_object_add(o, "id", json_object_new_string(id));
    if (data)
        json_object_object_add(o, "data", data);
    int r = output_json(o, false, e);
    json_object_put(o);
    return r;
}

static int print_stats(const struct state *s, struct error *e)
{
    _cleanup_cgroup_stats_ struct cgroup_stats stats = {0};
    int r = cgroup_read_stats(s->cgroup_path, &stats, e);

    return r < 0 ? r : print_event("stats", s->id, stats_json(&stats), e);
}

static int print_kills(const struct state *s, struct cgroup_watch *watch, struct error *e)
{
    uint64_t kills;
    int r = cgroup_watch_read(watch, &kills, e);

    return r < 0 || kills == 0 ? r : print_event("oom", s->id, NULL, e);
}

static int open_timer(const struct timespec *interval, struct error *e)
{
    const struct itimerspec spec = {.it_interval = *interval, .it_value = *interval};
    _cleanup_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL) < 0)
        return error_errno(e, -errno, "set a timer", NULL);
    return TAKE_FD(fd);
}

static int timer_fired(int fd)
{
    uint64_t times;

    return read(fd, &times, sizeof(times)) == sizeof(times);
}

/* Until the first process has ended. */
static int follow(const struct state *s, int pidfd, const struct timespec *interval,
                  struct error *e)
{
    _cleanup_cgroup_watch_ struct cgroup_watch watch = {.fd = -EBADF};
    int r = cgroup_watch_open(s->cgroup_path, &watch, e);
    if (r < 0)
        return r;
    _cleanup_close_ int timer = open_timer(interval, e);
    if (timer < 0)
        return timer;

    struct pollfd fds[] = {
        {.fd = pidfd, .events = POLLIN},
        {.fd = watch.fd, .events = POLLIN},
        {.fd = timer, .events = POLLIN},
    };
    for (;;) {
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return error_errno(e, -errno, "wait for events", s->id);
        /* The kill that ended it is counted before it is carried out. */
        r = print_kills(s, &watch, e);
        if (r < 0 || fds[0].revents)
            return r;
        if (!timer_fired(timer))
            continue;
        struct error failed = {0};
        r = print_stats(s, &failed);
        if (r < 0) {
            bool ended = sys_pidfd_wait(pidfd, 0) == 0;
            if (ended)
                error_done(&failed);
            else
                error_move(e, &failed);
            return ended ? 0 : r;
        }
    }
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    struct timespec interval = {0};
    int r = parse_interval(v->interval, &interval, e);
    if (r < 0)
        return r;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    r = command_open_store(ctx, false, &store, e);
    if (r < 0)
        return r;
    _cleanup_state_ struct state *s = NULL;
    r = store_resolve(&store, args[0], &s, e);
    if (r < 0)
        return r;

    _cleanup_live_ struct state_live live = {.pidfd = -EBADF};
    state_live(s, -EBADF, &live);
    if (!live.running || container_status(&store, s) == STATE_STOPPED)
        return error_set(e, ERROR_WRONG_STATUS, EINVAL, "read the events of container", s->id, NULL,
                         "container with id %s is not running", s->id);
    r = container_check_cgroup(s, "read the events of container", e);
    if (r < 0)
        return r;
    return v->stats ? print_stats(s, e) : follow(s, live.pidfd, &interval, e);
}

const struct command command_events = {
    .name = "events",
    .usage = "[options] ID",
    .summary = "Print a container's statistics and OOM kills as JSON, a line each",
    .details = "Goes on until the container ends, unless --stats is given.",
    .options = options,
    .values_size = sizeof(struct values),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
