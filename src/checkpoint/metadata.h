/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroup/cgroup.h"

/* What a checkpoint says about its container: metadata.json (docs/checkpoint-format.md, M1 to M6).
 * It lies in the sealed tree, so it is to be believed only after seal_verify(). */

#define CHECKPOINT_METADATA_FILE "metadata.json"
#define CHECKPOINT_METADATA_MAX (1u << 20) /* bytes */

/* Strings are owned; NULL is JSON null. Start with checkpoint_metadata_init(). */
struct checkpoint_metadata {
    char *container_id, *container_name;
    pid_t original_pid;
    char **command;
    uint64_t checkpoint_at; /* seconds since the epoch */
    char *version;          /* of the nucleus that made it, as text */
    bool using_gvisor, rootless;
    char *cgroup_path;
    bool has_limits; /* false: resource_limits is null */
    struct cgroup_limits limits;
};

/* Everything empty, no limits, this nucleus' version. */
void checkpoint_metadata_init(struct checkpoint_metadata *m);
void checkpoint_metadata_done(struct checkpoint_metadata *m);
#define _cleanup_metadata_ _cleanup_(checkpoint_metadata_done)

/* Parses the text; `name` is what errors call it (code ERROR_CHECKPOINT). Fields of M1 must be
 * there with their exact type, except cgroup_path and resource_limits, which older files lack;
 * unknown ones are ignored. Beyond M3, an id that is no container id (S10), a cgroup path that is
 * relative or holds "..", and an io device that is not MAJOR:MINOR are errors: each ends up in a
 * path or in a cgroup file. */
int checkpoint_metadata_parse(const char *text, size_t len, const char *name,
                              struct checkpoint_metadata *ret, struct error *e);
/* The file's text: pretty-printed, fields in the order of M1, a newline at the end. */
char *checkpoint_metadata_render(const struct checkpoint_metadata *m) _warn_unused_;

/* The file of a checkpoint directory: O_NOFOLLOW, at most CHECKPOINT_METADATA_MAX (M6). `dir` is
 * what errors call the directory. */
int checkpoint_metadata_load(int dirfd, const char *dir, struct checkpoint_metadata *ret,
                             struct error *e);
/* M5. */
int checkpoint_metadata_save(int dirfd, const char *dir, const struct checkpoint_metadata *m,
                             struct error *e);

/* Takes over what *limits holds (*limits is empty afterwards); where nothing is limited and no
 * controller was there, resource_limits is null. */
void checkpoint_metadata_take_limits(struct checkpoint_metadata *m, struct cgroup_limits *limits);

/* M4: true and millicores (saturating) where there is a quota. */
bool checkpoint_cpu_millicores(const struct cgroup_limits *l, uint64_t *ret);
