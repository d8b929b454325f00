/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/create-options.h"

#include <unistd.h>

#include "base/num.h"

/* No process has more: the kernel's own limit of fs.nr_open is 2^20 by default. */
#define FDS_MAX (1u << 20)

int create_parse_fds(const char *text, unsigned *ret, struct error *e)
{
    uint64_t n = 0;

    if (text && num_parse_u64_max(text, FDS_MAX, &n) < 0)
        return error_set(e, ERROR_USAGE, EINVAL, "use --preserve-fds", text,
                         "give the number of descriptors", "it is no number, or too large");
    *ret = (unsigned)n;
    return 0;
}

/* As sd_listen_fds(3) has it: the variables count only where LISTEN_PID is this process. */
static int listen_fds(unsigned *ret, struct error *e)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t n;

    *ret = 0;
    if (!pid || !fds || num_parse_u64(pid, &n) < 0 || n != (uint64_t)getpid())
        return 0;
    if (num_parse_u64_max(fds, FDS_MAX, &n) < 0)
        return error_set(e, ERROR_USAGE, EINVAL, "use LISTEN_FDS of the environment", fds, NULL,
                         "it is no number, or too large");
    *ret = (unsigned)n;
    return 0;
}

int create_options_make(const struct command_context *ctx, const struct create_values *v,
                        const char *id, struct container_create_options *ret, struct error *e)
{
    unsigned preserved, passed;
    int r = create_parse_fds(v->preserve_fds, &preserved, e);

    if (r == 0)
        r = listen_fds(&passed, e);
    if (r < 0)
        return r;
    *ret = (struct container_create_options){
        .id = id,
        .bundle = v->bundle ? v->bundle : ".",
        .pid_file = v->pid_file,
        .console_socket = v->console_socket,
        .pidfd_socket = v->pidfd_socket,
        .no_pivot = v->no_pivot,
        .keep_keyring = v->no_new_keyring,
        .preserve_fds = passed + preserved,
        .listen_fds = passed,
        .cgroup_need = ctx->cgroup_need,
        .systemd_cgroup = ctx->systemd_cgroup,
    };
    return 0;
}
