/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/netdevices.h"

int netdevices_move(const struct oci_spec *spec, int procfd, pid_t pid, struct error *e)
{
    (void)spec, (void)procfd, (void)pid, (void)e;
    return 0;
}
