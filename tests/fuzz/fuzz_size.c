/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

/* Sizes, CPUs and numbers. What is accepted reads the same when it is printed plainly; what is
 * refused leaves the result alone. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = mem_strndup((const char *)data, size);
    char again[64];
    uint64_t v = 7, w;
    int64_t i = 7, j;
    uint32_t o = 7;

    if (num_parse_u64(text, &v) == 0) {
        (void)snprintf(again, sizeof(again), "%" PRIu64, v);
        check(num_parse_u64(again, &w) == 0 && w == v);
        check(num_parse_size(text, &w) == 0 && w == v);
        check(text[0] >= '0' && text[0] <= '9');
    } else {
        check(v == 7);
    }
    v = 7;
    check(num_parse_u64_max(text, 100, &v) == 0 ? v <= 100 : v == 7);
    if (num_parse_i64(text, &i) == 0) {
        (void)snprintf(again, sizeof(again), "%" PRId64, i);
        check(num_parse_i64(again, &j) == 0 && j == i);
    } else {
        check(i == 7);
    }
    check(num_parse_octal(text, &o) == 0 || o == 7);
    v = 7;
    if (num_parse_size(text, &v) == 0) {
        (void)snprintf(again, sizeof(again), "%" PRIu64, v);
        check(num_parse_size(again, &w) == 0 && w == v);
    } else {
        check(v == 7);
    }
    v = 7;
    if (num_parse_millicores(text, &v) == 0) {
        check(v > 0);
        (void)snprintf(again, sizeof(again), "%" PRIu64 ".%03" PRIu64, v / 1000, v % 1000);
        check(num_parse_millicores(again, &w) == 0 && w == v);
    } else {
        check(v == 7);
    }
    if (size >= 24) {
        uint64_t a, b, c;
        memcpy(&a, data, 8);
        memcpy(&b, data + 8, 8);
        memcpy(&c, data + 16, 8);
        if (c != 0) {
            v = num_mul_div(a, b, c);
            check(v == num_mul_div(b, a, c));
            check(b > c || v <= a);
        }
    }
    return 0;
}
