/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <json-c/json.h>

#include "base/str.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "oci/names.h"
#include "oci/spec.h"
#include "rootfs/rootfs.h"
#include "security/security.h"

static const struct option_def options[] = {{0}};

/* runtime-spec, "Features Document": what this binary can do, whatever the host can. The lists are
 * those that config.json is parsed by; tests/e2e/test_commands.py tries every word and every
 * `enabled`. */

/* Every name one of the accessors has. */
static void add_names(struct json_object *o, const char *key, const char *(*name)(size_t))
{
    struct json_object *list = json_object_new_array();

    json_object_object_add(o, key, list);
    for (size_t i = 0; name(i); i++)
        json_object_array_add(list, json_object_new_string(name(i)));
}

static const char *hook(size_t i)
{
    return oci_hook_name((enum oci_hook_kind)i);
}

static const char *namespace(size_t i)
{
    return oci_namespace_name((enum oci_namespace_type)i);
}

static const char *capability(size_t i)
{
    return oci_capability_name((int)i);
}

static const char *name_of(const struct oci_name *row)
{
    return row ? row->name : NULL;
}

static const char *seccomp_action(size_t i)
{
    return name_of(oci_seccomp_action(i));
}

static const char *seccomp_operator(size_t i)
{
    return name_of(oci_seccomp_operator(i));
}

static const char *seccomp_architecture(size_t i)
{
    return name_of(oci_seccomp_architecture(i));
}

static const char *seccomp_flag(size_t i)
{
    return name_of(oci_seccomp_flag(i));
}

static const char *memory_policy_mode(size_t i)
{
    return name_of(oci_memory_policy_mode(i));
}

static const char *memory_policy_flag(size_t i)
{
    return name_of(oci_memory_policy_flag(i));
}

static bool has_name(const char *(*name)(size_t), const char *wanted)
{
    for (size_t i = 0; name(i); i++)
        if (streq(name(i), wanted))
            return true;
    return false;
}

static struct json_object *child(struct json_object *o, const char *key)
{
    struct json_object *c = json_object_new_object();

    json_object_object_add(o, key, c);
    return c;
}

static void add_bool(struct json_object *o, const char *key, bool value)
{
    json_object_object_add(o, key, json_object_new_boolean(value));
}

static void add_cgroup(struct json_object *linux_)
{
    struct json_object *c = child(linux_, "cgroup");

    add_bool(c, "v1", false);
    add_bool(c, "v2", true);
    add_bool(c, "systemd", true);
    add_bool(c, "systemdUser", true);
    add_bool(c, "rdma", true);
}

static void add_seccomp(struct json_object *linux_)
{
    struct json_object *s = child(linux_, "seccomp"), *works = json_object_new_array();

    add_bool(s, "enabled", true);
    add_names(s, "actions", seccomp_action);
    add_names(s, "operators", seccomp_operator);
    add_names(s, "archs", seccomp_architecture);
    add_names(s, "knownFlags", seccomp_flag);
    json_object_object_add(s, "supportedFlags", works);
    for (size_t i = 0; oci_seccomp_flag(i); i++)
        if (seccomp_flag_works((uint32_t)oci_seccomp_flag(i)->value))
            json_object_array_add(works, json_object_new_string(oci_seccomp_flag(i)->name));
}

static void add_linux(struct json_object *o)
{
    struct json_object *l = child(o, "linux");

    add_names(l, "namespaces", namespace);
    add_names(l, "capabilities", capability);
    add_cgroup(l);
    add_seccomp(l);
    add_bool(child(l, "apparmor"), "enabled", true);
    add_bool(child(l, "selinux"), "enabled", true);
    struct json_object *rdt = child(l, "intelRdt");
    add_bool(rdt, "enabled", true);
    add_bool(rdt, "schemata", true);
    add_bool(rdt, "monitoring", true);
    struct json_object *policy = child(l, "memoryPolicy");
    add_names(policy, "modes", memory_policy_mode);
    add_names(policy, "flags", memory_policy_flag);
    add_bool(child(child(l, "mountExtensions"), "idmap"), "enabled",
             has_name(rootfs_option_name, "idmap"));
    add_bool(child(l, "netDevices"), "enabled", true);
}

/* The names are those of runc, which says that other runtimes may use these (its
 * types/features). */
static void add_annotations(struct json_object *o)
{
    struct json_object *a = child(o, "annotations");
    _cleanup_free_ char *library = seccomp_library_version();

    json_object_object_add(a, "org.opencontainers.runc.checkpoint.enabled",
                           json_object_new_string("true"));
    if (library)
        json_object_object_add(a, "io.github.seccomp.libseccomp.version",
                               json_object_new_string(library));
}

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    (void)ctx;
    (void)values;
    (void)args;
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "ociVersionMin", json_object_new_string("1.0.0"));
    json_object_object_add(o, "ociVersionMax", json_object_new_string(OCI_VERSION));
    add_names(o, "hooks", hook);
    add_names(o, "mountOptions", rootfs_option_name);
    add_linux(o);
    add_annotations(o);
    /* Those by which a config.json reaches what its other fields can't: here properties of its
     * systemd unit. org.criu.config is refused. */
    struct json_object *unsafe = json_object_new_array();
    json_object_array_add(unsafe, json_object_new_string("org.systemd.property."));
    json_object_object_add(o, "potentiallyUnsafeConfigAnnotations", unsafe);
    int r = output_json(o, true, e);
    json_object_put(o);
    return r;
}

const struct command command_features = {
    .name = "features",
    .usage = "",
    .summary = "Show what this nucleus can do as JSON (runtime-spec, Features)",
    .options = options,
    .max_args = 0,
    .run = run,
};
