/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"

/* Keeps the runtime's binary out of a container's reach (CVE-2019-5736): root in a container could
 * have /proc/self/exe of the runtime executed ("#!/proc/self/exe", an ELF interpreter, a process it
 * finds in its pid namespace), and open that file for writing once nobody runs it.
 *
 * Starts this program again from a detached, read-only bind mount of its own file: whoever gets
 * hold of the file through /proc/PID/exe or map_files gets it on that mount, where every open for
 * writing is EROFS and which, lying in no mount namespace, nobody can remount. Nothing is copied;
 * the cost is one execve. Returns 0 where the program already runs from such a mount, or where the
 * caller could not write the file anyway (then no container of the caller can, having no more
 * rights); does not return where it started itself again. Call it first thing in commands that put
 * processes into containers. `argv` and `environ` are handed on as they are.
 *
 * A failure is an error, never a fall-back. */
int protect_own_binary(char *const *argv, char *const *envp, struct error *e);
