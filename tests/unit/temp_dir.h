/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A directory of its own for each test: cmocka set-up and tear-down. */
struct temp_dir {
    char path[64];
    int fd;
};

static inline int temp_dir_setup(void **state)
{
    struct temp_dir *d = calloc(1, sizeof(*d));

    (void)snprintf(d->path, sizeof(d->path), "/tmp/nucleus-unit-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(d->fd >= 0);
    *state = d;
    return 0;
}

static inline int temp_dir_unlink(const char *path, const struct stat *st, int kind,
                                  struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline int temp_dir_teardown(void **state)
{
    struct temp_dir *d = *state;

    (void)close(d->fd);
    (void)nftw(d->path, temp_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(d);
    return 0;
}

/* Makes or overwrites a file below the directory. */
static inline void temp_write(const struct temp_dir *d, const char *name, const void *data,
                              size_t n, mode_t mode)
{
    int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), (ssize_t)n);
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static inline void temp_text(const struct temp_dir *d, const char *name, const char *text)
{
    temp_write(d, name, text, strlen(text), 0600);
}

static inline int temp_exists(const struct temp_dir *d, const char *name)
{
    return faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#define temp_test(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)

/* What an error says must hold this. Needs base/error.h. */
#define assert_error_says(e, text)                                                                 \
    do {                                                                                           \
        char *_line = error_render(e);                                                             \
        if (!strstr(_line, text))                                                                  \
            fail_msg("\"%s\" is not in: %s", text, _line);                                         \
        free(_line);                                                                               \
    } while (0)
