/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "security/program-cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the kernel would do with it; the sanitizers tell of a jump out or a load from outside. */
static void run(const struct sock_filter *code, const struct seccomp_data *d)
{
    uint32_t a = 0;

    for (size_t pc = 0;; pc++) {
        const struct sock_filter *i = &code[pc];
        bool holds = false;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)d + i->k, sizeof(a));
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            continue;
        case BPF_RET | BPF_K:
            return;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = a == i->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            holds = a > i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = a >= i->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = a & i->k;
            break;
        default:
            abort();
        }
        pc += holds ? i->jt : i->jf;
    }
}

static void check(const char *key, size_t key_len, struct cached_program *p, const char *file,
                  size_t len)
{
    size_t again_len, names = 0;

    if (p->n == 0 || p->n > BPF_MAXINSNS)
        abort();
    for (size_t i = 0; i < p->skipped_len; i += strlen(p->skipped + i) + 1)
        names++;
    if (names > p->skipped_len)
        abort();
    for (uint32_t nr = 0; nr < 8; nr++) {
        struct seccomp_data d = {.nr = (int)(nr * 97), .arch = 0xc000003e, .args = {nr, ~0u}};
        run(p->code, &d);
    }
    char *again = program_cache_encode(key, key_len, p, &again_len);
    if (again_len != len || memcmp(again, file, len) != 0)
        abort();
    free(again);
}

/* A file of the cache, as it is, and again as a program with a checksum that is right: what is taken
 * out of it is a program, and it is all of the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char key[] = "key";
    struct cached_program p = {0};

    if (program_cache_decode((const char *)data, size, key, sizeof(key), &p) == 0) {
        check(key, sizeof(key), &p, (const char *)data, size);
        cached_program_done(&p);
    }

    /* The first byte says how much of it is names. */
    if (size == 0)
        return 0;
    size_t skipped_len = data[0] < size - 1 ? data[0] : size - 1, len;
    size_t n = (size - 1 - skipped_len) / sizeof(struct sock_filter);
    struct cached_program given = {
        .code = malloc((n + 1) * sizeof(struct sock_filter)),
        .n = n,
        .skipped = malloc(skipped_len + 1),
        .skipped_len = skipped_len,
    };
    memcpy(given.skipped, data + 1, skipped_len);
    memcpy(given.code, data + 1 + skipped_len, n * sizeof(struct sock_filter));
    char *file = program_cache_encode(key, sizeof(key), &given, &len);
    int r = program_cache_decode(file, len, key, sizeof(key), &p);
    bool names = skipped_len == 0 || given.skipped[skipped_len - 1] == '\0';
    if (n <= BPF_MAXINSNS && (r == 0) != (names && program_is_valid(given.code, n)))
        abort();
    if (r == 0) {
        check(key, sizeof(key), &p, file, len);
        cached_program_done(&p);
        if (program_cache_decode(file, len, "kez", sizeof(key), &p) != -ENOENT)
            abort();
    }
    free(file);
    cached_program_done(&given);
    return 0;
}
