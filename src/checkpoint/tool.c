/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/tool.h"

enum criu_network_lock checkpoint_network_lock(const struct criu_tool *tool, bool needed)
{
    bool can_skip = criu_version_number(&tool->version) >= 31900;

    return needed || !can_skip ? CRIU_LOCK_NFTABLES : CRIU_LOCK_SKIP;
}
