/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static const char *const code_names[_ERROR_CODE_MAX] = {
    [ERROR_NONE] = "none",           [ERROR_USAGE] = "usage",
    [ERROR_NOT_FOUND] = "not-found", [ERROR_EXISTS] = "exists",
    [ERROR_AMBIGUOUS] = "ambiguous", [ERROR_WRONG_STATUS] = "wrong-status",
    [ERROR_CONFIG] = "config",       [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_STATE] = "state",         [ERROR_PERMISSION] = "permission",
    [ERROR_SYSTEM] = "system",       [ERROR_CGROUP] = "cgroup",
    [ERROR_SEAL] = "seal",           [ERROR_CHECKPOINT] = "checkpoint",
    [ERROR_CRIU] = "criu",           [ERROR_INTERNAL] = "internal",
    [ERROR_PROGRAM] = "program",
};

const char *error_code_name(enum error_code code)
{
    if ((unsigned)code >= _ERROR_CODE_MAX)
        return "internal";
    return code_names[code];
}

void error_done(struct error *e)
{
    if (!e)
        return;
    free(e->step);
    free(e->subject);
    free(e->why);
    free(e->remedy);
    free(e->log);
    *e = (struct error){0};
}

void error_move(struct error *dst, struct error *src)
{
    error_done(dst);
    *dst = *src;
    *src = (struct error){0};
}

int error_set(struct error *e, enum error_code code, int errnum, const char *step,
              const char *subject, const char *remedy, const char *why_fmt, ...)
{
    int ret = errnum ? -errnum : -EINVAL;

    if (!e)
        return ret;

    /* The arguments may point into what *e holds now, so the old parts go last. */
    struct error old = *e;
    *e = (struct error){
        .code = code,
        .errnum = errnum,
        .step = mem_strdup(step),
        .subject = mem_strdup(subject),
        .remedy = mem_strdup(remedy),
    };
    if (why_fmt) {
        va_list ap;
        va_start(ap, why_fmt);
        e->why = str_vprintf(why_fmt, ap);
        va_end(ap);
    }
    error_done(&old);
    return ret;
}

int error_errno(struct error *e, int r, const char *step, const char *subject)
{
    return error_set(e, ERROR_SYSTEM, r < 0 ? -r : r, step, subject, NULL, NULL);
}

static void add_safe(struct strbuf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '\n')
            strbuf_add(b, "; ");
        else if (c < 0x20 || c == 0x7f)
            strbuf_addf(b, "\\x%02x", c);
        else if (c == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] <= 0x9f)
            /* C1 controls, as UTF-8: some terminals take U+009B for ESC [. */
            strbuf_addf(b, "\\x%02x", (unsigned char)*++s);
        else
            strbuf_addc(b, *s);
    }
}

/* Go's spelling: engines look for "permission denied" and "no such file or directory" in a
 * runtime's message, and docker chooses its exit status by what it finds. A word in capitals stays
 * ("RPC …", "NFS …"). */
static void add_errno(struct strbuf *b, int errnum)
{
    const char *text = strerror(errnum);

    if (isupper((unsigned char)text[0]) && islower((unsigned char)text[1])) {
        strbuf_addc(b, (char)tolower((unsigned char)text[0]));
        text++;
    }
    add_safe(b, text);
}

char *error_render(const struct error *e)
{
    struct strbuf b = {0};

    if (e->step) {
        strbuf_add(&b, "cannot ");
        add_safe(&b, e->step);
    }
    if (e->subject) {
        strbuf_add(&b, b.len ? " '" : "'");
        add_safe(&b, e->subject);
        strbuf_addc(&b, '\'');
    }
    if (e->why || e->errnum)
        strbuf_add(&b, b.len ? ": " : "");
    if (e->why)
        add_safe(&b, e->why);
    else if (e->errnum)
        add_errno(&b, e->errnum);
    if (e->remedy) {
        strbuf_add(&b, "; ");
        add_safe(&b, e->remedy);
    }
    if (e->log) {
        strbuf_add(&b, " (log: ");
        add_safe(&b, e->log);
        strbuf_addc(&b, ')');
    }
    return strbuf_take(&b);
}
