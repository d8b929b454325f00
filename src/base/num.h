/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdint.h>

#include "base/macros.h"

/* Numbers from text. Strict: no sign, no blanks, no leading "+", nothing behind. */

/* Decimal digits only. -EINVAL where it is no number, -ERANGE above UINT64_MAX. */
int num_parse_u64(const char *s, uint64_t *ret);
/* The same, at most `max`. */
int num_parse_u64_max(const char *s, uint64_t max, uint64_t *ret);
/* With an optional '-'. */
int num_parse_i64(const char *s, int64_t *ret);
/* Octal digits only, as modes and umasks are written. */
int num_parse_octal(const char *s, uint32_t *ret);

/* A size in bytes: decimal digits and one optional suffix of k K m M g G t T (powers of 1024),
 * with an optional "i" and an optional "B"/"b" behind it, so 512M, 512Mi, 512MiB are the same. A
 * bare "B" is allowed. -EINVAL, or -ERANGE where it does not fit. */
int num_parse_size(const char *s, uint64_t *ret);

/* CPUs as a decimal with up to three digits behind the point ("1", "0.5", "2.25"), to millicores.
 * 0 is -ERANGE. */
int num_parse_millicores(const char *s, uint64_t *ret);

/* a * b / c without overflow in between, saturating at UINT64_MAX. c must not be 0. */
uint64_t num_mul_div(uint64_t a, uint64_t b, uint64_t c) _const_;
