/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "process/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/fs.h"

#define PASSWD_READ_MAX 65536

/* name:password:uid:gid:gecos:home:shell */
enum { FIELD_UID = 2, FIELD_HOME = 5 };

/* The n-th field of a line, or NULL. */
static const char *field(const char *line, const char *end, int n, size_t *ret_len)
{
    const char *p = line;

    for (; n > 0; n--) {
        p = memchr(p, ':', (size_t)(end - p));
        if (!p)
            return NULL;
        p++;
    }
    const char *stop = memchr(p, ':', (size_t)(end - p));
    *ret_len = (size_t)((stop ? stop : end) - p);
    return p;
}

static bool is_number(const char *text, size_t len, uint32_t number)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || v > UINT32_MAX)
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    return len > 0 && v == number;
}

const char *home_parse(const char *passwd, size_t len, uint32_t uid, size_t *ret_len)
{
    const char *end = passwd + len;

    for (const char *line = passwd, *next; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n, home_len;
        if (!stop)
            stop = end;
        next = stop + 1;
        const char *id = field(line, stop, FIELD_UID, &n);
        if (!id || !is_number(id, n, uid))
            continue;
        const char *home = field(line, stop, FIELD_HOME, &home_len);
        if (!home || home_len == 0 || home_len > HOME_ROOM - sizeof("HOME=") || *home != '/' ||
            memchr(home, '\0', home_len))
            return NULL;
        *ret_len = home_len;
        return home;
    }
    return NULL;
}

static size_t read_all(int fd, char *buffer, size_t size)
{
    size_t have = 0;

    while (have < size) {
        ssize_t n = pread(fd, buffer + have, size - have, (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    return have;
}

static void set_home(const char *passwd, size_t len, uint32_t uid, char *text)
{
    size_t home_len = 1;
    const char *home = home_parse(passwd, len, uid, &home_len);

    memcpy(text, "HOME=", 5);
    memcpy(text + 5, home ? home : "/", home_len);
    text[5 + home_len] = '\0';
}

/* A function of its own: so much of the stack is touched only where it is needed. */
static _noinline_ void find_in_large(int fd, uint32_t uid, char *text)
{
    char buffer[PASSWD_READ_MAX];

    set_home(buffer, read_all(fd, buffer, sizeof(buffer)), uid, text);
}

void home_find(uint32_t uid, char *text)
{
    char buffer[2048];
    struct stat st;
    size_t n = 0;

    /* A FIFO or a device in its place must not stop us. */
    _cleanup_close_ int fd =
        sys_open_in_root(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        n = read_all(fd, buffer, sizeof(buffer));
    if (n < sizeof(buffer))
        set_home(buffer, n, uid, text);
    else
        find_in_large(fd, uid, text);
}
