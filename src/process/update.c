/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/update.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/num.h"
#include "cgroup/devices.h"
#include "cgroup/resources.h"
#include "cgroup/systemd.h"
#include "process/container.h"

#define STEP "update container"

/* systemd's own idea of the unit's limits, which it writes again at each reload. */
static int tell_systemd(const struct state *s, const struct oci_resources *r, struct error *e)
{
    _cleanup_systemd_properties_ struct cgroup_systemd_properties properties = {0};
    _cleanup_writes_ struct cgroup_writes limits = {0};

    int ret = cgroup_plan_resources_at(s->cgroup_path, r, &limits, e);
    if (ret == 0)
        ret = cgroup_systemd_add_limits(&properties, &limits, s->cgroup_path, e);
    if (ret < 0 || properties.n == 0)
        return ret;
    return cgroup_systemd_set(s->systemd_unit, container_systemd_is_users(), &properties, e);
}

static int set_devices(const struct state *s, const struct oci_resources *r, struct error *e)
{
    if (r->n_devices == 0)
        return 0;
    _cleanup_close_ int fd = open(s->cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, STEP, s->cgroup_path, NULL, NULL);
    return cgroup_set_devices(fd, s->cgroup_path, r->devices, r->n_devices, e);
}

static int set_limits(const struct state *s, const struct oci_resources *r, struct error *e)
{
    struct cgroup_host host = {0};

    int ret = cgroup_host_probe(AT_FDCWD, &host, e);
    /* By the files first, which says whether the kernel takes them and changes nothing where it
     * does not; once more behind systemd, which rounds some. */
    if (ret == 0)
        ret = cgroup_apply_resources(&host, s->cgroup_path, r, e);
    if (ret == 0 && s->systemd_unit)
        ret = tell_systemd(s, r, e);
    if (ret == 0 && s->systemd_unit)
        ret = cgroup_apply_resources(&host, s->cgroup_path, r, e);
    if (ret == 0)
        ret = set_devices(s, r, e);
    cgroup_host_done(&host);
    return ret;
}

/* S2: the limits as the kernel has them now. */
static int record_limits(const struct store *store, struct state *s, struct error *e)
{
    struct cgroup_limits l;

    int ret = cgroup_read_limits(s->cgroup_path, &l, e);
    if (ret < 0)
        return ret;
    s->has_memory_limit = l.memory_bytes != CGROUP_NO_LIMIT;
    s->memory_limit = s->has_memory_limit ? l.memory_bytes : 0;
    s->has_cpu_limit = l.cpu_quota_us != CGROUP_NO_LIMIT;
    s->cpu_limit =
        s->has_cpu_limit ? num_mul_div(l.cpu_quota_us, 1000, l.cpu_period_us) : 0; /* M4 */
    cgroup_limits_done(&l);
    return store_save(store, s, e);
}

int container_update(const struct store *store, const char *ref, const struct oci_resources *r,
                     struct error *e)
{
    _cleanup_lock_ struct state_lock lock = {.fd = -EBADF};
    _cleanup_state_ struct state *s = NULL;
    int ret = container_open(store, ref, &lock, &s, e);
    if (ret < 0)
        return ret;

    enum state_status status = container_status_locked(store, s);
    if (status != STATE_RUNNING && status != STATE_PAUSED && status != STATE_CREATED)
        return error_set(e, ERROR_WRONG_STATUS, EINVAL, STEP, s->id, NULL,
                         "container not running (it is %s)", state_status_name(status));
    ret = container_check_cgroup(s, STEP, e);
    if (ret == 0)
        ret = set_limits(s, r, e);
    return ret < 0 ? ret : record_limits(store, s, e);
}
