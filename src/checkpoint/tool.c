/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/tool.h"

#include <errno.h>

#include "checkpoint/private.h"

int checkpoint_find_criu(int cache_dir_fd, const char *option, struct criu_tool *ret,
                         struct error *e)
{
    _cleanup_private_ struct private_mounts mounts = {.run_fd = -EBADF,
                                                        .root_tree = -EBADF};
    int r = private_mounts_make(cache_dir_fd, &mounts, e);
    if (r < 0)
        return r;
    struct criu_find_env env;
    criu_find_env_from_process(&env, option);
    env.setup = private_mounts_setup;
    env.setup_arg = &mounts;
    r = criu_find(&env, ret, e);
    private_mounts_save_cache(&mounts);
    return r;
}

enum criu_network_lock checkpoint_network_lock(const struct criu_tool *tool, bool needed)
{
    bool can_skip = criu_version_number(&tool->version) >= 31900;

    return needed || !can_skip ? CRIU_LOCK_NFTABLES : CRIU_LOCK_SKIP;
}
