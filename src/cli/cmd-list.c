/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "process/container.h"

struct values {
    const char *format;
    bool quiet;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'f', "format", OPTION_STRING, VALUE(format), "FORMAT", "table (default) or json"},
    {'q', "quiet", OPTION_FLAG, VALUE(quiet), NULL, "ids only"},
    {0},
};

/* A row as every format shows it; borrowed. */
struct row {
    const struct state *s;
    enum state_status status;
    int pid;
    const char *bundle;
    const char *created;
    const char *owner;
};

/* What takes long to find out and is mostly what it was for the row before. */
struct memory {
    char *owner;
    uint32_t uid;
    char *created;
    uint64_t day;
};

static const char *owner_name(struct memory *m, uint32_t uid)
{
    if (!m->owner || m->uid != uid) {
        const struct passwd *pw = getpwuid(uid);
        free(m->owner);
        m->owner = pw ? mem_strdup(pw->pw_name) : str_printf("#%u", uid);
        m->uid = uid;
    }
    return m->owner;
}

#define DAY 86400u

/* "YYYY-mm-ddTHH:MM:SSZ", and not what a time far off looks like. */
static bool is_common_form(const char *text)
{
    return strlen(text) == 20 && text[10] == 'T';
}

static const char *creation_time(struct memory *m, uint64_t seconds)
{
    if (!m->created || m->day != seconds / DAY || !is_common_form(m->created)) {
        free(m->created);
        m->created = output_time(seconds);
        m->day = seconds / DAY;
        return m->created;
    }
    const unsigned s = (unsigned)(seconds % DAY), parts[] = {s / 3600, s / 60 % 60, s % 60};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        m->created[11 + i * 3] = (char)('0' + parts[i] / 10);
        m->created[12 + i * 3] = (char)('0' + parts[i] % 10);
    }
    return m->created;
}

static void memory_done(struct memory *m)
{
    free(m->owner);
    free(m->created);
}

static void row_fill(struct row *row, const struct store *store, const struct state *s,
                     struct memory *m)
{
    row->s = s;
    row->status = container_status(store, s);
    row->pid = row->status == STATE_STOPPED ? 0 : (int)s->pid;
    row->bundle = s->bundle_path ? s->bundle_path : "";
    row->created = creation_time(m, s->started_at);
    row->owner = owner_name(m, s->creator_uid);
}

/* A column as "%-*s " has it, and faster. */
static void add_column(struct strbuf *b, const char *text, size_t width)
{
    static const char blanks[] = "                                ";
    size_t n = strlen(text);

    strbuf_addn(b, text, n);
    for (; n < width; n += MIN(width - n, sizeof(blanks) - 1))
        strbuf_addn(b, blanks, MIN(width - n, sizeof(blanks) - 1));
    strbuf_addc(b, ' ');
}

static void add_row(struct strbuf *b, const struct row *row)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", row->pid);
    add_column(b, row->s->id, 34);
    add_column(b, pid, 9);
    add_column(b, state_status_name(row->status), 9);
    add_column(b, row->bundle, 32);
    add_column(b, row->created, 21);
    strbuf_add(b, row->owner);
    strbuf_addc(b, '\n');
}

static struct json_object *row_json(const struct row *row)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "ociVersion", json_object_new_string(OCI_VERSION));
    json_object_object_add(o, "id", json_object_new_string(row->s->id));
    json_object_object_add(o, "name", json_object_new_string(row->s->name));
    json_object_object_add(o, "pid", json_object_new_int(row->pid));
    json_object_object_add(o, "status", json_object_new_string(state_status_name(row->status)));
    json_object_object_add(o, "bundle", json_object_new_string(row->bundle));
    json_object_object_add(o, "created", json_object_new_string(row->created));
    json_object_object_add(o, "owner", json_object_new_string(row->owner));
    return o;
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    (void)args;
    bool json = v->format && streq(v->format, "json");
    if (v->format && !json && !streq(v->format, "table"))
        return error_set(e, ERROR_USAGE, EINVAL, "use list format", v->format,
                         "choose table or json", "invalid format option");
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, false, &store, e);
    if (r < 0)
        return r;
    struct state **list;
    size_t n;
    r = store_list(&store, &list, &n, e);
    if (r < 0)
        return r;

    _cleanup_strbuf_ struct strbuf text = {0};
    _cleanup_(memory_done) struct memory memory = {0};
    struct json_object *array = json_object_new_array();
    if (!v->quiet)
        strbuf_addf(&text, "%-34s %-9s %-9s %-32s %-21s %s\n", "ID", "PID", "STATUS", "BUNDLE",
                    "CREATED", "OWNER");
    for (size_t i = 0; i < n; i++) {
        if (v->quiet) {
            strbuf_add(&text, list[i]->id);
            strbuf_addc(&text, '\n');
            continue;
        }
        struct row row;
        row_fill(&row, &store, list[i], &memory);
        if (json)
            json_object_array_add(array, row_json(&row));
        else
            add_row(&text, &row);
    }
    r = json && !v->quiet ? output_json(array, false, e) : output_text(text.s ? text.s : "", e);
    json_object_put(array);
    store_list_free(list, n);
    return r;
}

const struct command command_list = {
    .name = "list",
    .usage = "[options]",
    .summary = "List containers",
    .options = options,
    .values_size = sizeof(struct values),
    .max_args = 0,
    .run = run,
};
