/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* The text up to the first NUL is a mountinfo, what follows a linux.cgroupsPath. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_alloc(size + 1);
    struct cgroup_host host = {0};
    struct error e = {0};

    if (size > 0)
        memcpy(text, data, size);
    if (cgroup_parse_mountinfo(text, &host, &e) < 0) {
        check(!host.mount && !host.v1_controllers && e.why);
        error_done(&e);
        return 0;
    }
    check(!e.code);
    check((host.mount != NULL) == (host.layout == CGROUP_UNIFIED || host.layout == CGROUP_HYBRID));
    check(!host.mount || host.mount[0] == '/');

    const char *cgroups_path = strlen(text) < size ? text + strlen(text) + 1 : NULL;
    _cleanup_free_ char *path = NULL;
    if (cgroup_choose_path(&host, cgroups_path, "id", &path, &e) == 0) {
        /* Never out of the hierarchy, and never the hierarchy itself. */
        _cleanup_free_ char *mount = path_normalize(host.mount);
        check(path_is_below(path, mount) && !streq(path, mount));
        check(!strstr(path, "/../") && path[strlen(path) - 1] != '/');
    } else {
        check(!path && e.code);
        _cleanup_free_ char *line = error_render(&e);
        check(!strchr(line, '\n'));
    }
    error_done(&e);
    cgroup_host_done(&host);
    return 0;
}
