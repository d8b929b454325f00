/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/exec-process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "oci/names.h"

static int bad_option(const char *step, const char *value, const char *remedy, const char *why,
                      struct error *e)
{
    return error_set(e, ERROR_USAGE, EINVAL, step, value, remedy, "%s", why);
}

static void inherit_string(char **to, char **from)
{
    if (!*to)
        *to = TAKE_PTR(*from);
}

/* What limits a container limits what is added to it. `from` gives away what is taken. */
static void inherit(struct oci_process *to, struct oci_process *from)
{
    if (!to->has_capabilities) {
        to->has_capabilities = from->has_capabilities;
        to->capabilities = from->capabilities;
    }
    if (to->n_rlimits == 0) {
        free(to->rlimits);
        to->rlimits = TAKE_PTR(from->rlimits);
        to->n_rlimits = from->n_rlimits;
    }
    if (!to->has_umask) {
        to->has_umask = from->has_umask;
        to->umask = from->umask;
    }
    if (!to->has_oom_score_adj) {
        to->has_oom_score_adj = from->has_oom_score_adj;
        to->oom_score_adj = from->oom_score_adj;
    }
    if (!to->has_scheduler) {
        to->has_scheduler = from->has_scheduler;
        to->scheduler = from->scheduler;
    }
    if (!to->has_io_priority) {
        to->has_io_priority = from->has_io_priority;
        to->io_priority = from->io_priority;
    }
    if (!to->exec_affinity_initial.present && !to->exec_affinity_final.present) {
        to->exec_affinity_initial = from->exec_affinity_initial;
        to->exec_affinity_final = from->exec_affinity_final;
    }
    inherit_string(&to->apparmor_profile, &from->apparmor_profile);
    inherit_string(&to->selinux_label, &from->selinux_label);
}

static int load_file(const char *path, struct oci_process **ret, struct error *e)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = file_read_at(AT_FDCWD, path, 0, OCI_CONFIG_MAX, &text, &len);

    if (r < 0)
        return error_set(e, ERROR_USAGE, -r, "read the process from", path,
                         "give a file that holds a process object with --process", NULL);
    return oci_process_parse(text, len, path, ret, e);
}

static int parse_id(const char *text, uint32_t *ret)
{
    uint64_t n;

    /* (uid_t)-1 means "leave" to the kernel. */
    if (num_parse_u64_max(text, UINT32_MAX - 1, &n) < 0)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

static int set_user(struct oci_process *p, const char *user, struct error *e)
{
    const char *colon = strchr(user, ':');
    _cleanup_free_ char *uid = mem_strndup(user, colon ? (size_t)(colon - user) : strlen(user));

    if (parse_id(uid, &p->uid) < 0 || (colon && parse_id(colon + 1, &p->gid) < 0))
        return bad_option("use --user", user, "give UID or UID:GID", "ids are numbers", e);
    return 0;
}

static int add_groups(struct oci_process *p, char *const *gids, struct error *e)
{
    size_t n = p->n_additional_gids;

    p->additional_gids =
        mem_realloc_array(p->additional_gids, n + strv_len(gids), sizeof(*p->additional_gids));
    for (size_t i = 0; gids[i]; i++)
        if (parse_id(gids[i], &p->additional_gids[n++]) < 0)
            return bad_option("use --additional-gids", gids[i], "give one number each time",
                              "a group id is a number", e);
    p->n_additional_gids = n;
    return 0;
}

/* Not inheritable: a program with file capabilities would gain what nobody asked for
 * (CVE-2022-29162). So ambient only where the container has it inheritable already. */
static int add_capabilities(struct oci_process *p, char *const *names, struct error *e)
{
    struct oci_capabilities *c = &p->capabilities;

    for (size_t i = 0; names[i]; i++) {
        int cap = oci_capability_parse(names[i]);
        if (cap < 0)
            return bad_option("use --cap", names[i], "give a name like CAP_NET_ADMIN",
                              "there is no such capability", e);
        uint64_t bit = UINT64_C(1) << cap;
        c->bounding |= bit;
        c->effective |= bit;
        c->permitted |= bit;
        c->ambient |= bit & c->inheritable;
    }
    p->has_capabilities = true;
    return 0;
}

static char **find_variable(char **env, const char *item, size_t name_len)
{
    for (; env && *env; env++)
        if (strncmp(*env, item, name_len + 1) == 0)
            return env;
    return NULL;
}

static int set_env(struct oci_process *p, char *const *items, struct error *e)
{
    for (size_t i = 0; items[i]; i++) {
        const char *eq = strchr(items[i], '=');
        if (!eq || eq == items[i])
            return bad_option("use --env", items[i], "give NAME=VALUE", "it sets no variable", e);
        /* Programs differ in which of two they take. */
        char **old = find_variable(p->env, items[i], (size_t)(eq - items[i]));
        if (!old) {
            strv_push(&p->env, mem_strdup(items[i]));
            continue;
        }
        free(*old);
        *old = mem_strdup(items[i]);
    }
    return 0;
}

static int set_cwd(struct oci_process *p, const char *cwd, struct error *e)
{
    if (cwd[0] != '/')
        return bad_option("use --cwd", cwd, NULL, "the working directory must be an absolute path",
                          e);
    free(p->cwd);
    p->cwd = mem_strdup(cwd);
    return 0;
}

static int set_args(struct oci_process *p, char *const *args, struct error *e)
{
    if (args[0][0] == '\0')
        return bad_option("run", args[0], "name the program to run", "the name is empty", e);
    strv_free(p->args);
    p->args = strv_dup(args);
    return 0;
}

static void replace(char **to, const char *value)
{
    if (!value)
        return;
    free(*to);
    *to = mem_strdup(value);
}

static int apply(struct oci_process *p, const struct exec_process_options *o, struct error *e)
{
    int r = 0;

    if (strv_len(o->args) > 0)
        r = set_args(p, o->args, e);
    if (r == 0 && o->cwd)
        r = set_cwd(p, o->cwd, e);
    if (r == 0 && o->user)
        r = set_user(p, o->user, e);
    if (r == 0 && strv_len(o->additional_gids) > 0)
        r = add_groups(p, o->additional_gids, e);
    if (r == 0 && strv_len(o->caps) > 0)
        r = add_capabilities(p, o->caps, e);
    if (r == 0 && strv_len(o->env) > 0)
        r = set_env(p, o->env, e);
    if (r < 0)
        return r;
    replace(&p->apparmor_profile, o->apparmor);
    replace(&p->selinux_label, o->selinux);
    p->terminal = p->terminal || o->terminal;
    p->no_new_privileges = p->no_new_privileges || o->no_new_privs;
    return 0;
}

int exec_process_make(struct oci_process **container, const struct exec_process_options *o,
                      struct error *e)
{
    struct oci_process *p = *container;

    if (!o->file) {
        if (strv_len(o->args) == 0)
            return bad_option("run", NULL,
                              "name the program behind the container, or use --process",
                              "process args cannot be empty", e);
        /* The container's own terminal says nothing about this one. */
        p->terminal = false;
        p->console_width = p->console_height = 0;
        return apply(p, o, e);
    }

    _cleanup_process_ struct oci_process *own = NULL;
    int r = load_file(o->file, &own, e);
    if (r < 0)
        return r;
    inherit(own, p);
    r = apply(own, o, e);
    if (r < 0)
        return r;
    *container = TAKE_PTR(own);
    oci_process_free(p);
    return 0;
}
