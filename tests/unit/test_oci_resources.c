/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "oci_config.h"

/* linux.resources, in a config and on its own. */

#define RESOURCES(rest) "{'linux':{'resources':{" rest "}}}"
#define MEMORY(rest) RESOURCES("'memory':{" rest "}")
#define CPU(rest) RESOURCES("'cpu':{" rest "}")
#define BLOCK_IO(rest) RESOURCES("'blockIO':{" rest "}")
#define RULE(rest) RESOURCES("'devices':[{" rest "}]")
#define P "linux.resources."

static void test_device_rules(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(RESOURCES("'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c',"
                         "'major':10,'minor':229,'access':'mr'},{'allow':true,'type':'b',"
                         "'major':-1,'minor':null,'access':'w'},"
                         "{'allow':true,'type':'','access':'rr'}]"));
    const struct oci_device_rule *r = s->resources.devices;
    assert_true(s->has_resources);
    assert_int_equal(s->resources.n_devices, 4);
    assert_false(r[0].allow);
    assert_int_equal(r[0].type, 'a');
    assert_true(r[0].major == -1 && r[0].minor == -1);
    assert_int_equal(r[0].access, OCI_DEVICE_READ | OCI_DEVICE_WRITE | OCI_DEVICE_MKNOD);
    assert_true(r[1].allow);
    assert_int_equal(r[1].type, 'c');
    assert_true(r[1].major == 10 && r[1].minor == 229);
    assert_int_equal(r[1].access, OCI_DEVICE_READ | OCI_DEVICE_MKNOD);
    assert_int_equal(r[2].type, 'b');
    assert_true(r[2].major == -1 && r[2].minor == -1);
    assert_int_equal(r[3].type, 'a');
    assert_int_equal(r[3].access, OCI_DEVICE_READ);

    static const struct refusal cases[] = {
        {RESOURCES("'devices':{}"), P "devices: expected an array, found an object"},
        {RESOURCES("'devices':[1]"), P "devices[0]: expected an object, found 1"},
        {RULE("'access':'r'"), P "devices[0].allow: is required, but missing"},
        {RULE("'allow':1,'access':'r'"), P "devices[0].allow: expected true or false, found 1"},
        {RULE("'allow':true"), P "devices[0].access: must name at least one of r, w, m"},
        {RULE("'allow':false,'access':''"), P "devices[0].access: must name at least one of"},
        {RULE("'allow':true,'access':'rx'"),
         P "devices[0].access: expected some of the letters r, w, m, found \"rx\""},
        {RULE("'allow':true,'access':'r','type':'p'"),
         P "devices[0].type: expected one of a, b, c, found \"p\""},
        {RULE("'allow':true,'access':'r','major':-2"),
         P "devices[0].major: expected a whole number from -1 to 4294967295, found -2"},
        {RULE("'allow':true,'access':'r','minor':'*'"),
         P "devices[0].minor: expected a whole number from -1 to 4294967295, found \"*\""},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_memory(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(MEMORY("'limit':536870912,'reservation':-1,'swap':9223372036854775807,"
                      "'swappiness':0,'disableOOMKiller':false,'checkBeforeUpdate':true,"
                      "'useHierarchy':true"));
    const struct oci_memory *m = &s->resources.memory;
    assert_true(m->limit.set && m->limit.value == 536870912);
    assert_true(m->reservation.set && m->reservation.value == -1);
    assert_true(m->swap.set && m->swap.value == INT64_MAX);
    assert_true(m->swappiness.set && m->swappiness.value == 0);
    assert_true(m->disable_oom_killer.set && !m->disable_oom_killer.value);
    assert_true(m->check_before_update);

    _cleanup_spec_ struct oci_spec *none = accept(MEMORY("'limit':0,'reservation':0,'swap':0"));
    m = &none->resources.memory;
    assert_false(m->limit.set || m->reservation.set || m->swap.set || m->swappiness.set);
    assert_false(m->disable_oom_killer.set || m->check_before_update);

    static const struct refusal cases[] = {
        {MEMORY("'limit':-2"), P "memory.limit: expected a whole number from -1 to "},
        {MEMORY("'limit':9223372036854775808"), P "memory.limit: expected a whole number from -1"},
        {MEMORY("'limit':'1G'"), P "memory.limit: expected a whole number from -1 to "},
        {MEMORY("'reservation':1.5"), P "memory.reservation: expected a whole number from -1 to "},
        {MEMORY("'swap':[]"), P "memory.swap: expected a whole number from -1 to "},
        {MEMORY("'swappiness':101"),
         P "memory.swappiness: expected a whole number from 0 to 100, found 101"},
        {MEMORY("'disableOOMKiller':0"), P "memory.disableOOMKiller: expected true or false"},
        {MEMORY("'checkBeforeUpdate':''"), P "memory.checkBeforeUpdate: expected true or false"},
        {MEMORY("'useHierarchy':1"), P "memory.useHierarchy: expected true or false"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_cpu(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(CPU("'shares':1024,'quota':50000,'period':100000,'burst':50000,'idle':1,"
                   "'cpus':'0-3,7','mems':'0'"));
    const struct oci_cpu *c = &s->resources.cpu;
    assert_true(c->shares.set && c->shares.value == 1024);
    assert_true(c->quota.set && c->quota.value == 50000);
    assert_true(c->period.set && c->period.value == 100000);
    assert_true(c->burst.set && c->burst.value == 50000);
    assert_true(c->idle.set && c->idle.value == 1);
    assert_string_equal(c->cpus, "0-3,7");
    assert_string_equal(c->mems, "0");

    /* 0 is "not set"; below, there is no limit. A burst needs no quota to stand beside. */
    _cleanup_spec_ struct oci_spec *none =
        accept(CPU("'shares':0,'quota':0,'period':0,'cpus':'','burst':0,'idle':0"));
    c = &none->resources.cpu;
    assert_false(c->shares.set || c->quota.set || c->period.set);
    assert_true(c->burst.set && c->idle.set);
    assert_null(c->cpus);
    _cleanup_spec_ struct oci_spec *unlimited = accept(CPU("'quota':-5,'burst':7"));
    assert_true(unlimited->resources.cpu.quota.set && unlimited->resources.cpu.quota.value == -1);

    static const struct refusal cases[] = {
        {CPU("'shares':-1"), P "cpu.shares: expected a whole number from 0 to "},
        {CPU("'quota':'max'"), P "cpu.quota: expected a whole number from -9223372036854775808"},
        {CPU("'period':-1"), P "cpu.period: expected a whole number from 0 to "},
        {CPU("'burst':-1"), P "cpu.burst: expected a whole number from 0 to "},
        {CPU("'quota':10,'burst':11"), P "cpu.burst: is above the quota, 10"},
        {CPU("'idle':2"), P "cpu.idle: expected a whole number from 0 to 1, found 2"},
        {CPU("'cpus':'3-0'"), P "cpu.cpus: expected a list like \"0-3,7\", found \"3-0\""},
        {CPU("'cpus':3"), P "cpu.cpus: expected a string, found 3"},
        {CPU("'mems':'x'"), P "cpu.mems: expected a list like \"0-3,7\", found \"x\""},
        {CPU("'mems':'4096'"), P "cpu.mems: goes beyond 4095: \"4096\""},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_pids(void **state)
{
    (void)state;
    static const int64_t values[] = {100, 0, -1, INT64_MIN};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        _cleanup_free_ char *patch =
            str_printf("{'linux':{'resources':{'pids':{'limit':%lld}}}}", (long long)values[i]);
        _cleanup_spec_ struct oci_spec *s = accept(patch);
        assert_true(s->resources.pids_limit.set && s->resources.pids_limit.value == values[i]);
    }
    /* Optional since 1.3. */
    _cleanup_spec_ struct oci_spec *none = accept(RESOURCES("'pids':{}"));
    assert_false(none->resources.pids_limit.set);
    refuse(RESOURCES("'pids':{'limit':'1'}"), ERROR_CONFIG,
           P "pids.limit: expected a whole number from ");
    refuse(RESOURCES("'pids':1"), ERROR_CONFIG, P "pids: expected an object, found 1");
}

static void test_block_io(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        BLOCK_IO("'weight':10,'leafWeight':0,'weightDevice':[{'major':8,'minor':0,'weight':1000,"
                 "'leafWeight':0},{'major':8,'minor':16,'weight':10}],"
                 "'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':600}],"
                 "'throttleWriteBpsDevice':[{'major':8,'minor':1,'rate':0}],"
                 "'throttleReadIOPSDevice':[{'major':8,'minor':2,'rate':18446744073709551615}],"
                 "'throttleWriteIOPSDevice':[{'major':8,'minor':3,'rate':1},"
                 "{'major':259,'minor':4,'rate':2}]"));
    const struct oci_io *io = &s->resources.io;
    assert_true(io->weight.set && io->weight.value == 10);
    assert_int_equal(io->weight_device.n, 2);
    assert_true(io->weight_device.list[0].value == 1000 && io->weight_device.list[1].minor == 16);
    assert_int_equal(io->read_bps.n, 1);
    assert_true(io->read_bps.list[0].major == 8 && io->read_bps.list[0].value == 600);
    assert_true(io->write_bps.list[0].minor == 1 && io->write_bps.list[0].value == 0);
    assert_true(io->read_iops.list[0].value == UINT64_MAX);
    assert_int_equal(io->write_iops.n, 2);
    assert_true(io->write_iops.list[1].major == 259 && io->write_iops.list[1].value == 2);

    /* docker always sends a weight. */
    _cleanup_spec_ struct oci_spec *none = accept(BLOCK_IO("'weight':0,'weightDevice':[]"));
    assert_false(none->resources.io.weight.set);

    static const struct refusal cases[] = {
        {BLOCK_IO("'weight':9"), P "blockIO.weight: expected a weight from 10 to 1000, found 9"},
        {BLOCK_IO("'weight':1001"),
         P "blockIO.weight: expected a whole number from 0 to 1000, found 1001"},
        {BLOCK_IO("'weightDevice':[{'minor':0,'weight':10}]"),
         P "blockIO.weightDevice[0].major: is required, but missing"},
        {BLOCK_IO("'weightDevice':[{'major':0,'weight':10}]"),
         P "blockIO.weightDevice[0].minor: is required, but missing"},
        {BLOCK_IO("'weightDevice':[{'major':0,'minor':0}]"),
         P "blockIO.weightDevice[0].weight: is required: from 10 to 1000"},
        {BLOCK_IO("'weightDevice':[{'major':0,'minor':0,'weight':5}]"),
         P "blockIO.weightDevice[0].weight: expected a weight from 10 to 1000, found 5"},
        {BLOCK_IO("'throttleReadBpsDevice':[{'major':0,'minor':0}]"),
         P "blockIO.throttleReadBpsDevice[0].rate: is required, but missing"},
        {BLOCK_IO("'throttleWriteBpsDevice':[{'major':-1,'minor':0,'rate':1}]"),
         P "blockIO.throttleWriteBpsDevice[0].major: expected a whole number from 0 to "},
        {BLOCK_IO("'throttleReadIOPSDevice':[{'major':0,'minor':-1,'rate':1}]"),
         P "blockIO.throttleReadIOPSDevice[0].minor: expected a whole number from 0 to "},
        {BLOCK_IO("'throttleWriteIOPSDevice':[{'major':0,'minor':0,'rate':-1}]"),
         P "blockIO.throttleWriteIOPSDevice[0].rate: expected a whole number from 0 to "},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_hugepage_limits(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(RESOURCES("'hugepageLimits':[{'pageSize':'2MB','limit':209715200},"
                         "{'pageSize':'64KB','limit':0},{'pageSize':'16GB','limit':1}]"));
    assert_int_equal(s->resources.n_hugepages, 3);
    assert_string_equal(s->resources.hugepages[0].page_size, "2MB");
    assert_true(s->resources.hugepages[0].limit == 209715200);
    assert_string_equal(s->resources.hugepages[2].page_size, "16GB");

    static const char *const sizes[] = {"",     "2",    "MB",   "2mb",  "2M",   "2TB",
                                        "02MB", "2MB ", "2 MB", "2MBx", "2.MB", "../x"};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        _cleanup_free_ char *patch = str_printf(
            "{'linux':{'resources':{'hugepageLimits':[{'pageSize':'%s','limit':1}]}}}", sizes[i]);
        refuse(patch, ERROR_CONFIG,
               P "hugepageLimits[0].pageSize: expected a size like \"2MB\", found \"");
    }
    refuse(RESOURCES("'hugepageLimits':[{'limit':1}]"), ERROR_CONFIG,
           P "hugepageLimits[0].pageSize: is required, but missing");
    refuse(RESOURCES("'hugepageLimits':[{'pageSize':'2MB'}]"), ERROR_CONFIG,
           P "hugepageLimits[0].limit: is required, but missing");
}

static void test_rdma(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(RESOURCES("'rdma':{'mlx5_1':{'hcaHandles':3,'hcaObjects':10000},"
                         "'rxe3':{'hcaObjects':0}}"));
    assert_int_equal(s->resources.n_rdma, 2);
    assert_string_equal(s->resources.rdma[0].device, "mlx5_1");
    assert_true(s->resources.rdma[0].hca_handles.set);
    assert_true(s->resources.rdma[0].hca_handles.value == 3);
    assert_true(s->resources.rdma[0].hca_objects.value == 10000);
    assert_false(s->resources.rdma[1].hca_handles.set);
    assert_true(s->resources.rdma[1].hca_objects.set);

    static const struct refusal cases[] = {
        {RESOURCES("'rdma':[]"), P "rdma: expected an object, found an array"},
        {RESOURCES("'rdma':{'a':{}}"), P "rdma.a: needs hcaHandles or hcaObjects"},
        {RESOURCES("'rdma':{'a':null}"), P "rdma.a: must not be null"},
        {RESOURCES("'rdma':{'':{'hcaObjects':1}}"), P "rdma[\"\"]: is no name of a device"},
        {RESOURCES("'rdma':{'a b':{'hcaObjects':1}}"), P "rdma[\"a b\"]: is no name of a device"},
        {RESOURCES("'rdma':{'a':{'hcaHandles':4294967296}}"),
         P "rdma.a.hcaHandles: expected a whole number from 0 to 4294967295"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_unified(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(RESOURCES("'unified':{'memory.high':'80000000','io.max':'8:0 rbps=1',"
                         "'hugetlb.2MB.max':'','cpu.weight.nice':'-3'}"));
    assert_int_equal(s->resources.n_unified, 4);
    assert_string_equal(s->resources.unified[0].file, "memory.high");
    assert_string_equal(s->resources.unified[0].value, "80000000");
    assert_string_equal(s->resources.unified[3].file, "cpu.weight.nice");

    static const struct refusal cases[] = {
        {RESOURCES("'unified':{'a/b.c':'1'}"),
         P "unified[\"a/b.c\"]: must be a file's name, without a slash"},
        {RESOURCES("'unified':{'..':'1'}"), P "unified[\"..\"]: is no file of a controller"},
        {RESOURCES("'unified':{'../memory.max':'1'}"), P "unified[\"../memory.max\"]: must be a"},
        {RESOURCES("'unified':{'memory':'1'}"), P "unified.memory: is no file of a controller"},
        {RESOURCES("'unified':{'memory.':'1'}"), P "unified[\"memory.\"]: is no file of a"},
        {RESOURCES("'unified':{'.memory':'1'}"), P "unified[\".memory\"]: is no file of a"},
        {RESOURCES("'unified':{'memory..x':'1'}"), P "unified[\"memory..x\"]: is no file of a"},
        {RESOURCES("'unified':{'memory.a b':'1'}"), P "unified[\"memory.a b\"]: is no file of a"},
        {RESOURCES("'unified':{'':'1'}"), P "unified[\"\"]: is no file of a controller"},
        {RESOURCES("'unified':{'cgroup.procs':'1'}"),
         P "unified[\"cgroup.procs\"]: is the runtime's: no file of a controller"},
        {RESOURCES("'unified':{'memory.max':1}"),
         P "unified[\"memory.max\"]: expected a string, found 1"},
        {RESOURCES("'unified':{'memory.max':null}"), P "unified[\"memory.max\"]: must not be null"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

/* What engines fill in asks for nothing. */
static void test_cgroup_v1_zeros(void **state)
{
    (void)state;
    oci_spec_free(accept(RESOURCES(
        "'memory':{'kernel':-1,'kernelTCP':0},'cpu':{'realtimeRuntime':0,'realtimePeriod':0},"
        "'blockIO':{'leafWeight':0},'network':{'classID':0,'priorities':[]}")));
    oci_spec_free(accept(RESOURCES("'memory':{'kernel':0,'kernelTCP':-1},'network':{}")));
}

static void test_cgroup_v1_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {MEMORY("'kernel':1"), P "memory.kernel: cgroup v1 only"},
        {MEMORY("'kernel':-2"), P "memory.kernel: cgroup v1 only"},
        {MEMORY("'kernelTCP':4096"), P "memory.kernelTCP: cgroup v1 only"},
        {CPU("'realtimeRuntime':950000"), P "cpu.realtimeRuntime: cgroup v1 only"},
        {CPU("'realtimePeriod':1000000"), P "cpu.realtimePeriod: cgroup v1 only"},
        {BLOCK_IO("'leafWeight':10"), P "blockIO.leafWeight: cgroup v1 only"},
        {BLOCK_IO("'weightDevice':[{'major':8,'minor':0,'weight':10,'leafWeight':300}]"),
         P "blockIO.weightDevice[0].leafWeight: cgroup v1 only"},
        {RESOURCES("'network':{'classID':1048577}"), P "network.classID: cgroup v1 only"},
        {RESOURCES("'network':{'priorities':[{'name':'eth0','priority':1}]}"),
         P "network.priorities: cgroup v1 only"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_UNSUPPORTED);
}

static void test_resources_alone(void **state)
{
    (void)state;
    static const char text[] = "{\"memory\":{\"limit\":1048576},\"cpu\":{\"cpus\":\"1\"},"
                               "\"pids\":{\"limit\":5},\"unified\":{\"memory.high\":\"1\"},"
                               "\"rdma\":{\"a\":{\"hcaObjects\":1}},"
                               "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}]}";
    _cleanup_resources_ struct oci_resources *r = NULL;
    struct error e = {0};
    assert_int_equal(oci_resources_parse(text, strlen(text), "r.json", &r, &e), 0);
    assert_true(r->memory.limit.value == 1048576 && r->pids_limit.value == 5);
    assert_string_equal(r->cpu.cpus, "1");
    oci_resources_free(NULL);

    struct oci_resources *bad = NULL;
    static const char wrong[] = "{\n\"unified\":{\"memory.high\":\"1\"},\"cpu\":{\"idle\": 3}}";
    assert_int_equal(oci_resources_parse(wrong, strlen(wrong), "r.json", &bad, &e), -EINVAL);
    _cleanup_free_ char *line = error_render(&e);
    assert_string_equal(line, "cannot use the resources 'r.json:2:46': cpu.idle: expected a whole "
                              "number from 0 to 1, found 3");
    assert_null(bad);
    error_done(&e);
}

/* A list that is longer than anybody's. */
static void test_lists_are_bounded(void **state)
{
    (void)state;
    for (size_t n = 16384; n <= 16385; n++) {
        struct strbuf b = {0};
        strbuf_add(&b, "{\"devices\":[");
        for (size_t i = 0; i < n; i++)
            strbuf_add(&b, i ? ",{\"allow\":true,\"access\":\"r\"}"
                             : "{\"allow\":true,\"access\":\"r\"}");
        strbuf_add(&b, "]}");
        struct oci_resources *r = NULL;
        struct error e = {0};
        assert_int_equal(oci_resources_parse(b.s, b.len, "r", &r, &e), n == 16384 ? 0 : -EINVAL);
        if (n > 16384)
            assert_string_equal(e.why, "devices: has 16385 elements, more than 16384");
        oci_resources_free(r);
        error_done(&e);
        strbuf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_rules),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_pids),
        cmocka_unit_test(test_block_io),
        cmocka_unit_test(test_hugepage_limits),
        cmocka_unit_test(test_rdma),
        cmocka_unit_test(test_unified),
        cmocka_unit_test(test_cgroup_v1_zeros),
        cmocka_unit_test(test_cgroup_v1_refused),
        cmocka_unit_test(test_resources_alone),
        cmocka_unit_test(test_lists_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
