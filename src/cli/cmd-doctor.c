/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "security/security.h"

struct values {
    bool json;
    const char *criu;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {0, "json", OPTION_FLAG, VALUE(json), NULL, "for programs: one JSON object"},
    {0, "criu", OPTION_STRING, VALUE(criu), "PATH", "look at this CRIU, at no other"},
    {0},
};

static const struct check_group groups[] = {
    {"kernel", "Kernel", doctor_kernel_checks},
    {"system_calls", "System calls (tried)", doctor_syscall_checks},
    {"namespaces", "Namespaces", doctor_namespace_checks},
    {"cgroups", "Cgroups", doctor_cgroup_checks},
    {"caller", "Who asks, and the places used", doctor_caller_checks},
    {"checkpoint", "Checkpoint and restore", doctor_criu_checks},
};

/* Exit statuses, as --help has them. */
enum {
    EXIT_ALL = 0,
    EXIT_NO_CONTAINERS = 1,
    EXIT_NO_CHECKPOINT = 2,
};

/* ---- findings ---- */

/* Takes `text`; what could spoil a terminal, or is no UTF-8, becomes \xNN. */
static char *make_printable(char *text)
{
    struct strbuf b = {0};
    bool utf8 = str_is_utf8(text, strlen(text));

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
            strbuf_addf(&b, "\\x%02x", c);
        else
            strbuf_addc(&b, *p);
    }
    free(text);
    return strbuf_take(&b);
}

void finding_set(struct finding *f, enum finding_status status, const char *detail_fmt, ...)
{
    va_list ap;

    va_start(ap, detail_fmt);
    free(f->detail);
    f->status = status;
    f->detail = make_printable(str_vprintf(detail_fmt, ap));
    va_end(ap);
}

void finding_remedy(struct finding *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    free(f->remedy);
    f->remedy = make_printable(str_vprintf(fmt, ap));
    va_end(ap);
}

void finding_note(struct finding *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strv_push(&f->notes, make_printable(str_vprintf(fmt, ap)));
    va_end(ap);
}

static struct json_object *json_text(const char *value)
{
    if (!value)
        return NULL;
    _cleanup_free_ char *text = make_printable(mem_strdup(value));
    return json_object_new_string(text);
}

void finding_fact(struct finding *f, const char *key, const char *value)
{
    json_object_object_add(f->facts, key, json_text(value));
}

void finding_fact_bool(struct finding *f, const char *key, bool value)
{
    json_object_object_add(f->facts, key, json_object_new_boolean(value));
}

void finding_fact_int(struct finding *f, const char *key, long long value)
{
    json_object_object_add(f->facts, key, json_object_new_int64(value));
}

static struct json_object *json_list(char *const *values)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < strv_len(values); i++)
        json_object_array_add(array, json_text(values[i]));
    return array;
}

void finding_fact_list(struct finding *f, const char *key, char *const *values)
{
    json_object_object_add(f->facts, key, json_list(values));
}

static void finding_done(struct finding *f)
{
    free(f->detail);
    free(f->remedy);
    strv_free(f->notes);
    json_object_put(f->facts);
}

/* ---- what it comes to ---- */

struct summary {
    char **no_containers, **no_checkpoint; /* why not */
    char **limits, **no_limits;            /* controllers */
};

static void summary_add(struct summary *s, const struct check *c, const struct finding *f)
{
    bool there = f->status == FINDING_OK || f->status == FINDING_LIMITED;

    if (c->need == NEED_LIMIT)
        strv_push(there ? &s->limits : &s->no_limits, mem_strdup(c->title));
    else if (!there && c->need == NEED_CONTAINERS)
        strv_push(&s->no_containers, str_printf("%s (%s)", c->title, f->detail));
    else if (!there && c->need == NEED_CHECKPOINT)
        strv_push(&s->no_checkpoint, str_printf("%s (%s)", c->title, f->detail));
}

static void summary_done(struct summary *s)
{
    strv_free(s->no_containers);
    strv_free(s->no_checkpoint);
    strv_free(s->limits);
    strv_free(s->no_limits);
}

static void add_verdict(struct strbuf *b, const char *what, char *const *reasons)
{
    _cleanup_free_ char *why = strv_join(reasons, ", ");

    strbuf_addf(b, "%s: %s%s", what, reasons ? "no because " : "yes", why);
}

static char *summary_line(const struct summary *s)
{
    struct strbuf b = {0};
    _cleanup_free_ char *can = strv_join(s->limits, ", ");
    _cleanup_free_ char *cannot = strv_join(s->no_limits, ", ");

    add_verdict(&b, "containers", s->no_containers);
    strbuf_addf(&b, "; limits: %s", s->limits ? can : "none");
    if (s->limits && s->no_limits)
        strbuf_addf(&b, " (not %s)", cannot);
    add_verdict(&b, "; checkpoint/restore", s->no_checkpoint);
    strbuf_addc(&b, '\n');
    return strbuf_take(&b);
}

static struct json_object *summary_json(const struct summary *s)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "containers", json_object_new_boolean(!s->no_containers));
    json_object_object_add(o, "no_containers_because", json_list(s->no_containers));
    json_object_object_add(o, "limits", json_list(s->limits));
    json_object_object_add(o, "no_limits", json_list(s->no_limits));
    json_object_object_add(o, "checkpoint_restore", json_object_new_boolean(!s->no_checkpoint));
    json_object_object_add(o, "no_checkpoint_restore_because", json_list(s->no_checkpoint));
    return o;
}

/* ---- the two forms of the report ---- */

static const struct {
    const char *mark, *name;
} statuses[] = {
    [FINDING_OK] = {"ok", "ok"},
    [FINDING_LIMITED] = {"~~", "limited"},
    [FINDING_MISSING] = {"--", "missing"},
    [FINDING_BROKEN] = {"!!", "broken"},
};

static const char *const need_names[] = {
    [NEED_CONTAINERS] = "containers",
    [NEED_LIMIT] = "limits",
    [NEED_CHECKPOINT] = "checkpoint_restore",
};

static int title_width(void)
{
    size_t width = 0;

    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        for (const struct check *c = groups[i].checks; c->name; c++)
            width = MAX(width, strlen(c->title));
    return (int)width;
}

static void add_lines(struct strbuf *b, const struct check *c, const struct finding *f)
{
    int width = title_width(), indent = width + 8;

    strbuf_addf(b, "  %s  %-*s  %s\n", statuses[f->status].mark, width, c->title, f->detail);
    for (size_t i = 0; i < strv_len(f->notes); i++)
        strbuf_addf(b, "%*s%s\n", indent, "", f->notes[i]);
    if (f->status == FINDING_OK)
        return;
    strbuf_addf(b, "%*sfor: %s\n", indent, "", c->purpose);
    if (f->remedy)
        strbuf_addf(b, "%*sdo:  %s\n", indent, "", f->remedy);
}

static struct json_object *finding_json(const struct check_group *g, const struct check *c,
                                        const struct finding *f)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "group", json_object_new_string(g->name));
    json_object_object_add(o, "status", json_object_new_string(statuses[f->status].name));
    json_object_object_add(o, "detail", json_text(f->detail));
    json_object_object_add(o, "needed_for", json_text(c->purpose));
    json_object_object_add(o, "essential_for", json_text(need_names[c->need]));
    json_object_object_add(o, "remedy", json_text(f->remedy));
    json_object_object_add(o, "notes", json_list(f->notes));
    json_object_object_add(o, "facts", json_object_get(f->facts));
    return o;
}

/* ---- the command ---- */

/* The two members that all checks of rights go by. */
static void read_credentials(struct doctor *d)
{
    _cleanup_free_ char *map = doctor_read_line("/proc/self/uid_map"), *status = NULL;
    unsigned long long effective = 0, inside, outside, n;

    if (file_read_at(AT_FDCWD, "/proc/self/status", 0, 65536, &status, NULL) == 0) {
        const char *line = strstr(status, "\nCapEff:");
        if (line)
            (void)sscanf(line, "\nCapEff: %llx", &effective);
    }
    d->sys_admin = effective >> capability_parse("CAP_SYS_ADMIN") & 1;
    /* user_namespaces(7): the first one maps all 2^32 - 1 ids to themselves. */
    d->in_userns = map && sscanf(map, "%llu %llu %llu", &inside, &outside, &n) == 3 &&
                   !(inside == 0 && outside == 0 && n == UINT32_MAX);
}

static void doctor_init(struct doctor *d, const char *root, const char *criu)
{
    struct utsname uts;

    *d = (struct doctor){.root = root, .criu = criu};
    if (uname(&uts) == 0) {
        (void)snprintf(d->release, sizeof(d->release), "%s", uts.release);
        (void)sscanf(uts.release, "%lu.%lu", &d->kernel_major, &d->kernel_minor);
    }
    read_credentials(d);
    d->cgroup_error = cgroup_host_probe(AT_FDCWD, &d->cgroup, NULL);
    doctor_try_namespaces(d);
}

static void doctor_done(struct doctor *d)
{
    cgroup_host_done(&d->cgroup);
    if (d->has_tool)
        criu_tool_done(&d->tool);
}

bool doctor_kernel_is(const struct doctor *d, unsigned long major, unsigned long minor)
{
    return d->kernel_major > major || (d->kernel_major == major && d->kernel_minor >= minor);
}

static void examine(struct doctor *d, struct strbuf *text, struct json_object *all,
                    struct summary *summary)
{
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        strbuf_addf(text, "%s%s\n", i ? "\n" : "", groups[i].title);
        for (const struct check *c = groups[i].checks; c->name; c++) {
            struct finding f = {.facts = json_object_new_object()};
            c->look(d, c, &f);
            add_lines(text, c, &f);
            json_object_object_add(all, c->name, finding_json(&groups[i], c, &f));
            summary_add(summary, c, &f);
            finding_done(&f);
        }
    }
    /* What can't run can't be frozen either. */
    if (summary->no_containers)
        strv_push(&summary->no_checkpoint, mem_strdup("containers can't run"));
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    _cleanup_strbuf_ struct strbuf text = {0};
    struct summary summary = {0};
    struct doctor d;

    (void)args;
    doctor_init(&d, ctx->root, v->criu);
    struct json_object *all = json_object_new_object();
    examine(&d, &text, all, &summary);

    _cleanup_free_ char *line = summary_line(&summary);
    strbuf_addf(&text, "\n%s", line);
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "version", json_object_new_string(NUCLEUS_VERSION));
    json_object_object_add(o, "summary", summary_json(&summary));
    json_object_object_add(o, "checks", all);
    int r = v->json ? output_json(o, true, e) : output_text(text.s, e);
    if (r >= 0)
        r = summary.no_containers   ? EXIT_NO_CONTAINERS
            : summary.no_checkpoint ? EXIT_NO_CHECKPOINT
                                    : EXIT_ALL;
    json_object_put(o);
    summary_done(&summary);
    doctor_done(&d);
    return r;
}

const struct command command_doctor = {
    .name = "doctor",
    .usage = "[options]",
    .summary = "Say what this host can do, and what it lacks",
    .details =
        "Each line begins with \"ok\"; \"~~\": there, but not for everything; \"--\": missing;\n"
        "\"!!\": there, but not fit for use. What is not ok comes with what it is for and what to\n"
        "do. Nothing is changed: system calls are tried on processes and in namespaces that are\n"
        "gone at once, and no state directory, key or cgroup is made.\n\n"
        "Exit status 0 where containers can run, and be checkpointed and restored; 1 where they\n"
        "can't run; 2 where they can run, but not be checkpointed or restored.",
    .options = options,
    .values_size = sizeof(struct values),
    .max_args = 0,
    .run = run,
};
