/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/state.h"

#include "base/file.h"
#include "sys/process.h"

/* Has the process of the pidfd, or where there is none the one whose stat was read, ended? The
 * pidfd is asked, for the 'Z' of /proc/PID/stat is the leading thread's: it may be gone while
 * others of the process run on. */
static bool has_ended(int pidfd, bool stat_zombie)
{
    return pidfd >= 0 ? sys_pidfd_wait(pidfd, 0) == 0 : stat_zombie;
}

void state_live(const struct state *s, int procfd, struct state_live *ret)
{
    bool zombie = false;

    *ret = (struct state_live){.pidfd = -EBADF};
    if (s->status == STATE_STOPPED || s->start_ticks == 0 || s->pid <= 0)
        return;

    /* First the pidfd, then the ticks: where they match, the pidfd is of that very process. */
    _cleanup_close_ int pidfd = sys_pidfd_open(s->pid);
    /* Gone, or the number is now that of a thread (EINVAL, since Linux 6.9 ENOENT). Any other
     * failure (no descriptor left) says nothing about the process, and a container that runs must
     * not be taken for a dead one; it is then reported running without a pidfd. */
    if (pidfd == -ESRCH || pidfd == -EINVAL || pidfd == -ENOENT)
        return;
    if (sys_start_ticks(procfd, s->pid, &zombie) != s->start_ticks)
        return;
    if (has_ended(pidfd, zombie)) {
        ret->zombie = true;
        return;
    }
    ret->running = true;
    if (pidfd >= 0)
        ret->pidfd = TAKE_FD(pidfd);
}

void state_live_done(struct state_live *live)
{
    live->pidfd = fd_close(live->pidfd);
    live->running = false;
}

int state_may_change(const struct state *s, uid_t euid, struct error *e)
{
    if (euid == 0 || euid == s->creator_uid)
        return 0;
    return error_set(e, ERROR_PERMISSION, EPERM, "change container", s->id,
                     "run as that user or as root", "it belongs to uid %u, the caller is uid %u",
                     (unsigned)s->creator_uid, (unsigned)euid);
}
