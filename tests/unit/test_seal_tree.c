/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "seal/seal.h"
#include "seal/tree.h"

/* 0, 1, … 31. */
static struct seal_key make_key(void)
{
    struct seal_key key = {.data = mem_alloc(32), .len = 32};
    for (unsigned i = 0; i < 32; i++)
        key.data[i] = (unsigned char)i;
    return key;
}

static void make_dir(const struct temp_dir *d, const char *name)
{
    assert_int_equal(mkdirat(d->fd, name, 0700), 0);
}

static void seal(const struct temp_dir *d)
{
    struct seal_key key = make_key();
    struct error e = {0};
    if (seal_write(d->fd, d->path, &key, false, NULL, &e) < 0)
        fail_msg("%s", error_render(&e));
    seal_key_done(&key);
}

static void expect_intact(const struct temp_dir *d)
{
    struct seal_key key = make_key();
    struct error e = {0};
    if (seal_verify(d->fd, d->path, &key, NULL, &e) < 0)
        fail_msg("%s", error_render(&e));
    seal_key_done(&key);
}

static void expect_refused(const struct temp_dir *d, const char *says)
{
    struct seal_key key = make_key();
    struct error e = {0};
    struct seal_info info = {77, 77, 77};
    if (seal_verify(d->fd, d->path, &key, &info, &e) == 0)
        fail_msg("accepted, but should say: %s", says);
    assert_int_equal(e.code, ERROR_SEAL);
    assert_error_says(&e, says);
    assert_int_equal(info.files, 77);
    error_done(&e);
    seal_key_done(&key);
}

static void expect_unsealable(const struct temp_dir *d, const char *says)
{
    struct seal_key key = make_key();
    struct error e = {0};
    if (seal_write(d->fd, d->path, &key, false, NULL, &e) == 0)
        fail_msg("sealed, but should say: %s", says);
    assert_int_equal(e.code, ERROR_SEAL);
    assert_error_says(&e, says);
    error_done(&e);
    seal_key_done(&key);
}

static char *read_seal(const struct temp_dir *d)
{
    char *text = NULL;
    assert_int_equal(file_read_at(d->fd, SEAL_FILE, O_NOFOLLOW, 100, &text, NULL), 0);
    return text;
}

static void golden_tree(const struct temp_dir *d)
{
    temp_text(d, "a.txt", "hello\n");
    make_dir(d, "b");
    temp_text(d, "b/inner", "");
    make_dir(d, "b-dir");
    temp_text(d, "b.txt", "x");
    make_dir(d, "sub");
    temp_text(d, "sub/checkpoint.hmac", "covered");
    make_dir(d, "sub/empty");
    temp_write(d, "\xc3\xa9.bin", "\0\xff\1", 3, 0600);
}

/* Computed by Python's hmac and struct, with nothing of nucleus:
 *
 *   def f(p, c): return b"F\0" + p.encode() + b"\0" + struct.pack("<Q", len(c)) + c
 *   def d(p): return b"D\0" + p.encode() + b"\0"
 *   data = (f("a.txt", b"hello\n") + d("b") + f("b/inner", b"") + d("b-dir") + f("b.txt", b"x") +
 *           d("sub") + f("sub/checkpoint.hmac", b"covered") + d("sub/empty") +
 *           f("\u00e9.bin", b"\0\xff\1"))
 *   hmac.new(bytes(range(32)), data, hashlib.sha256).hexdigest()
 */
#define GOLDEN "562ca8e0c1bbe59c305bdb16b0c03ffea1410b1529cc1864483e76e6405a0e71"
#define GOLDEN_EMPTY                                                                               \
    "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb" /* data = b"" */
/* data = f("big", bytes((i * 7) & 255 for i in range((2 << 20) + 3))) */
#define GOLDEN_BIG "824e509fca46e69f29725d95006e87806be0453e96bbf006eef1156a66724a09"

static void test_h1_golden_tree(void **state)
{
    struct temp_dir *d = *state;
    struct seal_key key = make_key();
    struct seal_info info, again;
    struct stat st;

    golden_tree(d);
    assert_false(seal_present(d->fd));
    assert_int_equal(seal_write(d->fd, d->path, &key, true, &info, NULL), 0);
    assert_true(seal_present(d->fd));
    char *hex = read_seal(d);
    assert_string_equal(hex, GOLDEN);
    assert_int_equal(info.files, 5);
    assert_int_equal(info.dirs, 4);
    assert_int_equal(info.bytes, 6 + 0 + 1 + 7 + 3);
    assert_int_equal(seal_verify(d->fd, d->path, &key, &again, NULL), 0);
    assert_memory_equal(&info, &again, sizeof(info));
    assert_int_equal(fstatat(d->fd, SEAL_FILE, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(temp_exists(d, SEAL_FILE ".tmp"));
    free(hex);
    seal_key_done(&key);
}

static void test_h1_empty_tree(void **state)
{
    struct temp_dir *d = *state;
    seal(d);
    char *hex = read_seal(d);
    assert_string_equal(hex, GOLDEN_EMPTY);
    expect_intact(d);
    free(hex);
}

static void test_h1_file_larger_than_the_buffer(void **state)
{
    struct temp_dir *d = *state;
    size_t n = (2u << 20) + 3;
    unsigned char *data = mem_alloc(n);

    for (size_t i = 0; i < n; i++)
        data[i] = (unsigned char)(i * 7);
    temp_write(d, "big", data, n, 0600);
    seal(d);
    char *hex = read_seal(d);
    assert_string_equal(hex, GOLDEN_BIG);
    free(hex);
    /* Exactly the buffer, and one less and more. */
    for (size_t size = (1u << 20) - 1; size <= (1u << 20) + 1; size++) {
        temp_write(d, "big", data, size, 0600);
        seal(d);
        expect_intact(d);
    }
    free(data);
}

static void test_h1_a_root_opened_by_path_only(void **state)
{
    struct temp_dir *d = *state;
    struct seal_key key = make_key();

    golden_tree(d);
    int fd = open(d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(seal_write(fd, d->path, &key, true, NULL, NULL), 0);
    assert_int_equal(seal_verify(fd, d->path, &key, NULL, NULL), 0);
    (void)close(fd);
    seal_key_done(&key);
}

static void test_h1_depth_is_bounded(void **state)
{
    struct temp_dir *d = *state;
    struct strbuf path = {0};

    for (int i = 0; i < 62; i++) {
        strbuf_add(&path, i ? "/d" : "d");
        make_dir(d, path.s);
    }
    seal(d);
    for (int i = 0; i < 3; i++) {
        strbuf_add(&path, "/d");
        make_dir(d, path.s);
    }
    expect_unsealable(d, "nested too deeply");
    strbuf_done(&path);
}

/* Something that is no file and no directory, at the top and further down, before sealing and
 * after. */
static void forbidden(const struct temp_dir *d, void (*make)(const struct temp_dir *, const char *),
                      const char *says)
{
    static const char *const places[] = {"zz", "sub/zz", "sub/empty/zz"};

    golden_tree(d);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        seal(d);
        make(d, places[i]);
        expect_refused(d, says);
        expect_unsealable(d, says);
        assert_int_equal(unlinkat(d->fd, places[i], 0), 0);
        expect_intact(d);
    }
}

static void make_symlink(const struct temp_dir *d, const char *name)
{
    assert_int_equal(symlinkat("a.txt", d->fd, name), 0);
}

static void make_dir_symlink(const struct temp_dir *d, const char *name)
{
    assert_int_equal(symlinkat("/tmp", d->fd, name), 0);
}

static void make_fifo(const struct temp_dir *d, const char *name)
{
    assert_int_equal(mkfifoat(d->fd, name, 0600), 0);
}

static void make_socket(const struct temp_dir *d, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", d->path, name) <
                (int)sizeof(a.sun_path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    (void)close(fd);
}

static void test_h2_symlinks_are_refused(void **state)
{
    forbidden(*state, make_symlink, "symlink");
}

static void test_h2_symlinks_to_directories_are_refused(void **state)
{
    forbidden(*state, make_dir_symlink, "symlink");
}

static void test_h2_fifos_are_refused_without_blocking(void **state)
{
    (void)alarm(10);
    forbidden(*state, make_fifo, "nothing but regular files");
    (void)alarm(0);
}

static void test_h2_sockets_are_refused(void **state)
{
    forbidden(*state, make_socket, "nothing but regular files");
}

static void make_device(const struct temp_dir *d, const char *name)
{
    assert_int_equal(mknodat(d->fd, name, S_IFCHR | 0600, 0x0103), 0); /* null */
}

static void test_h2_devices_are_refused(void **state)
{
    struct temp_dir *d = *state;
    if (mknodat(d->fd, "probe", S_IFCHR | 0600, 0x0103) < 0)
        skip();
    assert_int_equal(unlinkat(d->fd, "probe", 0), 0);
    forbidden(d, make_device, "nothing but regular files");
}

static void make_bad_name(const struct temp_dir *d, const char *place)
{
    temp_text(d, place, "x");
}

static void test_h2_names_that_are_no_utf8_are_refused(void **state)
{
    static const char *const names[] = {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "sub/\x80"};
    struct temp_dir *d = *state;

    golden_tree(d);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        seal(d);
        make_bad_name(d, names[i]);
        expect_refused(d, "not UTF-8");
        expect_unsealable(d, "not UTF-8");
        assert_int_equal(unlinkat(d->fd, names[i], 0), 0);
    }
}

static void test_h2_the_seals_own_name_is_no_hiding_place(void **state)
{
    struct temp_dir *d = *state;

    golden_tree(d);
    make_dir(d, SEAL_FILE);
    expect_unsealable(d, "not a regular file");
    expect_refused(d, "not a regular file");
    assert_int_equal(unlinkat(d->fd, SEAL_FILE, AT_REMOVEDIR), 0);
    make_symlink(d, SEAL_FILE);
    expect_unsealable(d, "symlink");
    expect_refused(d, "symlink");
    assert_int_equal(unlinkat(d->fd, SEAL_FILE, 0), 0);
    make_fifo(d, SEAL_FILE);
    (void)alarm(10);
    expect_refused(d, "not a regular file");
    (void)alarm(0);
}

static void test_h3_mismatch_does_not_print_the_expected_value(void **state)
{
    struct temp_dir *d = *state;
    struct seal_key key = make_key();
    struct error e = {0};

    golden_tree(d);
    seal(d);
    char *stored = read_seal(d);
    temp_text(d, "a.txt", "hellO\n");
    assert_int_equal(seal_verify(d->fd, d->path, &key, NULL, &e), -EBADMSG);
    char *line = error_render(&e);
    assert_non_null(strstr(line, "HMAC mismatch"));
    assert_null(strstr(line, stored));
    /* No run of hex digits at all. */
    for (const char *p = line; *p; p++)
        assert_true(strspn(p, "0123456789abcdef") < 16);
    free(line), free(stored);
    error_done(&e);
    seal_key_done(&key);
}

static void test_h3_another_key_is_a_mismatch(void **state)
{
    struct temp_dir *d = *state;
    struct seal_key key = make_key();
    struct error e = {0};

    golden_tree(d);
    seal(d);
    for (unsigned bit = 0; bit < 256; bit++) {
        key.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(seal_verify(d->fd, d->path, &key, NULL, &e), -EBADMSG);
        key.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_error_says(&e, "HMAC mismatch");
    error_done(&e);
    seal_key_done(&key);
}

static void flip_bit(const struct temp_dir *d, const char *name, off_t byte, unsigned bit)
{
    int fd = openat(d->fd, name, O_RDWR | O_CLOEXEC);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, byte), 1);
    c ^= (unsigned char)(1u << bit);
    assert_int_equal(pwrite(fd, &c, 1, byte), 1);
    (void)close(fd);
}

static void test_h6_every_bit_of_every_file(void **state)
{
    static const char *const files[] = {"a.txt", "b.txt", "sub/checkpoint.hmac", "\xc3\xa9.bin"};
    struct temp_dir *d = *state;

    golden_tree(d);
    seal(d);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct stat st;
        assert_int_equal(fstatat(d->fd, files[i], &st, 0), 0);
        for (off_t byte = 0; byte < st.st_size; byte++)
            for (unsigned bit = 0; bit < 8; bit++) {
                flip_bit(d, files[i], byte, bit);
                expect_refused(d, "HMAC mismatch");
                flip_bit(d, files[i], byte, bit);
            }
    }
    expect_intact(d);
}

static void test_h6_every_bit_of_the_seal(void **state)
{
    struct temp_dir *d = *state;

    golden_tree(d);
    seal(d);
    for (off_t byte = 0; byte < 64; byte++)
        for (unsigned bit = 0; bit < 8; bit++) {
            flip_bit(d, SEAL_FILE, byte, bit);
            expect_refused(d, "");
            flip_bit(d, SEAL_FILE, byte, bit);
        }
    expect_intact(d);
}

static void rename_in(const struct temp_dir *d, const char *from, const char *to)
{
    assert_int_equal(renameat(d->fd, from, d->fd, to), 0);
}

static void test_h6_renamed_moved_swapped(void **state)
{
    static const char *const moves[][2] = {
        {"a.txt", "a.txu"},
        {"a.txt", "A.txt"},
        {"a.txt", "b/a.txt"},
        {"b/inner", "inner"},
        {"b", "c"},
        {"b-dir", "b/dir"},
        {"b.txt", "b-dir/b"},
        {"sub", "b/sub"},
        {"sub/empty", "empty"},
        {"\xc3\xa9.bin", "e.bin"},
        {"sub/checkpoint.hmac", "b/checkpoint.hmac"},
    };
    struct temp_dir *d = *state;

    golden_tree(d);
    seal(d);
    for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
        rename_in(d, moves[i][0], moves[i][1]);
        expect_refused(d, "HMAC mismatch");
        rename_in(d, moves[i][1], moves[i][0]);
        expect_intact(d);
    }
    /* Two files that change places, and a file that changes kind. */
    assert_int_equal(renameat2(d->fd, "a.txt", d->fd, "b.txt", RENAME_EXCHANGE), 0);
    expect_refused(d, "HMAC mismatch");
    assert_int_equal(renameat2(d->fd, "a.txt", d->fd, "b.txt", RENAME_EXCHANGE), 0);
    assert_int_equal(renameat2(d->fd, "b-dir", d->fd, "b/inner", RENAME_EXCHANGE), 0);
    expect_refused(d, "HMAC mismatch");
    assert_int_equal(renameat2(d->fd, "b-dir", d->fd, "b/inner", RENAME_EXCHANGE), 0);
    expect_intact(d);
}

static void test_h6_added(void **state)
{
    static const char *const names[] = {"new",
                                        "a",
                                        "zzz",
                                        "b/new",
                                        "sub/empty/new",
                                        ".hidden",
                                        "checkpoint.hmac.tmp",
                                        "checkpoint.hmac2"};
    struct temp_dir *d = *state;

    golden_tree(d);
    seal(d);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        temp_text(d, names[i], "");
        expect_refused(d, "HMAC mismatch");
        assert_int_equal(unlinkat(d->fd, names[i], 0), 0);
        make_dir(d, names[i]);
        expect_refused(d, "HMAC mismatch");
        assert_int_equal(unlinkat(d->fd, names[i], AT_REMOVEDIR), 0);
        expect_intact(d);
    }
}

static void test_h6_removed_and_truncated(void **state)
{
    static const char *const files[] = {"a.txt", "b.txt", "b/inner", "sub/checkpoint.hmac",
                                        "\xc3\xa9.bin"};
    struct temp_dir *d = *state;

    golden_tree(d);
    seal(d);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char *data = NULL;
        size_t n;
        assert_int_equal(file_read_at(d->fd, files[i], 0, 100, &data, &n), 0);
        for (size_t k = 0; k < n; k++) {
            temp_write(d, files[i], data, k, 0600);
            expect_refused(d, "HMAC mismatch");
        }
        char *longer = mem_alloc(n + 1);
        memcpy(longer, data, n);
        temp_write(d, files[i], longer, n + 1, 0600);
        expect_refused(d, "HMAC mismatch");
        assert_int_equal(unlinkat(d->fd, files[i], 0), 0);
        expect_refused(d, "HMAC mismatch");
        temp_write(d, files[i], data, n, 0600);
        expect_intact(d);
        free(data), free(longer);
    }
    assert_int_equal(unlinkat(d->fd, "b-dir", AT_REMOVEDIR), 0);
    expect_refused(d, "HMAC mismatch");
}

static void test_h6_bytes_do_not_wander_between_files(void **state)
{
    struct temp_dir *d = *state;

    temp_text(d, "a", "12");
    temp_text(d, "b", "3");
    seal(d);
    temp_text(d, "a", "1");
    temp_text(d, "b", "23");
    expect_refused(d, "HMAC mismatch");
}

static void test_h6_malformed_seal(void **state)
{
    struct temp_dir *d = *state;
    char text[80];

    golden_tree(d);
    expect_refused(d, "missing");
    temp_text(d, SEAL_FILE, "");
    expect_refused(d, "empty");
    for (size_t n = 1; n < 64; n++) {
        temp_write(d, SEAL_FILE, GOLDEN, n, 0600);
        expect_refused(d, "malformed");
    }
    (void)snprintf(text, sizeof(text), "%s\n\n", GOLDEN);
    temp_text(d, SEAL_FILE, text);
    expect_refused(d, "malformed");
    (void)snprintf(text, sizeof(text), "%s ", GOLDEN);
    temp_text(d, SEAL_FILE, text);
    expect_refused(d, "malformed");
    (void)snprintf(text, sizeof(text), " %.63s", GOLDEN);
    temp_text(d, SEAL_FILE, text);
    expect_refused(d, "malformed");
    (void)snprintf(text, sizeof(text), "%s", GOLDEN);
    for (char *p = text; *p; p++)
        if (*p >= 'a')
            *p = (char)(*p - 'a' + 'A');
    temp_text(d, SEAL_FILE, text);
    expect_refused(d, "malformed");
    (void)snprintf(text, sizeof(text), "%s\n", GOLDEN);
    temp_text(d, SEAL_FILE, text);
    expect_intact(d);
}

/* Files of procfs say they are empty and are not, those of sysfs say 4096 and are shorter: what a
 * file looks like that grows or shrinks while it is read. */
static void test_h6_file_that_changes_its_length_is_an_error(void **state)
{
    static const char *const dirs[] = {"/proc/sys/kernel/random", "/sys/kernel/mm/lru_gen",
                                       "/sys/kernel/mm/transparent_hugepage"};
    unsigned tried = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        struct seal_key key = make_key();
        struct crypto_hmac *mac = NULL;
        struct error e = {0};
        int fd = open(dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0) {
            assert_int_equal(crypto_load(&e), 0);
            assert_int_equal(crypto_hmac_new(key.data, key.len, &mac, &e), 0);
            assert_true(tree_feed(fd, dirs[i], "test", false, mac, NULL, &e) < 0);
            assert_error_says(&e, "changed while it was read");
            crypto_hmac_free(mac);
            tried++;
        }
        (void)close(fd);
        error_done(&e);
        seal_key_done(&key);
    }
    if (tried == 0)
        skip();
}

static void test_h7_stale_temp_file_is_not_covered(void **state)
{
    struct temp_dir *d = *state;

    golden_tree(d);
    temp_text(d, SEAL_FILE ".tmp", "half a se");
    temp_text(d, SEAL_FILE, "an older one");
    seal(d);
    char *hex = read_seal(d);
    assert_string_equal(hex, GOLDEN);
    free(hex);
    assert_false(temp_exists(d, SEAL_FILE ".tmp"));
    expect_intact(d);
    make_symlink(d, SEAL_FILE ".tmp");
    expect_unsealable(d, "symlink");
    assert_int_equal(unlinkat(d->fd, SEAL_FILE ".tmp", 0), 0);
    /* What failed left the old seal as it was. */
    expect_intact(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_h1_golden_tree),
        temp_test(test_h1_empty_tree),
        temp_test(test_h1_file_larger_than_the_buffer),
        temp_test(test_h1_a_root_opened_by_path_only),
        temp_test(test_h1_depth_is_bounded),
        temp_test(test_h2_symlinks_are_refused),
        temp_test(test_h2_symlinks_to_directories_are_refused),
        temp_test(test_h2_fifos_are_refused_without_blocking),
        temp_test(test_h2_sockets_are_refused),
        temp_test(test_h2_devices_are_refused),
        temp_test(test_h2_names_that_are_no_utf8_are_refused),
        temp_test(test_h2_the_seals_own_name_is_no_hiding_place),
        temp_test(test_h3_mismatch_does_not_print_the_expected_value),
        temp_test(test_h3_another_key_is_a_mismatch),
        temp_test(test_h6_every_bit_of_every_file),
        temp_test(test_h6_every_bit_of_the_seal),
        temp_test(test_h6_renamed_moved_swapped),
        temp_test(test_h6_added),
        temp_test(test_h6_removed_and_truncated),
        temp_test(test_h6_bytes_do_not_wander_between_files),
        temp_test(test_h6_malformed_seal),
        cmocka_unit_test(test_h6_file_that_changes_its_length_is_an_error),
        temp_test(test_h7_stale_temp_file_is_not_covered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
