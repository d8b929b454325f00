/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "checkpoint/checkpoint.h"
#include "checkpoint/criu/criu.h"
#include "checkpoint/descriptors.h"
#include "oci/spec.h"

/* What would make a checkpoint fail later, or be worth nothing at the restore: found before the
 * container is frozen, each an error that names it and what to do. */
int blockers_check(const struct state *s, const struct oci_spec *spec,
                   const struct checkpoint_options *o, const struct criu_tool *tool,
                   const struct stdio_info *stdio, struct error *e);
