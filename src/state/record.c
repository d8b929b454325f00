/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/state.h"

#include <errno.h>

#include "base/mem.h"
#include "oci/json.h"
#include "state/json_emit.h"

static const char *const status_names[] = {
    [STATE_CREATING] = "creating", [STATE_CREATED] = "created", [STATE_RUNNING] = "running",
    [STATE_STOPPED] = "stopped",   [STATE_PAUSED] = "paused",
};

const char *state_status_name(enum state_status s)
{
    return (unsigned)s < ARRAY_SIZE(status_names) ? status_names[s] : "unknown";
}

void state_free(struct state *s)
{
    if (!s)
        return;
    free(s->id);
    free(s->name);
    strv_free(s->command);
    free(s->cgroup_path);
    free(s->config_hash);
    free(s->additional_gids);
    free(s->bundle_path);
    for (size_t i = 0; i < s->n_annotations; i++) {
        free(s->annotations[i].key);
        free(s->annotations[i].value);
    }
    free(s->annotations);
    free(s->systemd_unit);
    free(s);
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int state_id_check(const char *id, struct error *e)
{
    const char *why = NULL;
    size_t n = strnlen(id, STATE_ID_MAX + 1);

    if (n == 0)
        why = "it is empty";
    else if (n > STATE_ID_MAX)
        why = "it is longer than 255 characters";
    else if (!is_alphanumeric(id[0]) && id[0] != '_')
        why = "it must begin with a letter, a digit or '_'";
    for (size_t i = 0; !why && i < n; i++)
        if (!is_alphanumeric(id[i]) && !strchr("_-.+", id[i]))
            why = "only letters, digits and _ - . + are allowed";
    if (!why)
        return 0;
    return error_set(e, ERROR_USAGE, EINVAL, "use container id", id, "choose another id",
                     "invalid container id: %s", why);
}

/* A member that must be there; `nullable` allows null. */
static int required(const struct json_at *at, bool nullable, struct error *e)
{
    if (nullable && at->present)
        return 0;
    return json_need(at, e);
}

/* A member that may be absent, but where it is there it is no null. */
static int not_null(const struct json_at *at, struct error *e)
{
    if (at->present && !at->value)
        return json_error(at, e, at->doc->code, NULL, "must not be null");
    return 0;
}

static int get_string(const struct json_at *root, const char *key, char **ret, struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = required(&at, false, e);
    return r < 0 ? r : json_get_string(&at, ret, e);
}

static int get_u64(const struct json_at *root, const char *key, uint64_t max, uint64_t *ret,
                   struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = required(&at, false, e);
    return r < 0 ? r : json_get_u64(&at, max, ret, e);
}

static int get_bool(const struct json_at *root, const char *key, bool *ret, struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = required(&at, false, e);
    return r < 0 ? r : json_get_bool(&at, ret, e);
}

static int get_limit(const struct json_at *root, const char *key, bool *ret_has, uint64_t *ret,
                     struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = required(&at, true, e);
    if (r < 0)
        return r;
    r = json_get_u64(&at, UINT64_MAX, ret, e);
    if (r < 0)
        return r;
    *ret_has = r > 0;
    return 0;
}

/* A number with a default. */
static int get_optional_u64(const struct json_at *root, const char *key, uint64_t max,
                            uint64_t *ret, struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = not_null(&at, e);
    return r < 0 ? r : json_get_u64(&at, max, ret, e);
}

static int get_id32(const struct json_at *root, const char *key, uint32_t *ret, struct error *e)
{
    uint64_t n = *ret;
    int r = get_optional_u64(root, key, UINT32_MAX, &n, e);
    if (r >= 0)
        *ret = (uint32_t)n;
    return r;
}

static int get_id(const struct json_at *root, struct state *s, struct error *e)
{
    struct json_at at = json_member(root, "id");
    int r = get_string(root, "id", &s->id, e);
    if (r < 0)
        return r;
    if (state_id_check(s->id, NULL) < 0)
        return json_error(&at, e, at.doc->code, NULL, "is no valid container id");
    return 0;
}

static int get_gids(const struct json_at *root, struct state *s, struct error *e)
{
    struct json_at at = json_member(root, "additional_gids");
    size_t n = 0;
    int r = not_null(&at, e);
    if (r >= 0)
        r = json_is_array(&at, &n, e);
    if (r <= 0 || n == 0)
        return r;

    s->additional_gids = mem_new(uint32_t, n);
    for (; s->n_additional_gids < n; s->n_additional_gids++) {
        struct json_at item = json_element(&at, s->n_additional_gids);
        uint64_t gid;

        r = json_need(&item, e);
        if (r >= 0)
            r = json_get_u64(&item, UINT32_MAX, &gid, e);
        if (r < 0)
            return r;
        s->additional_gids[s->n_additional_gids] = (uint32_t)gid;
    }
    return 0;
}

static int get_status(const struct json_at *root, struct state *s, struct error *e)
{
    struct json_at at = json_member(root, "status");
    _cleanup_free_ char *text = NULL;
    int r = not_null(&at, e);
    if (r >= 0)
        r = json_get_string(&at, &text, e);
    if (r <= 0)
        return r;

    for (unsigned i = 0; i <= STATE_STOPPED; i++)
        if (streq(text, status_names[i])) {
            s->status = (enum state_status)i;
            return 0;
        }
    _cleanup_free_ char *found = json_describe(&at);
    return json_error(&at, e, at.doc->code, NULL,
                      "must be creating, created, running or stopped, not %s", found);
}

static int get_annotations(const struct json_at *root, struct state *s, struct error *e)
{
    struct json_at at = json_member(root, "annotations");
    int r = not_null(&at, e);
    if (r >= 0)
        r = json_is_object(&at, e);
    if (r <= 0)
        return r;

    json_object_object_foreach(at.value, key, value)
    {
        struct json_at item = json_member(&at, key);
        char *text = NULL;

        (void)value;
        r = json_need(&item, e);
        if (r >= 0)
            r = json_get_string(&item, &text, e);
        if (r < 0)
            return r;
        mem_grow(s->annotations, s->n_annotations);
        s->annotations[s->n_annotations++] = (struct state_annotation){
            .key = mem_strdup(key),
            .value = text,
        };
    }
    return 0;
}

/* The fields of S2, in its order. */
static int get_fields(const struct json_at *root, struct state *s, struct error *e)
{
    uint64_t pid = 0;
    int r = get_id(root, s, e);
    if (r >= 0)
        r = get_string(root, "name", &s->name, e);
    if (r >= 0)
        r = get_u64(root, "pid", INT32_MAX, &pid, e);
    if (r >= 0) {
        struct json_at at = json_member(root, "command");
        s->pid = (pid_t)pid;
        r = required(&at, false, e);
        if (r >= 0)
            r = json_get_strv(&at, &s->command, e);
    }
    if (r >= 0)
        r = get_u64(root, "started_at", UINT64_MAX, &s->started_at, e);
    if (r >= 0)
        r = get_limit(root, "memory_limit", &s->has_memory_limit, &s->memory_limit, e);
    if (r >= 0)
        r = get_limit(root, "cpu_limit", &s->has_cpu_limit, &s->cpu_limit, e);
    if (r >= 0)
        r = get_bool(root, "using_gvisor", &s->using_gvisor, e);
    if (r >= 0)
        r = get_bool(root, "rootless", &s->rootless, e);
    if (r >= 0) {
        struct json_at at = json_member(root, "cgroup_path");
        r = required(&at, true, e);
        if (r >= 0)
            r = json_get_string(&at, &s->cgroup_path, e);
    }
    return r;
}

/* The fields of S2 that have a default. */
static int get_later_fields(const struct json_at *root, struct state *s, struct error *e)
{
    struct json_at hash = json_member(root, "config_hash");
    struct json_at bundle = json_member(root, "bundle_path");
    struct json_at unit = json_member(root, "systemd_unit");

    int r = json_get_string(&hash, &s->config_hash, e);
    if (r >= 0)
        r = get_id32(root, "creator_uid", &s->creator_uid, e);
    if (r >= 0)
        r = get_id32(root, "process_uid", &s->process_uid, e);
    if (r >= 0)
        r = get_id32(root, "process_gid", &s->process_gid, e);
    if (r >= 0)
        r = get_gids(root, s, e);
    if (r >= 0)
        r = get_optional_u64(root, "start_ticks", UINT64_MAX, &s->start_ticks, e);
    if (r >= 0)
        r = get_status(root, s, e);
    if (r >= 0)
        r = json_get_string(&bundle, &s->bundle_path, e);
    if (r >= 0)
        r = get_annotations(root, s, e);
    if (r >= 0)
        r = json_get_string(&unit, &s->systemd_unit, e);
    return r;
}

int state_parse(const char *text, size_t len, const char *name, struct state **ret, struct error *e)
{
    _cleanup_(json_doc_done) struct json_doc doc = {0};
    int r = json_doc_parse(&doc, text, len, name, ERROR_STATE, "load state file", e);
    if (r < 0)
        return r;

    _cleanup_state_ struct state *s = mem_new0(struct state);
    struct json_at root = json_root(&doc);

    s->status = STATE_STOPPED;
    r = get_fields(&root, s, e);
    if (r >= 0)
        r = get_later_fields(&root, s, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

char *state_render(const struct state *s)
{
    struct json_emit j = {0};
    /* The freezer knows whether it is paused; the file never claims it (S1). */
    enum state_status status = s->status == STATE_PAUSED ? STATE_RUNNING : s->status;

    json_emit_object(&j, NULL);
    json_emit_string(&j, "id", s->id);
    json_emit_string(&j, "name", s->name ? s->name : s->id);
    json_emit_u64(&j, "pid", s->pid > 0 ? (uint64_t)s->pid : 0);
    json_emit_strv(&j, "command", s->command);
    json_emit_u64(&j, "started_at", s->started_at);
    json_emit_optional_u64(&j, "memory_limit", s->has_memory_limit, s->memory_limit);
    json_emit_optional_u64(&j, "cpu_limit", s->has_cpu_limit, s->cpu_limit);
    json_emit_bool(&j, "using_gvisor", s->using_gvisor);
    json_emit_bool(&j, "rootless", s->rootless);
    json_emit_string(&j, "cgroup_path", s->cgroup_path);
    json_emit_string(&j, "config_hash", s->config_hash);
    json_emit_u64(&j, "creator_uid", s->creator_uid);
    json_emit_u64(&j, "process_uid", s->process_uid);
    json_emit_u64(&j, "process_gid", s->process_gid);
    json_emit_array(&j, "additional_gids");
    for (size_t i = 0; i < s->n_additional_gids; i++)
        json_emit_u64(&j, NULL, s->additional_gids[i]);
    json_emit_array_end(&j);
    json_emit_u64(&j, "start_ticks", s->start_ticks);
    json_emit_string(&j, "status", state_status_name(status));
    json_emit_string(&j, "bundle_path", s->bundle_path);
    json_emit_object(&j, "annotations");
    for (size_t i = 0; i < s->n_annotations; i++)
        json_emit_string(&j, s->annotations[i].key, s->annotations[i].value);
    json_emit_object_end(&j);
    if (s->systemd_unit)
        json_emit_string(&j, "systemd_unit", s->systemd_unit);
    json_emit_object_end(&j);
    return json_emit_take(&j);
}
