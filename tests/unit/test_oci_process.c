/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/ioprio.h>
#include <linux/sched.h>

#include "base/macros.h"
#include "oci_config.h"

/* What of process runc and crun took up after version 1.0: labels, scheduling, affinity; and a
 * process object on its own. */

#define PROCESS(rest) "{'process':{" rest "}}"
#define SCHEDULER(rest) PROCESS("'scheduler':{" rest "}")
#define IO(rest) PROCESS("'ioPriority':{" rest "}")
#define AFFINITY(rest) PROCESS("'execCPUAffinity':{" rest "}")

static bool in_set(const struct oci_set *set, size_t n)
{
    const size_t bits = 8 * sizeof(unsigned long);
    return set->bits[n / bits] >> (n % bits) & 1;
}

static size_t set_size(const struct oci_set *set)
{
    size_t n = 0;
    for (size_t i = 0; i < OCI_SET_BITS; i++)
        n += in_set(set, i);
    return n;
}

static void test_labels(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(PROCESS("'apparmorProfile':'docker-default','selinuxLabel':'a_u:b_r:c_t:s0:c1,c2'"));
    assert_string_equal(s->process->apparmor_profile, "docker-default");
    assert_string_equal(s->process->selinux_label, "a_u:b_r:c_t:s0:c1,c2");

    static const struct refusal cases[] = {
        {PROCESS("'apparmorProfile':1"), "process.apparmorProfile: expected a string, found 1"},
        {PROCESS("'apparmorProfile':'a\\nb'"),
         "process.apparmorProfile: must not hold control characters"},
        {PROCESS("'selinuxLabel':[]"), "process.selinuxLabel: expected a string, found an array"},
        {PROCESS("'selinuxLabel':'\\u007f'"),
         "process.selinuxLabel: must not hold control characters"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_scheduler(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(SCHEDULER("'policy':'SCHED_DEADLINE','runtime':10,'deadline':20,'period':30,"
                         "'nice':0,'priority':0,'flags':['SCHED_FLAG_RECLAIM',"
                         "'SCHED_FLAG_DL_OVERRUN']"));
    const struct oci_scheduler *c = &s->process->scheduler;
    assert_true(s->process->has_scheduler);
    assert_int_equal(c->policy, SCHED_DEADLINE);
    assert_int_equal(c->runtime, 10);
    assert_int_equal(c->deadline, 20);
    assert_int_equal(c->period, 30);
    assert_int_equal(c->flags, SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN);

    static const struct {
        const char *patch;
        uint32_t policy;
        int32_t nice;
        uint32_t priority;
        uint64_t flags;
    } cases[] = {
        {SCHEDULER("'policy':'SCHED_OTHER','nice':-20"), 0, -20, 0, 0},
        {SCHEDULER("'policy':'SCHED_BATCH','nice':19"), SCHED_BATCH, 19, 0, 0},
        {SCHEDULER("'policy':'SCHED_IDLE','flags':['SCHED_FLAG_RESET_ON_FORK']"), SCHED_IDLE, 0, 0,
         SCHED_FLAG_RESET_ON_FORK},
        {SCHEDULER("'policy':'SCHED_FIFO','priority':99"), SCHED_FIFO, 0, 99, 0},
        {SCHEDULER("'policy':'SCHED_RR','priority':1,'flags':['SCHED_FLAG_KEEP_POLICY',"
                   "'SCHED_FLAG_KEEP_PARAMS','SCHED_FLAG_UTIL_CLAMP_MIN',"
                   "'SCHED_FLAG_UTIL_CLAMP_MAX']"),
         SCHED_RR, 0, 1, SCHED_FLAG_KEEP_ALL | SCHED_FLAG_UTIL_CLAMP},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_spec_ struct oci_spec *one = accept(cases[i].patch);
        const struct oci_scheduler *o = &one->process->scheduler;
        assert_int_equal(o->policy, cases[i].policy);
        assert_int_equal(o->nice, cases[i].nice);
        assert_int_equal(o->priority, cases[i].priority);
        assert_int_equal(o->flags, cases[i].flags);
    }
    /* A period that is not given is the deadline. */
    oci_spec_free(accept(SCHEDULER("'policy':'SCHED_DEADLINE','runtime':9,'deadline':9")));
}

static void test_scheduler_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {SCHEDULER(""), "process.scheduler.policy: is required, but missing"},
        {SCHEDULER("'policy':'FIFO'"), "process.scheduler.policy: expected one of SCHED_OTHER, "},
        {SCHEDULER("'policy':'SCHED_OTHER','nice':20"),
         "process.scheduler.nice: expected a whole number from -20 to 19, found 20"},
        {SCHEDULER("'policy':'SCHED_OTHER','nice':-21"),
         "process.scheduler.nice: expected a whole number from -20 to 19, found -21"},
        {SCHEDULER("'policy':'SCHED_RR','priority':1,'nice':1"),
         "process.scheduler.nice: only SCHED_OTHER and SCHED_BATCH have it"},
        {SCHEDULER("'policy':'SCHED_IDLE','nice':1"),
         "process.scheduler.nice: only SCHED_OTHER and SCHED_BATCH have it"},
        {SCHEDULER("'policy':'SCHED_RR','priority':100"),
         "process.scheduler.priority: expected a whole number from 0 to 99, found 100"},
        {SCHEDULER("'policy':'SCHED_FIFO'"),
         "process.scheduler.priority: is required, from 1 to 99"},
        {SCHEDULER("'policy':'SCHED_RR','priority':0"),
         "process.scheduler.priority: is required, from 1 to 99"},
        {SCHEDULER("'policy':'SCHED_OTHER','priority':1"),
         "process.scheduler.priority: only SCHED_FIFO and SCHED_RR have it"},
        {SCHEDULER("'policy':'SCHED_OTHER','runtime':1"),
         "process.scheduler.runtime: only SCHED_DEADLINE has it"},
        {SCHEDULER("'policy':'SCHED_OTHER','deadline':1"),
         "process.scheduler.deadline: only SCHED_DEADLINE has it"},
        {SCHEDULER("'policy':'SCHED_OTHER','period':1"),
         "process.scheduler.period: only SCHED_DEADLINE has it"},
        {SCHEDULER("'policy':'SCHED_DEADLINE','deadline':1"),
         "process.scheduler.runtime: is required for SCHED_DEADLINE"},
        {SCHEDULER("'policy':'SCHED_DEADLINE','runtime':1"),
         "process.scheduler.deadline: is required for SCHED_DEADLINE"},
        {SCHEDULER("'policy':'SCHED_DEADLINE','runtime':3,'deadline':2"),
         "process.scheduler.runtime: is longer than the deadline"},
        {SCHEDULER("'policy':'SCHED_DEADLINE','runtime':1,'deadline':3,'period':2"),
         "process.scheduler.period: is shorter than the deadline"},
        {SCHEDULER("'policy':'SCHED_OTHER','flags':['RECLAIM']"),
         "process.scheduler.flags[0]: expected one of SCHED_FLAG_RESET_ON_FORK, "},
        {SCHEDULER("'policy':'SCHED_OTHER','flags':[null]"),
         "process.scheduler.flags[0]: must not be null"},
        {SCHEDULER("'policy':'SCHED_OTHER','flags':{}"),
         "process.scheduler.flags: expected an array"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
    refuse(SCHEDULER("'policy':'SCHED_ISO'"), ERROR_UNSUPPORTED,
           "process.scheduler.policy: no Linux has SCHED_ISO");
}

static void test_io_priority(void **state)
{
    (void)state;
    static const struct {
        const char *patch;
        int value;
    } good[] = {
        {IO("'class':'IOPRIO_CLASS_RT','priority':7"), IOPRIO_CLASS_RT << IOPRIO_CLASS_SHIFT | 7},
        {IO("'class':'IOPRIO_CLASS_BE','priority':0"), IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT},
        {IO("'class':'IOPRIO_CLASS_IDLE'"), IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        _cleanup_spec_ struct oci_spec *s = accept(good[i].patch);
        assert_true(s->process->has_io_priority);
        assert_int_equal(s->process->io_priority, good[i].value);
    }
    static const struct refusal cases[] = {
        {IO("'priority':1"), "process.ioPriority.class: is required, but missing"},
        {IO("'class':'BE'"), "process.ioPriority.class: expected one of IOPRIO_CLASS_RT, "},
        {IO("'class':'IOPRIO_CLASS_NONE'"), "process.ioPriority.class: expected one of IOPRIO_"},
        {IO("'class':'IOPRIO_CLASS_BE','priority':8"),
         "process.ioPriority.priority: expected a whole number from 0 to 7, found 8"},
        {IO("'class':'IOPRIO_CLASS_BE','priority':-1"),
         "process.ioPriority.priority: expected a whole number from 0 to 7, found -1"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_exec_cpu_affinity(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(AFFINITY("'initial':'0-3,7,2-5','final':'64,4095'"));
    const struct oci_set *initial = &s->process->exec_affinity_initial;
    const struct oci_set *final = &s->process->exec_affinity_final;
    assert_true(initial->present && final->present);
    assert_int_equal(initial->bits[0], 0xbf);
    assert_int_equal(set_size(initial), 7);
    assert_true(in_set(final, 64) && in_set(final, 4095));
    assert_int_equal(set_size(final), 2);

    _cleanup_spec_ struct oci_spec *one = accept(AFFINITY("'initial':'','final':'00-0001'"));
    assert_false(one->process->exec_affinity_initial.present);
    assert_int_equal(one->process->exec_affinity_final.bits[0], 3);
}

static void test_number_sets_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {",",    "0,",   ",0", "-",     "-1",  "1-",  "1-2-3",
                                        "3-1",  " 0",   "0 ", "0;1",   "a",   "0x1", "0-all",
                                        "0--1", "0,,1", "+1", "0-7:2", "0\\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_free_ char *patch =
            str_printf("{'process':{'execCPUAffinity':{'initial':'%s'}}}", texts[i]);
        refuse(patch, ERROR_CONFIG,
               "process.execCPUAffinity.initial: expected a list like \"0-3,7\", found \"");
    }
    static const struct refusal cases[] = {
        {AFFINITY("'initial':0"), "process.execCPUAffinity.initial: expected a string, found 0"},
        {AFFINITY("'final':'4096'"), "process.execCPUAffinity.final: goes beyond 4095: \"4096\""},
        {AFFINITY("'final':'0-99999999999999999999999'"),
         "process.execCPUAffinity.final: goes beyond 4095: \"0-9999"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_process_alone(void **state)
{
    (void)state;
    static const char text[] = "{\"args\":[\"a\",\"b\"],\"cwd\":\"/c\",\"user\":{\"uid\":3},"
                               "\"env\":[\"A=1\"],\"apparmorProfile\":\"p\",\"terminal\":true}";
    _cleanup_process_ struct oci_process *p = NULL;
    struct error e = {0};
    assert_int_equal(oci_process_parse(text, strlen(text), "p.json", &p, &e), 0);
    assert_string_equal(p->args[1], "b");
    assert_string_equal(p->cwd, "/c");
    assert_string_equal(p->env[0], "A=1");
    assert_string_equal(p->apparmor_profile, "p");
    assert_int_equal(p->uid, 3);
    assert_true(p->terminal);
    oci_process_free(NULL);
}

static void test_process_alone_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"{}", "cannot use the process 'p.json:1:1': args: is required, but missing"},
        {"{\"args\":[\"a\"]}",
         "cannot use the process 'p.json:1:1': cwd: is required, but missing"},
        {"{\"args\":[\"a\"],\n \"cwd\":\"x\"}", "cannot use the process 'p.json:2:8': cwd: "
                                                "expected an absolute path, found \"x\""},
        {"[]", "cannot use the process 'p.json:1:1': expected an object, found '['"},
        {"{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":\"0\"}}",
         "cannot use the process 'p.json:1:39': user.uid: expected a whole number from 0 to "
         "4294967294, found \"0\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct oci_process *p = NULL;
        struct error e = {0};
        assert_int_equal(oci_process_parse(cases[i].text, strlen(cases[i].text), "p.json", &p, &e),
                         -EINVAL);
        _cleanup_free_ char *line = error_render(&e);
        assert_string_equal(line, cases[i].line);
        assert_int_equal(e.code, ERROR_CONFIG);
        assert_null(p);
        error_done(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_scheduler),
        cmocka_unit_test(test_scheduler_refused),
        cmocka_unit_test(test_io_priority),
        cmocka_unit_test(test_exec_cpu_affinity),
        cmocka_unit_test(test_number_sets_refused),
        cmocka_unit_test(test_process_alone),
        cmocka_unit_test(test_process_alone_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
