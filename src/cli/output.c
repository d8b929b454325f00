/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

static int log_fd = STDERR_FILENO;
static bool log_json;

char *output_time(uint64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[40];

    if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return str_printf("%lld", (long long)t);
    return str_printf("%s", text);
}

static void write_line(int fd, bool json, const char *level, const char *msg,
                       const struct error *e)
{
    _cleanup_free_ char *line = NULL;

    if (json) {
        _cleanup_free_ char *now = output_time((uint64_t)time(NULL));
        struct json_object *o = json_object_new_object();
        json_object_object_add(o, "level", json_object_new_string(level));
        json_object_object_add(o, "msg", json_object_new_string(msg));
        json_object_object_add(o, "time", json_object_new_string(now));
        if (e)
            json_object_object_add(o, "code",
                                   json_object_new_string(error_code_name(e->code)));
        line = str_printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(o);
    } else if (streq(level, "error")) {
        line = str_printf("nucleus: %s\n", msg);
    } else {
        line = str_printf("nucleus: %s: %s\n", level, msg);
    }
    (void)fd_write_all(fd, line, strlen(line));
}

static void sink(enum log_level level, const char *text)
{
    write_line(log_fd, log_json, level == LOG_DEBUG_ ? "debug" : "warning", text, NULL);
}

int output_init(const char *log_file, bool json, bool debug, struct error *e)
{
    log_json = json;
    if (log_file) {
        int fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_set(e, ERROR_USAGE, errno, "open log", log_file,
                             "give a file that can be written with --log", NULL);
        log_fd = fd;
    }
    log_set_sink(sink, debug ? LOG_DEBUG_ : LOG_WARNING_);
    return 0;
}

void output_error(const struct error *e)
{
    _cleanup_free_ char *msg = error_render(e);

    if (log_fd != STDERR_FILENO)
        write_line(log_fd, log_json, "error", msg, e);
    write_line(STDERR_FILENO, log_json && log_fd == STDERR_FILENO, "error", msg, e);
}

int output_text(const char *text, struct error *e)
{
    int r = fd_write_all(STDOUT_FILENO, text, strlen(text));
    if (r < 0)
        return error_errno(e, r, "write to standard output", NULL);
    return 0;
}

int output_json(struct json_object *o, bool pretty, struct error *e)
{
    int flags = JSON_C_TO_STRING_NOSLASHESCAPE |
                (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                        : JSON_C_TO_STRING_PLAIN);
    _cleanup_free_ char *text = str_printf("%s\n", json_object_to_json_string_ext(o, flags));
    return output_text(text, e);
}
