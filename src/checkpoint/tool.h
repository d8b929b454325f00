/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "checkpoint/criu/criu.h"

/* Nftables where a lock is needed, or where this CRIU can't be told to lock nothing (before 3.19
 * SKIP is an invalid request). Never CRIU's default, iptables: two programs that may not be there.
 */
enum criu_network_lock checkpoint_network_lock(const struct criu_tool *tool, bool needed);
