/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>


/* HOME of a process whose env does not have it: that of its uid in the container's /etc/passwd
 * (passwd(5)), "/" where it is not there. Engines that leave HOME out (containerd's CRI) rely on
 * the runtime for it, as runc has it. */

/* Room for a home in the environment: "HOME=", a path, the end. */
#define HOME_ROOM (sizeof("HOME=") + 4096)

/* In the child, with the container's root as "/"; nothing allocates. Writes "HOME=…" to `text`,
 * which has HOME_ROOM bytes. Only the first 64 KiB of the file are looked at. */
void home_find(uint32_t uid, char *text);

/* The parser under it: the home of `uid` in the text of a passwd file, absolute and short enough,
 * or NULL with *ret_len untouched. Points into `passwd`. */
const char *home_parse(const char *passwd, size_t len, uint32_t uid, size_t *ret_len);
