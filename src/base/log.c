/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>

#include "base/str.h"

static log_sink the_sink;
static enum log_level the_least;

void log_set_sink(log_sink sink, enum log_level least)
{
    the_sink = sink;
    the_least = least;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (!the_sink || level < the_least)
        return;

    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = str_vprintf(fmt, ap);
    va_end(ap);
    the_sink(level, text);
    errno = saved;
}
