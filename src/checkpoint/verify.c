/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/layout.h"

int checkpoint_verify(const char *dir, struct checkpoint_verified *ret, struct error *e)
{
    /* Either form has its seal and metadata in the directory itself. */
    _cleanup_layout_ struct checkpoint_layout l = {.dir_fd = -EBADF, .images_fd = -EBADF};
    int r = layout_open(dir, false, false, &l, e);
    if (r < 0)
        return r;
    struct seal_env env;
    _cleanup_key_ struct seal_key key = {0};
    seal_env_from_process(&env);
    r = seal_key_load(&env, false, &key, e);
    if (r < 0)
        return r;

    struct checkpoint_verified v = {0};
    r = seal_verify(l.dir_fd, l.dir, &key, &v.info, e);
    if (r < 0)
        return r;
    struct error unread = {0};
    v.has_metadata = checkpoint_metadata_load(l.dir_fd, l.dir, &v.metadata, &unread) == 0;
    error_done(&unread);
    *ret = v;
    return 0;
}

void checkpoint_verified_done(struct checkpoint_verified *v)
{
    checkpoint_metadata_done(&v->metadata);
}
