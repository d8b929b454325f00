/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/options.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

static const struct option_def help_option = {
    'h', "help", OPTION_FLAG, 0, NULL, "show this help",
};

static const struct option_def *find_long(const struct option_def *defs, const char *name,
                                          size_t n)
{
    if (n == strlen("help") && strncmp(name, "help", n) == 0)
        return &help_option;
    for (; defs && defs->name; defs++)
        if (strlen(defs->name) == n && strncmp(defs->name, name, n) == 0)
            return defs;
    return NULL;
}

static const struct option_def *find_letter(const struct option_def *defs, char c)
{
    for (const struct option_def *d = defs; d && d->name; d++)
        if (d->letter && d->letter == c)
            return d;
    return c == 'h' ? &help_option : NULL;
}

static int unknown(const char *arg, struct error *e)
{
    return error_set(e, ERROR_USAGE, EINVAL, "parse command line", arg,
                     "see --help for the options", "unknown option");
}

/* What one option-like word says: the row, and the value glued to it (or NULL). */
static int match(const struct option_def *defs, const char *arg, const struct option_def **ret_def,
                 const char **ret_value, struct error *e)
{
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    const char *eq = strchr(name, '=');
    size_t n = eq ? (size_t)(eq - name) : strlen(name);

    *ret_value = eq ? eq + 1 : NULL;
    /* A single letter with one dash is a short option; anything longer with one dash is tried as a
     * long one first. */
    *ret_def = (arg[1] == '-' || n > 1) ? find_long(defs, name, n) : NULL;
    if (*ret_def)
        return 0;
    if (arg[1] == '-')
        return unknown(arg, e);

    *ret_def = find_letter(defs, arg[1]);
    if (!*ret_def)
        return unknown(arg, e);
    *ret_value = arg[2] ? arg + 2 + (arg[2] == '=') : NULL;
    return 0;
}

static int set_value(const struct option_def *def, const char *value, void *values,
                     const char *arg, struct error *e)
{
    if (def->kind == OPTION_STRING) {
        *(const char **)(void *)((char *)values + def->offset) = value;
        return 0;
    }
    if (def->kind == OPTION_LIST) {
        strv_push((char ***)(void *)((char *)values + def->offset), mem_strdup(value));
        return 0;
    }
    bool on = true;
    if (value) {
        if (!streq(value, "true") && !streq(value, "false"))
            return error_set(e, ERROR_USAGE, EINVAL, "parse command line", arg,
                             "leave the value out, or use =true or =false",
                             "the option takes no other value");
        on = streq(value, "true");
    }
    *(bool *)((char *)values + def->offset) = on;
    return 0;
}

int options_parse(const struct option_def *defs, char *const *argv, bool stop_at_first,
                  void *values, char ***ret_args, int *ret_next, bool *ret_help, struct error *e)
{
    size_t n_args = 0;
    _cleanup_free_ char **args = mem_alloc((strv_len(argv) + 1) * sizeof(char *));
    int i = 0;

    *ret_help = false;
    for (; argv[i]; i++) {
        const char *arg = argv[i];
        if (streq(arg, "--")) {
            i++;
            break;
        }
        if (arg[0] != '-' || arg[1] == '\0') {
            if (stop_at_first)
                break;
            args[n_args++] = argv[i];
            continue;
        }
        const struct option_def *def;
        const char *value;
        int r = match(defs, arg, &def, &value, e);
        if (r < 0)
            return r;
        if (def == &help_option) {
            *ret_help = true;
            continue;
        }
        if (def->kind != OPTION_FLAG && !value) {
            value = argv[i + 1];
            if (!value)
                /* The words podman looks for when it probes for an option. */
                return error_set(e, ERROR_USAGE, EINVAL, "parse command line", arg, NULL,
                                 "flag needs an argument: %s", arg);
            i++;
        }
        r = set_value(def, value, values, arg, e);
        if (r < 0)
            return r;
    }
    if (ret_next)
        *ret_next = i;
    while (!stop_at_first && argv[i])
        args[n_args++] = argv[i++];
    if (ret_args)
        *ret_args = TAKE_PTR(args);
    return 0;
}

void options_done(const struct option_def *defs, void *values)
{
    for (const struct option_def *d = defs; d && d->name; d++)
        if (d->kind == OPTION_LIST)
            strv_free(*(char ***)(void *)((char *)values + d->offset));
}

char *options_rows(const struct option_def *defs)
{
    struct strbuf b = {0};

    for (const struct option_def *d = defs;; d++) {
        const struct option_def *row = d && d->name ? d : &help_option;
        struct strbuf left = {0};
        if (row->letter)
            strbuf_addf(&left, "-%c, ", row->letter);
        else
            strbuf_add(&left, "    ");
        strbuf_addf(&left, "--%s", row->name);
        if (row->argument)
            strbuf_addf(&left, " %s", row->argument);
        strbuf_addf(&b, "  %-30s %s\n", left.s, row->help);
        strbuf_done(&left);
        if (row == &help_option)
            break;
    }
    return strbuf_take(&b);
}

char *options_help(const char *program, const struct command *command)
{
    struct strbuf b = {0};
    _cleanup_free_ char *rows = options_rows(command->options);

    strbuf_addf(&b, "Usage: %s %s %s\n\n%s.\n", program, command->name, command->usage,
                command->summary);
    if (command->details)
        strbuf_addf(&b, "\n%s\n", command->details);
    strbuf_addf(&b, "\nOptions:\n%s", rows);
    return strbuf_take(&b);
}
