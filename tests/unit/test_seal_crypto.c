/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <elf.h>
#include <errno.h>

#include "base/file.h"
#include "seal/crypto.h"
#include "seal/seal.h"

static void test_h1_hmac_sha256_of_rfc_4231(void **state)
{
    struct crypto_hmac *mac = NULL;
    unsigned char digest[CRYPTO_SHA256_SIZE];
    char hex[CRYPTO_SHA256_HEX + 1];
    (void)state;

    /* RFC 4231, test case 2. */
    assert_int_equal(crypto_load(NULL), 0);
    assert_int_equal(crypto_hmac_new("Jefe", 4, &mac, NULL), 0);
    assert_int_equal(crypto_hmac_add(mac, "what do ya want ", 16, NULL), 0);
    assert_int_equal(crypto_hmac_add(mac, "", 0, NULL), 0);
    assert_int_equal(crypto_hmac_add(mac, "for nothing?", 12, NULL), 0);
    assert_int_equal(crypto_hmac_end(mac, digest, NULL), 0);
    crypto_hex(digest, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_hmac_free(mac);
}

static void test_sha256_of_fips_180(void **state)
{
    char *hex = NULL;
    (void)state;

    assert_int_equal(seal_sha256_hex("abc", 3, &hex, NULL), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    free(hex);
    assert_int_equal(seal_sha256_hex("", 0, &hex, NULL), 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    free(hex);
}

static void test_h3_equal(void **state)
{
    (void)state;
    assert_int_equal(crypto_load(NULL), 0);
    assert_true(crypto_equal("abc", "abd", 2));
    assert_false(crypto_equal("abc", "abd", 3));
    assert_false(crypto_equal("xbc", "abc", 3));
}

static void test_missing_libcrypto_is_a_clear_error(void **state)
{
    struct error e = {0};
    char *hex = NULL;
    (void)state;

    assert_int_equal(crypto_load_from("libcrypto-missing.so.0", &e), -ENOENT);
    assert_int_equal(e.code, ERROR_SEAL);
    assert_error_says(&e, "libcrypto-missing.so.0");
    assert_error_says(&e, "install libssl3");
    /* A library of that name without the functions. */
    assert_int_equal(crypto_load_from("libc.so.6", &e), -ENOENT);
    assert_error_says(&e, "CRYPTO_memcmp");
    error_done(&e);
    assert_int_equal(seal_sha256_hex("abc", 3, &hex, NULL), 0);
    free(hex);
}

/* The section's note, read as packagers' tools do. */
static void test_dlopen_note_is_well_formed(void **state)
{
    char *image = NULL;
    size_t n;
    int found = 0;
    (void)state;

    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/exe", 0, 256u << 20, &image, &n), 0);
    const Elf64_Ehdr *head = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + head->e_shoff);
    const char *names = image + sections[head->e_shstrndx].sh_offset;
    for (unsigned i = 0; i < head->e_shnum; i++) {
        if (strcmp(names + sections[i].sh_name, ".note.dlopen") != 0)
            continue;
        const Elf64_Nhdr *note = (const void *)(image + sections[i].sh_offset);
        const char *name = (const char *)(note + 1), *text = name + ((note->n_namesz + 3) & ~3u);
        found++;
        assert_int_equal(sections[i].sh_type, SHT_NOTE);
        assert_true(sections[i].sh_flags & SHF_ALLOC);
        assert_int_equal(note->n_type, 0x407c0c0a);
        assert_string_equal(name, "FDO");
        assert_int_equal(strlen(text) + 1, note->n_descsz);
        assert_non_null(strstr(text, "\"soname\":[\"libcrypto.so.3\"]"));
    }
    assert_int_equal(found, 1);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_hmac_sha256_of_rfc_4231),
        cmocka_unit_test(test_sha256_of_fips_180),
        cmocka_unit_test(test_h3_equal),
        cmocka_unit_test(test_missing_libcrypto_is_a_clear_error),
        cmocka_unit_test(test_dlopen_note_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
