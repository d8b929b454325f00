/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "sys/process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* Signal names, and the other small text of sys/: the start ticks of /proc/PID/stat. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_strndup((const char *)data, size);
    uint64_t ticks = 7;

    int sig = sys_signal_parse(text);
    check(sig == -EINVAL || (sig >= 0 && sig <= SIGRTMAX));
    /* 0 is only ever the number. */
    check(sig != 0 || strspn(text, "0") == strlen(text));
    if (sig > 0) {
        const char *name = sys_signal_name(sig);
        check(!name || sys_signal_parse(name) == sig);
    }
    check(sys_parse_start_ticks(text, &ticks) == 0 || ticks == 7);
    return 0;
}
