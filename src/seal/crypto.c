/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "seal/crypto.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/mem.h"

#define SONAME "libcrypto.so.3"

/* What packagers' tools read in place of the DT_NEEDED that is not there: an ELF note as laid out
 * by the UAPI group's "ELF dlopen metadata" specification (owner "FDO", type 0x407c0c0a, a JSON
 * array). */
#define DLOPEN_NOTE                                                                                \
    "[{\"feature\":\"seal\",\"description\":\"Sealing and verifying checkpoints\","                \
    "\"priority\":\"recommended\",\"soname\":[\"" SONAME "\"]}]"

static const struct {
    uint32_t name_size, text_size, type;
    char name[sizeof("FDO")];
    _Alignas(uint32_t) char text[sizeof(DLOPEN_NOTE)];
} dlopen_note __attribute__((used, section(".note.dlopen"), aligned(sizeof(uint32_t)))) = {
    .name_size = sizeof("FDO"),
    .text_size = sizeof(DLOPEN_NOTE),
    .type = 0x407c0c0a,
    .name = "FDO",
    .text = DLOPEN_NOTE,
};

/* One pointer a function, of the type its header declares. */
#define FUNCTIONS(X)                                                                               \
    X(CRYPTO_memcmp)                                                                               \
    X(EVP_Digest)                                                                                  \
    X(EVP_MAC_CTX_free)                                                                            \
    X(EVP_MAC_CTX_new)                                                                             \
    X(EVP_MAC_fetch)                                                                               \
    X(EVP_MAC_final)                                                                               \
    X(EVP_MAC_free)                                                                                \
    X(EVP_MAC_init)                                                                                \
    X(EVP_MAC_update)                                                                              \
    X(EVP_sha256)                                                                                  \
    X(OPENSSL_init_crypto)                                                                         \
    X(OSSL_PARAM_construct_end)                                                                    \
    X(OSSL_PARAM_construct_utf8_string)

static struct {
    void *library;
#define MEMBER(name) __typeof__(name) *name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} lib;

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define SYMBOL(name) {#name, offsetof(__typeof__(lib), name)},
    FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static int missing(struct error *e, const char *soname, const char *why)
{
    return error_set(e, ERROR_SEAL, ENOENT, "load the cryptographic library", soname,
                     "install libssl3 (Debian, Ubuntu) or openssl-libs (Fedora)", "%s", why);
}

static void unload(void)
{
    if (lib.library)
        (void)dlclose(lib.library);
    lib = (__typeof__(lib)){0};
}

int crypto_load_from(const char *soname, struct error *e)
{
    unload();
    lib.library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!lib.library)
        return missing(e, soname, dlerror());
    for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
        void *f = dlsym(lib.library, symbols[i].name);

        if (!f) {
            int r = missing(e, soname, dlerror());
            unload();
            return r;
        }
        memcpy((char *)&lib + symbols[i].offset, &f, sizeof(f));
    }
    /* What a seal is must not depend on a host's openssl.cnf or the environment's OPENSSL_CONF;
     * and there is nothing to clean up at exit that the kernel does not. */
    if (!lib.OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL)) {
        unload();
        return missing(e, soname, "it can't be initialised");
    }
    return 0;
}

int crypto_load(struct error *e)
{
    return lib.library ? 0 : crypto_load_from(SONAME, e);
}

static int failed(struct error *e, const char *what)
{
    return error_set(e, ERROR_SEAL, EIO, "compute a digest", NULL, NULL,
                     "libcrypto refuses %s; does it offer SHA-256?", what);
}

struct crypto_hmac {
    EVP_MAC *mac;
    EVP_MAC_CTX *ctx;
};

void crypto_hmac_free(struct crypto_hmac *mac)
{
    if (!mac)
        return;
    /* OpenSSL wipes a context's key when it frees it. */
    lib.EVP_MAC_CTX_free(mac->ctx);
    lib.EVP_MAC_free(mac->mac);
    free(mac);
}

int crypto_hmac_new(const void *key, size_t n, struct crypto_hmac **ret, struct error *e)
{
    _cleanup_hmac_ struct crypto_hmac *mac = mem_new0(struct crypto_hmac);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        lib.OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        lib.OSSL_PARAM_construct_end(),
    };

    mac->mac = lib.EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac->mac)
        mac->ctx = lib.EVP_MAC_CTX_new(mac->mac);
    if (!mac->ctx || !lib.EVP_MAC_init(mac->ctx, key, n, params))
        return failed(e, "HMAC-SHA256");
    *ret = TAKE_PTR(mac);
    return 0;
}

int crypto_hmac_add(struct crypto_hmac *mac, const void *data, size_t n, struct error *e)
{
    return lib.EVP_MAC_update(mac->ctx, data, n) ? 0 : failed(e, "data for HMAC-SHA256");
}

int crypto_hmac_end(struct crypto_hmac *mac, unsigned char ret[static CRYPTO_SHA256_SIZE],
                    struct error *e)
{
    size_t n = 0;

    if (!lib.EVP_MAC_final(mac->ctx, ret, &n, CRYPTO_SHA256_SIZE) || n != CRYPTO_SHA256_SIZE)
        return failed(e, "the end of HMAC-SHA256");
    return 0;
}

int crypto_sha256(const void *data, size_t n, unsigned char ret[static CRYPTO_SHA256_SIZE],
                  struct error *e)
{
    return lib.EVP_Digest(data, n, ret, NULL, lib.EVP_sha256(), NULL) ? 0 : failed(e, "SHA-256");
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return lib.CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_hex(const unsigned char digest[static CRYPTO_SHA256_SIZE],
                char ret[static CRYPTO_SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < CRYPTO_SHA256_SIZE; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
    ret[CRYPTO_SHA256_HEX] = '\0';
}
