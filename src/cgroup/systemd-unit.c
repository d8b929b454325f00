/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cgroup/systemd.h"

/* systemd.unit(5): "unit name prefix", and the length with its suffix. */
#define NAME_CHARS                                                                                 \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"                               \
    ":-_.\\"
#define NAME_MAX_LEN 255

#define REMEDY_FORM                                                                                \
    "set linux.cgroupsPath to slice:prefix:name, for example machine.slice:nucleus:web"

static int refuse(struct error *e, const char *subject, const char *remedy, const char *why)
{
    return error_set(e, ERROR_CONFIG, EINVAL, "choose the systemd unit", subject, remedy, "%s",
                     why);
}

void cgroup_systemd_unit_done(struct cgroup_systemd_unit *u)
{
    free(u->name);
    free(u->slice);
    free(u->path);
    *u = (struct cgroup_systemd_unit){0};
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n >= k && streq(s + n - k, suffix);
}

/* As systemd-escape(1) does it. */
static char *escape(const char *id)
{
    struct strbuf b = {0};

    for (; *id; id++)
        if (strchr(NAME_CHARS, *id))
            strbuf_addc(&b, *id);
        else
            strbuf_addf(&b, "\\x%02x", (unsigned)(unsigned char)*id);
    return strbuf_take(&b);
}

/* The directories of a slice: "a-b.slice" lies in "a.slice". */
static int add_slice_path(const char *cgroups_path, const char *slice, struct strbuf *path,
                          struct error *e)
{
    size_t n = strlen(slice) - strlen(".slice");

    if (streq(slice, "-.slice"))
        return 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && slice[i] != '-')
            continue;
        /* An empty part: nothing before, between or behind the dashes. */
        if (i == 0 || slice[i - 1] == '-')
            return refuse(e, cgroups_path, "write each part of the slice's name, or - for the root",
                          "a part of its slice's name is empty");
        strbuf_addc(path, '/');
        strbuf_addn(path, slice, i);
        strbuf_add(path, ".slice");
    }
    return 0;
}

static int check_slice(const char *cgroups_path, const char *slice, struct error *e)
{
    if (strchr(slice, '/'))
        return refuse(e, cgroups_path,
                      "name the innermost slice alone: a-b.slice is the one in a.slice",
                      "its slice is a path");
    if (!has_suffix(slice, ".slice") || slice[strspn(slice, NAME_CHARS)] ||
        strlen(slice) > NAME_MAX_LEN)
        return refuse(e, cgroups_path, "name a slice, for example machine.slice",
                      "its first part is not the name of a slice");
    return 0;
}

static int check_name(const char *cgroups_path, const char *name, const char *unit, struct error *e)
{
    if (!*name)
        return refuse(e, cgroups_path, REMEDY_FORM, "its name, the third part, is empty");
    if (has_suffix(name, ".slice"))
        return refuse(e, cgroups_path,
                      "put the slice into the first part and give the scope a name",
                      "its name is that of a slice, which holds no processes of its own");
    if (unit[strspn(unit, NAME_CHARS)])
        return refuse(e, cgroups_path, "use letters, digits and : - _ . \\ only",
                      "its prefix or name has a character that no unit's name can have");
    if (strlen(unit) > NAME_MAX_LEN)
        return refuse(e, cgroups_path, "choose a shorter name",
                      "the unit's name would be longer than 255 characters");
    return 0;
}

/* Takes "slice:prefix:name" apart. */
static int split(const char *cgroups_path, char **ret_slice, char **ret_prefix, char **ret_name,
                 struct error *e)
{
    const char *first = strchr(cgroups_path, ':'), *second = first ? strchr(first + 1, ':') : NULL;

    if (!second)
        return refuse(e, cgroups_path, REMEDY_FORM " (or run without --systemd-cgroup)",
                      "it is not of the form slice:prefix:name");
    if (strchr(second + 1, ':'))
        return refuse(e, cgroups_path, REMEDY_FORM, "it has more than three parts");
    *ret_slice = mem_strndup(cgroups_path, (size_t)(first - cgroups_path));
    *ret_prefix = mem_strndup(first + 1, (size_t)(second - first - 1));
    *ret_name = mem_strdup(second + 1);
    return 0;
}

int cgroup_systemd_unit_parse(const char *cgroups_path, const char *id, bool user,
                              struct cgroup_systemd_unit *ret, struct error *e)
{
    _cleanup_free_ char *slice = NULL, *prefix = NULL, *name = NULL;
    _cleanup_(cgroup_systemd_unit_done) struct cgroup_systemd_unit u = {.user = user};
    _cleanup_strbuf_ struct strbuf path = {0};
    int r;

    if (!cgroups_path || !*cgroups_path) {
        cgroups_path = id;
        slice = mem_strdup("");
        prefix = mem_strdup("nucleus");
        name = escape(id);
    } else {
        r = split(cgroups_path, &slice, &prefix, &name, e);
        if (r < 0)
            return r;
    }

    if (!*slice)
        u.slice = mem_strdup(user ? "user.slice" : "system.slice");
    else
        u.slice = mem_strdup(streq(slice, "-") ? "-.slice" : slice);
    u.name = str_printf("%s%s%s.scope", prefix, *prefix ? "-" : "", name);
    r = check_slice(cgroups_path, u.slice, e);
    if (r == 0)
        r = check_name(cgroups_path, name, u.name, e);
    if (r == 0)
        r = add_slice_path(cgroups_path, u.slice, &path, e);
    if (r < 0)
        return r;
    strbuf_addf(&path, "/%s", u.name);
    u.path = strbuf_take(&path);
    *ret = u;
    u = (struct cgroup_systemd_unit){0};
    return 0;
}
