/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/rdt.h"

void rdt_group_done(struct rdt_group *g)
{
    (void)g;
}
int rdt_prepare(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
                struct rdt_group *ret, struct error *e)
{
    (void)rdt, (void)id, (void)root, (void)any_fs, (void)ret, (void)e;
    return 0;
}
int rdt_enter(const struct rdt_group *g, pid_t pid, struct error *e)
{
    (void)g, (void)pid, (void)e;
    return 0;
}
void rdt_undo(const struct rdt_group *g)
{
    (void)g;
}
int rdt_remove(const struct oci_intel_rdt *rdt, const char *id, const char *root, bool any_fs,
               struct error *e)
{
    (void)rdt, (void)id, (void)root, (void)any_fs, (void)e;
    return 0;
}
