/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/netdevices.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "base/file.h"
#include "base/str.h"
#include "sys/netdev.h"

static int failed(const struct oci_net_device *d, int r, struct error *e)
{
    static const char step[] = "move network device into the container";
    const char *name = d->name ? d->name : d->host_name;

    switch (r) {
    case -ENODEV:
        return error_set(e, ERROR_CONFIG, ENODEV, step, d->host_name,
                         "name one of this host in linux.netDevices", "there is no such device");
    case -EEXIST:
        return error_set(e, ERROR_CONFIG, EEXIST, step, d->host_name,
                         "give it another \"name\" in linux.netDevices",
                         "the container has a device named '%s' already", name);
    case -EINVAL:
        return error_set(e, ERROR_CONFIG, EINVAL, step, d->host_name, NULL,
                         "it is bound to its network namespace, or '%s' is no name for it", name);
    case -E2BIG:
        return error_set(e, ERROR_UNSUPPORTED, E2BIG, step, d->host_name,
                         "take some of its addresses away", "it has more than %d addresses",
                         NETDEV_ADDRESSES_MAX);
    case -EPERM:
        return error_set(e, ERROR_PERMISSION, EPERM, step, d->host_name,
                         "it takes CAP_NET_ADMIN on the host", NULL);
    default:
        return error_errno(e, r, step, d->host_name);
    }
}

int netdevices_move(const struct oci_spec *spec, int procfd, pid_t pid, struct error *e)
{
    if (spec->n_net_devices == 0)
        return 0;
    if (!oci_spec_isolates(spec, CLONE_NEWNET))
        return error_set(e, ERROR_CONFIG, EINVAL, "use", "linux.netDevices",
                         "add {\"type\": \"network\"} to linux.namespaces",
                         "the container has no network namespace of its own");
    _cleanup_free_ char *path = str_printf("%d/ns/net", (int)pid);
    _cleanup_close_ int netns = openat(procfd, path, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return error_errno(e, -errno, "open network namespace of process", path);
    for (size_t i = 0; i < spec->n_net_devices; i++) {
        const struct oci_net_device *d = &spec->net_devices[i];
        int r = netdev_move(d->host_name, d->name, netns);
        if (r < 0)
            return failed(d, r, e);
    }
    return 0;
}
