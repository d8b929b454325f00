/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/path.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "oci/spec.h"

struct values {
    const char *bundle;
    bool rootless;
};
#define VALUE(field) offsetof(struct values, field)
static const struct option_def options[] = {
    {'b', "bundle", OPTION_STRING, VALUE(bundle), "DIR", "where to write; the current directory"},
    {0, "rootless", OPTION_FLAG, VALUE(rootless), NULL, "with a user namespace for this user"},
    {0},
};

static int run(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e)
{
    const struct values *v = values;
    (void)ctx;
    (void)args;
    _cleanup_free_ char *path = path_join(v->bundle ? v->bundle : ".", "config.json");
    _cleanup_free_ char *text = oci_spec_template(v->rootless);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(e, errno == EEXIST ? ERROR_EXISTS : ERROR_SYSTEM, errno, "write spec",
                         path, errno == EEXIST ? "remove it first" : NULL, NULL);
    int r = fd_write_all(fd, text, strlen(text));
    if (r < 0) {
        (void)unlink(path);
        return error_errno(e, r, "write spec", path);
    }
    return 0;
}

const struct command command_spec = {
    .name = "spec",
    .usage = "[options]",
    .summary = "Write a config.json to start from",
    .details = "It runs `sh` in the directory rootfs beside it. An existing file is not replaced.",
    .options = options,
    .values_size = sizeof(struct values),
    .max_args = 0,
    .run = run,
};
