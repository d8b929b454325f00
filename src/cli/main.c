/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/variant.h"
#include "process/protect.h"

struct global_values {
    const char *root, *log, *log_format, *rootless;
    bool debug, systemd_cgroup, version;
};
#define GLOBAL(field) offsetof(struct global_values, field)
static const struct option_def global_options[] = {
    {0, "root", OPTION_STRING, GLOBAL(root), "DIR", "where containers' state is kept"},
    {0, "log", OPTION_STRING, GLOBAL(log), "FILE", "append messages to FILE too"},
    {0, "log-format", OPTION_STRING, GLOBAL(log_format), "FORMAT", "text (default) or json"},
    {0, "systemd-cgroup", OPTION_FLAG, GLOBAL(systemd_cgroup), NULL,
     "have systemd make the cgroups; linux.cgroupsPath is slice:prefix:name"},
    {0, "rootless", OPTION_STRING, GLOBAL(rootless), "WHEN",
     "may a container go without a cgroup: true, false or auto (default: unless root)"},
    {0, "debug", OPTION_FLAG, GLOBAL(debug), NULL, "say what is being done"},
    {'v', "version", OPTION_FLAG, GLOBAL(version), NULL, "show the version"},
    {0},
};

int command_open_store(const struct command_context *ctx, bool for_writing, struct store *ret,
                       struct error *e)
{
    struct store_env env;

    store_env_from_process(&env, ctx->root);
    return store_open(&env, for_writing, ret, e);
}

int command_begin(const struct command_context *ctx, struct foreground *fg, struct store *ret,
                  struct error *e)
{
    int r = protect_own_binary(ctx->argv, ctx->envp, e);
    if (r == 0)
        r = command_open_store(ctx, true, ret, e);
    if (r == 0 && fg)
        r = foreground_prepare(fg, e);
    return r;
}

int command_check_cgroups_mode(const char *mode, struct error *e)
{
    if (!mode || streq(mode, "ignore"))
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, EOPNOTSUPP, "use --manage-cgroups-mode", mode,
                     "choose ignore, or leave the option out",
                     "nucleus makes and limits the cgroup itself, CRIU never does");
}

static const struct command *find_command(const char *name)
{
    for (const struct command *const *c = variant_commands; *c; c++)
        if (streq((*c)->name, name))
            return *c;
    return NULL;
}

static int show_help(struct error *e)
{
    _cleanup_strbuf_ struct strbuf b = {0};
    _cleanup_free_ char *rows = options_rows(global_options);

    strbuf_add(&b, "Usage: nucleus [options] COMMAND [options] [arguments]\n\n"
                   "Runs OCI containers and freezes them into sealed checkpoints.\n\nCommands:\n");
    for (const struct command *const *c = variant_commands; *c; c++)
        strbuf_addf(&b, "  %-12s %s\n", (*c)->name, (*c)->summary);
    strbuf_addf(&b, "\nOptions:\n%s\n`nucleus COMMAND --help` tells more about one of them.\n",
                rows);
    return output_text(b.s, e);
}

static int parse_and_run(const struct command *command, const struct command_context *ctx,
                         char *const *argv, void *values, struct error *e)
{
    _cleanup_free_ char **args = NULL;
    char *const *words;
    bool help;
    int next;
    int r = options_parse(command->options, argv, command->stop_at_first, values, &args, &next,
                          &help, e);
    if (r < 0)
        return r;
    if (help) {
        _cleanup_free_ char *text = options_help("nucleus", command);
        return output_text(text, e);
    }
    words = command->stop_at_first ? argv + next : args;
    int n = (int)strv_len(words);
    if (n < command->min_args || (command->max_args >= 0 && n > command->max_args))
        return error_set(e, ERROR_USAGE, EINVAL, "parse command line", command->name,
                         "see --help", "usage: nucleus %s %s", command->name, command->usage);
    return command->run(ctx, values, words, e);
}

static int run_command(const struct command *command, const struct command_context *ctx,
                       char *const *argv, struct error *e)
{
    _cleanup_free_ void *values = mem_alloc(command->values_size);
    int r = parse_and_run(command, ctx, argv, values, e);

    options_done(command->options, values);
    return r;
}

static int parse_rootless(const char *text, enum cgroup_need *ret, struct error *e)
{
    static const char *const names[] = {
        [CGROUP_NEED_AUTO] = "auto", [CGROUP_NEED_NONE] = "true", [CGROUP_NEED_OWN] = "false"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!text || streq(text, names[i])) {
            *ret = (enum cgroup_need)i;
            return 0;
        }
    return error_set(e, ERROR_USAGE, EINVAL, "use --rootless", text, "choose true, false or auto",
                     "there is no such value");
}

static int run(char *const *argv, char *const *envp, struct error *e)
{
    struct global_values g = {0};
    bool help;
    int next;
    int r = options_parse(global_options, argv + 1, true, &g, NULL, &next, &help, e);
    if (r < 0)
        return r;
    bool json = g.log_format && streq(g.log_format, "json");
    if (g.log_format && !json && !streq(g.log_format, "text"))
        return error_set(e, ERROR_USAGE, EINVAL, "use log format", g.log_format,
                         "choose text or json", "there is no such format");
    r = output_init(g.log, json, g.debug, e);
    if (r < 0)
        return r;

    const char *name = argv[1 + next];
    const struct command *command = name ? find_command(name) : NULL;
    if (variant_is_static && (help || g.systemd_cgroup || (name && !command)))
        return variant_hand_over(argv, envp, e);
    if (help || (name && streq(name, "help")))
        return show_help(e);
    struct command_context ctx = {
        .root = g.root, .systemd_cgroup = g.systemd_cgroup, .argv = argv, .envp = envp};
    r = parse_rootless(g.rootless, &ctx.cgroup_need, e);
    if (r < 0)
        return r;
    if (g.version)
        return command_version.run(&ctx, NULL, NULL, e);
    if (!name)
        return error_set(e, ERROR_USAGE, EINVAL, "parse command line", NULL,
                         "see nucleus --help", "no command given");
    if (!command)
        return error_set(e, ERROR_USAGE, EINVAL, "run command", name, "see nucleus --help",
                         "there is no such command");
    return run_command(command, &ctx, argv + 1 + next + 1, e);
}

/* A descriptor opened later must not become 0, 1 or 2 by accident, and end up a container's
 * stdio. */
static void ensure_stdio(void)
{
    for (int fd = 0; fd < 3; fd++)
        /* The lowest number that is free, which is this one. */
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
            return;
}

int main(int argc, char *argv[], char *envp[])
{
    struct error e = {0};

    (void)argc;
    /* After a start by descriptor the kernel names the process after the number (before Linux
     * 6.14). */
    (void)prctl(PR_SET_NAME, "nucleus", 0, 0, 0);
    ensure_stdio();
    variant_remember(argv, envp);
    int r = run(argv, envp, &e);
    if (r < 0) {
        output_error(&e);
        r = EXIT_FAILURE;
    }
    error_done(&e);
    return r;
}
