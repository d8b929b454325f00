/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdint.h>

/* A duration as Go's time.ParseDuration reads it, which is how runc's options are written: an
 * optional sign, then decimal numbers each with its unit (ns, us, µs, ms, s, m, h), as "1m30s" or
 * "1.5h"; or "0". Fractions of a nanosecond are dropped. -EINVAL; -ERANGE beyond 2^63-1 ns. */
int duration_parse_ns(const char *text, int64_t *ret);
