/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The only place that prints. Warnings, debug notes and the one error of a run end here. */

/* `log_file` NULL: stderr. `json`: a JSON object a line, {"level","msg","time"} as logrus writes it
 * (and engines read it), with "code" for errors. */
int output_init(const char *log_file, bool json, bool debug, struct error *e);

/* One line on stderr; with --log in the log too; with --log-format json and no --log as JSON. */
void output_error(const struct error *e);

/* Text to stdout, flushed; a failure (a full disk, a closed pipe) is an error. */
int output_text(const char *text, struct error *e);

/* A JSON tree, pretty or in one line, with a newline. Takes a reference it does not keep. */
struct json_object;
int output_json(struct json_object *o, bool pretty, struct error *e);

/* "2024-05-06T07:08:09Z" */
char *output_time(uint64_t seconds) _warn_unused_;
