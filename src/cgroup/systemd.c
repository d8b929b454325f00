/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/systemd.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/events.h"
#include "cgroup/sd-bus.h"
#include "cgroup/systemd-properties.h"

#define SERVICE "org.freedesktop.systemd1"
#define OBJECT "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define SCOPE "org.freedesktop.systemd1.Scope"
#define NO_SUCH_UNIT "org.freedesktop.systemd1.NoSuchUnit"
#define UNIT_EXISTS "org.freedesktop.systemd1.UnitExists"

#define JOB_TIMEOUT_MS 30000 /* a start or stop; a single call is given up by sd-bus after 25 s */

/* A connection to the bus of one of the managers, and the one job that is waited for. */
struct connection {
    sd_bus *bus;
    char *job;    /* its object path */
    char *result; /* NULL: it is not done */
};

static void message_unrefp(sd_bus_message **m)
{
    if (*m)
        (void)sdbus.message_unref(*m);
}
#define _cleanup_message_ _cleanup_(message_unrefp)

static void bus_error_done(sd_bus_error *err)
{
    if (sdbus.error_free) /* else the library is not there, and there is nothing in it */
        sdbus.error_free(err);
}
#define _cleanup_bus_error_ _cleanup_(bus_error_done)

static void connection_done(struct connection *c)
{
    if (c->bus)
        (void)sdbus.flush_close_unref(c->bus);
    free(c->job);
    free(c->result);
}
#define _cleanup_connection_ _cleanup_(connection_done)

/* --- errors -------------------------------------------------------------------------------- */

static bool is_error(const sd_bus_error *err, const char *name)
{
    return err->name && streq(err->name, name);
}

/* A call that failed: `r` and what the other side said, where it was it that failed. */
static int call_failed(struct error *e, const sd_bus_error *err, int r, const char *step,
                       const char *unit)
{
    static const char user[] = "run as root, or rootless with a user manager of your own";
    static const struct {
        const char *name;
        enum error_code code;
        int errnum;
        const char *remedy;
    } rows[] = {
        {UNIT_EXISTS, ERROR_EXISTS, EEXIST,
         "stop the unit (systemctl stop NAME), or choose another name"},
        {NO_SUCH_UNIT, ERROR_CGROUP, ENOENT,
         "delete the container; what ran in the unit has ended"},
        {"org.freedesktop.DBus.Error.AccessDenied", ERROR_PERMISSION, EACCES, user},
        {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", ERROR_PERMISSION, EACCES,
         user},
        {"org.freedesktop.DBus.Error.InvalidArgs", ERROR_CONFIG, EINVAL,
         "check the limits and the annotations org.systemd.property.*"},
        /* sd-bus' word for a value of another type than was asked for */
        {"System.Error.ENXIO", ERROR_CONFIG, EINVAL,
         "look up the types of the annotations org.systemd.property.* (busctl introspect)"},
        {"org.freedesktop.DBus.Error.PropertyReadOnly", ERROR_CONFIG, EINVAL,
         "check the annotations org.systemd.property.*; this systemd may be too old for one"},
    };
    enum error_code code = ERROR_CGROUP;
    const char *remedy = NULL;
    int errnum = r == -EEXIST ? EIO : -r; /* the one that callers look for */

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (is_error(err, rows[i].name)) {
            code = rows[i].code;
            errnum = rows[i].errnum;
            remedy = rows[i].remedy;
        }
    if (err->name) {
        const char *text = err->message && *err->message ? err->message : err->name;
        size_t n = strlen(text);
        return error_set(e, code, errnum, step, unit, remedy, "systemd says: %.*s",
                         (int)(text[n - 1] == '.' ? n - 1 : n), text);
    }
    return error_set(e, code, errnum, step, unit,
                     "check that systemd and its D-Bus answer (busctl status)", NULL);
}

/* --- the connection ------------------------------------------------------------------------ */

static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *err)
{
    struct connection *c = arg;
    const char *job, *unit, *result;
    uint32_t id;

    (void)err;
    if (sdbus.message_read(m, "uoss", &id, &job, &unit, &result) >= 0 && streq_ptr(c->job, job) &&
        !c->result)
        c->result = mem_strdup(result);
    return 0;
}

static int connect_failed(struct error *e, int r, bool user)
{
    return error_set(e, ERROR_CGROUP, -r, "reach systemd by D-Bus",
                     user ? "the user bus" : "the system bus",
                     user ? "log in to get a user manager (or: loginctl enable-linger), and set "
                            "XDG_RUNTIME_DIR; or use the cgroupfs driver (without --systemd-cgroup)"
                          : "start systemd's D-Bus (dbus.service), or use the cgroupfs driver "
                            "(without --systemd-cgroup)",
                     NULL);
}

static int connect_manager(bool user, struct connection *c, struct error *e)
{
    int r = sdbus_load(e);
    if (r < 0)
        return r;
    r = user ? sdbus.open_user(&c->bus) : sdbus.open_system(&c->bus);
    if (r < 0)
        return connect_failed(e, r, user);
    /* Before any call that makes a job, or its end could be missed. */
    r = sdbus.match_signal(c->bus, NULL, SERVICE, OBJECT, MANAGER, "JobRemoved", on_job_removed, c);
    return r < 0 ? connect_failed(e, r, user) : 0;
}

/* The number that systemd's version begins with; 0 where it does not say. */
static unsigned version_of(struct connection *c)
{
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_free_ char *text = NULL;
    uint64_t v;

    if (sdbus.get_property_string(c->bus, SERVICE, OBJECT, MANAGER, "Version", &err, &text) < 0)
        return 0;
    const char *digits = *text == 'v' ? text + 1 : text;
    _cleanup_free_ char *number = mem_strndup(digits, strspn(digits, "0123456789"));
    return num_parse_u64_max(number, 1000000, &v) < 0 ? 0 : (unsigned)v;
}

static int new_call(struct connection *c, const char *method, sd_bus_message **ret)
{
    return sdbus.message_new_method_call(c->bus, ret, SERVICE, OBJECT, MANAGER, method);
}

/* --- properties on the wire ---------------------------------------------------------------- */

static int append_value(sd_bus_message *m, const struct gvariant *v);

static int append_container(sd_bus_message *m, char kind, const char *content,
                            const struct gvariant *v)
{
    int r = sdbus.message_open_container(m, kind, content);
    for (size_t i = 0; i < v->n_items && r >= 0; i++)
        r = append_value(m, &v->items[i]);
    return r < 0 ? r : sdbus.message_close_container(m);
}

/* sd_bus_message_append_basic(3) takes a pointer to the C type that is as wide as the D-Bus one. */
static int append_basic(sd_bus_message *m, const struct gvariant *v)
{
    const struct {
        char type;
        const void *value;
    } rows[] = {
        {'b', &(int){v->boolean}},
        {'y', &(uint8_t){(uint8_t)v->number}},
        {'n', &(int16_t){(int16_t)v->integer}},
        {'q', &(uint16_t){(uint16_t)v->number}},
        {'i', &(int32_t){(int32_t)v->integer}},
        {'u', &(uint32_t){(uint32_t)v->number}},
        {'x', &v->integer},
        {'t', &v->number},
        {'d', &v->real},
        {'s', v->string},
        {'o', v->string},
        {'g', v->string},
    };

    for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
        if (rows[k].type == v->type[0])
            return sdbus.message_append_basic(m, v->type[0], rows[k].value);
    return -EINVAL;
}

static int append_value(sd_bus_message *m, const struct gvariant *v)
{
    switch (v->type[0]) {
    case 'a':
        return append_container(m, 'a', v->type + 1, v);
    case 'v':
        return append_container(m, 'v', v->items[0].type, v);
    case '(': {
        _cleanup_free_ char *content = mem_strndup(v->type + 1, strlen(v->type) - 2);
        return append_container(m, 'r', content, v);
    }
    default:
        return append_basic(m, v);
    }
}

static int append_property(sd_bus_message *m, const struct systemd_property *p)
{
    int r = sdbus.message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sdbus.message_append_basic(m, 's', p->name);
    if (r >= 0)
        r = sdbus.message_open_container(m, 'v', p->value.type);
    if (r >= 0)
        r = append_value(m, &p->value);
    if (r >= 0)
        r = sdbus.message_close_container(m);
    return r < 0 ? r : sdbus.message_close_container(m);
}

static bool has_property(const struct cgroup_systemd_properties *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (streq(p->list[i].name, name))
            return true;
    return false;
}

/* The version is asked for only where something depends on it. */
static unsigned version_for(struct connection *c, const struct cgroup_systemd_properties *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->list[i].since)
            return version_of(c);
    return 0;
}

/* "a(sv)": of `own` those that `p` does not have, then `p`. What this systemd is too old for is
 * left out: it does not know the file either, and leaves it as it is written. */
static int append_properties(struct connection *c, sd_bus_message *m,
                             const struct cgroup_systemd_properties *own,
                             const struct cgroup_systemd_properties *p)
{
    unsigned version = version_for(c, p);

    int r = sdbus.message_open_container(m, 'a', "(sv)");
    for (size_t i = 0; own && i < own->n && r >= 0; i++)
        if (!has_property(p, own->list[i].name))
            r = append_property(m, &own->list[i]);
    for (size_t i = 0; i < p->n && r >= 0; i++)
        if (p->list[i].since <= version && (own || !p->list[i].start_only))
            r = append_property(m, &p->list[i]);
    return r < 0 ? r : sdbus.message_close_container(m);
}

/* --- jobs ---------------------------------------------------------------------------------- */

static int wait_for_job(struct connection *c, const char *step, const char *unit, struct error *e)
{
    int64_t deadline = cgroup_deadline(JOB_TIMEOUT_MS);

    while (!c->result) {
        int r = sdbus.process(c->bus, NULL);
        if (r > 0)
            continue;
        int left = cgroup_deadline_left(deadline);
        if (r == 0 && left == 0)
            r = -ETIMEDOUT;
        if (r == 0)
            r = sdbus.wait(c->bus, (uint64_t)left * 1000);
        if (r < 0 && r != -EINTR)
            return error_set(e, ERROR_CGROUP, -r, step, unit,
                             "look at what systemd does (systemctl list-jobs)", NULL);
    }
    if (!streq(c->result, "done"))
        return error_set(e, ERROR_CGROUP, EIO, step, unit,
                         "see what systemd says of it (journalctl -b, systemctl status)",
                         "systemd's job for it ended with \"%s\"", c->result);
    return 0;
}

/* Sends a call that answers with a job, and waits for it. `err` is what systemd says against it. */
static int run_job(struct connection *c, sd_bus_message *m, const char *step, const char *unit,
                   sd_bus_error *err, struct error *e)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *job;

    int r = sdbus.call(c->bus, m, 0, err, &reply);
    if (r >= 0)
        r = sdbus.message_read(reply, "o", &job);
    if (r < 0)
        return call_failed(e, err, r, step, unit);
    free(c->job);
    free(TAKE_PTR(c->result));
    c->job = mem_strdup(job);
    return wait_for_job(c, step, unit, e);
}

/* A unit that failed stays until it is told to go. Nothing to forget is fine. */
static void reset_failed(struct connection *c, const char *unit)
{
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_message_ sd_bus_message *m = NULL;

    if (new_call(c, "ResetFailedUnit", &m) >= 0 && sdbus.message_append(m, "s", unit) >= 0)
        (void)sdbus.call(c->bus, m, 0, &err, NULL);
}

/* --- starting ------------------------------------------------------------------------------ */

/* What the driver depends on, and what other drivers give a container: no limit of systemd's own
 * (DefaultTasksMax), and its numbers counted. Devices are for our own program on the cgroup. */
static void put_own_properties(struct cgroup_systemd_properties *p,
                               const struct cgroup_systemd_unit *u, const char *id, pid_t pid)
{
    _cleanup_free_ char *description = str_printf("nucleus container %s", id);
    static const char *const on[] = {
        "Delegate", "CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting",
    };
    struct gvariant pids = gvariant_array("u", 1);

    pids.items[0].number = (uint32_t)pid;
    (void)systemd_property_put(p, "PIDs", pids);
    (void)systemd_property_put(p, "Description", gvariant_string(description));
    (void)systemd_property_put(p, "Slice", gvariant_string(u->slice));
    (void)systemd_property_put(p, "DefaultDependencies", gvariant_boolean(false));
    (void)systemd_property_put(p, "CollectMode", gvariant_string("inactive-or-failed"));
    (void)systemd_property_put(p, "DevicePolicy", gvariant_string("auto"));
    (void)systemd_property_put(p, "TasksMax", gvariant_u64(UINT64_MAX));
    for (size_t i = 0; i < ARRAY_SIZE(on); i++)
        (void)systemd_property_put(p, on[i], gvariant_boolean(true));
}

static int start_once(struct connection *c, const struct cgroup_systemd_unit *u,
                      const struct cgroup_systemd_properties *own,
                      const struct cgroup_systemd_properties *p, bool *ret_exists, struct error *e)
{
    static const char step[] = "start the systemd unit";
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_message_ sd_bus_message *m = NULL;

    int r = new_call(c, "StartTransientUnit", &m);
    if (r >= 0)
        r = sdbus.message_append(m, "ss", u->name, "fail");
    if (r >= 0)
        r = append_properties(c, m, own, p);
    if (r >= 0)
        r = sdbus.message_append(m, "a(sa(sv))", 0);
    if (r < 0)
        return call_failed(e, &err, r, step, u->name);
    r = run_job(c, m, step, u->name, &err, e);
    *ret_exists = r < 0 && is_error(&err, UNIT_EXISTS);
    return r;
}

/* Where systemd has put it. */
static int cgroup_of(struct connection *c, const struct cgroup_host *host, const char *unit,
                     char **ret, struct error *e)
{
    static const char step[] = "find the cgroup of the systemd unit";
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_free_ char *object = NULL, *below = NULL;

    int r = sdbus.path_encode(OBJECT "/unit", unit, &object);
    if (r >= 0)
        r = sdbus.get_property_string(c->bus, SERVICE, object, SCOPE, "ControlGroup", &err, &below);
    if (r < 0)
        return call_failed(e, &err, r, step, unit);
    if (below[0] != '/' || !below[1])
        return error_set(e, ERROR_CGROUP, ESRCH, step, unit, NULL, "its process has ended");
    _cleanup_free_ char *path = path_join(host->mount, below);
    if (access(path, F_OK) < 0)
        return error_set(e, ERROR_CGROUP, errno, step, path,
                         "run nucleus in the cgroup namespace that systemd runs in",
                         "systemd has the unit there, and here is no such cgroup");
    *ret = TAKE_PTR(path);
    return 0;
}

int cgroup_systemd_start(const struct cgroup_host *host, const struct cgroup_systemd_unit *u,
                         const char *id, pid_t pid, const struct cgroup_systemd_properties *p,
                         char **ret_path, struct error *e)
{
    _cleanup_connection_ struct connection c = {0};
    _cleanup_systemd_properties_ struct cgroup_systemd_properties own = {0};
    bool exists = false;

    int r = connect_manager(u->user, &c, e);
    if (r < 0)
        return r;
    put_own_properties(&own, u, id, pid);
    r = start_once(&c, u, &own, p, &exists, e);
    if (exists) {
        error_done(e);
        reset_failed(&c, u->name);
        r = start_once(&c, u, &own, p, &exists, e);
    }
    return r < 0 ? r : cgroup_of(&c, host, u->name, ret_path, e);
}

/* --- units that are there ------------------------------------------------------------------ */

int cgroup_systemd_set(const char *unit, bool user, const struct cgroup_systemd_properties *p,
                       struct error *e)
{
    static const char step[] = "set properties of the systemd unit";
    _cleanup_connection_ struct connection c = {0};
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_message_ sd_bus_message *m = NULL;

    int r = connect_manager(user, &c, e);
    if (r < 0)
        return r;
    r = new_call(&c, "SetUnitProperties", &m);
    if (r >= 0)
        r = sdbus.message_append(m, "sb", unit, (int)true); /* until it ends, in /run only */
    if (r >= 0)
        r = append_properties(&c, m, NULL, p);
    if (r >= 0)
        r = sdbus.call(c.bus, m, 0, &err, NULL);
    return r < 0 ? call_failed(e, &err, r, step, unit) : 0;
}

int cgroup_systemd_prepare(struct error *e)
{
    return sdbus_load(e);
}

int cgroup_systemd_attach(const char *unit, bool user, const char *below, pid_t pid,
                          struct error *e)
{
    _cleanup_connection_ struct connection c = {0};
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_message_ sd_bus_message *m = NULL;

    int r = connect_manager(user, &c, e);
    if (r < 0)
        return r;
    r = new_call(&c, "AttachProcessesToUnit", &m);
    if (r >= 0)
        r = sdbus.message_append(m, "ssau", unit, below ? below : "", 1, (uint32_t)pid);
    if (r >= 0)
        r = sdbus.call(c.bus, m, 0, &err, NULL);
    return r < 0 ? call_failed(e, &err, r, "move a process into the systemd unit", unit) : 0;
}

int cgroup_systemd_stop(const char *unit, bool user, struct error *e)
{
    static const char step[] = "stop the systemd unit";
    _cleanup_connection_ struct connection c = {0};
    _cleanup_bus_error_ sd_bus_error err = SD_BUS_ERROR_NULL;
    _cleanup_message_ sd_bus_message *m = NULL;
    struct error failed = {0};

    int r = connect_manager(user, &c, e);
    if (r < 0)
        return r;
    r = new_call(&c, "StopUnit", &m);
    if (r >= 0)
        r = sdbus.message_append(m, "ss", unit, "replace");
    if (r < 0)
        return call_failed(e, &err, r, step, unit);
    r = run_job(&c, m, step, unit, &err, &failed);
    if (r < 0 && is_error(&err, NO_SUCH_UNIT)) {
        error_done(&failed);
        return 0;
    }
    reset_failed(&c, unit);
    if (r < 0 && e)
        error_move(e, &failed);
    error_done(&failed);
    return r;
}
