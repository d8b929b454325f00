/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "temp_dir.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/str.h"
#include "process/attributes.h"

/* A process that does nothing, to be given something. */
static pid_t sleeper(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        for (;;)
            (void)pause();
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct attributes_plan plan_of(const struct oci_process *p, bool exec)
{
    static const struct oci_spec spec = {0};
    struct attributes_plan plan;

    attributes_plan_make(&plan, p, &spec, exec);
    return plan;
}

static void give(const struct attributes_plan *plan, pid_t pid)
{
    struct error e = {0};

    if (attributes_give(plan, pid, &e) < 0)
        fail_msg("%s", error_render(&e));
}

static struct sched_attr scheduler_of(pid_t pid)
{
    struct sched_attr a = {0};

    assert_int_equal(syscall(SYS_sched_getattr, pid, &a, sizeof(a), 0), 0);
    return a;
}

static void test_scheduler(void **state)
{
    static const struct oci_scheduler rows[] = {
        {.policy = SCHED_BATCH, .nice = 7},
        {.policy = SCHED_NORMAL, .nice = -5},
        {.policy = SCHED_IDLE},
        {.policy = SCHED_FIFO, .priority = 3, .flags = SCHED_FLAG_RESET_ON_FORK},
        {.policy = SCHED_RR, .priority = 99},
        {.policy = SCHED_DEADLINE, .runtime = 1000000, .deadline = 20000000, .period = 40000000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_process p = {.has_scheduler = true, .scheduler = rows[i]};
        struct attributes_plan plan = plan_of(&p, false);
        pid_t pid = sleeper();
        give(&plan, pid);
        struct sched_attr a = scheduler_of(pid);
        assert_int_equal(a.sched_policy, rows[i].policy);
        assert_int_equal(a.sched_nice, rows[i].nice);
        assert_int_equal(a.sched_priority, rows[i].priority);
        assert_int_equal(a.sched_flags, rows[i].flags);
        if (rows[i].policy == SCHED_DEADLINE) {
            assert_int_equal(a.sched_runtime, rows[i].runtime);
            assert_int_equal(a.sched_deadline, rows[i].deadline);
            assert_int_equal(a.sched_period, rows[i].period);
        }
        end(pid);
    }
}

static int io_priority_of(pid_t pid)
{
    return (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid);
}

static void test_io_priority(void **state)
{
    const int rows[] = {
        IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7),
        IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 2),
        IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_process p = {.has_io_priority = true, .io_priority = rows[i]};
        struct attributes_plan plan = plan_of(&p, false);
        pid_t pid = sleeper();
        give(&plan, pid);
        assert_int_equal(io_priority_of(pid), rows[i]);
        end(pid);
    }
}

static void test_nothing_asked_for_changes_nothing(void **state)
{
    struct oci_process p = {
        .scheduler = {.policy = SCHED_IDLE},
        .io_priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0),
    };
    struct attributes_plan plan = plan_of(&p, true);
    enum attributes_step step = 0;
    pid_t pid = sleeper();
    int before = io_priority_of(pid);

    (void)state;
    give(&plan, pid);
    assert_int_equal(scheduler_of(pid).sched_policy, SCHED_NORMAL);
    assert_int_equal(io_priority_of(pid), before);
    end(pid);
    assert_int_equal(attributes_begin(&plan, NULL), 0);
    assert_int_equal(attributes_apply(&plan, &step), 0);
    assert_int_equal(step, 0);
}

/* ---- CPUs ---- */

static void cpus_of(pid_t pid, struct oci_set *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->present = true;
    assert_true(syscall(SYS_sched_getaffinity, pid, sizeof(ret->bits), ret->bits) > 0);
}

static struct oci_set one_cpu(unsigned long cpu)
{
    struct oci_set set = {.present = true};
    const unsigned long bits = 8 * sizeof(set.bits[0]);

    set.bits[cpu / bits] = 1ul << (cpu % bits);
    return set;
}

/* The n-th CPU that this process may use. */
static unsigned long nth_cpu(const struct oci_set *all, unsigned n)
{
    for (unsigned long cpu = 0; cpu < OCI_SET_BITS; cpu++)
        if (all->bits[cpu / 64] >> (cpu % 64) & 1 && n-- == 0)
            return cpu;
    return 0;
}

static void assert_cpus(pid_t pid, const struct oci_set *want)
{
    struct oci_set got;

    cpus_of(pid, &got);
    assert_memory_equal(got.bits, want->bits, sizeof(got.bits));
}

static void test_cpus_of_an_exec(void **state)
{
    struct oci_set all;
    struct error e = {0};

    (void)state;
    cpus_of(0, &all);
    struct oci_process p = {.exec_affinity_initial = one_cpu(nth_cpu(&all, 0)),
                            .exec_affinity_final = one_cpu(nth_cpu(&all, 1))};
    struct attributes_plan plan = plan_of(&p, true);

    assert_int_equal(attributes_begin(&plan, &e), 0);
    assert_cpus(0, &p.exec_affinity_initial);
    pid_t pid = sleeper();
    assert_cpus(pid, &p.exec_affinity_initial);
    give(&plan, pid);
    assert_cpus(pid, &p.exec_affinity_final);
    end(pid);

    /* Without a final set: wherever the cgroup lets it, not where it began. */
    p.exec_affinity_final.present = false;
    plan = plan_of(&p, true);
    pid = sleeper();
    assert_cpus(pid, &p.exec_affinity_initial);
    give(&plan, pid);
    assert_cpus(pid, &all);
    end(pid);
    assert_true(syscall(SYS_sched_setaffinity, 0, sizeof(all.bits), all.bits) >= 0);

    /* A final set alone. */
    p.exec_affinity_initial.present = false;
    p.exec_affinity_final.present = true;
    plan = plan_of(&p, true);
    assert_int_equal(attributes_begin(&plan, &e), 0);
    assert_cpus(0, &all);
    pid = sleeper();
    give(&plan, pid);
    assert_cpus(pid, &p.exec_affinity_final);
    end(pid);
}

static void test_the_first_process_has_no_exec_cpus(void **state)
{
    struct oci_set all;

    (void)state;
    cpus_of(0, &all);
    struct oci_process p = {.exec_affinity_initial = one_cpu(nth_cpu(&all, 0)),
                            .exec_affinity_final = one_cpu(nth_cpu(&all, 0))};
    struct attributes_plan plan = plan_of(&p, false);
    assert_int_equal(attributes_begin(&plan, NULL), 0);
    assert_cpus(0, &all);
}

static void test_cpus_that_are_not_there(void **state)
{
    struct oci_process p = {.exec_affinity_initial = one_cpu(OCI_SET_BITS - 1),
                            .exec_affinity_final = one_cpu(OCI_SET_BITS - 2)};
    struct attributes_plan plan = plan_of(&p, true);
    struct error e = {0};

    (void)state;
    assert_int_equal(attributes_begin(&plan, &e), -EINVAL);
    assert_error_says(&e, "process.execCPUAffinity.initial");
    error_done(&e);
    pid_t pid = sleeper();
    assert_int_equal(attributes_give(&plan, pid, &e), -EINVAL);
    assert_error_says(&e, "process.execCPUAffinity.final");
    error_done(&e);
    end(pid);
}

/* ---- what may not be ---- */

static void test_without_the_right(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {{0}};
        struct oci_process p = {.has_scheduler = true,
                                .scheduler = {.policy = SCHED_FIFO, .priority = 1}};
        struct attributes_plan plan = plan_of(&p, false);
        struct error e = {0};
        pid_t other = sleeper();
        if (syscall(SYS_capset, &h, data) < 0)
            _exit(1);
        int r = attributes_give(&plan, other, &e);
        if (r != -EPERM || e.code != ERROR_PERMISSION || !strstr(e.remedy, "CAP_SYS_NICE") ||
            !streq(e.subject, "process.scheduler"))
            _exit(2);
        error_done(&e);
        p = (struct oci_process){.has_io_priority = true,
                                 .io_priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 0)};
        plan = plan_of(&p, false);
        r = attributes_give(&plan, other, &e);
        if (r != -EPERM || e.code != ERROR_PERMISSION || !streq(e.subject, "process.ioPriority"))
            _exit(3);
        (void)kill(other, SIGKILL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- what the child does to itself ---- */

static int in_child(int (*test)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(test());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int apply_spec(const struct oci_spec *spec, enum attributes_step *ret_step)
{
    const struct oci_process p = {0};
    struct attributes_plan plan;

    attributes_plan_make(&plan, &p, spec, false);
    return attributes_apply(&plan, ret_step);
}

static int linux32(void)
{
    const struct oci_spec spec = {.has_personality = true, .personality = PER_LINUX32};
    enum attributes_step step = 0;
    struct utsname u;

    if (apply_spec(&spec, &step) != 0 || step != ATTRIBUTES_PERSONALITY)
        return 1;
    if (personality(0xffffffff) != PER_LINUX32 || uname(&u) < 0)
        return 2;
#ifdef __x86_64__
    return streq(u.machine, "i686") ? 0 : 3;
#else
    return 0;
#endif
}

/* MPOL_WEIGHTED_INTERLEAVE and its like are for kernels that have them; node 0 everybody has. */
static int interleaved(void)
{
    struct oci_memory_policy policy = {.mode = MPOL_INTERLEAVE | MPOL_F_STATIC_NODES,
                                       .nodes = one_cpu(0)};
    const struct oci_spec spec = {.memory_policy = &policy};
    enum attributes_step step = 0;
    unsigned long nodes[OCI_SET_BITS / 64] = {0};
    int mode = -1;

    if (apply_spec(&spec, &step) != 0 || step != ATTRIBUTES_MEMORY_POLICY)
        return 1;
    if (syscall(SYS_get_mempolicy, &mode, nodes, OCI_SET_BITS, NULL, 0) < 0)
        return 2;
    if (mode != policy.mode || nodes[0] != 1)
        return 3;
    policy = (struct oci_memory_policy){.mode = MPOL_DEFAULT};
    if (apply_spec(&spec, &step) != 0)
        return 4;
    if (syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) < 0 || mode != MPOL_DEFAULT)
        return 5;
    /* The last bit counts, too: without any node it would be taken. */
    policy = (struct oci_memory_policy){.mode = MPOL_PREFERRED, .nodes = one_cpu(OCI_SET_BITS - 1)};
    step = 0;
    return apply_spec(&spec, &step) == -EINVAL && step == ATTRIBUTES_MEMORY_POLICY ? 0 : 6;
}

static void test_personality(void **state)
{
    (void)state;
    assert_int_equal(in_child(linux32), 0);
}

static void test_memory_policy(void **state)
{
    (void)state;
    assert_int_equal(in_child(interleaved), 0);
}

static void test_steps_have_names(void **state)
{
    (void)state;
    assert_string_equal(attributes_step_field(ATTRIBUTES_PERSONALITY), "linux.personality");
    assert_string_equal(attributes_step_field(ATTRIBUTES_MEMORY_POLICY), "linux.memoryPolicy");
    assert_non_null(strstr(attributes_step_name(ATTRIBUTES_MEMORY_POLICY), "NUMA"));
    assert_non_null(strstr(attributes_step_name(ATTRIBUTES_PERSONALITY), "personality"));
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_nothing_asked_for_changes_nothing),
        cmocka_unit_test(test_cpus_of_an_exec),
        cmocka_unit_test(test_the_first_process_has_no_exec_cpus),
        cmocka_unit_test(test_cpus_that_are_not_there),
        cmocka_unit_test(test_without_the_right),
        cmocka_unit_test(test_personality),
        cmocka_unit_test(test_memory_policy),
        cmocka_unit_test(test_steps_have_names),
    };
    const struct CMUnitTest as_root[] = {
        cmocka_unit_test(test_scheduler),
        cmocka_unit_test(test_io_priority),
    };

    int failed = cmocka_run_group_tests(plain, NULL, NULL);
    if (geteuid() != 0) {
        print_message("skipped: real-time priorities need root\n");
        return failed;
    }
    return failed + cmocka_run_group_tests(as_root, NULL, NULL);
}
