/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stats-table.h"
#include "process/container.h"

struct values {
    bool json, no_stream;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {0, "json", OPTION_FLAG, VALUE(json), NULL, "for programs: a JSON object a container"},
    {0, "no-stream", OPTION_FLAG, VALUE(no_stream), NULL, "show them once, also on a terminal"},
    {0},
};

#define STEP "show statistics of container"

/* To the upper left corner; behind a line; and below the last one. */
#define TERM_CLEAR "\033[2J"
#define TERM_HOME "\033[H"
#define TERM_EOL "\033[K\n"
#define TERM_CLEAR_BELOW "\033[J"

static int64_t now_usec(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* A share of CPU time takes two looks. */
static void wait_second(void)
{
    struct timespec left = {.tv_sec = 1};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static bool runs(const struct store *store, const struct state *s)
{
    enum state_status status = container_status(store, s);
    return status != STATE_STOPPED && status != STATE_CREATING;
}

/* One that ends meanwhile has no row. */
static int add_row(struct usage_table *t, const struct store *store, const struct state *s,
                   struct error *e)
{
    _cleanup_cgroup_stats_ struct cgroup_stats stats = {0};
    struct error failed = {0};
    int r = cgroup_read_stats(s->cgroup_path, &stats, &failed);

    if (r == 0)
        usage_table_add(t, s->id, s->name, now_usec(), &stats);
    else if (runs(store, s))
        error_move(e, &failed);
    else
        r = 0;
    error_done(&failed);
    return r;
}

/* Every container that runs, and has a cgroup to count in. */
static int collect_all(const struct store *store, struct usage_table *t, struct error *e)
{
    struct state **list;
    size_t n;

    int r = store_list(store, &list, &n, e);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (list[i]->cgroup_path && runs(store, list[i]))
            r = add_row(t, store, list[i], e);
    store_list_free(list, n);
    return r;
}

/* The named ones; at the first look each has to run, later they may end. */
static int collect_named(const struct store *store, char *const *ids, bool first,
                         struct usage_table *t, struct error *e)
{
    int r = 0;

    for (; r == 0 && *ids; ids++) {
        _cleanup_state_ struct state *s = NULL;
        struct error failed = {0};
        r = store_resolve(store, *ids, &s, &failed);
        if (r == 0 && !runs(store, s))
            r = error_set(&failed, ERROR_WRONG_STATUS, EINVAL, STEP, *ids, NULL,
                          "container not running");
        if (r == 0)
            r = container_check_cgroup(s, STEP, &failed);
        if (r == 0)
            r = add_row(t, store, s, &failed);
        else if (!first)
            r = 0;
        if (r < 0)
            error_move(e, &failed);
        error_done(&failed);
    }
    return r;
}

static int collect(const struct store *store, char *const *ids, bool first, struct usage_table *t,
                   struct error *e)
{
    return *ids ? collect_named(store, ids, first, t, e) : collect_all(store, t, e);
}

static int print_json(const struct usage_table *t, struct error *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->n; i++) {
        struct json_object *o = usage_row_json(&t->rows[i]);
        r = output_json(o, false, e);
        json_object_put(o);
    }
    return r;
}

static int print(const struct usage_table *t, bool json, bool screen, struct error *e)
{
    _cleanup_strbuf_ struct strbuf out = {0};

    if (json)
        return print_json(t, e);
    if (screen)
        strbuf_add(&out, TERM_HOME);
    usage_table_print(t, screen ? TERM_EOL : "\n", &out);
    if (screen)
        strbuf_add(&out, TERM_CLEAR_BELOW);
    return output_text(out.s, e);
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    bool stream = !v->no_stream && isatty(STDOUT_FILENO), screen = stream && !v->json;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, false, &store, e);
    if (r < 0)
        return r;
    _cleanup_usage_table_ struct usage_table before = {0};
    r = collect(&store, args, true, &before, e);
    if (r == 0 && screen)
        r = output_text(TERM_CLEAR, e);
    if (r < 0)
        return r;

    do {
        _cleanup_usage_table_ struct usage_table now = {0};
        if (before.n > 0 || stream)
            wait_second();
        r = collect(&store, args, false, &now, e);
        if (r < 0)
            return r;
        usage_table_compare(&now, &before);
        r = print(&now, v->json, screen, e);
        usage_table_done(&before);
        before = now;
        now = (struct usage_table){0};
        /* Named ones that have all ended will not come back. */
    } while (r == 0 && stream && (before.n > 0 || !*args));
    return r;
}

const struct command command_stats = {
    .name = "stats",
    .usage = "[options] [ID...]",
    .summary = "Show what containers use: CPU, memory, tasks, input and output",
    .details =
        "On a terminal every second until it is interrupted, else once. Without an ID: every\n"
        "container that runs.",
    .options = options,
    .values_size = sizeof(struct values),
    .max_args = -1,
    .run = run,
};
