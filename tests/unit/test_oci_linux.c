/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/stat.h>

#include "base/macros.h"
#include "oci_config.h"

/* Namespaces and what needs one, devices, and the rest of linux; hooks; mappings of mounts. */

#define LINUX(rest) "{'linux':{" rest "}}"
/* With a mount namespace and others. */
#define NS(others, rest) LINUX("'namespaces':[{'type':'mount'}," others "]," rest)
#define JOINED(others) LINUX("'namespaces':[{'type':'mount'}," others "]")
#define NEW(type) "{'type':'" type "'}"
#define MAPS "'uidMappings':[{'containerID':0,'hostID':1,'size':2}],"
#define GID_MAPS "'gidMappings':[{'containerID':0,'hostID':3,'size':4}]"

static void test_joined_namespaces(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept("{'hostname':'h','linux':{'namespaces':[{'type':'mount','path':'/n/mnt'},"
               "{'type':'pid','path':'/n/pid'},{'type':'network'},{'type':'ipc','path':''},"
               "{'type':'uts','path':'/n/uts'},{'type':'user','path':'/n/user'},"
               "{'type':'cgroup','path':'/n/cgroup'},{'type':'time','path':'/n/time'}]}}");
    assert_int_equal(s->new_namespaces, CLONE_NEWNET | CLONE_NEWIPC);
    assert_int_equal(s->joined_namespaces, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS |
                                               CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWTIME);
    assert_string_equal(s->namespace_paths[OCI_NS_MOUNT], "/n/mnt");
    assert_string_equal(s->namespace_paths[OCI_NS_TIME], "/n/time");
    assert_null(s->namespace_paths[OCI_NS_NETWORK]);
    assert_null(s->namespace_paths[OCI_NS_IPC]);
    assert_true(oci_spec_isolates(s, CLONE_NEWIPC) && oci_spec_isolates(s, CLONE_NEWPID));
    /* The namespace of a path has its mappings. */
    assert_int_equal(s->n_uid_maps + s->n_gid_maps, 0);

    _cleanup_spec_ struct oci_spec *none = accept("{}");
    assert_false(oci_spec_isolates(none, CLONE_NEWPID));

    static const struct refusal cases[] = {
        {JOINED("{'type':'pid','path':'ns/pid'}"),
         "linux.namespaces[1].path: expected an absolute path, found \"ns/pid\""},
        {JOINED("{'type':'pid','path':1}"), "linux.namespaces[1].path: expected a string, found 1"},
        {JOINED("{'path':'/x'}"), "linux.namespaces[1].type: is required, but missing"},
        {JOINED("{'type':'net','path':'/x'}"),
         "linux.namespaces[1].type: expected one of pid, network, mount, ipc, uts, user, cgroup, "
         "time, found \"net\""},
        {JOINED("{'type':'pid','path':'/a'},{'type':'pid'}"),
         "linux.namespaces[2]: this type is there twice"},
        {JOINED("{'type':'pid'},{'type':'pid','path':'/a'}"),
         "linux.namespaces[2]: this type is there twice"},
        {JOINED("{'type':'pid','path':'/a'},{'type':'pid','path':'/a'}"),
         "linux.namespaces[2]: this type is there twice"},
        {JOINED("null"), "linux.namespaces[1]: must not be null"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

/* Engines give the mappings of a namespace that they join, too. */
static void test_joined_user_namespace(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(NS("{'type':'user','path':'/n/user'}", MAPS GID_MAPS));
    assert_int_equal(s->n_uid_maps, 1);
    assert_int_equal(s->gid_maps[0].size, 4);

    static const struct refusal cases[] = {
        {NS("{'type':'user','path':'/n/user'}", GID_MAPS),
         "linux.uidMappings: give both uidMappings and gidMappings, or none of them"},
        {NS(NEW("user"), GID_MAPS),
         "linux.uidMappings: a new user namespace needs at least one mapping"},
        {NS(NEW("pid"), GID_MAPS),
         "linux.gidMappings: ids can only be mapped in a new user namespace"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_time_offsets(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(NS(NEW("time"), "'timeOffsets':{'monotonic':{'secs':-5,'nanosecs':999999999},"
                               "'boottime':{'secs':9223372036854775807}}"));
    assert_int_equal(s->new_namespaces, CLONE_NEWNS | CLONE_NEWTIME);
    assert_true(s->time_monotonic.set && s->time_boottime.set);
    assert_true(s->time_monotonic.secs == -5 && s->time_monotonic.nanosecs == 999999999);
    assert_true(s->time_boottime.secs == INT64_MAX && s->time_boottime.nanosecs == 0);

    _cleanup_spec_ struct oci_spec *none =
        accept(LINUX("'timeOffsets':{'monotonic':{},'boottime':{'secs':0,'nanosecs':0}}"));
    assert_false(none->time_monotonic.set || none->time_boottime.set);

    static const struct refusal cases[] = {
        {LINUX("'timeOffsets':{'boottime':{'secs':1}}"),
         "linux.timeOffsets: only a new time namespace can have offsets"},
        {NS("{'type':'time','path':'/t'}", "'timeOffsets':{'boottime':{'nanosecs':1}}"),
         "linux.timeOffsets: only a new time namespace can have offsets"},
        {NS(NEW("time"), "'timeOffsets':{'realtime':{'secs':1}}"),
         "linux.timeOffsets.realtime: only the clocks monotonic and boottime"},
        {NS(NEW("time"), "'timeOffsets':{'monotonic':1}"),
         "linux.timeOffsets.monotonic: expected an object, found 1"},
        {NS(NEW("time"), "'timeOffsets':{'monotonic':{'secs':1.5}}"),
         "linux.timeOffsets.monotonic.secs: expected a whole number from -9223372036854775808"},
        {NS(NEW("time"), "'timeOffsets':{'monotonic':{'nanosecs':1000000000}}"),
         "linux.timeOffsets.monotonic.nanosecs: expected a whole number from 0 to 999999999"},
        {NS(NEW("time"), "'timeOffsets':[]"), "linux.timeOffsets: expected an object"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_names_need_a_uts_namespace(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept("{'hostname':'h','domainname':'d','linux':{'namespaces':[{'type':'mount'},"
               "{'type':'uts','path':'/n/uts'}]}}");
    assert_string_equal(s->hostname, "h");
    assert_string_equal(s->domainname, "d");
    refuse("{'hostname':'h'}", ERROR_CONFIG, "hostname: would be set on the host without");
    refuse("{'domainname':'d'}", ERROR_CONFIG, "domainname: would be set on the host without");
}

static void test_devices(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        LINUX("'devices':[{'path':'/dev/fuse','type':'c','major':10,'minor':229,"
              "'fileMode':438,'uid':1,'gid':2},{'path':'/dev/sda','type':'b','major':4095,"
              "'minor':1048575,'fileMode':25008},{'path':'/x','type':'u','major':1,'minor':3,"
              "'fileMode':4095},{'path':'/pipe','type':'p'}]"));
    const struct oci_device *v = s->devices;
    assert_int_equal(s->n_devices, 4);
    assert_string_equal(v[0].path, "/dev/fuse");
    assert_int_equal(v[0].type, S_IFCHR);
    assert_true(v[0].major == 10 && v[0].minor == 229 && v[0].has_mode);
    assert_int_equal(v[0].mode, 0666);
    assert_true(v[0].uid == 1 && v[0].gid == 2);
    /* st_mode whole, as engines copy it: 060660 */
    assert_int_equal(v[1].type, S_IFBLK);
    assert_int_equal(v[1].mode, 0660);
    assert_int_equal(v[2].type, S_IFCHR);
    assert_int_equal(v[2].mode, 07777);
    assert_int_equal(v[3].type, S_IFIFO);
    assert_false(v[3].has_mode);

    static const struct refusal cases[] = {
        {LINUX("'devices':[{'path':'/a'}]"), "linux.devices[0].type: is required, but missing"},
        {LINUX("'devices':[{'path':'/a','type':'x'}]"),
         "linux.devices[0].type: expected one of c, u, b, p, found \"x\""},
        {LINUX("'devices':[{'type':'p'}]"), "linux.devices[0].path: is required, but missing"},
        {LINUX("'devices':[{'type':'p','path':''}]"), "linux.devices[0].path: must not be empty"},
        {LINUX("'devices':[{'type':'p','path':'dev/x'}]"),
         "linux.devices[0].path: expected an absolute path, found \"dev/x\""},
        {LINUX("'devices':[{'path':'/a','type':'c','minor':1}]"),
         "linux.devices[0].major: is required, but missing"},
        {LINUX("'devices':[{'path':'/a','type':'b','major':1}]"),
         "linux.devices[0].minor: is required, but missing"},
        {LINUX("'devices':[{'path':'/a','type':'b','major':4096,'minor':0}]"),
         "linux.devices[0].major: expected a whole number from 0 to 4095, found 4096"},
        {LINUX("'devices':[{'path':'/a','type':'b','major':-1,'minor':0}]"),
         "linux.devices[0].major: expected a whole number from 0 to 4095, found -1"},
        {LINUX("'devices':[{'path':'/a','type':'b','major':1,'minor':1048576}]"),
         "linux.devices[0].minor: expected a whole number from 0 to 1048575, found 1048576"},
        {LINUX("'devices':[{'path':'/a','type':'p','fileMode':65536}]"),
         "linux.devices[0].fileMode: expected a whole number from 0 to 65535, found 65536"},
        {LINUX("'devices':[{'path':'/a','type':'c','major':1,'minor':3,'fileMode':25008}]"),
         "linux.devices[0].fileMode: holds a file type (060000) that is not the device's"},
        {LINUX("'devices':[{'path':'/a','type':'p','uid':4294967295}]"),
         "linux.devices[0].uid: expected a whole number from 0 to 4294967294"},
        {LINUX("'devices':[{'path':'/a','type':'p','gid':-1}]"),
         "linux.devices[0].gid: expected a whole number from 0 to 4294967294"},
        {LINUX("'devices':{}"), "linux.devices: expected an array, found an object"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_sysctls(void **state)
{
    (void)state;
    static const struct {
        const char *ns, *key, *dotted;
    } cases[] = {
        {"ipc", "kernel.msgmax", "kernel.msgmax"},
        {"ipc", "kernel.msgmnb", "kernel.msgmnb"},
        {"ipc", "kernel.msgmni", "kernel.msgmni"},
        {"ipc", "kernel.sem", "kernel.sem"},
        {"ipc", "kernel.shmall", "kernel.shmall"},
        {"ipc", "kernel.shmmax", "kernel.shmmax"},
        {"ipc", "kernel.shmmni", "kernel.shmmni"},
        {"ipc", "kernel/shm_rmid_forced", "kernel.shm_rmid_forced"},
        {"ipc", "fs.mqueue.queues_max", "fs.mqueue.queues_max"},
        {"network", "net.ipv4.ip_forward", "net.ipv4.ip_forward"},
        {"network", "net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
        {"network", "net.ipv4.conf.eth0/100.rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
        {"uts", "kernel.domainname", "kernel.domainname"},
        {"user", "user.max_user_namespaces", "user.max_user_namespaces"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int joined = 0; joined < 2; joined++) {
            _cleanup_free_ char *patch =
                str_printf("{'linux':{'namespaces':[{'type':'mount'},{'type':'%s','path':'%s'}]%s,"
                           "'sysctl':{'%s':'1 2'}}}",
                           cases[i].ns, joined ? "/n" : "",
                           streq(cases[i].ns, "user") ? "," MAPS GID_MAPS : "", cases[i].key);
            _cleanup_spec_ struct oci_spec *s = accept(patch);
            assert_int_equal(s->n_sysctls, 1);
            assert_string_equal(s->sysctls[0].key, cases[i].dotted);
            assert_string_equal(s->sysctls[0].value, "1 2");
        }
        _cleanup_free_ char *host = str_printf("{'linux':{'sysctl':{'%s':'1'}}}", cases[i].key);
        _cleanup_free_ char *why =
            str_printf("would be set on the host without a %s namespace", cases[i].ns);
        refuse(host, ERROR_CONFIG, why);
    }
}

#define SYSCTL(rest) NS("{'type':'network'},{'type':'ipc'},{'type':'uts'}", "'sysctl':{" rest "}")

static void test_sysctls_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {SYSCTL("'vm.swappiness':'1'"),
         "linux.sysctl[\"vm.swappiness\"]: belongs to no namespace: it would be set on the host"},
        {SYSCTL("'kernel.core_pattern':'|/x'"), "linux.sysctl[\"kernel.core_pattern\"]: belongs"},
        {SYSCTL("'kernel.semx':'1'"), "linux.sysctl[\"kernel.semx\"]: belongs to no namespace"},
        {SYSCTL("'kernel.sem.x':'1'"), "linux.sysctl[\"kernel.sem.x\"]: belongs to no namespace"},
        {SYSCTL("'fs.mqueue':'1'"), "linux.sysctl[\"fs.mqueue\"]: belongs to no namespace"},
        {SYSCTL("'net':'1'"), "linux.sysctl.net: belongs to no namespace"},
        {SYSCTL("'network.x':'1'"), "linux.sysctl[\"network.x\"]: belongs to no namespace"},
        {SYSCTL("'':'1'"), "linux.sysctl[\"\"]: is no name of a sysctl"},
        {SYSCTL("'net..x':'1'"), "linux.sysctl[\"net..x\"]: is no name of a sysctl"},
        {SYSCTL("'net.':'1'"), "linux.sysctl[\"net.\"]: is no name of a sysctl"},
        {SYSCTL("'.net.x':'1'"), "linux.sysctl[\".net.x\"]: is no name of a sysctl"},
        {SYSCTL("'/net/x':'1'"), "linux.sysctl[\"/net/x\"]: is no name of a sysctl"},
        {SYSCTL("'net/../kernel/core_pattern':'1'"),
         "linux.sysctl[\"net/../kernel/core_pattern\"]: is no name of a sysctl"},
        {SYSCTL("'net./.x':'1'"), "linux.sysctl[\"net./.x\"]: is no name of a sysctl"},
        {SYSCTL("'net.//.//.x':'1'"), "linux.sysctl[\"net.//.//.x\"]: is no name of a sysctl"},
        {SYSCTL("'net/./x':'1'"), "linux.sysctl[\"net/./x\"]: is no name of a sysctl"},
        {SYSCTL("'net.a b':'1'"), "linux.sysctl[\"net.a b\"]: is no name of a sysctl"},
        {SYSCTL("'net.a\\n':'1'"), "linux.sysctl[\"net.a\\u000a\"]: is no name of a sysctl"},
        {SYSCTL("'net.x':1"), "linux.sysctl[\"net.x\"]: expected a string, found 1"},
        {SYSCTL("'net.x':null"), "linux.sysctl[\"net.x\"]: must not be null"},
        {SYSCTL("'net.x.y':'1','net/x/y':'2'"),
         "linux.sysctl[\"net/x/y\"]: is there twice, with dots and with slashes"},
        {SYSCTL("'kernel.hostname':'h'"),
         "linux.sysctl[\"kernel.hostname\"]: is what the field \"hostname\" sets"},
        {"{'domainname':'d','linux':{'namespaces':[{'type':'mount'},{'type':'uts'}],"
         "'sysctl':{'kernel.domainname':'d'}}}",
         "linux.sysctl[\"kernel.domainname\"]: is what the field \"domainname\" sets"},
        {LINUX("'sysctl':[]"), "linux.sysctl: expected an object, found an array"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_mount_label(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(LINUX("'mountLabel':'a:b:c:s0:c1,c2'"));
    assert_string_equal(s->mount_label, "a:b:c:s0:c1,c2");
    refuse(LINUX("'mountLabel':1"), ERROR_CONFIG, "linux.mountLabel: expected a string, found 1");
    refuse(LINUX("'mountLabel':'a\\tb'"), ERROR_CONFIG,
           "linux.mountLabel: must not hold control characters");
}

static void test_personality(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(LINUX("'personality':{'domain':'LINUX32'}"));
    assert_true(s->has_personality);
    assert_int_equal(s->personality, PER_LINUX32);
    _cleanup_spec_ struct oci_spec *plain =
        accept(LINUX("'personality':{'domain':'LINUX','flags':[]}"));
    assert_true(plain->has_personality);
    assert_int_equal(plain->personality, PER_LINUX);
    refuse(LINUX("'personality':{}"), ERROR_CONFIG,
           "linux.personality.domain: is required, but missing");
    refuse(LINUX("'personality':{'domain':'SVR4'}"), ERROR_CONFIG,
           "linux.personality.domain: expected one of LINUX, LINUX32, found \"SVR4\"");
    refuse(LINUX("'personality':{'domain':'LINUX','flags':['ADDR_NO_RANDOMIZE']}"),
           ERROR_UNSUPPORTED, "linux.personality.flags: this nucleus does not honour it");
}

#define POLICY(rest) LINUX("'memoryPolicy':{" rest "}")

static void test_memory_policy(void **state)
{
    (void)state;
    static const struct {
        const char *patch;
        int mode;
        unsigned long nodes;
    } good[] = {
        {POLICY("'mode':'MPOL_DEFAULT'"), MPOL_DEFAULT, 0},
        {POLICY("'mode':'MPOL_LOCAL','nodes':''"), MPOL_LOCAL, 0},
        {POLICY("'mode':'MPOL_PREFERRED'"), MPOL_PREFERRED, 0},
        {POLICY("'mode':'MPOL_PREFERRED','nodes':'1'"), MPOL_PREFERRED, 2},
        {POLICY("'mode':'MPOL_BIND','nodes':'0-1,3','flags':['MPOL_F_STATIC_NODES',"
                "'MPOL_F_NUMA_BALANCING']"),
         MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_NUMA_BALANCING, 11},
        {POLICY("'flags':['MPOL_F_RELATIVE_NODES'],'mode':'MPOL_INTERLEAVE','nodes':'0'"),
         MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES, 1},
        {POLICY("'mode':'MPOL_WEIGHTED_INTERLEAVE','nodes':'0'"), 6, 1},
        {POLICY("'mode':'MPOL_PREFERRED_MANY','nodes':'0'"), MPOL_PREFERRED_MANY, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        _cleanup_spec_ struct oci_spec *s = accept(good[i].patch);
        assert_int_equal(s->memory_policy->mode, good[i].mode);
        assert_int_equal(s->memory_policy->nodes.bits[0], good[i].nodes);
        assert_int_equal(s->memory_policy->nodes.present, good[i].nodes != 0);
    }
    static const struct refusal cases[] = {
        {POLICY(""), "linux.memoryPolicy.mode: is required, but missing"},
        {POLICY("'mode':'bind'"), "linux.memoryPolicy.mode: expected one of MPOL_DEFAULT, "},
        {POLICY("'mode':'MPOL_BIND'"), "linux.memoryPolicy.nodes: is required for this mode"},
        {POLICY("'mode':'MPOL_LOCAL','nodes':'0'"),
         "linux.memoryPolicy.nodes: MPOL_DEFAULT and MPOL_LOCAL take no nodes"},
        {POLICY("'mode':'MPOL_DEFAULT','nodes':'0'"),
         "linux.memoryPolicy.nodes: MPOL_DEFAULT and MPOL_LOCAL take no nodes"},
        {POLICY("'mode':'MPOL_BIND','nodes':'1-0'"),
         "linux.memoryPolicy.nodes: expected a list like \"0-3,7\", found \"1-0\""},
        {POLICY("'mode':'MPOL_BIND','nodes':'4096'"), "linux.memoryPolicy.nodes: goes beyond 4095"},
        {POLICY("'mode':'MPOL_BIND','nodes':'0','flags':['MPOL_F_X']"),
         "linux.memoryPolicy.flags[0]: expected one of MPOL_F_NUMA_BALANCING, "},
        {POLICY("'mode':'MPOL_BIND','nodes':'0','flags':['MPOL_F_STATIC_NODES',"
                "'MPOL_F_RELATIVE_NODES']"),
         "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude"},
        {POLICY("'mode':'MPOL_PREFERRED','flags':['MPOL_F_STATIC_NODES']"),
         "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES need nodes"},
        {POLICY("'mode':'MPOL_INTERLEAVE','nodes':'0','flags':['MPOL_F_NUMA_BALANCING']"),
         "linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING goes with MPOL_BIND and"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

#define NET(rest) NS(NEW("network"), "'netDevices':{" rest "}")

static void test_net_devices(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(NET("'eth0':{'name':'in0'},'eth1':{},'a.b-c_d@efghijk':{'name':''}"));
    assert_int_equal(s->n_net_devices, 3);
    assert_string_equal(s->net_devices[0].host_name, "eth0");
    assert_string_equal(s->net_devices[0].name, "in0");
    assert_string_equal(s->net_devices[2].host_name, "a.b-c_d@efghijk");
    assert_null(s->net_devices[1].name);
    assert_null(s->net_devices[2].name);
    oci_spec_free(accept(NS("{'type':'network','path':'/n'}", "'netDevices':{'eth0':{}}")));
    oci_spec_free(accept(LINUX("'netDevices':{}")));
}

static void test_net_devices_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {LINUX("'netDevices':{'eth0':{}}"),
         "linux.netDevices: a device can only move into a network namespace of the container's"},
        {NET("'':{}"), "linux.netDevices[\"\"]: \"\" is no name of a network device"},
        {NET("'..':{}"), "linux.netDevices[\"..\"]: \"..\" is no name of a network device"},
        {NET("'a/b':{}"), "linux.netDevices[\"a/b\"]: \"a/b\" is no name of a network device"},
        {NET("'abcdefghijklmnop':{}"),
         "linux.netDevices.abcdefghijklmnop: \"abcdefghijklmnop\" is"},
        {NET("'eth0':{'name':'a b'}"),
         "linux.netDevices.eth0.name: \"a b\" is no name of a network device"},
        {NET("'eth0':{'name':'a:1'}"), "linux.netDevices.eth0.name: \"a:1\" is no name"},
        {NET("'eth0':{'name':1}"), "linux.netDevices.eth0.name: expected a string, found 1"},
        {NET("'eth0':null"), "linux.netDevices.eth0: must not be null"},
        {NET("'eth0':{'name':'x'},'eth1':{'name':'x'}"),
         "linux.netDevices: two devices would have the name x in the container"},
        {NET("'eth0':{'name':'eth1'},'eth1':{}"),
         "linux.netDevices: two devices would have the name eth1 in the container"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

#define RDT(rest) LINUX("'intelRdt':{" rest "}")

static void test_intel_rdt(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(RDT("'closID':'guaranteed','l3CacheSchema':'L3:0=7f0;1=1f\\nMB:0=1\\n',"
                   "'memBwSchema':'MB:0=20;1=70','schemata':['L2:0=3','MB:0=50'],"
                   "'enableMonitoring':true"));
    const struct oci_intel_rdt *r = s->intel_rdt;
    assert_string_equal(r->clos_id, "guaranteed");
    assert_int_equal(strv_len(r->schemata), 4);
    assert_string_equal(r->schemata[0], "L3:0=7f0;1=1f");
    assert_string_equal(r->schemata[1], "MB:0=20;1=70");
    assert_string_equal(r->schemata[2], "L2:0=3");
    assert_string_equal(r->schemata[3], "MB:0=50");
    assert_true(r->enable_monitoring);

    /* Without memBwSchema the line in l3CacheSchema stands. The object alone asks for a group. */
    _cleanup_spec_ struct oci_spec *l3 = accept(RDT("'l3CacheSchema':'MB:0=1','closID':'/'"));
    assert_string_equal(l3->intel_rdt->schemata[0], "MB:0=1");
    assert_string_equal(l3->intel_rdt->clos_id, "/");
    _cleanup_spec_ struct oci_spec *empty = accept(RDT(""));
    assert_non_null(empty->intel_rdt);
    assert_null(empty->intel_rdt->clos_id);
    assert_int_equal(strv_len(empty->intel_rdt->schemata), 0);
    assert_false(empty->intel_rdt->enable_monitoring);
    /* Before 1.3. */
    _cleanup_spec_ struct oci_spec *cmt = accept(RDT("'enableCMT':true,'enableMBM':false"));
    assert_true(cmt->intel_rdt->enable_monitoring);
    _cleanup_spec_ struct oci_spec *mbm = accept(RDT("'enableCMT':false,'enableMBM':true"));
    assert_true(mbm->intel_rdt->enable_monitoring);

    static const struct refusal cases[] = {
        {RDT("'closID':'a/b'"),
         "linux.intelRdt.closID: expected the name of a directory or \"/\", found \"a/b\""},
        {RDT("'closID':'..'"), "linux.intelRdt.closID: expected the name of a directory or"},
        {RDT("'closID':'.'"), "linux.intelRdt.closID: expected the name of a directory or"},
        {RDT("'closID':'//'"), "linux.intelRdt.closID: expected the name of a directory or"},
        {RDT("'closID':'a\\n'"), "linux.intelRdt.closID: must not hold control characters"},
        {RDT("'memBwSchema':'L3:0=1'"),
         "linux.intelRdt.memBwSchema: expected a line that begins with \"MB:\""},
        {RDT("'memBwSchema':'MB:0=1\\nL3:0=1'"),
         "linux.intelRdt.memBwSchema: must not hold control characters"},
        {RDT("'schemata':['']"), "linux.intelRdt.schemata[0]: must be one line"},
        {RDT("'schemata':['L3:0=1\\nMB:0=1']"), "linux.intelRdt.schemata[0]: must be one line"},
        {RDT("'schemata':'L3:0=1'"), "linux.intelRdt.schemata: expected an array"},
        {RDT("'l3CacheSchema':[]"), "linux.intelRdt.l3CacheSchema: expected a string"},
        {RDT("'enableMonitoring':1"), "linux.intelRdt.enableMonitoring: expected true or false"},
        {RDT("'enableCMT':1"), "linux.intelRdt.enableCMT: expected true or false"},
        {RDT("'enableMBM':''"), "linux.intelRdt.enableMBM: expected true or false"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

static void test_hooks(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        "{'hooks':{'prestart':[{'path':'/a','args':['a','-b'],'env':['X=1'],'timeout':30},"
        "{'path':'/b','args':[]}],'createRuntime':[{'path':'/c'}],'createContainer':[{'path':'/"
        "d'}],"
        "'startContainer':[{'path':'/e'}],'poststart':[{'path':'/f'}],'poststop':[{'path':'/g',"
        "'timeout':null}]}}");
    const struct oci_hook_list *h = s->hooks;
    assert_int_equal(h[OCI_HOOK_PRESTART].n, 2);
    assert_string_equal(h[OCI_HOOK_PRESTART].list[0].path, "/a");
    assert_string_equal(h[OCI_HOOK_PRESTART].list[0].args[1], "-b");
    assert_string_equal(h[OCI_HOOK_PRESTART].list[0].env[0], "X=1");
    assert_int_equal(h[OCI_HOOK_PRESTART].list[0].timeout, 30);
    assert_null(h[OCI_HOOK_PRESTART].list[1].args);
    assert_int_equal(h[OCI_HOOK_PRESTART].list[1].timeout, 0);
    static const char *const paths[] = {"/a", "/c", "/d", "/e", "/f", "/g"};
    for (int i = 0; i < _OCI_HOOK_MAX; i++)
        assert_string_equal(h[i].list[0].path, paths[i]);
    assert_string_equal(oci_hook_name(OCI_HOOK_PRESTART), "prestart");
    assert_string_equal(oci_hook_name(OCI_HOOK_POSTSTOP), "poststop");
    assert_null(oci_hook_name(_OCI_HOOK_MAX));
}

static void test_hooks_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{'hooks':[]}", "hooks: expected an object, found an array"},
        {"{'hooks':{'prestart':{}}}", "hooks.prestart: expected an array, found an object"},
        {"{'hooks':{'createRuntime':[null]}}", "hooks.createRuntime[0]: must not be null"},
        {"{'hooks':{'createContainer':[{}]}}",
         "hooks.createContainer[0].path: is required, but missing"},
        {"{'hooks':{'startContainer':[{'path':'a'}]}}",
         "hooks.startContainer[0].path: expected an absolute path, found \"a\""},
        {"{'hooks':{'poststart':[{'path':''}]}}", "hooks.poststart[0].path: must not be empty"},
        {"{'hooks':{'poststop':[{'path':'/a','args':'a'}]}}",
         "hooks.poststop[0].args: expected an array"},
        {"{'hooks':{'poststop':[{'path':'/a','env':['x']}]}}",
         "hooks.poststop[0].env[0]: expected NAME=VALUE, found \"x\""},
        {"{'hooks':{'poststop':[{'path':'/a','timeout':0}]}}",
         "hooks.poststop[0].timeout: expected a whole number from 1 to 4294967295, found 0"},
        {"{'hooks':{'poststop':[{'path':'/a','timeout':-1}]}}",
         "hooks.poststop[0].timeout: expected a whole number from 1 to 4294967295, found -1"},
        {"{'hooks':{'prestart':[{'path':'/a'},{'path':'/b','timeout':1.5}]}}",
         "hooks.prestart[1].timeout: expected a whole number from 1 to 4294967295, found 1.5"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

#define BIND(rest)                                                                                 \
    "{'mounts':[{'destination':'/a','source':'/b','options':['rbind','ridmap']," rest "}]}"

static void test_mount_mappings(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(BIND(MAPS GID_MAPS));
    assert_int_equal(s->mounts[0].n_uid_maps, 1);
    assert_int_equal(s->mounts[0].n_gid_maps, 1);
    assert_int_equal(s->mounts[0].uid_maps[0].host_id, 1);
    assert_int_equal(s->mounts[0].gid_maps[0].size, 4);

    /* Side by side is no overlap, in either order. */
    oci_spec_free(accept(BIND("'uidMappings':[{'containerID':10,'hostID':0,'size':5},"
                              "{'containerID':0,'hostID':5,'size':10}]," GID_MAPS)));

    static const struct refusal cases[] = {
        {BIND(GID_MAPS), "mounts[0].uidMappings: is required where gidMappings is given"},
        {BIND("'uidMappings':[{'containerID':0,'hostID':1,'size':2}]"),
         "mounts[0].gidMappings: is required where uidMappings is given"},
        {"{'mounts':[{'destination':'/a','type':'tmpfs'," MAPS GID_MAPS "}]}",
         "mounts[0].uidMappings: only a bind mount can have mappings"},
        {BIND("'uidMappings':[{}]"), "mounts[0].uidMappings[0].containerID: is required"},
        {BIND("'gidMappings':[{'containerID':0,'hostID':0,'size':0}]"),
         "mounts[0].gidMappings[0]: the size must not be 0"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);
}

#define SECCOMP(rest) LINUX("'seccomp':{" rest "}")
#define NOTIFY                                                                                     \
    "'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['mkdir'],'action':'SCMP_ACT_NOTIFY'}]"

static void test_seccomp_listener(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept(SECCOMP(NOTIFY ",'listenerPath':'/run/a.sock','listenerMetadata':'m',"
                              "'flags':['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']"));
    assert_int_equal(s->seccomp->rules[0].action, SECCOMP_RET_USER_NOTIF);
    assert_string_equal(s->seccomp->listener_path, "/run/a.sock");
    assert_string_equal(s->seccomp->listener_metadata, "m");
    assert_int_equal(s->seccomp->flags, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    oci_spec_free(
        accept(SECCOMP("'defaultAction':'SCMP_ACT_NOTIFY','listenerPath':'/run/a.sock'")));

    /* Nobody would ever be told anything. */
    _cleanup_spec_ struct oci_spec *unused = accept(
        SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/x','listenerMetadata':'m'"));
    assert_null(unused->seccomp->listener_path);
    assert_null(unused->seccomp->listener_metadata);

    static const struct refusal cases[] = {
        {SECCOMP(NOTIFY), "linux.seccomp.listenerPath: is required, but missing: SCMP_ACT_NOTIFY"},
        {SECCOMP("'defaultAction':'SCMP_ACT_NOTIFY','listenerPath':''"),
         "linux.seccomp.listenerPath: is required, but missing: SCMP_ACT_NOTIFY"},
        {SECCOMP(NOTIFY ",'listenerPath':'a.sock'"),
         "linux.seccomp.listenerPath: expected an absolute path, found \"a.sock\""},
        {SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','listenerMetadata':'x'"),
         "linux.seccomp.listenerMetadata: is for the listener at listenerPath, which is missing"},
        {SECCOMP(NOTIFY ",'listenerPath':1"),
         "linux.seccomp.listenerPath: expected a string, found 1"},
    };
    refuse_all(cases, ARRAY_SIZE(cases), ERROR_CONFIG);

    /* sun_path holds 107 bytes and a NUL. */
    for (int n = 107; n <= 108; n++) {
        _cleanup_free_ char *patch =
            str_printf("{'linux':{'seccomp':{" NOTIFY ",'listenerPath':'/%0*d'}}}", n - 1, 0);
        if (n == 107)
            oci_spec_free(accept(patch));
        else
            refuse(patch, ERROR_CONFIG,
                   "linux.seccomp.listenerPath: is longer than a socket's path"
                   " can be (107 bytes)");
    }
}

static void test_seccomp_architectures(void **state)
{
    (void)state;
    static const char *const names[] = {
        "X86",         "X86_64", "X32",    "ARM",       "AARCH64", "LOONGARCH64",
        "M68K",        "MIPS",   "MIPS64", "MIPS64N32", "MIPSEL",  "MIPSEL64",
        "MIPSEL64N32", "PPC",    "PPC64",  "PPC64LE",   "S390",    "S390X",
        "SH",          "SHEB",   "PARISC", "PARISC64",  "RISCV64"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *patch =
            str_printf("{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_LOG',"
                       "'architectures':['SCMP_ARCH_%s']}}}",
                       names[i]);
        oci_spec_free(accept(patch));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined_namespaces), cmocka_unit_test(test_joined_user_namespace),
        cmocka_unit_test(test_time_offsets),      cmocka_unit_test(test_names_need_a_uts_namespace),
        cmocka_unit_test(test_devices),           cmocka_unit_test(test_sysctls),
        cmocka_unit_test(test_sysctls_refused),   cmocka_unit_test(test_mount_label),
        cmocka_unit_test(test_personality),       cmocka_unit_test(test_memory_policy),
        cmocka_unit_test(test_net_devices),       cmocka_unit_test(test_net_devices_refused),
        cmocka_unit_test(test_intel_rdt),         cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_hooks_refused),     cmocka_unit_test(test_mount_mappings),
        cmocka_unit_test(test_seccomp_listener),  cmocka_unit_test(test_seccomp_architectures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
