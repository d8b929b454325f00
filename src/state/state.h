/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/* The state store: one JSON file a container (docs/state-format.md, promises S1 to S18). */

#define STATE_ID_MAX 255
#define STATE_FILE_MAX (1u << 20) /* S13 */

enum state_status {
    STATE_CREATING,
    STATE_CREATED,
    STATE_RUNNING,
    STATE_STOPPED,
    STATE_PAUSED, /* never stored: reported live from the freezer */
};

const char *state_status_name(enum state_status s) _const_;

struct state_annotation {
    char *key, *value;
};

/* A container's record (S2). Strings are owned; NULL is JSON null. */
struct state {
    char *id;
    char *name;
    pid_t pid;
    char **command;
    uint64_t started_at; /* seconds since the epoch */
    bool has_memory_limit;
    uint64_t memory_limit; /* bytes */
    bool has_cpu_limit;
    uint64_t cpu_limit; /* millicores */
    bool using_gvisor;
    bool rootless;
    char *cgroup_path; /* absolute host path of the container's cgroup v2 directory, or NULL */
    char *config_hash; /* as stored, or NULL */
    uint32_t creator_uid, process_uid, process_gid;
    uint32_t *additional_gids;
    size_t n_additional_gids;
    uint64_t start_ticks; /* 0: unknown */
    enum state_status status;
    char *bundle_path;
    struct state_annotation *annotations; /* no key twice */
    size_t n_annotations;
    /* The scope that holds it where systemd does (--systemd-cgroup), else NULL. Written
     * only where it is set: nucleus 0.3 has no such field. */
    char *systemd_unit;
};

void state_free(struct state *s);
DEFINE_CLEANUP(struct state *, state_free)
#define _cleanup_state_ _cleanup_(state_freep)

/* Parses the text of a state file; `name` is what errors call it (S1, S2, S13). A known field of
 * the wrong type or range is an error, an unknown one is ignored. pid 0 is allowed; a negative one
 * is not; id and every field without a default in S2 must be there. */
int state_parse(const char *text, size_t len, const char *name, struct state **ret,
                struct error *e);
/* The file's text: pretty-printed, fields in the order of S2, a newline at the end. */
char *state_render(const struct state *s) _warn_unused_;

/* S10. -EINVAL with ERROR_USAGE "invalid container id". */
int state_id_check(const char *id, struct error *e);

/* The runtime-spec's state of the container ("State" in runtime.md), as JSON text: what hooks get
 * on stdin. Newly allocated. pid is 0 where the status is stopped. */
char *state_render_oci(const struct state *s, enum state_status status) _warn_unused_;

/* The store: an open directory. */
struct store {
    int dirfd;
    char *path;
};

/* What choosing the directory depends on, as parameters so that tests can set them. */
struct store_env {
    const char *root_option; /* --root, or NULL */
    const char *env_state_dir;
    const char *xdg_runtime_dir, *xdg_data_home, *home; /* NULL or empty: unset */
    const char *run_dir;                                /* "/run", a seam for tests */
    const char *tmp_dir;                                /* "/tmp", a seam for tests */
    uid_t euid;
};
/* Fills from the process's environment and effective uid. */
void store_env_from_process(struct store_env *env, const char *root_option);

/* Chooses (S6, S9), makes and checks (S7, S8) the directory and opens it. The probe of S8 is made
 * only where `for_writing`; a read-only command proves nothing it does not need. */
int store_open(const struct store_env *env, bool for_writing, struct store *ret, struct error *e);
void store_done(struct store *store);
#define _cleanup_store_ _cleanup_(store_done)

/* S12. The record replaces what was there. */
int store_save(const struct store *store, const struct state *s, struct error *e);
/* S13. ERROR_NOT_FOUND ("container does not exist") where there is no such file. */
int store_load(const struct store *store, const char *id, struct state **ret, struct error *e);
/* S11: exact id, else unique name, else unique id prefix. */
int store_resolve(const struct store *store, const char *ref, struct state **ret, struct error *e);
/* S14: sorted by id; the caller frees each and the array (store_list_free). */
int store_list(const struct store *store, struct state ***ret, size_t *ret_n, struct error *e);
void store_list_free(struct state **list, size_t n);
/* config.json as it was when the container was created, beside its record (`<id>.config`, 0600):
 * what happens to the bundle later does not matter (runtime-spec, "Lifecycle", step 2). Not synced:
 * without it the bundle's own is read again. */
int store_save_config(const struct store *store, const char *id, const char *text, size_t len,
                      struct error *e);
/* Newly allocated; -ENOENT without an error where there is none: the record is of a nucleus before
 * 1.0. */
int store_load_config(const struct store *store, const char *id, size_t max, char **ret,
                      size_t *ret_len, struct error *e);

/* S15: the state file, its temp file, the FIFO, the config and the lock file; a missing one is
 * fine. Call with the lock held; the lock's file goes last. */
int store_remove(const struct store *store, const char *id, struct error *e);

/* S17: an exclusive lock on one container (flock(2) on `<id>.lock`, created 0600, O_NOFOLLOW; if
 * the file was removed by its last holder while this one waited, it starts again). Held until
 * state_lock_done(). Waits; with `try`, -EWOULDBLOCK at once and *e untouched. An unlock removes
 * the lock file where no state file of that id exists, so nothing is left behind. */
struct state_lock {
    int fd;
    int dirfd; /* borrowed from the store */
    char *id;
};
int state_lock(const struct store *store, const char *id, bool try, struct state_lock *ret,
               struct error *e);
void state_lock_done(struct state_lock *lock);
#define _cleanup_lock_ _cleanup_(state_lock_done)

/* S4, S5: what is true of the process behind a record, at this moment. */
struct state_live {
    bool running; /* the recorded process exists and is the same one (S3) */
    bool zombie;  /* it has ended, nobody has waited for it: counts as not running */
    int pidfd;    /* of the process where running, else -EBADF; taken before the identity check, so
                     the identity stays true while it is held */
};
void state_live(const struct state *s, int procfd, struct state_live *ret);
void state_live_done(struct state_live *live);
#define _cleanup_live_ _cleanup_(state_live_done)

/* S18: root, or creator_uid. ERROR_PERMISSION otherwise. */
int state_may_change(const struct state *s, uid_t euid, struct error *e);

/* S16: `<id>.exec`. */
char *state_fifo_name(const char *id) _warn_unused_;
/* `<id>.started`: a FIFO on which `start` hears how the way to execve ended, made where hooks lie
 * on it. */
char *state_report_name(const char *id) _warn_unused_;
