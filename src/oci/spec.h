/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

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
};

struct oci_mount {
    char *destination; /* absolute; a relative one is taken as below / (with a warning) */
    char *type;        /* NULL: only for binds */
    char *source;      /* NULL: none */
    char **options;    /* as written */
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
};

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
    uint64_t new_namespaces; /* CLONE_NEW* */
    struct oci_id_map *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;
    char *cgroups_path; /* NULL: runtime's choice */
    char **masked_paths, **readonly_paths;
    uint64_t rootfs_propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0: unset */
    bool rootfs_propagation_recursive; /* "rshared", …: of the mounts below too */
    struct oci_seccomp *seccomp;
    struct oci_annotation *annotations; /* in the file's order */
    size_t n_annotations;
};

/* The version of the runtime-spec that templates name. Every 1.x is read. */
#define OCI_VERSION "1.3.0"

/* The largest config.json that is read: 16 MiB. Larger is an error before anything is parsed. */
#define OCI_CONFIG_MAX (16u << 20)

/* Parses and validates `text` (`len` bytes). `name` is what errors call the file. The message holds
 * file, line, column and JSON path ("config.json:12:9: process.user.uid: expected …"). */
int oci_spec_parse(const char *text, size_t len, const char *name, struct oci_spec **ret,
                   struct error *e);

/* Reads BUNDLE/config.json and parses it. A bundle or file that is not there, is a directory or is
 * too large is an error that names the path. */
int oci_spec_load(const char *bundle, struct oci_spec **ret, struct error *e);

void oci_spec_free(struct oci_spec *spec);
DEFINE_CLEANUP(struct oci_spec *, oci_spec_free)
#define _cleanup_spec_ _cleanup_(oci_spec_freep)

/* The config.json that `nucleus spec` writes: sh without a terminal in rootfs/, all namespaces,
 * docker's default capabilities, masked and readonly paths. */
char *oci_spec_template(bool rootless) _warn_unused_;
