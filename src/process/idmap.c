/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/idmap.h"

#include "base/file.h"
#include "base/str.h"

static int write_map(int procfd, pid_t pid, const char *file, const struct oci_id_map *maps, size_t n,
                     struct error *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&text, "%u %u %u\n", maps[i].container_id, maps[i].host_id, maps[i].size);

    _cleanup_free_ char *path = str_printf("%d/%s", (int)pid, file);
    int r = file_write_at(procfd, path, text.s);
    if (r < 0)
        return error_set(e, ERROR_PERMISSION, -r, "write id map", path,
                         "run nucleus as root, or map only ids that are yours", NULL);
    return 0;
}

int idmap_write(int procfd, pid_t pid, const struct oci_spec *spec, struct error *e)
{
    int r = write_map(procfd, pid, "gid_map", spec->gid_maps, spec->n_gid_maps, e);
    if (r < 0)
        return r;
    return write_map(procfd, pid, "uid_map", spec->uid_maps, spec->n_uid_maps, e);
}
