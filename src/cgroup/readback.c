/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cgroup/readback.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

enum format {
    FORMAT_UNKNOWN,
    FORMAT_WORDS, /* "50000 100000"; fewer words may be written than are shown */
    FORMAT_BYTES, /* a number of bytes in whole pages, or "max" */
    FORMAT_LINES, /* a line a key: "8:16 rbps=max wbps=1048576", "default 100" */
};

/* The first row whose name begins the file's. */
static const struct {
    const char *prefix;
    enum format format;
} formats[] = {
    {"cpu.max", FORMAT_WORDS},
    {"cpu.weight", FORMAT_WORDS},
    {"cpu.idle", FORMAT_WORDS},
    {"pids.max", FORMAT_WORDS},
    {"memory.oom.group", FORMAT_WORDS},
    {"memory.reclaim", FORMAT_UNKNOWN},
    {"memory.zswap.writeback", FORMAT_WORDS},
    {"memory.", FORMAT_BYTES},
    {"hugetlb.", FORMAT_BYTES},
    {"io.max", FORMAT_LINES},
    {"io.weight", FORMAT_LINES},
    {"io.bfq.weight", FORMAT_LINES},
    {"rdma.max", FORMAT_LINES},
    {"misc.max", FORMAT_LINES},
};

static enum format format_of(const char *file)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_after(file, formats[i].prefix))
            return formats[i].format;
    return FORMAT_UNKNOWN;
}

/* Steps over the next word of a line; its length, 0 at the line's end. */
static size_t next_word(const char **p, const char **ret)
{
    *p += strspn(*p, " ");
    size_t n = strcspn(*p, " \n");
    *ret = *p;
    *p += n;
    return n;
}

static bool same_text(const char *a, size_t n_a, const char *b, size_t n_b)
{
    return n_a == n_b && memcmp(a, b, n_a) == 0;
}

/* --- words --------------------------------------------------------------------------------- */

/* The words of `value` are the first of the line at `text`. */
static bool words_are_kept(const char *value, const char *text)
{
    const char *a, *b;

    for (size_t n_a; (n_a = next_word(&value, &a)) > 0;) {
        size_t n_b = next_word(&text, &b);
        if (!same_text(a, n_a, b, n_b))
            return false;
    }
    return true;
}

/* --- bytes --------------------------------------------------------------------------------- */

/* Pages of which the kernel counts whole ones: those of "hugetlb.2MB.max", or the system's. */
static uint64_t page_of(const char *file)
{
    const char *size = str_after(file, "hugetlb.");
    uint64_t bytes = 0;

    if (size) {
        _cleanup_free_ char *text = mem_strndup(size, strcspn(size, "."));
        if (num_parse_size(text, &bytes) == 0 && bytes > 0)
            return bytes;
    }
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* page_counter_memparse(): "max", or bytes that are rounded down to pages and cut at
 * PAGE_COUNTER_MAX, which is shown as "max". */
static bool bytes_are_kept(const char *file, const char *value, const char *text)
{
    uint64_t asked, got, page = page_of(file);
    _cleanup_free_ char *line = mem_strndup(text, strcspn(text, "\n"));
    bool is_max = streq(line, "max");

    if (streq(value, "max"))
        return is_max;
    if (num_parse_size(value, &asked) < 0 || (!is_max && num_parse_u64(line, &got) < 0))
        return true;
    asked -= asked % page;
    if (is_max)
        return asked >= INT64_MAX - INT64_MAX % page;
    return got == asked || got - got % page == asked;
}

/* --- lines --------------------------------------------------------------------------------- */

/* The key of what is written: the first word, or "default" for a single number (io.weight takes
 * "100" for "default 100"; io.bfq.weight takes nothing else). */
static size_t key_of(const char *value, const char **ret, const char **ret_rest)
{
    const char *p = value, *second;
    size_t n = next_word(&p, ret);

    *ret_rest = p;
    if (next_word(&p, &second) > 0)
        return n;
    *ret = "default";
    *ret_rest = value;
    return strlen("default");
}

static const char *find_line(const char *text, const char *key, size_t n_key)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *p = line, *word;
        size_t n = next_word(&p, &word);
        if (same_text(word, n, key, n_key))
            return line;
    }
    return NULL;
}

static bool line_has(const char *line, const char *word, size_t n)
{
    const char *p = line, *other;

    for (size_t k; (k = next_word(&p, &other)) > 0;)
        if (same_text(other, k, word, n))
            return true;
    return false;
}

/* "rbps=max", "default": what a key has that is not listed. */
static bool is_no_limit(const char *word, size_t n)
{
    const char *equals = memchr(word, '=', n);

    if (!equals)
        return same_text(word, n, "default", strlen("default"));
    return same_text(equals + 1, n - (size_t)(equals + 1 - word), "max", 3);
}

static bool line_is_kept(const char *value, const char *text)
{
    const char *key, *rest, *word;
    size_t n_key = key_of(value, &key, &rest);
    const char *line = find_line(text, key, n_key);

    for (size_t n; (n = next_word(&rest, &word)) > 0;)
        if (line ? !line_has(line, word, n) : !is_no_limit(word, n))
            return false;
    return true;
}

static char *line_before(const char *value, const char *text)
{
    const char *key, *rest, *word;
    size_t n_key = key_of(value, &key, &rest);
    const char *line = find_line(text, key, n_key);
    struct strbuf b = {0};

    if (line && rest == value) {
        /* "default 100" goes back as it came: "100". */
        const char *p = line + n_key;
        size_t n = next_word(&p, &word);
        return mem_strndup(word, n);
    }
    if (line)
        return mem_strndup(line, strcspn(line, "\n"));
    strbuf_addn(&b, key, n_key);
    for (size_t n; (n = next_word(&rest, &word)) > 0;) {
        const char *equals = memchr(word, '=', n);
        strbuf_addc(&b, ' ');
        if (equals)
            strbuf_addn(&b, word, (size_t)(equals + 1 - word));
        strbuf_add(&b, equals ? "max" : "default");
    }
    return strbuf_take(&b);
}

/* --- the three together -------------------------------------------------------------------- */

bool cgroup_value_is_kept(const char *file, const char *value, const char *text)
{
    switch (format_of(file)) {
    case FORMAT_WORDS:
        return words_are_kept(value, text);
    case FORMAT_BYTES:
        return bytes_are_kept(file, value, text);
    case FORMAT_LINES:
        return line_is_kept(value, text);
    default:
        return true;
    }
}

char *cgroup_value_shown(const char *file, const char *value, const char *text)
{
    const char *key, *rest;

    if (format_of(file) == FORMAT_LINES) {
        size_t n_key = key_of(value, &key, &rest);
        const char *line = find_line(text, key, n_key);
        return line ? mem_strndup(line, strcspn(line, "\n")) : mem_strdup("no limit");
    }
    return mem_strndup(text, strcspn(text, "\n"));
}

char *cgroup_value_before(const char *file, const char *value, const char *text)
{
    if (format_of(file) == FORMAT_LINES)
        return line_before(value, text);
    /* An empty cpuset.cpus is set by an empty line: write(2) of nothing does not get there. */
    return *text ? mem_strdup(text) : mem_strdup("\n");
}

/* --- sets ---------------------------------------------------------------------------------- */

#define SET_BITS 8192 /* NR_CPUS of the largest configuration of x86 */

struct set {
    uint64_t bits[SET_BITS / 64];
};

static int parse_number(const char **p, unsigned *ret)
{
    unsigned v = 0;
    const char *s = *p;

    for (; *s >= '0' && *s <= '9'; s++) {
        v = v * 10 + (unsigned)(*s - '0');
        if (v >= SET_BITS)
            return -EINVAL;
    }
    if (s == *p)
        return -EINVAL;
    *p = s;
    *ret = v;
    return 0;
}

static int set_parse(const char *text, struct set *ret)
{
    *ret = (struct set){0};
    for (const char *p = text; *p && *p != '\n';) {
        unsigned first, last;
        if (parse_number(&p, &first) < 0)
            return -EINVAL;
        last = first;
        if (*p == '-' && (p++, parse_number(&p, &last)) < 0)
            return -EINVAL;
        for (unsigned i = first; i <= last; i++)
            ret->bits[i / 64] |= UINT64_C(1) << i % 64;
        if (*p == ',')
            p++;
        else if (*p && *p != '\n')
            return -EINVAL;
    }
    return 0;
}

int cgroup_sets_equal(const char *a, const char *b)
{
    struct set x, y;

    if (set_parse(a, &x) < 0 || set_parse(b, &y) < 0)
        return -EINVAL;
    return memcmp(&x, &y, sizeof(x)) == 0;
}
