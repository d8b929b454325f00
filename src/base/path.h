/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

/* Text of paths; nothing here touches the file system. */

/* `a`/`b` with exactly one slash in between. */
char *path_join(const char *a, const char *b) _warn_unused_;

/* Lexical clean-up: no empty and no "." components, no trailing slash; ".." takes the component
 * before it away and stops at the root. An absolute path stays so; "" and "." give ".". */
char *path_normalize(const char *path) _warn_unused_;

/* True where `path` is `base` or lies below it (both normalized, absolute). */
bool path_is_below(const char *path, const char *base) _pure_;
