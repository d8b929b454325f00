/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "checkpoint/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "oci/json.h"
#include "sys/fs.h"

/* What the kernel says behind the name of a file that is gone (fs/d_path.c). */
#define DELETED " (deleted)"

static const char *const kind_names[] = {
    [STDIO_INSIDE] = "inside",
    [STDIO_PIPE] = "pipe",
    [STDIO_FILE] = "file",
    [STDIO_TTY] = "tty",
};

const char *stdio_kind_name(enum stdio_kind kind)
{
    return kind_names[kind];
}

int stdio_kind_parse(const char *name, enum stdio_kind *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++)
        if (streq(kind_names[i], name)) {
            *ret = (enum stdio_kind)i;
            return 0;
        }
    return -EINVAL;
}

void stdio_info_done(struct stdio_info *info)
{
    for (int i = 0; i < 3; i++) {
        free(info->end[i].target);
        free(info->end[i].key);
        info->end[i] = (struct stdio_end){0};
    }
}

/* "key:\tVALUE" of a fdinfo text, in base 8 or 10. */
static int fdinfo_field(const char *text, const char *key, unsigned base, uint64_t *ret)
{
    size_t n = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) != 0 || line[n] != ':')
            continue;
        char word[32];
        if (sscanf(line + n + 1, " %31[0-9]", word) != 1)
            return -EINVAL;
        if (base == 10)
            return num_parse_u64(word, ret);
        uint32_t v;
        int r = num_parse_octal(word, &v);
        *ret = v;
        return r;
    }
    return -ENOENT;
}

/* True where the process's mount namespace has a mount of this id (mountinfo's first field). */
static int has_mount(pid_t pid, uint64_t id, bool *ret, struct error *e)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/mountinfo", (int)pid), *text = NULL;
    int r = file_read_at(AT_FDCWD, path, 0, 64u << 20, &text, NULL);
    if (r < 0)
        return error_errno(e, r, "read", path);

    *ret = false;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char word[32];
        uint64_t v;
        if (sscanf(line, "%31[0-9] ", word) == 1 && num_parse_u64(word, &v) == 0 && v == id)
            *ret = true;
    }
    return 0;
}

/* Input is read on where it was. Of a file open for both, one whose offset is at the end is a log.
 */
static int inspect_offset(pid_t pid, int fd, struct stdio_end *end, struct error *e)
{
    char link[64], info[64];
    _cleanup_free_ char *text = NULL;
    struct stat st;
    int access = end->flags & O_ACCMODE;

    (void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
    (void)snprintf(info, sizeof(info), "/proc/%d/fdinfo/%d", (int)pid, fd);
    if (stat(link, &st) < 0 || file_read_at(AT_FDCWD, info, 0, 65536, &text, NULL) < 0 ||
        fdinfo_field(text, "pos", 10, &end->offset) < 0)
        return error_set(e, ERROR_CHECKPOINT, EIO, "look at descriptor", link, NULL, NULL);
    end->has_offset = access == O_RDONLY ||
                      (access == O_RDWR && !(end->flags & O_APPEND) && st.st_size >= 0 &&
                       end->offset < (uint64_t)st.st_size);
    return 0;
}

int stdio_refresh_offsets(pid_t pid, struct stdio_info *info, struct error *e)
{
    for (int fd = 0; fd < 3; fd++) {
        int r = info->end[fd].kind == STDIO_FILE ? inspect_offset(pid, fd, &info->end[fd], e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* No symlinks: the kernel puts none into the path of a descriptor, so one that is there now was put
 * there since. */
static int open_named(const char *path, int flags)
{
    if (path[0] != '/')
        return -EINVAL;
    return sys_openat2(AT_FDCWD, path, (uint64_t)flags, flags & O_CREAT ? 0600 : 0,
                       RESOLVE_NO_SYMLINKS);
}

/* Whether a name on the host is one of the file. */
static bool leads_to(const char *path, const struct stat *file)
{
    struct stat st;
    _cleanup_close_ int fd = open_named(path, O_PATH);

    return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == file->st_dev &&
           st.st_ino == file->st_ino;
}

static bool is_deleted(const char *target)
{
    size_t n = strlen(target), tail = strlen(DELETED);

    return n > tail && streq(target + n - tail, DELETED);
}

/* A file outside of the container's mounts. Its path is text that the container can choose: of a
 * file on a mount that is gone, the kernel tells the path below that mount, be it "/etc/shadow". A
 * name that leads elsewhere is marked like one that leads nowhere, and never opened. */
static void inspect_file(struct stdio_end *end, uint64_t mnt_id, const struct stat *st)
{
    end->kind = STDIO_FILE;
    end->key =
        str_printf("file[%llx:%llx]", (unsigned long long)mnt_id, (unsigned long long)st->st_ino);
    if (is_deleted(end->target) || leads_to(end->target, st))
        return;
    char *marked = str_printf("%s" DELETED, end->target);
    free(end->target);
    end->target = marked;
}

static int inspect_end(pid_t pid, int fd, struct stdio_end *end, struct error *e)
{
    char link[64], info[64], target[PATH_MAX];
    _cleanup_free_ char *text = NULL;
    struct stat st;
    uint64_t mnt_id = 0, flags = 0;
    bool inside = true;

    (void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
    (void)snprintf(info, sizeof(info), "/proc/%d/fdinfo/%d", (int)pid, fd);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n < 0) {
        end->target = mem_strdup("/dev/null");
        return 0;
    }
    target[n] = '\0';
    end->target = mem_strdup(target);
    if (stat(link, &st) < 0 || file_read_at(AT_FDCWD, info, 0, 65536, &text, NULL) < 0 ||
        fdinfo_field(text, "mnt_id", 10, &mnt_id) < 0 ||
        fdinfo_field(text, "flags", 8, &flags) < 0)
        return error_set(e, ERROR_CHECKPOINT, EIO, "look at descriptor", link, NULL, NULL);
    end->flags = (int)flags;

    if (str_after(target, "pipe:[")) {
        end->kind = STDIO_PIPE;
        end->key = mem_strdup(target);
        return 0;
    }
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        return 0;
    int r = has_mount(pid, mnt_id, &inside, e);
    if (r < 0 || inside)
        return r;
    /* Anonymous memory, which CRIU saves by itself. */
    if (str_after(end->target, "/memfd:"))
        return 0;
    if (S_ISREG(st.st_mode)) {
        inspect_file(end, mnt_id, &st);
        return inspect_offset(pid, fd, end, e);
    } else if (major(st.st_rdev) >= 136 && major(st.st_rdev) <= 143) {
        /* Majors 136 to 143 are the slaves of ptys (Documentation/admin-guide/devices.txt). */
        end->kind = STDIO_TTY;
        end->key = str_printf("tty[%llx:%llx]", (unsigned long long)st.st_rdev,
                              (unsigned long long)st.st_dev);
    }
    return 0;
}

/* Whether the process holds an end of the pipe that can do what `access` can't. */
static bool holds_other_end(pid_t pid, const char *pipe, int access)
{
    _cleanup_free_ char *dir = str_printf("/proc/%d/fd", (int)pid);
    _cleanup_closedir_ DIR *d = opendir(dir);

    for (struct dirent *de; d && (de = readdir(d));) {
        char target[64];
        uint64_t flags;
        ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (!streq(target, pipe))
            continue;

        _cleanup_free_ char *info = str_printf("/proc/%d/fdinfo/%s", (int)pid, de->d_name);
        _cleanup_free_ char *text = NULL;
        if (file_read_at(AT_FDCWD, info, 0, 65536, &text, NULL) == 0 &&
            fdinfo_field(text, "flags", 8, &flags) == 0 && ((int)flags & O_ACCMODE) != access)
            return true;
    }
    return false;
}

/* A pipe that leads from one process of the container to another is CRIU's business: handed over at
 * the restore, the caller's descriptor would take the place of both ends. */
static void keep_inner_pipes(struct stdio_info *info, const pid_t *pids, size_t n)
{
    for (int fd = 0; fd < 3; fd++) {
        struct stdio_end *end = &info->end[fd];
        bool inner = false;
        for (size_t i = 0; end->kind == STDIO_PIPE && i < n && !inner; i++)
            inner = holds_other_end(pids[i], end->key, end->flags & O_ACCMODE);
        if (!inner)
            continue;
        end->kind = STDIO_INSIDE;
        free(end->key);
        end->key = NULL;
    }
}

int stdio_inspect(pid_t pid, const pid_t *pids, size_t n, struct stdio_info *ret, struct error *e)
{
    _cleanup_stdio_ struct stdio_info info = {0};

    for (int fd = 0; fd < 3; fd++) {
        int r = inspect_end(pid, fd, &info.end[fd], e);
        if (r < 0)
            return r;
    }
    keep_inner_pipes(&info, pids, n);
    *ret = info;
    info = (struct stdio_info){0};
    return 0;
}

bool stdio_has_tty(const struct stdio_info *info)
{
    for (int i = 0; i < 3; i++)
        if (info->end[i].kind == STDIO_TTY)
            return true;
    return false;
}

char **stdio_external_keys(const struct stdio_info *info)
{
    char **keys = NULL;

    for (int i = 0; i < 3; i++) {
        const struct stdio_end *end = &info->end[i];
        bool external = end->kind == STDIO_FILE || end->kind == STDIO_TTY;
        if (external && !strv_contains(keys, end->key))
            strv_push(&keys, mem_strdup(end->key));
    }
    return keys;
}

int stdio_save_descriptors(const struct stdio_info *info, int images_fd, struct error *e)
{
    struct json_object *array = json_object_new_array();
    for (int i = 0; i < 3; i++)
        json_object_array_add(array, json_object_new_string(info->end[i].target));
    const char *text = json_object_to_json_string_ext(
        array, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    int r = file_replace_at(images_fd, STDIO_DESCRIPTORS_FILE, text, strlen(text));
    json_object_put(array);
    if (r < 0)
        return error_set(e, ERROR_CHECKPOINT, -r, "write", STDIO_DESCRIPTORS_FILE,
                         r == -ENOSPC ? "free space there, or choose another directory" : NULL,
                         NULL);
    return 0;
}

int stdio_load_descriptors(int images_fd, const char *dir, struct stdio_info *ret,
                           struct error *e)
{
    static const char step[] = "read descriptors of checkpoint";
    _cleanup_free_ char *name = str_printf("%s/%s", dir, STDIO_DESCRIPTORS_FILE), *text = NULL;
    _cleanup_stdio_ struct stdio_info info = {0};
    size_t len;
    int r = file_read_at(images_fd, STDIO_DESCRIPTORS_FILE, O_NOFOLLOW, 65536, &text, &len);
    if (r < 0)
        return error_set(e, ERROR_CHECKPOINT, -r, step, name,
                         "check that the directory holds a checkpoint", NULL);

    /* The root is an array here, so the decoding layer gets it wrapped. */
    _cleanup_free_ char *wrapped = str_printf("{\"descriptors\":%s}", text);
    struct json_doc doc;
    r = json_doc_parse(&doc, wrapped, strlen(wrapped), name, ERROR_CHECKPOINT, step, e);
    if (r < 0)
        return r;
    struct json_at root = json_root(&doc);
    struct json_at at = json_member(&root, "descriptors");
    _cleanup_strv_ char **targets = NULL;
    r = json_need(&at, e);
    if (r >= 0)
        r = json_get_strv(&at, &targets, e);
    if (r >= 0 && strv_len(targets) != 3)
        r = json_error(&at, e, ERROR_CHECKPOINT, NULL, "expected 3 strings");
    for (int i = 0; r >= 0 && i < 3; i++) {
        struct stdio_end *end = &info.end[i];
        end->target = mem_strdup(targets[i]);
        if (str_after(end->target, "pipe:[")) {
            end->kind = STDIO_PIPE;
            end->key = mem_strdup(end->target);
        }
    }
    json_doc_done(&doc);
    if (r < 0)
        return r;
    *ret = info;
    info = (struct stdio_info){0};
    return 0;
}

static bool handed_over(const struct stdio_handover *h, const char *key)
{
    for (size_t i = 0; i < h->n; i++)
        if (streq(h->item[i].key, key))
            return true;
    return false;
}

static void hand(struct stdio_handover *h, char *key, int fd, bool own)
{
    h->item[h->n].key = key;
    h->item[h->n].fd = fd;
    h->item[h->n].own = own;
    h->n++;
}

/* The host file again, positioned so that nothing is read twice, and nothing that was written is
 * overwritten. */
static int reopen_file(const struct stdio_end *end, struct error *e)
{
    int access = end->flags & O_ACCMODE;
    /* O_NONBLOCK: opening what may be a FIFO by now must not wait for its other end. */
    int flags = (end->flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY |
                O_CLOEXEC | (access != O_RDONLY ? O_CREAT : 0);
    int fd = open_named(end->target, flags);
    if (fd < 0)
        return error_set(e, ERROR_CHECKPOINT, -fd, "open again the container's output or input",
                         end->target, "make the file, or its directory, where it was",
                         fd == -ELOOP ? "there is a symlink in its path now" : NULL);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        fd_close(fd);
        return error_set(e, ERROR_CHECKPOINT, EINVAL, "open again the container's output or input",
                         end->target, "move away what is there now", "it is no regular file");
    }
    if (!(end->flags & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, end->flags & O_APPEND);
    (void)lseek(fd, end->has_offset ? (off_t)end->offset : 0,
                end->has_offset ? SEEK_SET : SEEK_END);
    return fd;
}

static int hand_over_file(const struct stdio_end *end, int caller_fd, bool trusted,
                          struct stdio_handover *h, struct error *e)
{
    bool own = trusted && !is_deleted(end->target);
    int fd = own ? reopen_file(end, e) : caller_fd;
    if (fd < 0)
        return fd;

    /* Two keys for one file. Under "file[…]" CRIU checks that the file has the size it had, which a
     * log that grew has not. A descriptor inherited under the path of a file, which CRIU keeps
     * without its first byte (the slash of ordinary paths), is taken as it is; for an external file
     * the path is the key (criu/files-ext.c, files.c inherit_fd, 3.x to 4.2). */
    hand(h, mem_strdup(end->key + 1), fd, own);
    hand(h, mem_strdup(end->key), fd, false);
    return 0;
}

int stdio_hand_over(const struct stdio_info *info, bool trusted, struct stdio_handover *ret,
                    struct error *e)
{
    _cleanup_handover_ struct stdio_handover h = {0};

    for (int fd = 0; fd < 3; fd++) {
        const struct stdio_end *end = &info->end[fd];
        if (!end->key || handed_over(&h, end->key))
            continue;
        switch (end->kind) {
        case STDIO_INSIDE:
            break;
        case STDIO_TTY:
            if (!isatty(fd))
                return error_set(e, ERROR_CHECKPOINT, ENOTTY, "give the container its terminal",
                                 end->target, "run restore from a terminal",
                                 "descriptor %d of this command is none", fd);
            hand(&h, mem_strdup(end->key), fd, false);
            break;
        case STDIO_PIPE:
            hand(&h, mem_strdup(end->key), fd, false);
            break;
        case STDIO_FILE: {
            int r = hand_over_file(end, fd, trusted, &h, e);
            if (r < 0)
                return r;
            break;
        }
        }
    }
    *ret = h;
    h = (struct stdio_handover){0};
    return 0;
}

void stdio_handover_done(struct stdio_handover *h)
{
    for (size_t i = 0; i < h->n; i++) {
        free(h->item[i].key);
        if (h->item[i].own)
            fd_close(h->item[i].fd);
    }
    h->n = 0;
}
