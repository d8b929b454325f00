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

static int decode_destination(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_path(d, at, path);
    if (r < 0)
        return r;
    if (**path != '/')
        decode_warn(d, at, "is relative, taken as below /");
    return 0;
}

static int decode_mount(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("destination", decode_destination, struct oci_mount, destination),
        FIELD("type", decode_string, struct oci_mount, type),
        FIELD("source", decode_string, struct oci_mount, source),
        FIELD("options", decode_strv, struct oci_mount, options),
        UNSUPPORTED("uidMappings"),
        UNSUPPORTED("gidMappings"),
    };
    struct oci_mount *m = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), m);
    if (r < 0)
        return r;

    bool bind = (m->type && streq(m->type, "bind")) || strv_contains(m->options, "bind") ||
                strv_contains(m->options, "rbind");
    if (!m->type && !bind) {
        struct json_at type = json_member(at, "type");
        return decode_error(d, &type, "is required where \"bind\" or \"rbind\" is no option");
    }
    struct json_at source = json_member(at, "source");
    if (bind && !m->source)
        return decode_error(d, &source, "is required for a bind mount");
    return m->source ? decode_check_path(d, &source, m->source) : 0;
}

static int decode_mounts(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    return decode_array(d, at, sizeof(*spec->mounts), decode_mount, (void **)&spec->mounts,
                        &spec->n_mounts);
}

static int decode_annotations(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_spec *spec = out;
    int r = json_is_object(at, d->e);
    if (r <= 0)
        return r;

    size_t n = (size_t)json_object_object_length(at->value);
    spec->annotations = mem_alloc(n * sizeof(*spec->annotations));
    json_object_object_foreach(at->value, key, value)
    {
        struct json_at member = {
            .doc = at->doc, .parent = at, .key = key, .value = value, .present = true};
        char *text = NULL;
        if (*key == '\0')
            return decode_error(d, &member, "an annotation's key must not be empty");
        /* CRIU would read this file with the caller's rights, outside of what nucleus checks. */
        r = streq(key, "org.criu.config") ? decode_unsupported(d, &member) : 0;
        if (r == 0)
            r = json_need(&member, d->e);
        if (r == 0)
            r = json_get_string(&member, &text, d->e);
        if (r < 0)
            return r;
        spec->annotations[spec->n_annotations++] =
            (struct oci_annotation){.key = mem_strdup(key), .value = text};
    }
    return 0;
}

static const struct oci_field spec_fields[] = {
    NEEDED("ociVersion", decode_version, struct oci_spec, oci_version),
    FIELD_WHOLE("process", decode_process),
    NEEDED_WHOLE("root", decode_root),
    FIELD("hostname", decode_uts_name, struct oci_spec, hostname),
    FIELD("domainname", decode_uts_name, struct oci_spec, domainname),
    FIELD_WHOLE("mounts", decode_mounts),
    FIELD_WHOLE("annotations", decode_annotations),
    FIELD_WHOLE("linux", decode_linux),
    UNSUPPORTED("hooks"),
    UNSUPPORTED("solaris"),
    UNSUPPORTED("windows"),
    UNSUPPORTED("vm"),
    UNSUPPORTED("zos"),
    UNSUPPORTED("freebsd"),
};

int oci_spec_parse(const char *text, size_t len, const char *name, struct oci_spec **ret,
                   struct error *e)
{
    struct json_doc doc;
    _cleanup_spec_ struct oci_spec *spec = mem_new0(struct oci_spec);
    struct decoder d = {.e = e};

    int r = json_doc_parse(&doc, text, len, name, ERROR_CONFIG, STEP, e);
    if (r < 0)
        return r;
    struct json_at root = json_root(&doc);
    r = decode_object(&d, &root, spec_fields, ARRAY_SIZE(spec_fields), spec);
    if (r == 0)
        r = decode_check_linux(&d, &root, spec);
    json_doc_done(&doc);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(spec);
    return 0;
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

int oci_spec_load(const char *bundle, struct oci_spec **ret, struct error *e)
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

    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = fd_read_all(fd, OCI_CONFIG_MAX, &text, &len);
    if (r == -EFBIG)
        return error_set(e, ERROR_CONFIG, EFBIG, step, path, NULL, "it is larger than %u MiB",
                         OCI_CONFIG_MAX >> 20);
    if (r < 0)
        return error_errno(e, r, step, path);
    return oci_spec_parse(text, len, path, ret, e);
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
    for (size_t i = 0; i < spec->n_mounts; i++) {
        free(spec->mounts[i].destination);
        free(spec->mounts[i].type);
        free(spec->mounts[i].source);
        strv_free(spec->mounts[i].options);
    }
    free(spec->mounts);
    free(spec->uid_maps);
    free(spec->gid_maps);
    free(spec->cgroups_path);
    strv_free(spec->masked_paths);
    strv_free(spec->readonly_paths);
    oci_seccomp_free(spec->seccomp);
    for (size_t i = 0; i < spec->n_annotations; i++) {
        free(spec->annotations[i].key);
        free(spec->annotations[i].value);
    }
    free(spec->annotations);
    free(spec);
}
