/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

/* Lines of a schemata file, "L3:0=7f0;1=1f" (Documentation/filesystems/resctrl.rst). Private to
 * rdt.c. */

/* Each line in a write of its own: the kernel refuses a domain that comes twice in one. On failure
 * *ret_bad is the line. */
int rdt_write_lines(int fd, char *const *lines, const char **ret_bad);

/* True where `have`, a schemata file's content, has every value that the lines ask for. Of two that
 * speak of the same domain the later one holds. Values are compared as the kernel prints them, but
 * for leading zeros and upper case; else *ret_bad is the line. */
bool rdt_lines_match(char *const *lines, const char *have, const char **ret_bad);
