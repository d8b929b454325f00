/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/hooks.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "process/hook-run.h"

int hooks_state_make(struct hooks_state *ret, size_t len, struct error *e)
{
    void *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return error_errno(e, -errno, "make room for the state of hooks", NULL);
    *ret = (struct hooks_state){.text = p, .size = len + 1};
    return 0;
}

int hooks_state_fill(struct hooks_state *state, const char *text, struct error *e)
{
    size_t len = strlen(text);

    if (len >= state->size)
        return error_set(e, ERROR_INTERNAL, ENOSPC, "hand the state to hooks", NULL, NULL, NULL);
    memcpy(state->text, text, len + 1);
    return 0;
}

void hooks_state_done(struct hooks_state *state)
{
    if (state->text)
        (void)munmap(state->text, state->size);
    *state = (struct hooks_state){0};
}

static int run_one(enum oci_hook_kind kind, const struct oci_hook_list *hooks, size_t i,
                   const char *state, const char *cwd, int watch_fd, struct hook_failure *ret)
{
    const struct oci_hook *hook = &hooks->list[i];

    (void)snprintf(ret->subject, sizeof(ret->subject), "hooks.%s[%zu] (%s)", oci_hook_name(kind), i,
                   hook->path);
    return hook_run(hook, state, strlen(state), cwd, watch_fd, ret);
}

int hooks_run_in_child(enum oci_hook_kind kind, const struct oci_hook_list *hooks,
                       const struct hooks_state *state, int watch_fd, struct hook_failure *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < hooks->n; i++)
        r = run_one(kind, hooks, i, state->text, NULL, watch_fd, ret);
    return r;
}

int hook_failed(const struct hook_failure *f, struct error *e)
{
    return error_set(e, ERROR_SYSTEM, f->errnum, HOOK_STEP, f->subject, NULL, "%s", f->why);
}

static void warn(const struct hook_failure *f)
{
    struct error e = {0};

    (void)hook_failed(f, &e);
    char *line = error_render(&e);
    log_warning("%s", line);
    free(line);
    error_done(&e);
}

int hooks_run(enum oci_hook_kind kind, const struct oci_hook_list *hooks, const char *state,
              const char *cwd, struct error *e)
{
    struct sigaction before;

    /* Whoever starts a program with SIGCHLD ignored (it stays so over execve) has the kernel throw
     * away how its children ended. */
    if (hooks->n > 0 && sigaction(SIGCHLD, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
        (void)signal(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < hooks->n; i++) {
        struct hook_failure f = {0};
        if (run_one(kind, hooks, i, state, cwd, -EBADF, &f) == 0)
            continue;
        if (kind != OCI_HOOK_POSTSTOP)
            return hook_failed(&f, e);
        warn(&f);
    }
    return 0;
}
