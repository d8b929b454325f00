/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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

uint64_t capability_own(uint64_t of)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    uint64_t own = 0;

    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    for (int cap = 0, last = capability_last(); cap <= last; cap++)
        if ((of >> cap & 1) && (data[cap / 32].permitted >> (cap % 32) & 1) &&
            prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0) == 1)
            own |= UINT64_C(1) << cap;
    return own;
}
