/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "state/state.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "oci/json.h"
#include "state/record-plain.h"

static const char RECORD[] = ".json";

char *state_fifo_name(const char *id)
{
    return str_printf("%s.exec", id);
}

char *state_report_name(const char *id)
{
    return str_printf("%s.started", id);
}

static char *config_name(const char *id)
{
    return str_printf("%s.config", id);
}

static char *record_name(const char *id)
{
    return str_printf("%s%s", id, RECORD);
}

static int store_error(const struct store *store, struct error *e, int r, const char *step,
                       const char *name, const char *why)
{
    _cleanup_free_ char *path = path_join(store->path, name);
    return error_set(e, ERROR_STATE, -r, step, path, NULL, why ? "%s" : NULL, why);
}

int store_save(const struct store *store, const struct state *s, struct error *e)
{
    int r = state_id_check(s->id, e);
    if (r < 0)
        return r;

    _cleanup_free_ char *name = record_name(s->id);
    _cleanup_free_ char *text = state_render(s);
    size_t n = strlen(text);

    /* What can't be loaded again is not written. */
    if (n > STATE_FILE_MAX || strv_len(s->command) > JSON_ARRAY_MAX)
        return store_error(store, e, -EFBIG, "save state file", name,
                           "the command line or the annotations are too long");
    r = file_replace_at(store->dirfd, name, text, n);
    if (r < 0)
        return store_error(store, e, r, "save state file", name,
                           r == -ELOOP          ? "its temporary file is a symlink"
                           : r == -ENAMETOOLONG ? "the id is too long for a file name"
                                                : NULL);
    return 0;
}

/* A record that lies there as store_save() writes them; NULL where it does not, or can't be read,
 * or there is none: why is told by the long way. */
static struct state *load_plain(const struct store *store, const char *id)
{
    char name[NAME_MAX + 1], text[4096];

    if ((size_t)snprintf(name, sizeof(name), "%s%s", id, RECORD) >= sizeof(name))
        return NULL;
    _cleanup_close_ int fd =
        openat(store->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    /* One that fills it may go on. */
    if (n <= 0 || (size_t)n == sizeof(text))
        return NULL;
    _cleanup_state_ struct state *s = record_parse_plain(text, (size_t)n);
    return s && streq(s->id, id) ? TAKE_PTR(s) : NULL;
}

int store_load(const struct store *store, const char *id, struct state **ret, struct error *e)
{
    int r = state_id_check(id, e);
    if (r < 0)
        return r;
    struct state *plain = load_plain(store, id);
    if (plain) {
        *ret = plain;
        return 0;
    }

    _cleanup_free_ char *name = record_name(id), *path = path_join(store->path, name);
    _cleanup_free_ char *text = NULL;
    size_t n;

    r = file_read_at(store->dirfd, name, O_NOFOLLOW, STATE_FILE_MAX, &text, &n);
    if (r == -ENOENT)
        return error_set(e, ERROR_NOT_FOUND, ENOENT, "find container", id, NULL,
                         "container does not exist");
    if (r < 0)
        return store_error(store, e, r, "load state file", name,
                           r == -ELOOP   ? "it is a symlink"
                           : r == -EFBIG ? "it is larger than 1 MiB"
                                         : NULL);

    _cleanup_state_ struct state *s = NULL;
    r = state_parse(text, n, path, &s, e);
    if (r < 0)
        return r;
    if (!streq(s->id, id))
        return error_set(e, ERROR_STATE, EINVAL, "load state file", path, NULL,
                         "it holds the state of '%s'", s->id);
    *ret = TAKE_PTR(s);
    return 0;
}

int store_save_config(const struct store *store, const char *id, const char *text, size_t len,
                      struct error *e)
{
    _cleanup_free_ char *name = config_name(id);
    /* One that a killed `create` left goes first: whoever has it open keeps the old one. */
    (void)unlinkat(store->dirfd, name, 0);
    _cleanup_close_ int fd =
        openat(store->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, len);

    return r < 0 ? store_error(store, e, r, "save", name, NULL) : 0;
}

int store_load_config(const struct store *store, const char *id, size_t max, char **ret,
                      size_t *ret_len, struct error *e)
{
    _cleanup_free_ char *name = config_name(id);
    int r = file_read_at(store->dirfd, name, O_NOFOLLOW, max, ret, ret_len);

    if (r == -ENOENT || r == 0)
        return r;
    return store_error(store, e, r, "load", name, r == -ELOOP ? "it is a symlink" : NULL);
}

/* The id a file name of the store stands for, or NULL where it is no state file. */
static char *id_of(const char *name)
{
    size_t n = strlen(name), suffix = sizeof(RECORD) - 1;

    if (n <= suffix || !streq(name + n - suffix, RECORD))
        return NULL;
    return mem_strndup(name, n - suffix);
}

static int compare_ids(const void *a, const void *b)
{
    const struct state *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

void store_list_free(struct state **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        state_free(list[i]);
    free(list);
}

/* One entry of the directory; what can't be used is skipped (S14). */
static struct state *load_listed(const struct store *store, const char *name)
{
    _cleanup_(error_done) struct error why = {0};
    _cleanup_free_ char *id = id_of(name);
    struct state *s = NULL;

    if (!id)
        return NULL;
    /* One that went away since the directory was read is no news. */
    if (store_load(store, id, &s, &why) < 0 && why.code != ERROR_NOT_FOUND) {
        _cleanup_free_ char *text = error_render(&why);
        log_warning("skipped: %s", text);
    }
    return s;
}

int store_list(const struct store *store, struct state ***ret, size_t *ret_n, struct error *e)
{
    static const char step[] = "list state directory";
    struct state **list = NULL;
    size_t n = 0;

    int fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_STATE, errno, step, store->path, NULL, NULL);
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    if (!dir) {
        int saved = errno;
        (void)fd_close(fd);
        return error_set(e, ERROR_STATE, saved, step, store->path, NULL, NULL);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        struct state *s = load_listed(store, entry->d_name);
        if (!s)
            continue;
        mem_grow(list, n);
        list[n++] = s;
    }
    if (errno) {
        int saved = errno;
        store_list_free(list, n);
        return error_set(e, ERROR_STATE, saved, step, store->path, NULL, NULL);
    }
    if (n > 1)
        qsort(list, n, sizeof(*list), compare_ids);
    *ret = list;
    *ret_n = n;
    return 0;
}

static bool has_name(const struct state *s, const char *ref)
{
    return streq(s->name, ref);
}

static bool has_id_prefix(const struct state *s, const char *ref)
{
    return str_after(s->id, ref);
}

/* Takes the only match out of the list into *ret: 1. None is 0, several are an error that lists
 * them. */
static int take_only(struct state **list, size_t n, const char *ref,
                     bool (*matches)(const struct state *, const char *), const char *what,
                     struct state **ret, struct error *e)
{
    _cleanup_strbuf_ struct strbuf ids = {0};
    struct state **found = NULL;
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        if (!matches(list[i], ref))
            continue;
        strbuf_addf(&ids, "%s%s", count ? ", " : "", list[i]->id);
        found = &list[i];
        count++;
    }
    if (count > 1)
        return error_set(e, ERROR_AMBIGUOUS, EINVAL, "find container", ref, "give a full id",
                         "%s %zu containers: %s", what, count, ids.s);
    if (count == 0)
        return 0;
    *ret = *found;
    *found = NULL;
    return 1;
}

int store_resolve(const struct store *store, const char *ref, struct state **ret, struct error *e)
{
    struct state **list = NULL;
    size_t n = 0;
    int r;

    if (*ref == '\0')
        return error_set(e, ERROR_USAGE, EINVAL, "find container", ref, NULL,
                         "the id or name is empty");
    if (state_id_check(ref, NULL) == 0) {
        _cleanup_(error_done) struct error why = {0};

        r = store_load(store, ref, ret, &why);
        /* An id too long for a file name can still be a name. */
        if (r == 0)
            return 0;
        if (why.code != ERROR_NOT_FOUND && r != -ENAMETOOLONG) {
            if (e)
                error_move(e, &why);
            return r;
        }
    }

    r = store_list(store, &list, &n, e);
    if (r < 0)
        return r;
    r = take_only(list, n, ref, has_name, "it is the name of", ret, e);
    if (r == 0)
        r = take_only(list, n, ref, has_id_prefix, "it begins the id of", ret, e);
    store_list_free(list, n);
    /* What can't be an id and is nobody's name was a mistake, not a container that has gone. */
    if (r == 0 && state_id_check(ref, e) < 0)
        return -EINVAL;
    if (r == 0)
        return error_set(e, ERROR_NOT_FOUND, ENOENT, "find container", ref, NULL,
                         "container does not exist");
    return r < 0 ? r : 0;
}

int store_remove(const struct store *store, const char *id, struct error *e)
{
    /* The record last of what counts, so that a removal that is cut short can be had again; the
     * lock behind it, for until then it guards. */
    static const char *const suffixes[] = {".json.tmp", ".exec", ".started",
                                           ".config",   ".json", ".lock"};
    int r = state_id_check(id, e);
    if (r < 0)
        return r;

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        _cleanup_free_ char *name = str_printf("%s%s", id, suffixes[i]);

        if (unlinkat(store->dirfd, name, 0) < 0 && errno != ENOENT && errno != ENAMETOOLONG)
            return store_error(store, e, -errno, "remove state file", name, NULL);
    }
    return 0;
}
