/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "hooks" (config.md, "POSIX-platform Hooks"). */

static int decode_timeout(struct decoder *d, const struct json_at *at, void *out)
{
    int64_t v = 0;
    int r = json_get_i64(at, 1, UINT32_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_hook(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("path", decode_absolute_path, struct oci_hook, path),
        FIELD("args", decode_strv, struct oci_hook, args),
        FIELD("env", decode_env, struct oci_hook, env),
        FIELD("timeout", decode_timeout, struct oci_hook, timeout),
    };
    struct oci_hook *h = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), h);
    if (r < 0)
        return r;
    /* An empty array is what Go makes of none. */
    if (h->args && !h->args[0]) {
        strv_free(h->args);
        h->args = NULL;
    }
    return 0;
}

static int decode_hook_list(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_hook_list *l = out;
    return decode_array(d, at, sizeof(*l->list), decode_hook, (void **)&l->list, &l->n);
}

int decode_hooks(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    struct oci_field fields[_OCI_HOOK_MAX];

    for (int i = 0; i < _OCI_HOOK_MAX; i++)
        fields[i] = (struct oci_field){
            .name = oci_hook_name((enum oci_hook_kind)i),
            .status = FIELD_SUPPORTED,
            .decode = decode_hook_list,
            .offset = (size_t)i * sizeof(struct oci_hook_list),
        };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), spec->hooks);
}

void oci_hook_list_done(struct oci_hook_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->list[i].path);
        strv_free(l->list[i].args);
        strv_free(l->list[i].env);
    }
    free(l->list);
}
