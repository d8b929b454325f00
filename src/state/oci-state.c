/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/spec.h"
#include "state/json_emit.h"
#include "state/state.h"

char *state_render_oci(const struct state *s, enum state_status status)
{
    struct json_emit j = {0};
    bool has_process = status != STATE_STOPPED && s->pid > 0;

    json_emit_object(&j, NULL);
    json_emit_string(&j, "ociVersion", OCI_VERSION);
    json_emit_string(&j, "id", s->id);
    json_emit_string(&j, "status", state_status_name(status));
    json_emit_u64(&j, "pid", has_process ? (uint64_t)s->pid : 0);
    json_emit_string(&j, "bundle", s->bundle_path ? s->bundle_path : "");
    json_emit_object(&j, "annotations");
    for (size_t i = 0; i < s->n_annotations; i++)
        json_emit_string(&j, s->annotations[i].key, s->annotations[i].value);
    json_emit_object_end(&j);
    json_emit_object_end(&j);
    return json_emit_take(&j);
}
