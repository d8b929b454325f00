/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/* Driving CRIU by its RPC: `criu swrk N`, one protobuf message (proto2, criu.proto) a packet over a
 * SOCK_SEQPACKET pair. Nothing here knows about containers. */

struct criu_swrk;

/* ---- the binary (C1, C2) ---- */

struct criu_find_env {
    const char *option;            /* --criu PATH, or NULL */
    const char *const *candidates; /* NULL-terminated; NULL: /usr/sbin/criu, /usr/bin/criu,
                                      /usr/local/sbin/criu */
    const char *path;              /* PATH, consulted last and never by root; may be NULL */
    uid_t euid;
    unsigned stall_ms;       /* criu_swrk.stall_ms of the probes */
    int (*setup)(void *arg); /* as in criu_spawn, in a mount namespace of the probe's own */
    void *setup_arg;
    /* Starts a candidate's swrk instead, for one that is to do more than answer; `setup` is not
     * used then. Called once a candidate. */
    int (*start)(const char *binary, void *arg, struct criu_swrk *ret, struct error *e);
    void *start_arg;
};
void criu_find_env_from_process(struct criu_find_env *env, const char *option);

/* The resolved (canonical) binary is vetted: regular, executable, not writable by group or others,
 * owned by root or the caller. */
int criu_vet(const char *path, uid_t euid, char **ret_canonical, struct error *e);

/* ---- a running swrk ---- */

struct criu_swrk {
    pid_t pid;
    int pidfd;
    int sk;        /* our end */
    int stderr_fd; /* what it prints before its log is open (memfd, at most 64 KiB are read) */
    char *binary;
    unsigned stall_ms; /* longest wait for an answer to a probe; 0: 30 s */
    bool ended;        /* was waited for; wait_status as of waitpid(2), -1 where it is unknown */
    int wait_status;
};

struct criu_spawn {
    const char *binary;
    int cgroup_fd; /* >= 0: born inside (CLONE_INTO_CGROUP), and in a new cgroup namespace where
                      new_cgroup_ns */
    bool new_cgroup_ns;
    bool private_mounts; /* own mount namespace, everything private */
    /* Called in the child after its mount namespace exists, before exec: returns 0 or negative
     * errno. Must not allocate. May be NULL. */
    int (*setup)(void *arg);
    void *setup_arg;
    const int *inherit_fds; /* n_inherit (at most 256) descriptors of the caller that swrk gets as
                               4, 5, … */
    size_t n_inherit;
};

/* Starts `criu swrk 3`: descriptor 3 is its socket, 0/1 are /dev/null, 2 goes to stderr_fd, all
 * others closed; SIGCHLD unblocked; signal handlers default; environment PATH only; dies with
 * SIGKILL when the caller dies only if `die_with_parent` (a probe; a dump must be left to clean
 * up after itself, and a restore is ended by its guardian). */
int criu_spawn(const struct criu_spawn *how, bool die_with_parent, struct criu_swrk *ret,
               struct error *e);
/* Closes the socket, waits for the process (kills it after 10 s) and frees. Nothing happens to one
 * that is all zero, or done before. */
void criu_swrk_done(struct criu_swrk *s);

/* ---- version and features (C3) ---- */

struct criu_version {
    uint32_t major, minor, sublevel;
    char *gitid, *name;
};
/* major * 10000 + minor * 100 + sublevel; with a git id minor + 1 and no sublevel, as go-criu does.
 */
uint32_t criu_version_number(const struct criu_version *v);

struct criu_features {
    bool mem_track, lazy_pages, pidfd_store;
};

int criu_get_version(struct criu_swrk *s, struct criu_version *ret, struct error *e);
int criu_get_features(struct criu_swrk *s, struct criu_features *ret, struct error *e);
void criu_version_done(struct criu_version *v);

/* A CRIU that works here: the first candidate that is vetted, starts, and answers. One that can't
 * work is passed over with a note in the log; --criu PATH is the only candidate where given. When
 * none is left the error says how to install it, and why each was refused. Version and features
 * come from one swrk (keep_open), which has ended when this returns. */
struct criu_tool {
    char *path;
    struct criu_version version;
    struct criu_features features;
};
int criu_find(const struct criu_find_env *env, struct criu_tool *ret, struct error *e);
void criu_tool_done(struct criu_tool *tool);
#define _cleanup_criu_tool_ _cleanup_(criu_tool_done)

/* The same in two halves, and the swrk that answered is kept for one dump or restore. The first
 * half starts a candidate and puts the questions; whatever is wrong is said by the second half,
 * which goes on to further candidates where it has to. The strings of `env` must live until then.
 */
struct criu_search {
    struct criu_find_env env;
    char **list; /* candidates */
    size_t next; /* the one in turn */
    bool running;
    struct criu_swrk swrk;
    struct criu_tool tool;
    struct strbuf reasons;
    struct error refusal; /* the last one */
};
void criu_search_start(const struct criu_find_env *env, struct criu_search *ret);
int criu_search_finish(struct criu_search *s, struct criu_tool *ret, struct criu_swrk *ret_swrk,
                       struct error *e);
/* Ends a swrk that nobody took. Safe on one that is all zero, or done before. */
void criu_search_done(struct criu_search *s);
#define _cleanup_criu_search_ _cleanup_(criu_search_done)

/* ---- dump and restore ---- */

struct criu_pair {
    char *key, *value;
};
struct criu_inherit {
    const char *key;
    int fd; /* number in swrk's own table: 4 + position in criu_spawn.inherit_fds */
};

enum criu_network_lock {
    CRIU_LOCK_NFTABLES = 2,
    CRIU_LOCK_SKIP = 3
}; /* criu_network_lock_method */

struct criu_options {
    int images_dir_fd, work_dir_fd; /* the caller's descriptors */
    const char *log_file;           /* "dump.log", "restore.log"; level 4 */
    pid_t pid;                      /* dump */
    const char *root;
    bool leave_running, tcp_established, ext_unix_sk, shell_job, file_locks;
    bool orphan_pts_master, link_remap, rst_sibling;
    const char *freeze_cgroup; /* absolute, or NULL */
    enum criu_network_lock network_lock;
    bool has_empty_ns;
    uint32_t empty_ns; /* CLONE_NEWNET */
    const struct criu_pair *ext_mounts;
    size_t n_ext_mounts;
    char *const *external; /* NULL-terminated keys, or NULL */
    const struct criu_inherit *inherit;
    size_t n_inherit;
    uint32_t ghost_limit; /* bytes; 0: CRIU's default */
    uint32_t timeout;     /* s; 0: CRIU's default */
    const char *lsm_profile;
    unsigned stall_ms; /* no message for so long: swrk is killed, an error; 0: 10 min */
};

/* Notifications (action scripts by RPC). Returns 0, or negative errno with *e set to make CRIU give
 * up (before post-dump that rolls a dump back; up to post-restore it kills what was restored).
 * `pid` is the host pid of the root task, only with setup-namespaces, post-restore; `fd` is an
 * orphan pts master (ownership goes to the callback), else -EBADF. */
typedef int (*criu_notify)(const char *script, pid_t pid, int fd, void *arg, struct error *e);

/* Both send one request, answer notifications until the response, and wait for swrk to end. Cgroups
 * are never CRIU's business (manage_cgroups_mode IGNORE). On failure the error is made of CRIU's
 * log (criu_explain_log), or of the callback's error where that was the cause; e->log is
 * `work_dir_name`/log_file. A log of an earlier run is emptied first; a symlink in its place is
 * refused, for CRIU would write through it. A callback's refusal is an error even where CRIU went
 * on regardless (it does so from network-unlock on): what was restored is then the caller's to
 * kill. */
int criu_dump(struct criu_swrk *s, const struct criu_options *o, const char *work_dir_name,
              criu_notify notify, void *arg, struct error *e);
int criu_restore(struct criu_swrk *s, const struct criu_options *o, const char *work_dir_name,
                 criu_notify notify, void *arg, pid_t *ret_pid, struct error *e);

/* ---- its log ---- */

/* Finds the telling lines in a log (at most 4 MiB from its end are read by the callers): the last
 * error lines before "Dumping FAILED" / "Restoring FAILED", without known noise, and for known ones
 * what the user can do. *ret_why is never empty; *ret_remedy may be NULL. Both newly allocated. */
void criu_explain_log(const char *log, size_t len, char **ret_why, char **ret_remedy);

/* ---- the wire, for tests and fuzzing ---- */

/* Unpacks one packet; NULL with *e when it is malformed or lacks what its type needs. */
int criu_response_parse(const uint8_t *data, size_t len, void **ret_resp, struct error *e);
void criu_response_free(void *resp);
