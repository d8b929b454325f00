/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/attributes.h"

void attributes_plan_make(struct attributes_plan *plan, const struct oci_process *process,
                          const struct oci_spec *spec, bool exec)
{
    (void)plan, (void)process, (void)spec, (void)exec;
}
const char *attributes_step_name(enum attributes_step step)
{
    (void)step;
    return "";
}
const char *attributes_step_field(enum attributes_step step)
{
    (void)step;
    return "";
}
int attributes_begin(const struct attributes_plan *plan, struct error *e)
{
    (void)plan, (void)e;
    return 0;
}
int attributes_apply(const struct attributes_plan *plan, enum attributes_step *ret_step)
{
    (void)plan, (void)ret_step;
    return 0;
}
int attributes_give(const struct attributes_plan *plan, pid_t pid, struct error *e)
{
    (void)plan, (void)pid, (void)e;
    return 0;
}
