/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/spec.h"

#include <json-c/json.h>
#include <stdarg.h>

/* The config.json that `nucleus spec` writes. */

#define NOFILE_DEFAULT 1024

/* moby, oci/caps/defaults.go. */
static const char *const capabilities[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
    NULL,
};

/* runc, libcontainer/specconv/example.go. */
static const char *const masked_paths[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
    NULL,
};

static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

struct template_mount {
    const char *destination, *type, *source;
    const char *options[8];
};

static const struct template_mount mounts[] = {
    {"/proc", "proc", "proc", {NULL}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
    {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

/* Where a user namespace maps one id only, gid 5 (tty) is not there; and the kernel refuses a new
 * sysfs to a user namespace that does not own the network namespace. */
static const struct template_mount devpts[] = {
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
};
static const struct template_mount sys[] = {
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
    {"/sys", "none", "/sys", {"rbind", "rnosuid", "rnoexec", "rnodev", "rro"}},
};

static void add(struct json_object *object, const char *key, struct json_object *value)
{
    (void)json_object_object_add(object, key, value);
}

static void add_string(struct json_object *object, const char *key, const char *value)
{
    add(object, key, json_object_new_string(value));
}

static struct json_object *strings(const char *const *v)
{
    struct json_object *array = json_object_new_array();
    for (; *v; v++)
        (void)json_object_array_add(array, json_object_new_string(*v));
    return array;
}

static struct json_object *new_capabilities(void)
{
    struct json_object *sets = json_object_new_object();
    add(sets, "bounding", strings(capabilities));
    add(sets, "effective", strings(capabilities));
    add(sets, "permitted", strings(capabilities));
    return sets;
}

static struct json_object *new_rlimits(void)
{
    struct json_object *array = json_object_new_array(), *limit = json_object_new_object();
    add_string(limit, "type", "RLIMIT_NOFILE");
    add(limit, "hard", json_object_new_uint64(NOFILE_DEFAULT));
    add(limit, "soft", json_object_new_uint64(NOFILE_DEFAULT));
    (void)json_object_array_add(array, limit);
    return array;
}

static struct json_object *new_process(void)
{
    static const char *const args[] = {"sh", NULL};
    static const char *const env[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
    struct json_object *process = json_object_new_object(), *user = json_object_new_object();

    add(process, "terminal", json_object_new_boolean(false));
    add(user, "uid", json_object_new_int(0));
    add(user, "gid", json_object_new_int(0));
    add(process, "user", user);
    add(process, "args", strings(args));
    add(process, "env", strings(env));
    add_string(process, "cwd", "/");
    add(process, "capabilities", new_capabilities());
    add(process, "rlimits", new_rlimits());
    add(process, "noNewPrivileges", json_object_new_boolean(true));
    return process;
}

static void add_mount(struct json_object *array, const struct template_mount *m)
{
    struct json_object *mount = json_object_new_object();

    add_string(mount, "destination", m->destination);
    add_string(mount, "type", m->type);
    add_string(mount, "source", m->source);
    if (m->options[0])
        add(mount, "options", strings(m->options));
    (void)json_object_array_add(array, mount);
}

static struct json_object *new_mounts(bool rootless)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
        /* Parents before what lies below them. */
        if (streq(mounts[i].destination, "/dev/shm"))
            add_mount(array, &devpts[rootless]);
        if (streq(mounts[i].destination, "/sys/fs/cgroup"))
            add_mount(array, &sys[rootless]);
        add_mount(array, &mounts[i]);
    }
    return array;
}

static struct json_object *new_id_maps(uint32_t host_id)
{
    struct json_object *array = json_object_new_array(), *map = json_object_new_object();

    add(map, "containerID", json_object_new_int(0));
    add(map, "hostID", json_object_new_uint64(host_id));
    add(map, "size", json_object_new_int(1));
    (void)json_object_array_add(array, map);
    return array;
}

static struct json_object *new_linux(bool rootless)
{
    static const enum oci_namespace_type types[] = {
        OCI_NS_PID,   OCI_NS_NETWORK, OCI_NS_IPC,  OCI_NS_UTS,
        OCI_NS_MOUNT, OCI_NS_CGROUP,  OCI_NS_USER,
    };
    struct json_object *lnx = json_object_new_object(), *namespaces = json_object_new_array();

    if (rootless) {
        add(lnx, "uidMappings", new_id_maps(geteuid()));
        add(lnx, "gidMappings", new_id_maps(getegid()));
    }
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i] == OCI_NS_USER && !rootless)
            continue;
        struct json_object *ns = json_object_new_object();
        add_string(ns, "type", oci_namespace_name(types[i]));
        (void)json_object_array_add(namespaces, ns);
    }
    add(lnx, "namespaces", namespaces);
    add(lnx, "maskedPaths", strings(masked_paths));
    add(lnx, "readonlyPaths", strings(readonly_paths));
    return lnx;
}

char *oci_spec_template(bool rootless)
{
    struct json_object *config = json_object_new_object(), *root = json_object_new_object();

    add_string(config, "ociVersion", OCI_VERSION);
    add(config, "process", new_process());
    add_string(root, "path", "rootfs");
    add(root, "readonly", json_object_new_boolean(true));
    add(config, "root", root);
    add_string(config, "hostname", "nucleus");
    add(config, "mounts", new_mounts(rootless));
    add(config, "linux", new_linux(rootless));

    const int style =
        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    char *text = str_printf("%s\n", json_object_to_json_string_ext(config, style));
    json_object_put(config);
    return text;
}
