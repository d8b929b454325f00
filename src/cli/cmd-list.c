/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <json-c/json.h>
#include <pwd.h>

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

/* A row as every format shows it. */
struct row {
    const struct state *s;
    enum state_status status;
    int pid;
    const char *bundle;
    char *created;
    char *owner;
};

static void row_fill(struct row *row, const struct store *store, const struct state *s)
{
    const struct passwd *pw = getpwuid(s->creator_uid);

    row->s = s;
    row->status = container_status(store, s);
    row->pid = row->status == STATE_STOPPED ? 0 : (int)s->pid;
    row->bundle = s->bundle_path ? s->bundle_path : "";
    row->created = output_time(s->started_at);
    row->owner = pw ? str_printf("%s", pw->pw_name) : str_printf("#%u", s->creator_uid);
}

static void row_done(struct row *row)
{
    free(row->created);
    free(row->owner);
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
    struct json_object *array = json_object_new_array();
    if (!v->quiet)
        strbuf_addf(&text, "%-34s %-9s %-9s %-32s %-21s %s\n", "ID", "PID", "STATUS", "BUNDLE",
                    "CREATED", "OWNER");
    for (size_t i = 0; i < n; i++) {
        if (v->quiet) {
            strbuf_addf(&text, "%s\n", list[i]->id);
            continue;
        }
        struct row row;
        row_fill(&row, &store, list[i]);
        if (json)
            json_object_array_add(array, row_json(&row));
        else
            strbuf_addf(&text, "%-34s %-9d %-9s %-32s %-21s %s\n", row.s->id, row.pid,
                        state_status_name(row.status), row.bundle, row.created, row.owner);
        row_done(&row);
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
