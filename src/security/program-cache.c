/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "security/program-cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

void cached_program_done(struct cached_program *p)
{
    free(p->code);
    free(p->skipped);
    *p = (struct cached_program){0};
}

/* --- the file ------------------------------------------------------------------------------- */

/* In the machine's own byte order: a file of another order has another format. Behind it come the
 * program, the key and the names. */
struct header {
    char magic[8];
    uint64_t checksum; /* of all that follows it */
    uint32_t format, n, key_len, skipped_len;
};

static const char MAGIC[8] = "nucbpf\n";

/* Where the checksum begins to count. */
#define CHECKED offsetof(struct header, format)
#define FILE_MAX                                                                                   \
    (sizeof(struct header) + BPF_MAXINSNS * sizeof(struct sock_filter) + 2 * PROGRAM_CACHE_TEXT_MAX)

/* Eight bytes a step, each step reversible: two texts that differ in one word never have the same
 * value. Good against accidents, and for nothing else. */
static uint64_t hash64(const char *data, size_t n)
{
    const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t h = n * prime;

    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, data + i, MIN(n - i, sizeof(word)));
        h = (h ^ word) * prime;
        h ^= h >> 32;
    }
    return h;
}

char *program_cache_name(const char *key, size_t key_len)
{
    return str_printf("%016" PRIx64, hash64(key, key_len));
}

char *program_cache_encode(const char *key, size_t key_len, const struct cached_program *p,
                           size_t *ret_len)
{
    const size_t code_len = p->n * sizeof(*p->code);
    struct header h = {
        .format = PROGRAM_CACHE_FORMAT,
        .n = (uint32_t)p->n,
        .key_len = (uint32_t)key_len,
        .skipped_len = (uint32_t)p->skipped_len,
    };
    struct strbuf b = {0};

    memcpy(h.magic, MAGIC, sizeof(MAGIC));
    strbuf_addn(&b, (const char *)&h, sizeof(h));
    strbuf_addn(&b, (const char *)p->code, code_len);
    strbuf_addn(&b, key, key_len);
    strbuf_addn(&b, p->skipped, p->skipped_len);
    h.checksum = hash64(b.s + CHECKED, b.len - CHECKED);
    memcpy(b.s, &h, sizeof(h));
    *ret_len = b.len;
    return strbuf_take(&b);
}

/* Jumps only go forward, so a program whose last instruction returns always does. */
bool program_is_valid(const struct sock_filter *code, size_t n)
{
    if (n == 0 || n > BPF_MAXINSNS || code[n - 1].code != (BPF_RET | BPF_K))
        return false;
    for (size_t i = 0; i < n; i++) {
        const size_t behind = n - i - 1; /* instructions that a jump can reach */
        switch (code[i].code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (code[i].k % 4 != 0 || code[i].k >= sizeof(struct seccomp_data))
                return false;
            break;
        case BPF_JMP | BPF_JA:
            if (code[i].k >= behind)
                return false;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_K:
            if (code[i].jt >= behind || code[i].jf >= behind)
                return false;
            break;
        case BPF_ALU | BPF_AND | BPF_K:
        case BPF_RET | BPF_K:
            break;
        default:
            return false;
        }
    }
    return true;
}

int program_cache_decode(const char *file, size_t len, const char *key, size_t key_len,
                         struct cached_program *ret)
{
    struct header h;

    if (len < sizeof(h) || len > FILE_MAX)
        return -EBADMSG;
    memcpy(&h, file, sizeof(h));
    if (memcmp(h.magic, MAGIC, sizeof(MAGIC)) != 0 || h.format != PROGRAM_CACHE_FORMAT ||
        h.n > BPF_MAXINSNS || h.key_len > PROGRAM_CACHE_TEXT_MAX ||
        h.skipped_len > PROGRAM_CACHE_TEXT_MAX)
        return -EBADMSG;

    const size_t code_len = h.n * sizeof(struct sock_filter);
    const char *code = file + sizeof(h);
    if (sizeof(h) + code_len + h.key_len + h.skipped_len != len ||
        h.checksum != hash64(file + CHECKED, len - CHECKED))
        return -EBADMSG;
    const char *its_key = code + code_len, *skipped = its_key + h.key_len;
    if (h.key_len != key_len || memcmp(its_key, key, key_len) != 0)
        return -ENOENT;
    if (h.skipped_len > 0 && skipped[h.skipped_len - 1] != '\0')
        return -EBADMSG;

    struct cached_program p = {
        .code = mem_dup(code, code_len),
        .n = h.n,
        .skipped = mem_dup(skipped, h.skipped_len),
        .skipped_len = h.skipped_len,
    };
    if (!program_is_valid(p.code, p.n)) {
        cached_program_done(&p);
        return -EINVAL;
    }
    *ret = p;
    return 0;
}

/* --- the directory -------------------------------------------------------------------------- */

/* Ours, and nobody else's to write to. */
static bool is_private(const struct stat *st, mode_t refused)
{
    return st->st_uid == geteuid() && (st->st_mode & refused) == 0;
}

static int open_directory(int statefd, bool make)
{
    struct stat st;

    if (statefd < 0)
        return -ENOENT;
    if (make && mkdirat(statefd, PROGRAM_CACHE_DIRECTORY, 0700) < 0 && errno != EEXIST)
        return -errno;
    _cleanup_close_ int fd =
        openat(statefd, PROGRAM_CACHE_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return is_private(&st, 077) ? TAKE_FD(fd) : -EPERM;
}

static int read_file(int dirfd, const char *name, char **ret, size_t *ret_len)
{
    struct stat st;
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADF;
    if (!is_private(&st, 022))
        return -EPERM;
    return fd_read_all(fd, FILE_MAX, ret, ret_len);
}

int program_cache_load(int statefd, const char *key, size_t key_len, struct cached_program *ret)
{
    _cleanup_free_ char *name = program_cache_name(key, key_len), *file = NULL;
    size_t len;

    _cleanup_close_ int dirfd = open_directory(statefd, false);
    int r = dirfd < 0 ? dirfd : read_file(dirfd, name, &file, &len);
    if (r >= 0)
        r = program_cache_decode(file, len, key, key_len, ret);
    if (r < 0 && r != -ENOENT)
        log_debug("seccomp: the cached program %s is not used: %s", name, strerror(-r));
    return MIN(r, 0);
}

/* What a killed command left at the name, or another one is just writing, goes. Should the two get
 * into each other's way, the checksum tells. */
static int write_file(int dirfd, const char *name, const char *data, size_t n)
{
    _cleanup_free_ char *temp = str_printf("%s.tmp", name);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

    _cleanup_close_ int fd = openat(dirfd, temp, flags, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(dirfd, temp, 0) == 0)
        fd = openat(dirfd, temp, flags, 0600);
    if (fd < 0)
        return -errno;
    /* Not synced: a file that a power cut tears is compiled anew. */
    int r = fd_write_all(fd, data, n);
    if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(dirfd, temp, 0);
    return r;
}

struct aged {
    char name[NAME_MAX + 1];
    struct timespec mtime;
};

static int compare_ages(const void *a, const void *b)
{
    const struct timespec *x = &((const struct aged *)a)->mtime;
    const struct timespec *y = &((const struct aged *)b)->mtime;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* All but the newest go, whatever they are. */
static void remove_oldest(int dirfd)
{
    _cleanup_free_ struct aged *files = NULL;
    size_t n = 0;

    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        (void)fd_close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (entry->d_name[0] == '.' || fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        mem_grow(files, n);
        files[n].mtime = st.st_mtim;
        memcpy(files[n++].name, entry->d_name, strlen(entry->d_name) + 1);
    }
    if (n <= PROGRAM_CACHE_FILES_MAX)
        return;
    qsort(files, n, sizeof(*files), compare_ages);
    for (size_t i = 0; i < n - PROGRAM_CACHE_FILES_MAX; i++)
        (void)unlinkat(dirfd, files[i].name, 0);
}

void program_cache_save(int statefd, const char *key, size_t key_len,
                        const struct cached_program *p)
{
    size_t len;

    if (statefd < 0)
        return;
    /* What would not be loaded is not kept. */
    if (key_len > PROGRAM_CACHE_TEXT_MAX || p->skipped_len > PROGRAM_CACHE_TEXT_MAX ||
        !program_is_valid(p->code, p->n)) {
        log_debug("seccomp: this program is none for the cache");
        return;
    }
    _cleanup_free_ char *name = program_cache_name(key, key_len);
    _cleanup_free_ char *file = program_cache_encode(key, key_len, p, &len);
    _cleanup_close_ int dirfd = open_directory(statefd, true);
    int r = dirfd < 0 ? dirfd : write_file(dirfd, name, file, len);
    if (r < 0) {
        log_debug("seccomp: the compiled program is not cached: %s", strerror(-r));
        return;
    }
    remove_oldest(dirfd);
}
