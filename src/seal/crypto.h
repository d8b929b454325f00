/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The few functions of OpenSSL's libcrypto that are needed, loaded on first use (design.md, 3). */

#define CRYPTO_SHA256_SIZE 32
#define CRYPTO_SHA256_HEX (2 * CRYPTO_SHA256_SIZE)

/* Makes the library ready; every other function here needs that to have succeeded. Cheap when it
 * is. ERROR_SEAL names what is missing. */
int crypto_load(struct error *e);
/* The same from another library: a seam for tests. Forgets what was loaded before, and where it
 * fails nothing is loaded afterwards. */
int crypto_load_from(const char *soname, struct error *e);

/* A running HMAC-SHA256. */
struct crypto_hmac;
int crypto_hmac_new(const void *key, size_t n, struct crypto_hmac **ret, struct error *e);
int crypto_hmac_add(struct crypto_hmac *mac, const void *data, size_t n, struct error *e);
int crypto_hmac_end(struct crypto_hmac *mac, unsigned char ret[static CRYPTO_SHA256_SIZE],
                    struct error *e);
void crypto_hmac_free(struct crypto_hmac *mac); /* wipes the key's traces */
DEFINE_CLEANUP(struct crypto_hmac *, crypto_hmac_free)
#define _cleanup_hmac_ _cleanup_(crypto_hmac_freep)

int crypto_sha256(const void *data, size_t n, unsigned char ret[static CRYPTO_SHA256_SIZE],
                  struct error *e);

/* Takes as long whatever the bytes are. */
bool crypto_equal(const void *a, const void *b, size_t n);

/* Lower-case hex and a NUL. */
void crypto_hex(const unsigned char digest[static CRYPTO_SHA256_SIZE],
                char ret[static CRYPTO_SHA256_HEX + 1]);
