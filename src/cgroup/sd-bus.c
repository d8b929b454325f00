/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/sd-bus.h"

#include <errno.h>
#include <stddef.h>

#include "sys/library.h"

#define SONAME "libsystemd.so.0"

SYS_DLOPEN_NOTE(note,
                "[{\"feature\":\"systemd-cgroup\",\"description\":\"The systemd cgroup driver\","
                "\"priority\":\"suggested\",\"soname\":[\"" SONAME "\"]}]");

struct sdbus_functions sdbus;

static const struct sys_symbol symbols[] = {
#define SYMBOL(name) {"sd_bus_" #name, offsetof(struct sdbus_functions, name)},
    SDBUS_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

int sdbus_load_from(const char *soname, struct error *e)
{
    _cleanup_free_ char *why = NULL;

    int r = sys_library_load(soname, symbols, ARRAY_SIZE(symbols), &sdbus, &why);
    if (r < 0)
        return error_set(
            e, ERROR_CGROUP, -r, "load systemd's library", soname,
            "install libsystemd0 (Debian, Ubuntu) or systemd-libs (Fedora), or use the "
            "cgroupfs driver (without --systemd-cgroup)",
            "%s", why);
    return 0;
}

int sdbus_load(struct error *e)
{
    return sdbus.call ? 0 : sdbus_load_from(SONAME, e);
}
