/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

/* What the kernel shows of a value that was written to a file of cgroup v2: the formats of
 * Documentation/admin-guide/cgroup-v2.rst. Texts only, no file is read here. */

/* True where `text`, the file's content, says what `value` asked for. Rounding to whole pages is
 * the same. True, too, where the file's format is not known: `unified` may name any. */
bool cgroup_value_is_kept(const char *file, const char *value, const char *text) _pure_;

/* The part of `text` that answers `value`: its line, or the first one; newly allocated. */
char *cgroup_value_shown(const char *file, const char *value, const char *text) _warn_unused_;

/* What to write to a file so that it says again what `text` said before `value` was written. */
char *cgroup_value_before(const char *file, const char *value, const char *text) _warn_unused_;

/* Sets of CPUs or nodes ("0-3,7"): 1 where they are equal, 0 where not, -EINVAL where one is no
 * such list. */
int cgroup_sets_equal(const char *a, const char *b) _pure_;
