/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include "checkpoint/progress.h"

static void test_c6_every_step(void **state)
{
    /* One row for each state it comes from, one column for each it goes to. */
    static const char *const table[] = {
        /* N D d R r */
        "01010", /* none */
        "10100", /* dumping */
        "00000", /* dumped */
        "10001", /* restoring */
        "00000", /* restored */
    };
    (void)state;

    for (unsigned from = 0; from < ARRAY_SIZE(table); from++)
        for (unsigned to = 0; to < ARRAY_SIZE(table); to++) {
            enum checkpoint_progress p = (enum checkpoint_progress)from;
            struct error e = {0};
            int r = progress_step(&p, (enum checkpoint_progress)to, &e);

            if (table[from][to] == '1') {
                assert_int_equal(r, 0);
                assert_int_equal(p, to);
            } else {
                assert_true(r < 0);
                assert_int_equal(p, from);
                assert_int_equal(e.code, ERROR_INTERNAL);
                assert_error_says(&e, progress_name((enum checkpoint_progress)from));
                assert_error_says(&e, progress_name((enum checkpoint_progress)to));
            }
            error_done(&e);
        }
}

static void test_c6_values_outside_are_an_error(void **state)
{
    enum checkpoint_progress p = (enum checkpoint_progress)99;
    (void)state;

    assert_true(progress_step(&p, CHECKPOINT_NONE, NULL) < 0);
    p = CHECKPOINT_NONE;
    assert_true(progress_step(&p, (enum checkpoint_progress)99, NULL) < 0);
    assert_int_equal(p, CHECKPOINT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_c6_every_step),
        cmocka_unit_test(test_c6_values_outside_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
