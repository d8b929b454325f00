/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "process/container-cgroup.h"

/* The command line as tables: a command is a row, its options are rows of its own. */

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_STRING, /* const char *, the last one given counts */
    OPTION_LIST,   /* char **, one element each time it is given; options_done() frees it */
};

struct option_def {
    char letter;      /* 0: none */
    const char *name; /* without dashes */
    enum option_kind kind;
    size_t offset; /* into the command's struct of values */
    const char *argument; /* its name in --help; NULL for flags */
    const char *help;
};

struct command_context;

struct command {
    const char *name;
    const char *usage;   /* behind the name: "[options] ID" */
    const char *summary; /* one line, no full stop */
    const char *details; /* further paragraphs for --help, or NULL */
    const struct option_def *options; /* ends with a row whose name is NULL */
    size_t values_size;               /* of the struct of values, zeroed before parsing */
    int min_args, max_args;           /* max -1: any number */
    bool stop_at_first; /* the first argument ends the options: what follows is another program's */
    /* Gets values and arguments; returns the exit status, or negative with *e set. */
    int (*run)(const struct command_context *ctx, const void *values, char *const *args,
               struct error *e);
};

/* What every command gets: the global options. */
struct command_context {
    const char *root; /* --root, or NULL */
    bool systemd_cgroup; /* --systemd-cgroup */
    enum cgroup_need cgroup_need; /* --rootless */
    char *const *argv;
    char *const *envp;
};

/* Parses argv (behind the command's name) into `values`; options may stand before, between and
 * behind arguments, "--" ends them. "--name=value", "--name value", "-x value", "-xvalue" and, as
 * Go's flag package has it, "-name" are understood. *ret_args (newly allocated, elements borrowed)
 * holds the rest. With `stop_at_first` the first argument ends the options (the global ones) and
 * *ret_next is its index. *ret_help is set when --help or -h was seen. */
int options_parse(const struct option_def *defs, char *const *argv, bool stop_at_first,
                  void *values, char ***ret_args, int *ret_next, bool *ret_help,
                  struct error *e);

/* Frees what options_parse() allocated inside `values`. */
void options_done(const struct option_def *defs, void *values);

/* The text of --help. */
char *options_help(const char *program, const struct command *command) _warn_unused_;

/* Renders option rows, two columns. */
char *options_rows(const struct option_def *defs) _warn_unused_;
