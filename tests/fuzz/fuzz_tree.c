/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"
#include "seal/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes are orders that make a tree; it is sealed, verified, changed in one place, and must then be
 * refused. What must not be in a tree must be refused at once. */

#define MADE_MAX 12

struct made {
    char path[256];
    bool dir;
    unsigned size;
};

struct input {
    const uint8_t *p;
    size_t n;
};

static char top[] = "/dev/shm/nucleus-fuzz-XXXXXX";
static pid_t owner;

static uint8_t take(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind;
    return where->level == 0 ? 0 : remove(path);
}

static void clear(void)
{
    (void)nftw(top, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

static void at_end(void)
{
    if (getpid() != owner)
        return;
    clear();
    (void)rmdir(top);
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void write_file(const char *path, const uint8_t *content, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, content, n) == (ssize_t)n);
    (void)close(fd);
}

/* A name of one to three bytes, any but '/' and NUL; or the seal's own. */
static void take_name(struct input *in, char name[32])
{
    uint8_t n = take(in);

    if (n == 255) {
        (void)strcpy(name, SEAL_FILE);
        return;
    }
    n = (uint8_t)(n % 3 + 1);
    for (uint8_t i = 0; i < n; i++) {
        uint8_t c = take(in);
        name[i] = c == 0 || c == '/' ? '-' : (char)c;
    }
    name[n] = '\0';
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        name[0] = '_';
}

/* Makes one thing; false where it must not be in a tree. */
static bool make_one(struct input *in, struct made *made, size_t *n)
{
    struct made *m = &made[*n];
    uint8_t kind = take(in) % 16, parent = take(in);
    const char *below = top;
    struct stat st;
    char name[32];

    for (size_t i = 0; i < *n; i++)
        if (made[i].dir && parent % 4 == i % 4)
            below = made[i].path;
    take_name(in, name);
    if ((size_t)snprintf(m->path, sizeof(m->path), "%s/%s", below, name) >= sizeof(m->path))
        return true;
    bool root_seal = below == top && strcmp(name, SEAL_FILE) == 0;
    if (lstat(m->path, &st) == 0)
        return true;
    if (kind == 0) {
        must(symlink("x", m->path) == 0);
        return false;
    }
    if (kind == 1) {
        must(mkfifo(m->path, 0600) == 0);
        return false;
    }
    m->dir = kind < 6;
    uint8_t want = m->dir ? 0 : take(in) % 64;
    m->size = (unsigned)MIN((size_t)want, in->n);
    if (m->dir)
        must(mkdir(m->path, 0700) == 0);
    else
        write_file(m->path, in->p, m->size);
    in->p += m->size;
    in->n -= m->size;
    if (root_seal)
        return !m->dir; /* not covered, and replaced by the seal: not to be changed below */
    ++*n;
    return str_is_utf8(name, strlen(name));
}

/* One change of what was sealed. */
static void change(struct input *in, const struct made *made, size_t n)
{
    uint8_t how = take(in);
    char path[sizeof(made->path) + 8];
    struct stat st;

    if (n == 0) {
        (void)snprintf(path, sizeof(path), "%s/+", top);
        write_file(path, NULL, 0);
        return;
    }
    const struct made *m = &made[take(in) % n];
    (void)snprintf(path, sizeof(path), "%s+", m->path);
    if (how % 4 == 0 || m->dir) {
        if (lstat(path, &st) == 0)
            (void)snprintf(path, sizeof(path), "%s+-+-", m->path);
        must(rename(m->path, path) == 0);
    } else if (how % 4 == 1) {
        must(unlink(m->path) == 0);
    } else if (how % 4 == 2 || m->size == 0) {
        must(truncate(m->path, m->size + 1) == 0);
    } else {
        unsigned char c;
        off_t at = take(in) % m->size;
        int fd = open(m->path, O_RDWR | O_CLOEXEC);
        must(pread(fd, &c, 1, at) == 1);
        c ^= (unsigned char)(1u << how / 4 % 8);
        must(pwrite(fd, &c, 1, at) == 1);
        (void)close(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char bytes[32] = {1, 2, 3};
    const struct seal_key key = {.data = bytes, .len = sizeof(bytes)};
    struct made made[MADE_MAX];
    struct input in = {data, size};
    struct error e = {0};
    bool fine = true;
    size_t n = 0;

    if (!owner) {
        owner = getpid();
        must(mkdtemp(top) != NULL);
        (void)atexit(at_end);
    }
    uint8_t orders = take(&in);
    for (unsigned i = 0; i < orders % (MADE_MAX + 1u); i++)
        fine &= make_one(&in, made, &n);

    int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = seal_write(fd, top, &key, false, NULL, &e);
    must((r == 0) == fine);
    if (fine) {
        must(seal_verify(fd, top, &key, NULL, &e) == 0);
        change(&in, made, n);
        must(seal_verify(fd, top, &key, NULL, &e) < 0);
    }
    must(e.code == ERROR_SEAL);
    error_done(&e);
    (void)close(fd);
    clear();
    return 0;
}
