/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "process". */

#define OOM_SCORE_ADJ_MAX 1000 /* proc(5), /proc/PID/oom_score_adj */
#define CONSOLE_MAX UINT16_MAX /* struct winsize */

static int decode_capability_set(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t *set = out;
    size_t n;
    int r = json_is_array(at, &n, d->e);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct json_at el = json_element(at, i);
        _cleanup_free_ char *name = NULL;
        r = json_need(&el, d->e);
        if (r == 0)
            r = json_get_string(&el, &name, d->e);
        if (r < 0)
            return r;
        int cap = oci_capability_parse(name);
        /* A list made for a newer kernel: the program runs with less (config.md, "Linux
         * Process"). */
        if (cap < 0) {
            decode_warn(d, &el, "is no capability that is known here, left out");
            continue;
        }
        *set |= UINT64_C(1) << cap;
    }
    return 0;
}

static int decode_capabilities(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("bounding", decode_capability_set, struct oci_capabilities, bounding),
        FIELD("effective", decode_capability_set, struct oci_capabilities, effective),
        FIELD("inheritable", decode_capability_set, struct oci_capabilities, inheritable),
        FIELD("permitted", decode_capability_set, struct oci_capabilities, permitted),
        FIELD("ambient", decode_capability_set, struct oci_capabilities, ambient),
    };
    struct oci_process *p = out;

    p->has_capabilities = true;
    return decode_object(d, at, fields, ARRAY_SIZE(fields), &p->capabilities);
}

static int decode_rlimit_type(struct decoder *d, const struct json_at *at, void *out)
{
    _cleanup_free_ char *name = NULL;
    int r = json_get_string(at, &name, d->e);
    if (r < 0)
        return r;
    int resource = oci_rlimit_parse(name);
    if (resource < 0) {
        _cleanup_free_ char *found = json_describe(at);
        return decode_error(d, at, "%s is no resource limit (getrlimit(2))", found);
    }
    *(int *)out = resource;
    return 0;
}

static int decode_rlimit(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("type", decode_rlimit_type, struct oci_rlimit, resource),
        NEEDED("soft", decode_u64, struct oci_rlimit, soft),
        NEEDED("hard", decode_u64, struct oci_rlimit, hard),
    };
    struct oci_rlimit *l = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), l);
    if (r < 0)
        return r;
    if (l->soft > l->hard)
        return decode_error(d, at, "the soft limit is above the hard one");
    return 0;
}

static int decode_rlimits(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_process *p = out;
    uint64_t seen = 0;
    int r = decode_array(d, at, sizeof(*p->rlimits), decode_rlimit, (void **)&p->rlimits,
                         &p->n_rlimits);
    if (r < 0)
        return r;
    for (size_t i = 0; i < p->n_rlimits; i++) {
        int resource = p->rlimits[i].resource;
        struct json_at el = json_element(at, i);
        if (seen >> resource & 1)
            return decode_error(d, &el, "%s is there twice", oci_rlimit_name(resource));
        seen |= UINT64_C(1) << resource;
    }
    return 0;
}

static int decode_umask(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_process *p = out;
    uint64_t v = 0;
    int r = json_get_u64(at, 0777, &v, d->e);
    if (r < 0)
        return r;
    p->has_umask = true;
    p->umask = (uint32_t)v;
    return 0;
}

static int decode_additional_gids(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_process *p = out;
    return decode_array(d, at, sizeof(*p->additional_gids), decode_id, (void **)&p->additional_gids,
                        &p->n_additional_gids);
}

static int decode_user(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("uid", decode_id, struct oci_process, uid),
        FIELD("gid", decode_id, struct oci_process, gid),
        FIELD_WHOLE("umask", decode_umask),
        FIELD_WHOLE("additionalGids", decode_additional_gids),
        UNSUPPORTED("username"),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_console_side(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = json_get_u64(at, CONSOLE_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(uint16_t *)out = (uint16_t)v;
    return 0;
}

static int decode_console_size(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("height", decode_console_side, struct oci_process, console_height),
        NEEDED("width", decode_console_side, struct oci_process, console_width),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_args(struct decoder *d, const struct json_at *at, void *out)
{
    char ***args = out;
    int r = decode_strv(d, at, args);
    if (r < 0)
        return r;
    if (!*args || !(*args)[0])
        return decode_error(d, at, "must name the program to run");
    if ((*args)[0][0] == '\0') {
        struct json_at el = json_element(at, 0);
        return decode_error(d, &el, "must name the program to run, not be empty");
    }
    return 0;
}

int decode_env(struct decoder *d, const struct json_at *at, void *out)
{
    char ***env = out;
    int r = decode_strv(d, at, env);

    for (size_t i = 0; r == 0 && *env && (*env)[i]; i++) {
        const char *eq = strchr((*env)[i], '=');
        if (eq && eq > (*env)[i])
            continue;
        struct json_at el = json_element(at, i);
        _cleanup_free_ char *found = json_describe(&el);
        r = decode_error(d, &el, "expected NAME=VALUE, found %s", found);
    }
    return r;
}

static int decode_oom_score_adj(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_process *p = out;
    int64_t v = 0;
    int r = json_get_i64(at, -OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MAX, &v, d->e);
    if (r < 0)
        return r;
    p->has_oom_score_adj = true;
    p->oom_score_adj = (int)v;
    return 0;
}

int decode_process(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        FIELD("terminal", decode_bool, struct oci_process, terminal),
        FIELD_WHOLE("consoleSize", decode_console_size),
        FIELD_WHOLE("user", decode_user),
        NEEDED("args", decode_args, struct oci_process, args),
        FIELD("env", decode_env, struct oci_process, env),
        NEEDED("cwd", decode_absolute_path, struct oci_process, cwd),
        FIELD_WHOLE("capabilities", decode_capabilities),
        FIELD_WHOLE("rlimits", decode_rlimits),
        FIELD("noNewPrivileges", decode_bool, struct oci_process, no_new_privileges),
        FIELD_WHOLE("oomScoreAdj", decode_oom_score_adj),
        UNSUPPORTED("commandLine"),
        FIELD("apparmorProfile", decode_line, struct oci_process, apparmor_profile),
        FIELD("selinuxLabel", decode_line, struct oci_process, selinux_label),
        FIELD_WHOLE("scheduler", decode_scheduler),
        FIELD_WHOLE("ioPriority", decode_io_priority),
        FIELD_WHOLE("execCPUAffinity", decode_exec_affinity),
    };
    struct oci_process **process = out;

    *process = mem_new0(struct oci_process);
    return decode_object(d, at, fields, ARRAY_SIZE(fields), *process);
}

int oci_process_parse(const char *text, size_t len, const char *name, struct oci_process **ret,
                      struct error *e)
{
    _cleanup_process_ struct oci_process *p = NULL;
    int r = decode_text(text, len, name, "use the process", decode_process, &p, e);
    if (r == 0)
        *ret = TAKE_PTR(p);
    return r;
}

void oci_process_free(struct oci_process *p)
{
    if (!p)
        return;
    strv_free(p->args);
    strv_free(p->env);
    free(p->cwd);
    free(p->additional_gids);
    free(p->rlimits);
    free(p->apparmor_profile);
    free(p->selinux_label);
    free(p);
}
