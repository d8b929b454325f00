/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/capability.h>
#include <sys/prctl.h>

#include "oci/names.h"
#include "security/security.h"

int capability_parse(const char *name)
{
    return oci_capability_parse(name);
}

const char *capability_name(int cap)
{
    return oci_capability_name(cap);
}

static bool kernel_has(int cap)
{
    return prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0) >= 0;
}

int capability_last(void)
{
    /* PR_CAPBSET_READ answers EINVAL above cap_last_cap. Most kernels have exactly what the
     * headers have: two calls, and no file to open. */
    int cap = CAP_LAST_CAP;

    while (cap < 63 && kernel_has(cap + 1))
        cap++;
    while (cap > 0 && !kernel_has(cap))
        cap--;
    return cap;
}
