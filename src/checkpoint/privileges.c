/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/file.h"
#include "base/str.h"
#include "checkpoint/checkpoint.h"
#include "security/security.h"

/* What CRIU does with a container: enter and make namespaces and mounts, trace its processes and
 * choose their pids, read and repair its sockets and routes, give files and processes their owners
 * back. CAP_CHECKPOINT_RESTORE alone carries only a bare process, no container (criu(8),
 * "Non-root"). */
static const char *const needed[] = {
    "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE", "CAP_NET_ADMIN",
    "CAP_SETUID",    "CAP_SETGID",     "CAP_SETPCAP",            "CAP_SYS_CHROOT",
    "CAP_CHOWN",     "CAP_DAC_OVERRIDE", "CAP_FOWNER",           "CAP_KILL",
    "CAP_MKNOD",
};

int checkpoint_check_privileges(struct error *e)
{
    _cleanup_free_ char *text = NULL;
    unsigned long long effective = 0;
    int r = file_read_at(AT_FDCWD, "/proc/self/status", 0, 65536, &text, NULL);
    if (r < 0)
        return error_errno(e, r, "read", "/proc/self/status");
    const char *line = strstr(text, "\nCapEff:");
    if (!line || sscanf(line, "\nCapEff: %llx", &effective) != 1)
        return error_set(e, ERROR_SYSTEM, EIO, "read", "/proc/self/status", NULL,
                         "it has no CapEff");

    _cleanup_strv_ char **missing = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        int cap = capability_parse(needed[i]);
        if (cap >= 0 && !(effective >> cap & 1))
            strv_push(&missing, str_printf("%s", needed[i]));
    }
    if (!missing)
        return 0;
    _cleanup_free_ char *list = strv_join(missing, ", ");
    return error_set(e, ERROR_PERMISSION, EPERM, "checkpoint or restore", NULL, "run it as root",
                     "the caller lacks %s", list);
}
