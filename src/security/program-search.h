/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Private to security/. A filter of one architecture, made shorter: libseccomp's has an instruction
 * for each system call, while the numbers that share an answer mostly lie side by side. In its
 * place comes a binary search over those ranges; where arguments decide, the original goes on.
 *
 * `arch` is what struct seccomp_data has there whenever the filter is run. True with a newly
 * allocated filter that answers every call like the original. False where none is made: it would
 * not be shorter, has too many ranges for a conditional jump's reach, or the original does
 * something that is not understood. */
bool program_search(const struct sock_filter *code, size_t n, uint32_t arch,
                    struct sock_filter **ret, size_t *ret_n);
