/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/pause.h"

#include <errno.h>

#include "process/container.h"

#define FREEZE_TIMEOUT_MS 10000

static int wrong_status(struct error *e, const char *step, const struct state *s,
                        enum state_status status, const char *rule)
{
    return error_set(e, ERROR_WRONG_STATUS, EINVAL, step, s->id, NULL, "%s (it is %s)", rule,
                     state_status_name(status));
}

int container_pause(const struct store *store, const char *ref, struct error *e)
{
    const char *step = "pause container";
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    int r = container_open(store, ref, &lock, &s, e);
    if (r < 0)
        return r;

    enum state_status status = container_status_locked(store, s);
    if (status != STATE_RUNNING && status != STATE_CREATED)
        return wrong_status(e, step, s, status, "container not running");
    r = container_check_cgroup(s, step, e);
    if (r == 0)
        r = cgroup_freeze(s->cgroup_path, true, FREEZE_TIMEOUT_MS, e);
    if (r < 0)
        return r;

    /* An empty cgroup freezes too: who gets a 0 has a container that is there. */
    status = container_status_locked(store, s);
    if (status == STATE_PAUSED)
        return 0;
    (void)cgroup_freeze(s->cgroup_path, false, FREEZE_TIMEOUT_MS, NULL);
    return wrong_status(e, step, s, status, "container not running");
}

int container_resume(const struct store *store, const char *ref, struct error *e)
{
    const char *step = "resume container";
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    int r = container_open(store, ref, &lock, &s, e);
    if (r < 0)
        return r;

    enum state_status status = container_status_locked(store, s);
    if (status != STATE_PAUSED)
        return wrong_status(e, step, s, status, "container not paused");
    r = cgroup_freeze(s->cgroup_path, false, FREEZE_TIMEOUT_MS, e);
    if (r < 0)
        /* It would run as soon as somebody thaws what lies above, long after this was refused. */
        (void)cgroup_freeze(s->cgroup_path, true, FREEZE_TIMEOUT_MS, NULL);
    return r;
}
