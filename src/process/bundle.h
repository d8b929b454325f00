/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/error.h"
#include "oci/spec.h"
#include "state/state.h"

/* A bundle, and what a container keeps of it. */

/* Absolute, canonical path of a bundle directory. */
int container_bundle_path(const char *bundle, char **ret, struct error *e);

/* config.json of a bundle, both as text (to be kept: store_save_config()) and parsed. */
struct bundle_config {
    char *text;
    size_t len;
    struct oci_spec *spec;
};
int bundle_config_load(const char *bundle, struct bundle_config *ret, struct error *e);
void bundle_config_done(struct bundle_config *c);

/* The config of a container as it was when it was created; where that was not kept (by a nucleus
 * before 1.0), the bundle's. */
int container_load_spec(const struct store *store, const struct state *s, struct oci_spec **ret,
                        struct error *e);

/* Whether one of the names (ends with NULL) may be a member of that config: a look at the text,
 * which is a tenth of the time that it takes to parse it. True where it can't be ruled out. */
bool container_config_mentions(const struct store *store, const struct state *s,
                               const char *const *names);
