/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <systemd/sd-bus.h>

#include "base/error.h"

/* sd-bus(3) of libsystemd, loaded when it is first needed; no other directory includes this. */

/* The functions without their prefix "sd_bus_": sdbus.call() is sd_bus_call(3). */
#define SDBUS_FUNCTIONS(X)                                                                         \
    X(call)                                                                                        \
    X(error_free)                                                                                  \
    X(flush_close_unref)                                                                           \
    X(get_property_string)                                                                         \
    X(match_signal)                                                                                \
    X(message_append)                                                                              \
    X(message_append_basic)                                                                        \
    X(message_close_container)                                                                     \
    X(message_new_method_call)                                                                     \
    X(message_open_container)                                                                      \
    X(message_read)                                                                                \
    X(message_unref)                                                                               \
    X(open_system)                                                                                 \
    X(open_user)                                                                                   \
    X(path_encode)                                                                                 \
    X(process)                                                                                     \
    X(wait)

struct sdbus_functions {
#define SDBUS_MEMBER(name) __typeof__(sd_bus_##name) *name;
    SDBUS_FUNCTIONS(SDBUS_MEMBER)
#undef SDBUS_MEMBER
};
extern struct sdbus_functions sdbus;

/* Fills the table; the second time nothing. ERROR_CGROUP with a remedy where there is no
 * libsystemd. */
int sdbus_load(struct error *e);
/* From another name, for tests. */
int sdbus_load_from(const char *soname, struct error *e);
