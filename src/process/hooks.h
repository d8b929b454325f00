/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "oci/spec.h"

/* Hooks (runtime-spec 1.3, config.md "POSIX-platform Hooks"). Each is a program that gets the
 * container's OCI state as JSON on its standard input; nothing of the runtime's but that:
 * environment, arguments and descriptors are its own, signals are at their default, the umask is
 * 022. What it prints is read, and the end of it shown when it fails. It runs in a session of its
 * own, dies with the runtime (PR_SET_PDEATHSIG), and one that outlives its timeout is killed with
 * its process group. A process that a hook leaves in the background keeps running after a hook that
 * ended in time.
 *
 *     kind             run by   namespaces   "/"           when
 *     prestart         parent   runtime's    host's        all is made, before the pivot
 *     createRuntime    parent   runtime's    host's        behind those
 *     createContainer  child    container's  host's        behind those, right before the pivot
 *     startContainer   child    container's  container's   in `start`, last before seccomp
 *     poststart        parent   runtime's    host's        in `start`, once the program runs
 *     poststop         parent   runtime's    host's        in `delete`, once all else is gone
 *
 * A failure ends the creation or the start, and the container with it (runtime.md, "Lifecycle",
 * steps 3 to 9; of poststart since 1.2.1), but for poststop (step 13). */

/* In the parent: runs them in order, each until its end. `state` is the JSON text for their
 * standard input, `cwd` their working directory (the bundle).
 *
 * Of POSTSTOP every hook is run, a failure is a warning, and the result is 0. Of the other kinds
 * the first failure ends it: the error names the hook ("hooks.prestart[0]", its path) and says how
 * it ended (status, signal, timeout, or why it could not be run) and what it printed last. */
int hooks_run(enum oci_hook_kind kind, const struct oci_hook_list *hooks, const char *state,
              const char *cwd, struct error *e);

/* The text for hooks that the child runs. Their pid is known only when the child exists, and by
 * then it can't be given memory: so the parent makes room before clone3 (memory that both share),
 * and fills it before it lets the child go on. */
struct hooks_state {
    char *text; /* MAP_SHARED; NULL: none */
    size_t size;
};
/* Room for `len` bytes. */
int hooks_state_make(struct hooks_state *ret, size_t len, struct error *e);
/* A text that does not fit is an ERROR_INTERNAL. */
int hooks_state_fill(struct hooks_state *state, const char *text, struct error *e);
void hooks_state_done(struct hooks_state *state);

/* What went wrong, in the child's own words: parts of a message to the parent. */
struct hook_failure {
    int errnum;        /* positive */
    char subject[200]; /* "hooks.createContainer[0] (/usr/bin/hook)" */
    char why[600];     /* "it ended with status 3: last lines", in one line */
};
/* The step of it: "cannot STEP 'SUBJECT': WHY". */
#define HOOK_STEP "run hook"

/* In the child, where nothing allocates: the same, in the namespaces and with the root that the
 * caller has. Negative errno with *ret filled for the first that fails. `watch_fd` (-EBADF: none)
 * is a socket whose other end is the parent's: when that is gone the hook is killed (-EPIPE), for
 * nobody will need what it does. */
int hooks_run_in_child(enum oci_hook_kind kind, const struct oci_hook_list *hooks,
                       const struct hooks_state *state, int watch_fd, struct hook_failure *ret);

/* The same failure as an error, for the parent that heard of it. */
int hook_failed(const struct hook_failure *f, struct error *e);
