/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "seal/seal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "seal/crypto.h"
#include "seal/tree.h"

static const char SEAL[] = "seal checkpoint";
static const char VERIFY[] = "verify checkpoint";

static int seal_error(struct error *e, int errnum, const char *step, const char *name,
                      const char *remedy, const char *why)
{
    _cleanup_free_ char *path = path_join(name, SEAL_FILE);
    return error_set(e, ERROR_SEAL, errnum, step, path, remedy, why ? "%s" : NULL, why);
}

/* The root for reading, whatever `treefd` was opened for. */
static int open_root(int treefd, const char *name, const char *step, struct error *e)
{
    int fd = openat(treefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_set(e, ERROR_SEAL, errno, step, name, NULL, NULL) : fd;
}

static int digest(int rootfd, const char *name, const char *step, const struct seal_key *key,
                  bool sync, char ret[static CRYPTO_SHA256_HEX + 1], struct seal_info *ret_info,
                  struct error *e)
{
    unsigned char bytes[CRYPTO_SHA256_SIZE];
    _cleanup_hmac_ struct crypto_hmac *mac = NULL;

    int r = crypto_load(e);
    if (r == 0)
        r = crypto_hmac_new(key->data, key->len, &mac, e);
    if (r == 0)
        r = tree_feed(rootfd, name, step, sync, mac, ret_info, e);
    if (r == 0)
        r = crypto_hmac_end(mac, bytes, e);
    if (r == 0)
        crypto_hex(bytes, ret);
    return r;
}

int seal_prepare(struct error *e)
{
    static const unsigned char key[SEAL_KEY_MIN];
    _cleanup_hmac_ struct crypto_hmac *mac = NULL;
    int r = crypto_load(e);

    /* The first one makes libcrypto look for its providers. */
    return r < 0 ? r : crypto_hmac_new(key, sizeof(key), &mac, e);
}

/* A seal that was being written when the machine stopped is no part of the tree. Anything but a
 * regular file there is left for the walk to refuse. */
static int remove_stale_temp(int rootfd, const char *name, struct error *e)
{
    struct stat st;

    if (fstatat(rootfd, SEAL_FILE ".tmp", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (unlinkat(rootfd, SEAL_FILE ".tmp", 0) < 0 && errno != ENOENT)
        return seal_error(e, errno, SEAL, name, NULL, NULL);
    return 0;
}

int seal_write(int treefd, const char *name, const struct seal_key *key, bool sync,
               struct seal_info *ret_info, struct error *e)
{
    char hex[CRYPTO_SHA256_HEX + 1];
    struct seal_info info;
    _cleanup_close_ int root = open_root(treefd, name, SEAL, e);
    if (root < 0)
        return root;

    int r = remove_stale_temp(root, name, e);
    if (r == 0)
        r = digest(root, name, SEAL, key, sync, hex, &info, e);
    if (r < 0)
        return r;
    r = file_replace_at(root, SEAL_FILE, hex, CRYPTO_SHA256_HEX);
    if (r < 0)
        return seal_error(e, -r, SEAL, name, NULL, NULL);
    if (ret_info)
        *ret_info = info;
    return 0;
}

/* 64 lower-case hex digits; an editor's newline behind them does no harm. */
static bool well_formed(const char *text, ssize_t n)
{
    if (n == CRYPTO_SHA256_HEX + 1 && text[CRYPTO_SHA256_HEX] == '\n')
        n--;
    if (n != CRYPTO_SHA256_HEX)
        return false;
    for (ssize_t i = 0; i < n; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

static int read_seal(int rootfd, const char *name, char ret[static CRYPTO_SHA256_HEX + 2],
                     struct error *e)
{
    static const char remedy[] = "use an unchanged copy of the checkpoint";
    char text[CRYPTO_SHA256_HEX + 2];
    struct stat st;
    _cleanup_close_ int fd =
        openat(rootfd, SEAL_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return seal_error(e, errno, VERIFY, name, remedy,
                          errno == ENOENT  ? "the seal is missing"
                          : errno == ELOOP ? "the seal is a symlink"
                                           : NULL);
    if (fstat(fd, &st) < 0)
        return seal_error(e, errno, VERIFY, name, NULL, NULL);
    if (!S_ISREG(st.st_mode))
        return seal_error(e, EINVAL, VERIFY, name, remedy, "the seal is not a regular file");
    ssize_t n = fd_read_full(fd, text, sizeof(text));
    if (n < 0)
        return seal_error(e, (int)-n, VERIFY, name, NULL, NULL);
    if (n == 0)
        return seal_error(e, EINVAL, VERIFY, name, remedy, "the seal is empty");
    if (!well_formed(text, n))
        return seal_error(e, EINVAL, VERIFY, name, remedy,
                          "the seal is malformed: it must be 64 lower-case hex digits");
    memcpy(ret, text, CRYPTO_SHA256_HEX);
    ret[CRYPTO_SHA256_HEX] = '\0';
    return 0;
}

int seal_verify(int treefd, const char *name, const struct seal_key *key,
                struct seal_info *ret_info, struct error *e)
{
    char stored[CRYPTO_SHA256_HEX + 2], hex[CRYPTO_SHA256_HEX + 1];
    struct seal_info info;
    _cleanup_close_ int root = open_root(treefd, name, VERIFY, e);
    if (root < 0)
        return root;

    int r = read_seal(root, name, stored, e);
    if (r == 0)
        r = digest(root, name, VERIFY, key, false, hex, &info, e);
    if (r < 0)
        return r;
    bool same = crypto_equal(hex, stored, CRYPTO_SHA256_HEX);
    explicit_bzero(hex, sizeof(hex));
    if (!same)
        return error_set(e, ERROR_SEAL, EBADMSG, VERIFY, name,
                         "use an unchanged copy and the key it was sealed with",
                         "HMAC mismatch: it is not what was sealed with this key");
    if (ret_info)
        *ret_info = info;
    return 0;
}

bool seal_present(int treefd)
{
    struct stat st;
    return fstatat(treefd, SEAL_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int seal_sha256_hex(const void *data, size_t n, char **ret, struct error *e)
{
    unsigned char bytes[CRYPTO_SHA256_SIZE];

    int r = crypto_load(e);
    if (r == 0)
        r = crypto_sha256(data, n, bytes, e);
    if (r < 0)
        return r;
    *ret = mem_alloc(CRYPTO_SHA256_HEX + 1);
    crypto_hex(bytes, *ret);
    return 0;
}
