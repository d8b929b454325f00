/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "base/macros.h"

/* Notes and warnings on their way to cli/, which alone decides where they go. Errors do not come
 * this way: they are values (base/error.h). Never called between clone3 and execve. */

enum log_level {
    LOG_DEBUG_,
    LOG_WARNING_,
};

typedef void (*log_sink)(enum log_level level, const char *text);

/* NULL drops everything, which is how it starts. */
void log_set_sink(log_sink sink, enum log_level least);

void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_debug(...) log_write(LOG_DEBUG_, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING_, __VA_ARGS__)
