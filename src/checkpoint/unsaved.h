/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"

/* What CRIU (up to 4.2) takes into a checkpoint without a word, but brings back as something else:
 * an eventfd made with EFD_SEMAPHORE, whose read(2) takes all there is after the restore instead
 * of 1. ERROR_UNSUPPORTED names the process and descriptor. Kernels before 6.5 don't tell such an
 * eventfd from others (fs/eventfd.c); there none is found. */
int unsaved_check(const char *cgroup_path, struct error *e);
