/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/bundle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"

int container_bundle_path(const char *bundle, char **ret, struct error *e)
{
    struct stat st;
    char *path = realpath(bundle, NULL);

    if (!path)
        return error_set(e, ERROR_CONFIG, errno, "open bundle", bundle,
                         "give the directory that holds config.json with --bundle", NULL);
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        free(path);
        return error_set(e, ERROR_CONFIG, ENOTDIR, "open bundle", bundle,
                         "give the directory that holds config.json with --bundle", NULL);
    }
    *ret = path;
    return 0;
}

int bundle_config_load(const char *bundle, struct bundle_config *ret, struct error *e)
{
    _cleanup_free_ char *path = path_join(bundle, "config.json"), *text = NULL;
    size_t len;
    int r = oci_config_read(bundle, &text, &len, e);

    if (r == 0)
        r = oci_spec_parse(text, len, path, &ret->spec, e);
    if (r < 0)
        return r;
    ret->text = TAKE_PTR(text);
    ret->len = len;
    return 0;
}

void bundle_config_done(struct bundle_config *c)
{
    oci_spec_free(c->spec);
    free(c->text);
    *c = (struct bundle_config){0};
}

int container_load_spec(const struct store *store, const struct state *s, struct oci_spec **ret,
                        struct error *e)
{
    _cleanup_free_ char *text = NULL, *name = str_printf("%s/%s.config", store->path, s->id);
    size_t len;
    int r = store_load_config(store, s->id, OCI_CONFIG_MAX, &text, &len, e);

    if (r == 0)
        return oci_spec_parse(text, len, name, ret, e);
    if (r != -ENOENT)
        return r;
    if (!s->bundle_path)
        return error_set(e, ERROR_STATE, ENOENT, "find the bundle of container", s->id, NULL,
                         "its record names none");
    return oci_spec_load(s->bundle_path, ret, e);
}

bool container_config_mentions(const struct store *store, const struct state *s,
                               const char *const *names)
{
    _cleanup_free_ char *text = NULL;
    size_t len;

    if (store_load_config(store, s->id, OCI_CONFIG_MAX, &text, &len, NULL) < 0)
        return true;
    /* Any letter of a name can be written by its number instead. */
    if (memmem(text, len, "\\u", 2))
        return true;
    for (; *names; names++)
        if (memmem(text, len, *names, strlen(*names)))
            return true;
    return false;
}
