/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/macros.h"

/* What went wrong, as a value. Filled once, where the fact is known; rendered once, in cli/. */

/* Stable codes: their names (error_code_name) are printed in JSON output and never change. */
enum error_code {
    ERROR_NONE = 0,
    ERROR_USAGE,        /* the command line */
    ERROR_NOT_FOUND,    /* no such container */
    ERROR_EXISTS,       /* the id, or a file that must not be there, is taken */
    ERROR_AMBIGUOUS,    /* a reference matches several containers */
    ERROR_WRONG_STATUS, /* the container's status forbids the operation */
    ERROR_CONFIG,       /* config.json is wrong */
    ERROR_UNSUPPORTED,  /* known, but this nucleus, host or kernel can't honour it */
    ERROR_STATE,        /* a state file or the store */
    ERROR_PERMISSION,   /* who the caller is, or a mode or owner that can't be trusted */
    ERROR_PROGRAM,      /* the container's program is not there, or can't be run */
    ERROR_SYSTEM,       /* a system call failed */
    ERROR_CGROUP,       /* cgroup set-up */
    ERROR_SEAL,         /* key, digest, or a tree that can't be sealed */
    ERROR_CHECKPOINT,   /* metadata, image directories */
    ERROR_CRIU,         /* CRIU itself: not there, not fit, or it failed */
    ERROR_INTERNAL,     /* a bug in nucleus */
    _ERROR_CODE_MAX,
};

/* Every string is owned by the error; unset ones are NULL. Start with `struct error e = {0}`. */
struct error {
    enum error_code code;
    int errnum;    /* positive errno, 0 where there is none */
    char *step;    /* what was being done: "open state file" */
    char *subject; /* to what: a path, an id, a field */
    char *why;     /* the reason, where it says more than errnum does */
    char *remedy;  /* what the user can do, as an imperative */
    char *log;     /* path of a log that tells more */
};

/* Fills *e and returns -errnum, or -EINVAL where errnum is 0, so that a caller can
 * `return error_set(…)`. `subject` and `remedy` may be NULL; `why_fmt` may be NULL, the text of
 * errnum is used then. What *e held before is freed. `e` may be NULL: only the value is returned.
 */
int error_set(struct error *e, enum error_code code, int errnum, const char *step,
              const char *subject, const char *remedy, const char *why_fmt, ...) _printf_(7, 8);

/* A failed system call: code ERROR_SYSTEM, no remedy. `r` is negative errno. Returns r. */
int error_errno(struct error *e, int r, const char *step, const char *subject);

/* Frees all members; *e is empty and reusable afterwards. */
void error_done(struct error *e);

/* Moves *src into *dst (freed before), *src is empty afterwards. */
void error_move(struct error *dst, struct error *src);

/* One line without newline, newly allocated: "cannot STEP 'SUBJECT': WHY; REMEDY (log: LOG)".
 * Control characters in the parts are shown as \xNN, so the line stays one line and can't
 * play tricks on a terminal. */
char *error_render(const struct error *e);

/* "usage", "not-found", …; never NULL. */
const char *error_code_name(enum error_code code);
