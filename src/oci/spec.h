/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "oci/resources.h"

/* config.json (OCI runtime-spec 1.3) as plain data: parsed and validated whole before anything is
 * touched. A field that nucleus knows but can't honour is an error; a property it does not know is
 * ignored with a warning (runtime-spec, "Extensibility"). All pointers are owned by the spec. */

struct oci_id_map {
    uint32_t container_id; /* first id inside */
    uint32_t host_id;      /* first id outside */
    uint32_t size;         /* > 0 */
};

struct oci_rlimit {
    int resource; /* RLIMIT_* */
    uint64_t soft, hard;
};

/* Bit n is capability number n. */
struct oci_capabilities {
    uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* A list of CPUs or NUMA nodes ("0-3,7") as bits, in the form that sched_setaffinity(2) and
 * set_mempolicy(2) take. */
#define OCI_SET_BITS 4096
struct oci_set {
    bool present;
    unsigned long bits[OCI_SET_BITS / (8 * sizeof(unsigned long))];
};

/* process.scheduler, in the terms of sched_setattr(2). */
struct oci_scheduler {
    uint32_t policy; /* SCHED_* of <linux/sched.h> */
    int32_t nice;
    uint32_t priority;
    uint64_t flags;                     /* SCHED_FLAG_* */
    uint64_t runtime, deadline, period; /* ns */
};

struct oci_process {
    bool terminal;
    uint16_t console_width, console_height; /* 0: unset */
    char **args;                            /* at least one */
    char **env;
    char *cwd; /* absolute */
    uint32_t uid, gid;
    uint32_t *additional_gids;
    size_t n_additional_gids;
    bool has_umask;
    uint32_t umask;
    bool has_capabilities; /* absent: every set is empty, as runc has it */
    struct oci_capabilities capabilities;
    struct oci_rlimit *rlimits;
    size_t n_rlimits;
    bool no_new_privileges;
    bool has_oom_score_adj;
    int oom_score_adj;
    char *apparmor_profile, *selinux_label; /* NULL: none asked for */
    bool has_scheduler;
    struct oci_scheduler scheduler;
    bool has_io_priority;
    int io_priority; /* IOPRIO_PRIO_VALUE(class, level) of <linux/ioprio.h>, for ioprio_set(2) */
    /* execCPUAffinity: for processes of `exec` alone; before and after they enter the cgroup */
    struct oci_set exec_affinity_initial, exec_affinity_final;
};

/* A JSON text that is one process object (`exec --process`); errors as oci_spec_parse(). */
int oci_process_parse(const char *text, size_t len, const char *name, struct oci_process **ret,
                      struct error *e);
void oci_process_free(struct oci_process *p);
DEFINE_CLEANUP(struct oci_process *, oci_process_free)
#define _cleanup_process_ _cleanup_(oci_process_freep)

struct oci_mount {
    char *destination; /* absolute; a relative one is taken as below / (with a warning) */
    char *type;        /* NULL: only for binds */
    char *source;      /* NULL: none */
    char **options;    /* as written */
    /* For the options idmap and ridmap: ids of the mount's files (container_id) and what they show
     * as (host_id), config.md "uidMappings". Both or neither, and of a bind mount only; without
     * them idmap takes the container's own user namespace, and given without either option they
     * mean idmap. */
    struct oci_id_map *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;
};

enum oci_namespace_type {
    OCI_NS_PID,
    OCI_NS_NETWORK,
    OCI_NS_MOUNT,
    OCI_NS_IPC,
    OCI_NS_UTS,
    OCI_NS_USER,
    OCI_NS_CGROUP,
    OCI_NS_TIME,
    _OCI_NS_MAX,
};

/* The CLONE_NEW* flag of a type, and its name in config.json. */
uint64_t oci_namespace_flag(enum oci_namespace_type type) _const_;
const char *oci_namespace_name(enum oci_namespace_type type) _const_;

struct oci_seccomp_arg {
    uint32_t index;
    uint64_t value, value_two;
    int op; /* enum scmp_compare is <seccomp.h>'s; here the position in oci_seccomp_ops */
};

struct oci_seccomp_rule {
    char **names;
    uint32_t action; /* SECCOMP_RET_* of <linux/seccomp.h>, data bits zero */
    bool has_errno;
    uint32_t errno_ret;
    struct oci_seccomp_arg *args;
    size_t n_args;
};

/* Values of oci_seccomp_arg.op, in this order: SCMP_CMP_NE, LT, LE, EQ, GE, GT, MASKED_EQ. */
enum oci_seccomp_op {
    OCI_CMP_NE,
    OCI_CMP_LT,
    OCI_CMP_LE,
    OCI_CMP_EQ,
    OCI_CMP_GE,
    OCI_CMP_GT,
    OCI_CMP_MASKED_EQ,
};

struct oci_seccomp {
    uint32_t default_action;
    bool has_default_errno;
    uint32_t default_errno;
    char **architectures; /* "SCMP_ARCH_X86_64", … as written, names checked */
    uint32_t flags;       /* SECCOMP_FILTER_FLAG_* */
    struct oci_seccomp_rule *rules;
    size_t n_rules;
    /* AF_UNIX socket that gets the notify descriptor: absolute, fits sun_path; there where, and
     * only where, an action is SECCOMP_RET_USER_NOTIF. */
    char *listener_path, *listener_metadata;
};

/* config.md, "POSIX-platform Hooks", in the order of a container's life. */
enum oci_hook_kind {
    OCI_HOOK_PRESTART,
    OCI_HOOK_CREATE_RUNTIME,
    OCI_HOOK_CREATE_CONTAINER,
    OCI_HOOK_START_CONTAINER,
    OCI_HOOK_POSTSTART,
    OCI_HOOK_POSTSTOP,
    _OCI_HOOK_MAX,
};
/* "prestart", "createRuntime", … */
const char *oci_hook_name(enum oci_hook_kind kind) _const_;

struct oci_hook {
    char *path;  /* absolute */
    char **args; /* args[0] too; NULL: the path alone */
    char **env;
    uint32_t timeout; /* seconds; 0: none */
};
struct oci_hook_list {
    struct oci_hook *list;
    size_t n;
};

/* linux.devices */
struct oci_device {
    mode_t type; /* S_IFCHR, S_IFBLK, S_IFIFO */
    char *path;  /* absolute in the container */
    uint32_t major, minor;
    bool has_mode;
    mode_t mode;       /* permission bits; else 0666 */
    uint32_t uid, gid; /* inside the container */
};

/* linux.timeOffsets, for a new time namespace (time_namespaces(7)). */
struct oci_time_offset {
    bool set; /* not zero */
    int64_t secs;
    uint32_t nanosecs; /* < 10^9 */
};

/* linux.memoryPolicy, in the terms of set_mempolicy(2). */
struct oci_memory_policy {
    int mode; /* MPOL_* with MPOL_F_* flags */
    struct oci_set nodes;
};

/* linux.netDevices: a device of the host's network namespace that moves into the container's. */
struct oci_net_device {
    char *host_name, *name; /* name NULL: stays as it is */
};

/* linux.intelRdt (resctrl(7)-less: Documentation/filesystems/resctrl.rst). */
struct oci_intel_rdt {
    char *clos_id;   /* a directory's name; "/": the root group; NULL: the container's id */
    char **schemata; /* lines in the order to write them: l3CacheSchema's, memBwSchema, schemata */
    bool enable_monitoring; /* a monitoring group of its own */
};

/* A pair of strings: an annotation, a sysctl. */
struct oci_annotation {
    char *key, *value;
};

struct oci_spec {
    char *oci_version;
    struct oci_process *process; /* NULL: absent; `start` has nothing to run */
    char *root_path;             /* as written: relative to the bundle or absolute */
    bool root_readonly;
    char *hostname, *domainname;
    struct oci_mount *mounts;
    size_t n_mounts;
    uint64_t new_namespaces; /* CLONE_NEW*: those to make */
    /* Those to join, by their nsfs path; an entry of linux.namespaces is one or the other. */
    char *namespace_paths[_OCI_NS_MAX];
    uint64_t joined_namespaces; /* CLONE_NEW* of these */
    struct oci_time_offset time_monotonic, time_boottime;
    /* Of a new user namespace. With a joined one there may be some: engines give the namespace's
     * own mappings along with its path. Whoever joins it compares them, and others are an error. */
    struct oci_id_map *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;
    char *cgroups_path; /* NULL: runtime's choice */
    char **masked_paths, **readonly_paths;
    uint64_t rootfs_propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0: unset */
    bool rootfs_propagation_recursive; /* "rshared", …: of the mounts below too */
    struct oci_seccomp *seccomp;
    struct oci_annotation *annotations; /* in the file's order */
    size_t n_annotations;
    struct oci_hook_list hooks[_OCI_HOOK_MAX];
    bool has_resources;
    struct oci_resources resources;
    struct oci_device *devices;
    size_t n_devices;
    /* Each belongs to a namespace that is new or joined (that a joined one is not the host's is for
     * whoever opens it to see). The key has dots between its components; a slash in it stands for a
     * dot in a file's name, as sysctl(8) has it ("net.ipv4.conf.eth0/5.forwarding"). No component
     * is empty, "." or "..". */
    struct oci_annotation *sysctls;
    size_t n_sysctls;
    char *mount_label; /* SELinux context of the container's mounts */
    bool has_personality;
    uint32_t personality;                    /* PER_LINUX or PER_LINUX32, for personality(2) */
    struct oci_memory_policy *memory_policy; /* NULL: none */
    struct oci_net_device *net_devices;
    size_t n_net_devices;
    struct oci_intel_rdt *intel_rdt; /* NULL: none */
};

/* Of a type: new, joined, or the runtime's own. */
bool oci_spec_isolates(const struct oci_spec *spec, uint64_t flag) _pure_;

/* The version of the runtime-spec that templates name. Every 1.x is read. */
#define OCI_VERSION "1.3.0"

/* The largest config.json that is read: 16 MiB. Larger is an error before anything is parsed. */
#define OCI_CONFIG_MAX (16u << 20)

/* Parses and validates `text` (`len` bytes). `name` is what errors call the file. The message holds
 * file, line, column and JSON path ("config.json:12:9: process.user.uid: expected …"). */
int oci_spec_parse(const char *text, size_t len, const char *name, struct oci_spec **ret,
                   struct error *e);

/* The text of BUNDLE/config.json, newly allocated. A bundle or file that is not there, is a
 * directory or is too large is an error that names the path. */
int oci_config_read(const char *bundle, char **ret, size_t *ret_len, struct error *e);

/* Reads BUNDLE/config.json and parses it. */
int oci_spec_load(const char *bundle, struct oci_spec **ret, struct error *e);

void oci_spec_free(struct oci_spec *spec);
DEFINE_CLEANUP(struct oci_spec *, oci_spec_free)
#define _cleanup_spec_ _cleanup_(oci_spec_freep)

/* The config.json that `nucleus spec` writes: sh without a terminal in rootfs/, all namespaces,
 * docker's default capabilities, masked and readonly paths. */
char *oci_spec_template(bool rootless) _warn_unused_;
