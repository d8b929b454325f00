/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <json-c/json.h>

#include "cgroup/stats.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "process/container.h"

static const struct option_def options[] = {{0}};

/* Its cgroup outlives it until `delete`, and the count with it. */
static bool was_oom_killed(const struct state *s)
{
    uint64_t kills = 0;

    return s->cgroup_path && cgroup_oom_kills(s->cgroup_path, &kills) == 0 && kills > 0;
}

/* runtime-spec, "State" (S5). */
static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    (void)values;
    _cleanup_store_ struct store store = {.dirfd = -EBADF};
    int r = command_open_store(ctx, false, &store, e);
    if (r < 0)
        return r;
    _cleanup_state_ struct state *s = NULL;
    r = store_resolve(&store, args[0], &s, e);
    if (r < 0)
        return r;

    enum state_status status = container_status(&store, s);
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "ociVersion", json_object_new_string(OCI_VERSION));
    json_object_object_add(o, "id", json_object_new_string(s->id));
    json_object_object_add(o, "status", json_object_new_string(state_status_name(status)));
    json_object_object_add(o, "pid",
                           json_object_new_int(status == STATE_STOPPED ? 0 : (int)s->pid));
    json_object_object_add(o, "bundle",
                           json_object_new_string(s->bundle_path ? s->bundle_path : ""));
    struct json_object *annotations = json_object_new_object();
    for (size_t i = 0; i < s->n_annotations; i++)
        json_object_object_add(annotations, s->annotations[i].key,
                               json_object_new_string(s->annotations[i].value));
    json_object_object_add(o, "annotations", annotations);
    if (was_oom_killed(s))
        json_object_object_add(o, "oomKilled", json_object_new_boolean(true));
    r = output_json(o, true, e);
    json_object_put(o);
    return r;
}

const struct command command_state = {
    .name = "state",
    .usage = "ID",
    .summary = "Show a container's state as JSON",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
