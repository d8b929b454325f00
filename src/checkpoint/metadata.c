/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/metadata.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "oci/json.h"
#include "state/json_emit.h"
#include "state/state.h"

static const char LOAD[] = "load checkpoint metadata";
static const char SAVE[] = "save checkpoint metadata";

void checkpoint_metadata_init(struct checkpoint_metadata *m)
{
    *m = (struct checkpoint_metadata){.version = mem_strdup(NUCLEUS_VERSION)};
    cgroup_limits_init(&m->limits);
}

void checkpoint_metadata_done(struct checkpoint_metadata *m)
{
    free(m->container_id);
    free(m->container_name);
    strv_free(m->command);
    free(m->version);
    free(m->cgroup_path);
    cgroup_limits_done(&m->limits);
    *m = (struct checkpoint_metadata){0};
}

/* M3. */
static int invalid_limits(const struct json_at *at, struct error *e, const char *why)
{
    return json_error(at, e, at->doc->code, NULL, "Invalid checkpoint resource limits: %s", why);
}

/* A number, or CGROUP_NO_LIMIT where it is absent or null. */
static int get_limit(const struct json_at *object, const char *key, uint64_t *ret, struct error *e)
{
    struct json_at at = json_member(object, key);
    return json_get_u64(&at, UINT64_MAX, ret, e);
}

/* "8:16". The text ends up in io.max, a line a device. */
static bool is_device(const char *s)
{
    const char *colon = strchr(s, ':');
    uint64_t n;

    if (!colon)
        return false;
    _cleanup_free_ char *major = mem_strndup(s, (size_t)(colon - s));
    return num_parse_u64_max(major, UINT32_MAX, &n) == 0 &&
           num_parse_u64_max(colon + 1, UINT32_MAX, &n) == 0;
}

static int get_io_limit(const struct json_at *at, struct cgroup_io_limit *io, struct error *e)
{
    struct json_at device = json_member(at, "device");
    int r = json_need(at, e);
    if (r >= 0)
        r = json_is_object(at, e);
    if (r >= 0)
        r = json_need(&device, e);
    if (r >= 0)
        r = json_get_string(&device, &io->device, e);
    if (r < 0)
        return r;
    if (!is_device(io->device))
        return invalid_limits(&device, e, "a device must be MAJOR:MINOR");

    r = get_limit(at, "riops", &io->riops, e);
    if (r >= 0)
        r = get_limit(at, "wiops", &io->wiops, e);
    if (r >= 0)
        r = get_limit(at, "rbps", &io->rbps, e);
    if (r >= 0)
        r = get_limit(at, "wbps", &io->wbps, e);
    return r;
}

static int get_io_limits(const struct json_at *object, struct cgroup_limits *l, struct error *e)
{
    struct json_at at = json_member(object, "io_limits");
    size_t n = 0;
    int r = json_is_array(&at, &n, e);

    for (size_t i = 0; r >= 0 && i < n; i++) {
        struct json_at item = json_element(&at, i);

        mem_grow(l->io, l->n_io);
        l->io[l->n_io++] = (struct cgroup_io_limit){
            .riops = CGROUP_NO_LIMIT,
            .wiops = CGROUP_NO_LIMIT,
            .rbps = CGROUP_NO_LIMIT,
            .wbps = CGROUP_NO_LIMIT,
        };
        r = get_io_limit(&item, &l->io[l->n_io - 1], e);
    }
    return r;
}

static int check_limits(const struct json_at *at, const struct cgroup_limits *l, struct error *e)
{
    struct json_at pids = json_member(at, "pids_max");

    if (l->cpu_period_us == 0)
        return invalid_limits(at, e, "cpu_period_us must not be 0");
    if (l->pids_max == 0)
        return invalid_limits(at, e, "pids_max must not be 0");
    /* As a number; without a limit it is null. */
    if (pids.value && l->pids_max == UINT64_MAX)
        return invalid_limits(at, e, "pids_max must be below 18446744073709551615");
    return 0;
}

static int get_limits(const struct json_at *root, struct checkpoint_metadata *m, struct error *e)
{
    struct json_at at = json_member(root, "resource_limits");
    struct cgroup_limits *l = &m->limits;
    int r = json_is_object(&at, e);
    if (r <= 0)
        return r;

    m->has_limits = true;
    const struct {
        const char *key;
        uint64_t *value;
    } fields[] = {
        {"memory_bytes", &l->memory_bytes},
        {"memory_high", &l->memory_high},
        {"memory_swap_max", &l->memory_swap_max},
        {"cpu_quota_us", &l->cpu_quota_us},
        {"cpu_period_us", &l->cpu_period_us},
        {"cpu_weight", &l->cpu_weight},
        {"pids_max", &l->pids_max},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        r = get_limit(&at, fields[i].key, fields[i].value, e);
        if (r < 0)
            return r;
    }
    r = get_io_limits(&at, l, e);
    return r < 0 ? r : check_limits(&at, l, e);
}

static int get_cgroup_path(const struct json_at *root, struct checkpoint_metadata *m,
                           struct error *e)
{
    struct json_at at = json_member(root, "cgroup_path");
    int r = json_get_string(&at, &m->cgroup_path, e);
    if (r <= 0)
        return r;

    /* What clean-up would change by taking ".." away is refused; a doubled slash is not. */
    bool up = strstr(m->cgroup_path, "/../") != NULL;
    size_t n = strlen(m->cgroup_path);
    if (n >= 3 && streq(m->cgroup_path + n - 3, "/.."))
        up = true;
    if (m->cgroup_path[0] != '/' || up)
        return json_error(&at, e, at.doc->code, NULL, "must be an absolute path without ..");
    return 0;
}

static int get_text(const struct json_at *root, const char *key, char **ret, struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = json_need(&at, e);
    return r < 0 ? r : json_get_string(&at, ret, e);
}

static int get_number(const struct json_at *root, const char *key, uint64_t max, uint64_t *ret,
                      struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = json_need(&at, e);
    return r < 0 ? r : json_get_u64(&at, max, ret, e);
}

static int get_flag(const struct json_at *root, const char *key, bool *ret, struct error *e)
{
    struct json_at at = json_member(root, key);
    int r = json_need(&at, e);
    return r < 0 ? r : json_get_bool(&at, ret, e);
}

static int get_identity(const struct json_at *root, struct checkpoint_metadata *m, struct error *e)
{
    struct json_at id = json_member(root, "container_id");
    uint64_t pid = 0;

    int r = get_text(root, "container_id", &m->container_id, e);
    if (r < 0)
        return r;
    if (state_id_check(m->container_id, NULL) < 0)
        return json_error(&id, e, id.doc->code, NULL, "is no valid container id");
    r = get_text(root, "container_name", &m->container_name, e);
    if (r >= 0)
        r = get_number(root, "original_pid", INT32_MAX, &pid, e);
    m->original_pid = (pid_t)pid;
    return r;
}

/* The fields of M1, in its order. */
static int get_fields(const struct json_at *root, struct checkpoint_metadata *m, struct error *e)
{
    struct json_at command = json_member(root, "command");

    int r = get_identity(root, m, e);
    if (r >= 0)
        r = json_need(&command, e);
    if (r >= 0)
        r = json_get_strv(&command, &m->command, e);
    if (r >= 0)
        r = get_number(root, "checkpoint_at", UINT64_MAX, &m->checkpoint_at, e);
    if (r >= 0)
        r = get_text(root, "version", &m->version, e);
    if (r >= 0)
        r = get_flag(root, "using_gvisor", &m->using_gvisor, e);
    if (r >= 0)
        r = get_flag(root, "rootless", &m->rootless, e);
    if (r >= 0)
        r = get_cgroup_path(root, m, e);
    if (r >= 0)
        r = get_limits(root, m, e);
    return r;
}

int checkpoint_metadata_parse(const char *text, size_t len, const char *name,
                              struct checkpoint_metadata *ret, struct error *e)
{
    _cleanup_(json_doc_done) struct json_doc doc = {0};
    _cleanup_metadata_ struct checkpoint_metadata m = {0};

    int r = json_doc_parse(&doc, text, len, name, ERROR_CHECKPOINT, LOAD, e);
    if (r < 0)
        return r;
    struct json_at root = json_root(&doc);
    cgroup_limits_init(&m.limits);
    r = get_fields(&root, &m, e);
    if (r < 0)
        return r;
    *ret = m;
    m = (struct checkpoint_metadata){0};
    return 0;
}

static void emit_limit(struct json_emit *j, const char *key, uint64_t value)
{
    json_emit_optional_u64(j, key, value != CGROUP_NO_LIMIT, value);
}

static void emit_limits(struct json_emit *j, const struct cgroup_limits *l)
{
    json_emit_object(j, "resource_limits");
    emit_limit(j, "memory_bytes", l->memory_bytes);
    emit_limit(j, "memory_high", l->memory_high);
    emit_limit(j, "memory_swap_max", l->memory_swap_max);
    emit_limit(j, "cpu_quota_us", l->cpu_quota_us);
    emit_limit(j, "cpu_period_us", l->cpu_period_us);
    emit_limit(j, "cpu_weight", l->cpu_weight);
    emit_limit(j, "pids_max", l->pids_max);
    json_emit_array(j, "io_limits");
    for (size_t i = 0; i < l->n_io; i++) {
        json_emit_object(j, NULL);
        json_emit_string(j, "device", l->io[i].device);
        emit_limit(j, "riops", l->io[i].riops);
        emit_limit(j, "wiops", l->io[i].wiops);
        emit_limit(j, "rbps", l->io[i].rbps);
        emit_limit(j, "wbps", l->io[i].wbps);
        json_emit_object_end(j);
    }
    json_emit_array_end(j);
    json_emit_object_end(j);
}

char *checkpoint_metadata_render(const struct checkpoint_metadata *m)
{
    struct json_emit j = {0};

    json_emit_object(&j, NULL);
    json_emit_string(&j, "container_id", m->container_id);
    json_emit_string(&j, "container_name", m->container_name);
    json_emit_u64(&j, "original_pid", m->original_pid > 0 ? (uint64_t)m->original_pid : 0);
    json_emit_strv(&j, "command", m->command);
    json_emit_u64(&j, "checkpoint_at", m->checkpoint_at);
    json_emit_string(&j, "version", m->version);
    json_emit_bool(&j, "using_gvisor", m->using_gvisor);
    json_emit_bool(&j, "rootless", m->rootless);
    json_emit_string(&j, "cgroup_path", m->cgroup_path);
    if (m->has_limits)
        emit_limits(&j, &m->limits);
    else
        json_emit_null(&j, "resource_limits");
    json_emit_object_end(&j);
    return json_emit_take(&j);
}

static int file_error(struct error *e, int r, const char *step, const char *dir, const char *why)
{
    _cleanup_free_ char *path = path_join(dir, CHECKPOINT_METADATA_FILE);
    return error_set(e, ERROR_CHECKPOINT, -r, step, path, NULL, why ? "%s" : NULL, why);
}

int checkpoint_metadata_load(int dirfd, const char *dir, struct checkpoint_metadata *ret,
                             struct error *e)
{
    _cleanup_free_ char *text = NULL, *path = path_join(dir, CHECKPOINT_METADATA_FILE);
    size_t n;

    int r = file_read_at(dirfd, CHECKPOINT_METADATA_FILE, O_NOFOLLOW, CHECKPOINT_METADATA_MAX,
                         &text, &n);
    if (r < 0)
        return file_error(e, r, LOAD, dir,
                          r == -ENOENT  ? "there is no such file: is this a checkpoint?"
                          : r == -ELOOP ? "it is a symlink"
                          : r == -EFBIG ? "it is larger than 1 MiB"
                                        : NULL);
    return checkpoint_metadata_parse(text, n, path, ret, e);
}

int checkpoint_metadata_save(int dirfd, const char *dir, const struct checkpoint_metadata *m,
                             struct error *e)
{
    _cleanup_free_ char *text = checkpoint_metadata_render(m);
    size_t n = strlen(text);

    /* What can't be loaded again is not written. */
    if (n > CHECKPOINT_METADATA_MAX || strv_len(m->command) > JSON_ARRAY_MAX)
        return file_error(e, -EFBIG, SAVE, dir, "the command line is too long");
    int r = file_replace_at(dirfd, CHECKPOINT_METADATA_FILE, text, n);
    if (r < 0)
        return file_error(e, r, SAVE, dir, r == -ELOOP ? "its temporary file is a symlink" : NULL);
    return 0;
}

void checkpoint_metadata_take_limits(struct checkpoint_metadata *m, struct cgroup_limits *limits)
{
    cgroup_limits_done(&m->limits);
    m->limits = *limits;
    m->has_limits = !cgroup_limits_empty(limits);
    cgroup_limits_init(limits);
}

bool checkpoint_cpu_millicores(const struct cgroup_limits *l, uint64_t *ret)
{
    if (l->cpu_quota_us == CGROUP_NO_LIMIT || l->cpu_period_us == CGROUP_NO_LIMIT ||
        l->cpu_period_us == 0)
        return false;
    *ret = num_mul_div(l->cpu_quota_us, 1000, l->cpu_period_us);
    return true;
}
