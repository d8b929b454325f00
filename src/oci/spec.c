/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "oci/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "oci/decode.h"

/* config.json's top level, and the file. */

#define STEP "use config.json"
#define UTS_NAME_MAX 64 /* __NEW_UTS_LEN, <linux/utsname.h> */

/* MAJOR.MINOR.PATCH with an optional "-PRERELEASE" or "+BUILD" (semver.org); -EINVAL for any other
 * text. */
static int parse_major(const char *s, unsigned *ret)
{
    unsigned major = 0;

    for (int part = 0; part < 3; part++) {
        size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 6)
            return -EINVAL;
        if (part == 0)
            for (size_t i = 0; i < n; i++)
                major = major * 10 + (unsigned)(s[i] - '0');
        s += n;
        if (part < 2 && *s++ != '.')
            return -EINVAL;
    }
    if (*s != '\0' && *s != '-' && *s != '+')
        return -EINVAL;
    *ret = major;
    return 0;
}

static int decode_version(struct decoder *d, const struct json_at *at, void *out)
{
    char **version = out;
    unsigned major;
    int r = json_get_string(at, version, d->e);
    if (r < 0)
        return r;

    _cleanup_free_ char *found = json_describe(at);
    if (parse_major(*version, &major) < 0)
        return decode_error(d, at, "expected a version like " OCI_VERSION ", found %s", found);
    if (major != 1)
        return json_error(at, d->e, ERROR_UNSUPPORTED, NULL,
                          "this nucleus reads versions 1.x, found %s", found);
    return 0;
}

static int decode_root(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("path", decode_path, struct oci_spec, root_path),
        FIELD("readonly", decode_bool, struct oci_spec, root_readonly),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_uts_name(struct decoder *d, const struct json_at *at, void *out)
{
    char **name = out;
    int r = decode_string(d, at, name);
    if (r < 0 || !*name)
        return r;
    if (strlen(*name) > UTS_NAME_MAX)
        return decode_error(d, at, "is longer than %d bytes", UTS_NAME_MAX);
    if (strchr(*name, '\n'))
        return decode_error(d, at, "must not hold a newline");
    return 0;
}

static int decode_annotation(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_annotation *a = out;
    if (*at->key == '\0')
        return decode_error(d, at, "an annotation's key must not be empty");
    /* CRIU would read this file with the caller's rights, outside of what nucleus checks. */
    int r = streq(at->key, "org.criu.config") ? decode_unsupported(d, at) : 0;
    if (r < 0)
        return r;
    a->key = mem_strdup(at->key);
    r = json_get_string(at, &a->value, d->e);
    return MIN(r, 0);
}

static int decode_annotations(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_map(d, at, sizeof(*spec->annotations), decode_annotation,
                      (void **)&spec->annotations, &spec->n_annotations);
}

static const struct oci_field spec_fields[] = {
    NEEDED("ociVersion", decode_version, struct oci_spec, oci_version),
    FIELD("process", decode_process, struct oci_spec, process),
    NEEDED_WHOLE("root", decode_root),
    FIELD("hostname", decode_uts_name, struct oci_spec, hostname),
    FIELD("domainname", decode_uts_name, struct oci_spec, domainname),
    FIELD_WHOLE("mounts", decode_mounts),
    FIELD_WHOLE("annotations", decode_annotations),
    FIELD_WHOLE("linux", decode_linux),
    FIELD_WHOLE("hooks", decode_hooks),
    UNSUPPORTED("solaris"),
    UNSUPPORTED("windows"),
    UNSUPPORTED("vm"),
    UNSUPPORTED("zos"),
    UNSUPPORTED("freebsd"),
};

static int decode_spec(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    int r = decode_object(d, at, spec_fields, ARRAY_SIZE(spec_fields), spec);
    if (r == 0)
        r = decode_check_namespaces(d, at, spec);
    return r < 0 ? r : decode_check_sysctls(d, at, spec);
}

int oci_spec_parse(const char *text, size_t len, const char *name, struct oci_spec **ret,
                   struct error *e)
{
    _cleanup_spec_ struct oci_spec *spec = mem_new0(struct oci_spec);
    int r = decode_text(text, len, name, STEP, decode_spec, spec, e);
    if (r == 0)
        *ret = TAKE_PTR(spec);
    return r;
}

static int open_error(struct error *e, int errnum, const char *what, const char *path,
                      const char *remedy)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EISDIR:
        return error_set(e, ERROR_CONFIG, errnum, what, path, remedy, NULL);
    case EACCES:
    case EPERM:
        return error_set(e, ERROR_PERMISSION, errnum, what, path, NULL, NULL);
    default:
        return error_errno(e, -errnum, what, path);
    }
}

int oci_config_read(const char *bundle, char **ret, size_t *ret_len, struct error *e)
{
    static const char step[] = "read config.json";
    _cleanup_close_ int dirfd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return open_error(e, errno, "open bundle", bundle,
                          "name a directory that holds a config.json");

    _cleanup_free_ char *path = path_join(bundle, "config.json");
    _cleanup_close_ int fd =
        openat(dirfd, "config.json", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return open_error(e, errno, step, path, "write one with 'nucleus spec'");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, step, path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_CONFIG, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, step, path, NULL,
                         S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file");

    int r = fd_read_all(fd, OCI_CONFIG_MAX, ret, ret_len);
    if (r == -EFBIG)
        return error_set(e, ERROR_CONFIG, EFBIG, step, path, NULL, "it is larger than %u MiB",
                         OCI_CONFIG_MAX >> 20);
    if (r < 0)
        return error_errno(e, r, step, path);
    return 0;
}

int oci_spec_load(const char *bundle, struct oci_spec **ret, struct error *e)
{
    _cleanup_free_ char *path = path_join(bundle, "config.json"), *text = NULL;
    size_t len;
    int r = oci_config_read(bundle, &text, &len, e);

    return r < 0 ? r : oci_spec_parse(text, len, path, ret, e);
}

bool oci_spec_isolates(const struct oci_spec *spec, uint64_t flag)
{
    return (spec->new_namespaces | spec->joined_namespaces) & flag;
}

void oci_annotations_free(struct oci_annotation *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
}

static void linux_done(struct oci_spec *spec)
{
    for (size_t i = 0; i < _OCI_NS_MAX; i++)
        free(spec->namespace_paths[i]);
    free(spec->uid_maps);
    free(spec->gid_maps);
    free(spec->cgroups_path);
    strv_free(spec->masked_paths);
    strv_free(spec->readonly_paths);
    oci_seccomp_free(spec->seccomp);
    oci_resources_done(&spec->resources);
    for (size_t i = 0; i < spec->n_devices; i++)
        free(spec->devices[i].path);
    free(spec->devices);
    oci_annotations_free(spec->sysctls, spec->n_sysctls);
    free(spec->mount_label);
    free(spec->memory_policy);
    for (size_t i = 0; i < spec->n_net_devices; i++) {
        free(spec->net_devices[i].host_name);
        free(spec->net_devices[i].name);
    }
    free(spec->net_devices);
    oci_intel_rdt_free(spec->intel_rdt);
}

void oci_spec_free(struct oci_spec *spec)
{
    if (!spec)
        return;
    free(spec->oci_version);
    oci_process_free(spec->process);
    free(spec->root_path);
    free(spec->hostname);
    free(spec->domainname);
    for (size_t i = 0; i < spec->n_mounts; i++)
        oci_mount_done(&spec->mounts[i]);
    free(spec->mounts);
    oci_annotations_free(spec->annotations, spec->n_annotations);
    for (size_t i = 0; i < _OCI_HOOK_MAX; i++)
        oci_hook_list_done(&spec->hooks[i]);
    linux_done(spec);
    free(spec);
}
