/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>

#include "base/duration.h"
#include "base/macros.h"

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int r;
        int64_t ns;
    } rows[] = {
        {"5s", 0, 5000000000},
        {"500ms", 0, 500000000},
        {"1m30s", 0, 90000000000},
        {"1.5h", 0, 5400000000000},
        {"2h45m", 0, 9900000000000},
        {"1us", 0, 1000},
        {"1µs", 0, 1000}, /* U+00B5 */
        {"1μs", 0, 1000}, /* U+03BC */
        {"7ns", 0, 7},
        {"0", 0, 0},
        {"-0", 0, 0},
        {"0s", 0, 0},
        {"+1s", 0, 1000000000},
        {"-1.5s", 0, -1500000000},
        {".5s", 0, 500000000},
        {"5.s", 0, 5000000000},
        {"0.0000000019s", 0, 1},
        {"0.123456789123456789123s", 0, 123456789},
        {"1h1m1s1ms1us1ns", 0, 3661001001001},
        {"9223372036854775807ns", -ERANGE, 0}, /* 19 digits: more than anybody writes */
        {"9223372036s", 0, 9223372036000000000},
        {"9223372037s", -ERANGE, 0},
        {"2562047h47m16.854775807s", 0, INT64_MAX},
        {"2562047h47m16.854775808s", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"5", -EINVAL, 0},
        {"00", -EINVAL, 0},
        {"1s0", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {".s", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {" 5s", -EINVAL, 0},
        {"5s ", -EINVAL, 0},
        {"--5s", -EINVAL, 0},
        {"1s-1s", -EINVAL, 0},
        {"5S", -EINVAL, 0},
        {"5d", -EINVAL, 0},
        {"1e3s", -EINVAL, 0},
        {"1..5s", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t ns = 77;
        int r = duration_parse_ns(rows[i].text, &ns);
        if (r != rows[i].r || ns != (r == 0 ? rows[i].ns : 77))
            fail_msg("'%s': %d, %lld", rows[i].text, r, (long long)ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
