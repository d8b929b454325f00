/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/record-plain.h"

#include "base/mem.h"

/* Longer lists are state_parse()'s. */
#define PLAIN_LIST_MAX 64

/* A place in a text. Each function goes on behind what it read, or answers false. */
struct reader {
    const char *p, *end;
};

static bool bytes(struct reader *r, const char *text, size_t n)
{
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, text, n) != 0)
        return false;
    r->p += n;
    return true;
}

#define literal(r, text) bytes(r, text, sizeof(text) - 1)

/* Printable ASCII without escapes. */
static bool string(struct reader *r, char **ret)
{
    if (!literal(r, "\""))
        return false;
    const char *begin = r->p;
    while (r->p < r->end && *r->p >= 0x20 && *r->p < 0x7f && *r->p != '"' && *r->p != '\\')
        r->p++;
    const char *end = r->p;
    if (!literal(r, "\""))
        return false;
    const size_t n = (size_t)(end - begin);
    *ret = mem_new(char, n + 1);
    memcpy(*ret, begin, n);
    (*ret)[n] = '\0';
    return true;
}

static bool string_or_null(struct reader *r, char **ret)
{
    return literal(r, "null") || string(r, ret);
}

static bool number(struct reader *r, uint64_t max, uint64_t *ret)
{
    const char *begin = r->p;
    uint64_t v = 0;

    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*r->p - '0'), &v))
            return false;
    if (r->p == begin || (*begin == '0' && r->p != begin + 1) || v > max)
        return false;
    *ret = v;
    return true;
}

static bool number32(struct reader *r, uint32_t *ret)
{
    uint64_t v;

    if (!number(r, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool number_or_null(struct reader *r, bool *ret_has, uint64_t *ret)
{
    *ret_has = !literal(r, "null");
    return !*ret_has || number(r, UINT64_MAX, ret);
}

static bool boolean(struct reader *r, bool *ret)
{
    *ret = literal(r, "true");
    return *ret || literal(r, "false");
}

/* Before the first element and between two. -1 behind the last, where the list is closed, too. */
static int next(struct reader *r, size_t i, char close)
{
    const char end[] = {'\n', ' ', ' ', close};

    if (i > 0 && bytes(r, end, sizeof(end)))
        return -1;
    return i < PLAIN_LIST_MAX && (i == 0 || literal(r, ",")) && literal(r, "\n    ");
}

static bool command(struct reader *r, struct state *s)
{
    int more = 1;

    /* An empty one is an array, too, not NULL. */
    s->command = mem_new0(char *);
    if (literal(r, "[]"))
        return true;
    if (!literal(r, "["))
        return false;
    for (size_t i = 0; (more = next(r, i, ']')) > 0; i++) {
        char *arg;
        if (!string(r, &arg))
            return false;
        s->command = mem_realloc_array(s->command, i + 2, sizeof(char *));
        s->command[i] = arg;
        s->command[i + 1] = NULL;
    }
    return more < 0;
}

static bool gids(struct reader *r, struct state *s)
{
    int more = 1;

    if (literal(r, "[]"))
        return true;
    if (!literal(r, "["))
        return false;
    for (size_t i = 0; (more = next(r, i, ']')) > 0; i++) {
        mem_grow(s->additional_gids, i);
        if (!number32(r, &s->additional_gids[i]))
            return false;
        s->n_additional_gids++;
    }
    return more < 0;
}

static bool has_key(const struct state *s, const char *key)
{
    for (size_t i = 0; i < s->n_annotations; i++)
        if (streq(s->annotations[i].key, key))
            return true;
    return false;
}

static bool annotations(struct reader *r, struct state *s)
{
    int more = 1;

    if (literal(r, "{}"))
        return true;
    if (!literal(r, "{"))
        return false;
    for (size_t i = 0; (more = next(r, i, '}')) > 0; i++) {
        struct state_annotation a = {0};
        bool good =
            string(r, &a.key) && !has_key(s, a.key) && literal(r, ": ") && string(r, &a.value);
        mem_grow(s->annotations, i);
        s->annotations[s->n_annotations++] = a;
        if (!good)
            return false;
    }
    return more < 0;
}

static bool status(struct reader *r, struct state *s)
{
    if (!literal(r, "\""))
        return false;
    for (s->status = STATE_CREATING; s->status <= STATE_STOPPED; s->status++)
        if (bytes(r, state_status_name(s->status), strlen(state_status_name(s->status))))
            return literal(r, "\"");
    return false;
}

#define NEXT(key) literal(&r, ",\n  \"" key "\": ")

struct state *record_parse_plain(const char *text, size_t len)
{
    _cleanup_state_ struct state *s = mem_new0(struct state);
    struct reader r = {text, text + len};
    uint64_t pid = 0;

    bool good =
        literal(&r, "{\n  \"id\": ") && string(&r, &s->id) && state_id_check(s->id, NULL) == 0 &&
        NEXT("name") && string(&r, &s->name) && NEXT("pid") && number(&r, INT32_MAX, &pid) &&
        NEXT("command") && command(&r, s) && NEXT("started_at") &&
        number(&r, UINT64_MAX, &s->started_at) && NEXT("memory_limit") &&
        number_or_null(&r, &s->has_memory_limit, &s->memory_limit) && NEXT("cpu_limit") &&
        number_or_null(&r, &s->has_cpu_limit, &s->cpu_limit) && NEXT("using_gvisor") &&
        boolean(&r, &s->using_gvisor) && NEXT("rootless") && boolean(&r, &s->rootless) &&
        NEXT("cgroup_path") && string_or_null(&r, &s->cgroup_path) && NEXT("config_hash") &&
        string_or_null(&r, &s->config_hash) && NEXT("creator_uid") &&
        number32(&r, &s->creator_uid) && NEXT("process_uid") && number32(&r, &s->process_uid) &&
        NEXT("process_gid") && number32(&r, &s->process_gid) && NEXT("additional_gids") &&
        gids(&r, s) && NEXT("start_ticks") && number(&r, UINT64_MAX, &s->start_ticks) &&
        NEXT("status") && status(&r, s) && NEXT("bundle_path") &&
        string_or_null(&r, &s->bundle_path) && NEXT("annotations") && annotations(&r, s);
    if (good && NEXT("systemd_unit"))
        good = string(&r, &s->systemd_unit);
    if (!good || !literal(&r, "\n}\n") || r.p != r.end)
        return NULL;
    s->pid = (pid_t)pid;
    return TAKE_PTR(s);
}
