/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "security/program-cache.h"
#include "security/security.h"

/* Compiled seccomp programs that are kept, and what is not taken for one. */

#define KEY "a key\0with a NUL"
#define KEY_LEN (sizeof(KEY) - 1)
#define DIRECTORY PROGRAM_CACHE_DIRECTORY

/* Answers `action` to everything. */
static struct cached_program program(uint32_t action)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, action),
    };
    return (struct cached_program){.code = mem_dup(code, sizeof(code)),
                                   .n = ARRAY_SIZE(code),
                                   .skipped = mem_dup("one\0two", 8),
                                   .skipped_len = 8};
}

static void save(const struct temp_dir *d, const char *key, size_t n, uint32_t action)
{
    struct cached_program p = program(action);

    program_cache_save(d->fd, key, n, &p);
    cached_program_done(&p);
}

/* The action of what is found, or negative errno. */
static int64_t load(const struct temp_dir *d, const char *key, size_t n)
{
    struct cached_program p = {0};
    int r = program_cache_load(d->fd, key, n, &p);
    if (r < 0) {
        assert_null(p.code);
        return r;
    }
    assert_int_equal(p.n, 4);
    assert_int_equal(p.skipped_len, 8);
    assert_memory_equal(p.skipped, "one\0two", 8);
    int64_t action = p.code[3].k;
    cached_program_done(&p);
    return action;
}

static char *file_of(const char *key, size_t n)
{
    _cleanup_free_ char *name = program_cache_name(key, n);
    return str_printf("%s/%s", DIRECTORY, name);
}

static unsigned count(const struct temp_dir *d)
{
    int fd = openat(d->fd, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    unsigned n = 0;

    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

/* --- hit and miss ---------------------------------------------------------------------------- */

static void test_what_was_saved_is_found(void **state)
{
    const struct temp_dir *d = *state;
    struct stat st;

    assert_int_equal(load(d, KEY, KEY_LEN), -ENOENT);
    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_LOG);
    assert_int_equal(load(d, KEY, KEY_LEN - 1), -ENOENT);
    assert_int_equal(load(d, "", 0), -ENOENT);
    assert_int_equal(fstatat(d->fd, DIRECTORY, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    _cleanup_free_ char *file = file_of(KEY, KEY_LEN);
    assert_int_equal(fstatat(d->fd, file, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count(d), 1);
    /* The next one replaces it. */
    save(d, KEY, KEY_LEN, SECCOMP_RET_ALLOW);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_ALLOW);
    assert_int_equal(count(d), 1);
}

/* Two keys whose hashes are the same must not be taken for each other. */
static void test_the_whole_key_is_compared(void **state)
{
    const struct temp_dir *d = *state;
    static const char twin[] = "a key\0with a NUM";
    _cleanup_free_ char *file = file_of(KEY, KEY_LEN), *other = file_of(twin, KEY_LEN);

    save(d, KEY, KEY_LEN, SECCOMP_RET_ALLOW);
    assert_int_equal(renameat(d->fd, file, d->fd, other), 0);
    assert_int_equal(load(d, twin, KEY_LEN), -ENOENT);
    save(d, twin, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(load(d, twin, KEY_LEN), SECCOMP_RET_LOG);
}

static void test_without_a_directory(void **state)
{
    const struct temp_dir *d = *state;
    struct temp_dir none = {.fd = -EBADF};

    save(&none, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(load(&none, KEY, KEY_LEN), -ENOENT);
    temp_text(d, DIRECTORY, "a file where the directory belongs");
    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(load(d, KEY, KEY_LEN), -ENOTDIR);
}

static void test_too_long_for_the_cache(void **state)
{
    const struct temp_dir *d = *state;
    _cleanup_free_ char *key = mem_alloc(PROGRAM_CACHE_TEXT_MAX + 1);

    save(d, key, PROGRAM_CACHE_TEXT_MAX + 1, SECCOMP_RET_LOG);
    assert_false(temp_exists(d, DIRECTORY));
    save(d, key, PROGRAM_CACHE_TEXT_MAX, SECCOMP_RET_LOG);
    assert_int_equal(load(d, key, PROGRAM_CACHE_TEXT_MAX), SECCOMP_RET_LOG);
}

/* --- what is not trusted --------------------------------------------------------------------- */

static void test_a_torn_file(void **state)
{
    const struct temp_dir *d = *state;
    _cleanup_free_ char *name = file_of(KEY, KEY_LEN), *data = NULL;
    size_t len;

    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(file_read_at(d->fd, name, 0, 4096, &data, &len), 0);
    for (size_t i = 0; i < len; i++) {
        temp_write(d, name, data, i, 0600);
        assert_int_equal(load(d, KEY, KEY_LEN), -EBADMSG);
        /* Any bit of it. */
        data[i] ^= (char)(1 << i % 8);
        temp_write(d, name, data, len, 0600);
        assert_int_equal(load(d, KEY, KEY_LEN), -EBADMSG);
        data[i] ^= (char)(1 << i % 8);
    }
    data[len] = '\0';
    temp_write(d, name, data, len + 1, 0600);
    assert_int_equal(load(d, KEY, KEY_LEN), -EBADMSG);
    save(d, KEY, KEY_LEN, SECCOMP_RET_ALLOW);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_ALLOW);
}

static void test_open_to_others(void **state)
{
    static const mode_t refused[] = {0620, 0602, 0666}, fine[] = {0600, 0640, 0644};
    const struct temp_dir *d = *state;
    _cleanup_free_ char *name = file_of(KEY, KEY_LEN);

    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        assert_int_equal(fchmodat(d->fd, name, refused[i], 0), 0);
        assert_int_equal(load(d, KEY, KEY_LEN), -EPERM);
        assert_int_equal(fchmodat(d->fd, name, fine[i], 0), 0);
        assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_LOG);
    }
    static const mode_t directory[] = {0750, 0705, 0770, 01777};
    for (size_t i = 0; i < ARRAY_SIZE(directory); i++) {
        assert_int_equal(fchmodat(d->fd, DIRECTORY, directory[i], 0), 0);
        assert_int_equal(load(d, KEY, KEY_LEN), -EPERM);
        /* Nothing is put there either. */
        save(d, "other", 5, SECCOMP_RET_LOG);
        assert_int_equal(count(d), 1);
    }
}

static void test_someone_elses(void **state)
{
    const struct temp_dir *d = *state;
    _cleanup_free_ char *name = file_of(KEY, KEY_LEN);

    if (geteuid() != 0)
        skip();
    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(fchownat(d->fd, name, 1000, 0, 0), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), -EPERM);
    assert_int_equal(fchownat(d->fd, name, 0, 0, 0), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_LOG);
    assert_int_equal(fchownat(d->fd, DIRECTORY, 1000, 0, 0), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), -EPERM);
}

static void test_symlinks(void **state)
{
    const struct temp_dir *d = *state;
    _cleanup_free_ char *name = file_of(KEY, KEY_LEN);

    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(renameat(d->fd, name, d->fd, "real"), 0);
    assert_int_equal(symlinkat("../real", d->fd, name), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), -ELOOP);
    /* It goes, and what it led to stays. */
    save(d, KEY, KEY_LEN, SECCOMP_RET_ALLOW);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_ALLOW);
    assert_true(temp_exists(d, "real"));

    _cleanup_free_ char *temp = str_printf("%s.tmp", name);
    assert_int_equal(symlinkat("../real2", d->fd, temp), 0);
    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(load(d, KEY, KEY_LEN), SECCOMP_RET_LOG);
    assert_false(temp_exists(d, "real2"));

    assert_int_equal(renameat(d->fd, DIRECTORY, d->fd, "elsewhere"), 0);
    assert_int_equal(symlinkat("elsewhere", d->fd, DIRECTORY), 0);
    assert_true(load(d, KEY, KEY_LEN) < 0);
    save(d, "other", 5, SECCOMP_RET_LOG);
    assert_int_equal(count(d), 1);
}

static void test_no_regular_file(void **state)
{
    const struct temp_dir *d = *state;
    _cleanup_free_ char *name = file_of(KEY, KEY_LEN);

    assert_int_equal(mkdirat(d->fd, DIRECTORY, 0700), 0);
    assert_int_equal(mkfifoat(d->fd, name, 0600), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), -EBADF);
    assert_int_equal(unlinkat(d->fd, name, 0), 0);
    assert_int_equal(mkdirat(d->fd, name, 0700), 0);
    assert_int_equal(load(d, KEY, KEY_LEN), -EBADF);
    save(d, KEY, KEY_LEN, SECCOMP_RET_LOG);
    assert_int_equal(count(d), 1); /* no temporary file either */
}

static void test_what_is_no_program(void **state)
{
    const struct sock_filter ret = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct {
        const char *what;
        struct sock_filter code;
        bool valid;
    } rows[] = {
        {"a load of the last word", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 60), true},
        {"one behind it", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), false},
        {"one far behind", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0xfffff000), false},
        {"one across words", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), false},
        {"a load of a byte", BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), false},
        {"one of the memory", BPF_STMT(BPF_LD | BPF_MEM, 0), false},
        {"a store", BPF_STMT(BPF_ST, 99), false},
        {"a jump to the end", BPF_STMT(BPF_JMP | BPF_JA, 1), true},
        {"one behind it", BPF_STMT(BPF_JMP | BPF_JA, 2), false},
        {"one around", BPF_STMT(BPF_JMP | BPF_JA, UINT32_MAX), false},
        {"a condition", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0), true},
        {"one that leads out", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 2, 0), false},
        {"one that does where it does not hold", BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 1, 0, 2),
         false},
        {"one of the register", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 0), false},
        {"a mask", BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1), true},
        {"a division", BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), false},
        {"a return of the accumulator", BPF_STMT(BPF_RET | BPF_A, 0), false},
        {"nothing known", {.code = 0xffff}, false},
    };
    const struct temp_dir *d = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct sock_filter code[] = {rows[i].code, ret, ret};
        struct cached_program p = {.code = code, .n = ARRAY_SIZE(code)}, found = {0};
        if (program_is_valid(code, ARRAY_SIZE(code)) != rows[i].valid)
            fail_msg("%s", rows[i].what);
        /* With a checksum that is right. */
        size_t len;
        _cleanup_free_ char *file = program_cache_encode(KEY, KEY_LEN, &p, &len);
        int r = program_cache_decode(file, len, KEY, KEY_LEN, &found);
        assert_int_equal(r, rows[i].valid ? 0 : -EINVAL);
        cached_program_done(&found);
        /* None such is saved. */
        program_cache_save(d->fd, KEY, KEY_LEN, &p);
        assert_int_equal(temp_exists(d, DIRECTORY), rows[i].valid);
        if (rows[i].valid) {
            _cleanup_free_ char *name = file_of(KEY, KEY_LEN);
            assert_int_equal(unlinkat(d->fd, name, 0), 0);
            assert_int_equal(unlinkat(d->fd, DIRECTORY, AT_REMOVEDIR), 0);
        }
    }
    struct sock_filter open[] = {ret, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
    assert_false(program_is_valid(open, 2));
    assert_false(program_is_valid(open, 0));
    struct sock_filter *longest = mem_new(struct sock_filter, BPF_MAXINSNS + 1);
    for (size_t i = 0; i <= BPF_MAXINSNS; i++)
        longest[i] = ret;
    assert_true(program_is_valid(longest, BPF_MAXINSNS));
    assert_false(program_is_valid(longest, BPF_MAXINSNS + 1));
    free(longest);
}

/* --- bound ----------------------------------------------------------------------------------- */

static void test_the_oldest_go(void **state)
{
    const struct temp_dir *d = *state;

    for (unsigned i = 0; i < PROGRAM_CACHE_FILES_MAX + 3; i++) {
        char key[16];
        int n = snprintf(key, sizeof(key), "key %u", i);
        save(d, key, (size_t)n, SECCOMP_RET_LOG);
        /* The later, the older, but for the first: it is the newest. */
        struct timespec times[2] = {{.tv_sec = 10000 - i}, {.tv_sec = i ? 10000 - i : 20000}};
        _cleanup_free_ char *name = file_of(key, (size_t)n);
        if (i < PROGRAM_CACHE_FILES_MAX)
            assert_int_equal(utimensat(d->fd, name, times, 0), 0);
    }
    assert_int_equal(count(d), PROGRAM_CACHE_FILES_MAX);
    assert_int_equal(load(d, "key 0", 5), SECCOMP_RET_LOG);
    assert_int_equal(load(d, "key 60", 6), SECCOMP_RET_LOG);
    for (unsigned i = 61; i < 64; i++) {
        char key[16];
        int n = snprintf(key, sizeof(key), "key %u", i);
        assert_int_equal(load(d, key, (size_t)n), -ENOENT);
    }
    assert_int_equal(load(d, "key 66", 6), SECCOMP_RET_LOG);
}

/* --- with the compiler ----------------------------------------------------------------------- */

static struct seccomp_program compile(int dirfd, const struct oci_seccomp *spec)
{
    struct seccomp_program program = {0};
    struct error e = {0};

    if (seccomp_compile(spec, dirfd, &program, &e) < 0)
        fail_msg("%s", error_render(&e));
    return program;
}

#define TEXT(s) ((char *)(uintptr_t)(s))

static void test_each_part_of_a_profile_counts(void **state)
{
    const struct temp_dir *d = *state;
    char *names[] = {TEXT("mkdir"), TEXT("no_such_call"), NULL}, *archs[] = {NULL, NULL};
    struct oci_seccomp_arg args[2] = {{.op = OCI_CMP_EQ}, {.index = 1, .op = OCI_CMP_EQ}};
    struct oci_seccomp_rule rules[2] = {
        {.names = names, .action = SECCOMP_RET_LOG, .args = args, .n_args = 1},
        {.names = names, .action = SECCOMP_RET_LOG}};
    struct oci_seccomp spec = {
        .default_action = SECCOMP_RET_ERRNO, .architectures = archs, .rules = rules, .n_rules = 1};
    unsigned files = 0;

    for (unsigned i = 0; i < 14; i++) {
        switch (i) {
        case 1:
            spec.default_action = SECCOMP_RET_KILL_PROCESS;
            break;
        case 2:
            spec.default_action = SECCOMP_RET_ERRNO;
            spec.has_default_errno = true;
            spec.default_errno = 5;
            break;
        case 3:
            rules[0].action = SECCOMP_RET_ALLOW;
            break;
        case 4:
            rules[0].action = SECCOMP_RET_ERRNO;
            rules[0].has_errno = true;
            rules[0].errno_ret = 6;
            names[1] = NULL;
            break;
        case 5:
            rules[0].errno_ret = 7;
            break;
        case 6:
            names[0] = TEXT("rmdir");
            break;
        case 7:
            args[0].op = OCI_CMP_NE;
            break;
        case 8:
            args[0].value = 1;
            break;
        case 9:
            args[0].value_two = 1;
            break;
        case 10:
            args[0].index = 2;
            break;
        case 11:
            rules[0].n_args = 2;
            break;
        case 12:
            rules[0].n_args = 0;
            break;
        case 13:
            spec.n_rules = 2;
            rules[1].names = &names[1];
            break;
        default:
            break;
        }
        struct seccomp_program fresh = compile(-EBADF, &spec), cold = compile(d->fd, &spec);
        assert_int_equal(count(d), ++files);
        struct seccomp_program warm = compile(d->fd, &spec);
        assert_int_equal(count(d), files);
        assert_int_equal(fresh.len, cold.len);
        assert_int_equal(fresh.len, warm.len);
        assert_memory_equal(fresh.filter, cold.filter, fresh.len * sizeof(*fresh.filter));
        assert_memory_equal(fresh.filter, warm.filter, fresh.len * sizeof(*fresh.filter));
        seccomp_program_done(&fresh);
        seccomp_program_done(&cold);
        seccomp_program_done(&warm);
    }
    /* What decides nothing does not count: another architecture that can't run here, flags, and an
     * errno that is said or not. */
    archs[0] = TEXT("SCMP_ARCH_S390");
    spec.flags = SECCOMP_FILTER_FLAG_LOG;
    struct seccomp_program same = compile(d->fd, &spec);
    assert_int_equal(count(d), files);
    assert_int_equal(same.flags, SECCOMP_FILTER_FLAG_LOG);
    seccomp_program_done(&same);
#ifdef __x86_64__
    archs[0] = TEXT("SCMP_ARCH_X86");
    struct seccomp_program other = compile(d->fd, &spec);
    assert_int_equal(count(d), files + 1);
    seccomp_program_done(&other);
#endif
}

static void test_errors_are_not_kept(void **state)
{
    const struct temp_dir *d = *state;
    char *names[] = {TEXT("no_such_call"), NULL};
    struct oci_seccomp_rule rule = {.names = names, .action = SECCOMP_RET_KILL_PROCESS};
    struct oci_seccomp spec = {.default_action = SECCOMP_RET_ALLOW, .rules = &rule, .n_rules = 1};

    for (unsigned i = 0; i < 2; i++) {
        struct seccomp_program program = {0};
        struct error e = {0};
        assert_true(seccomp_compile(&spec, d->fd, &program, &e) < 0);
        assert_error_says(&e, "does not know this system call");
        error_done(&e);
        assert_false(temp_exists(d, DIRECTORY));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        temp_test(test_what_was_saved_is_found),
        temp_test(test_the_whole_key_is_compared),
        temp_test(test_without_a_directory),
        temp_test(test_too_long_for_the_cache),
        temp_test(test_a_torn_file),
        temp_test(test_open_to_others),
        temp_test(test_someone_elses),
        temp_test(test_symlinks),
        temp_test(test_no_regular_file),
        temp_test(test_what_is_no_program),
        temp_test(test_the_oldest_go),
        temp_test(test_each_part_of_a_profile_counts),
        temp_test(test_errors_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
