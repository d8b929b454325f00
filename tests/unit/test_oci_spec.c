/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "oci/names.h"
#include "oci/spec.h"
#include "oci_config.h"

static void test_smallest(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept("{}");
    assert_string_equal(s->oci_version, "1.0.2");
    assert_string_equal(s->root_path, "rootfs");
    assert_string_equal(s->process->args[0], "sh");
    assert_string_equal(s->process->cwd, "/");
    assert_int_equal(s->new_namespaces, CLONE_NEWNS);
    assert_false(s->root_readonly || s->process->terminal || s->process->has_capabilities);
    assert_false(s->process->has_umask || s->process->has_oom_score_adj);
    assert_null(s->hostname);
    assert_null(s->cgroups_path);
    assert_null(s->seccomp);
    assert_int_equal(s->n_mounts + s->n_annotations + s->n_uid_maps + s->n_gid_maps, 0);
}

static void test_process(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        "{'process':{'terminal':true,'consoleSize':{'height':25,'width':80},"
        "'args':['/bin/sh','-c',''],'env':['A=1','B=','C=a=b'],'cwd':'/srv','user':{'uid':1000,"
        "'gid':4294967294,'umask':511,'additionalGids':[5,6]},'capabilities':{'bounding':"
        "['CAP_CHOWN','CAP_CHECKPOINT_RESTORE'],'effective':['CAP_KILL'],'inheritable':[],"
        "'permitted':['CAP_KILL'],'ambient':['CAP_NET_RAW']},'rlimits':[{'type':'RLIMIT_NOFILE',"
        "'soft':10,'hard':18446744073709551615},{'type':'RLIMIT_CORE','soft':0,'hard':0}],"
        "'noNewPrivileges':true,'oomScoreAdj':-1000}}");
    const struct oci_process *p = s->process;
    assert_true(p->terminal && p->no_new_privileges);
    assert_int_equal(p->console_height, 25);
    assert_int_equal(p->console_width, 80);
    assert_int_equal(strv_len(p->args), 3);
    assert_string_equal(p->env[2], "C=a=b");
    assert_int_equal(p->uid, 1000);
    assert_int_equal(p->gid, 4294967294);
    assert_true(p->has_umask);
    assert_int_equal(p->umask, 0777);
    assert_int_equal(p->n_additional_gids, 2);
    assert_int_equal(p->additional_gids[1], 6);
    assert_true(p->has_capabilities);
    assert_int_equal(p->capabilities.bounding, UINT64_C(1) << 40 | 1);
    assert_int_equal(p->capabilities.effective, 1 << 5);
    assert_int_equal(p->capabilities.inheritable, 0);
    assert_int_equal(p->capabilities.ambient, 1 << 13);
    assert_int_equal(p->n_rlimits, 2);
    assert_int_equal(p->rlimits[0].resource, RLIMIT_NOFILE);
    assert_int_equal(p->rlimits[0].soft, 10);
    assert_int_equal(p->rlimits[0].hard, UINT64_MAX);
    assert_true(p->has_oom_score_adj);
    assert_int_equal(p->oom_score_adj, -1000);

    _cleanup_spec_ struct oci_spec *none = accept("{'process':'-'}");
    assert_null(none->process);
}

static void test_root_mounts_and_names(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        "{'root':{'path':'/a/b','readonly':true},'hostname':'h','domainname':'d',"
        "'linux':{'namespaces':[{'type':'uts'},{'type':'mount'}]},'annotations':{'z':'1','a':''},"
        "'mounts':[{'destination':'/proc','type':'proc','source':'proc'},{'destination':'/x',"
        "'source':'/y','options':['rbind','ro']},{'destination':'/z','type':'bind','source':'q',"
        "'uidMappings':[],'gidMappings':null},{'destination':'/t','type':'tmpfs','source':''}]}");
    assert_string_equal(s->root_path, "/a/b");
    assert_true(s->root_readonly);
    assert_string_equal(s->hostname, "h");
    assert_string_equal(s->domainname, "d");
    assert_int_equal(s->n_mounts, 4);
    assert_string_equal(s->mounts[0].type, "proc");
    assert_null(s->mounts[0].options);
    assert_null(s->mounts[1].type);
    assert_string_equal(s->mounts[1].options[1], "ro");
    assert_null(s->mounts[3].source);
    assert_int_equal(s->n_annotations, 2);
    assert_string_equal(s->annotations[0].key, "z");
    assert_string_equal(s->annotations[1].value, "");
}

static void test_linux(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s = accept(
        "{'linux':{'namespaces':[{'type':'pid'},{'type':'network'},{'type':'mount'},{'type':'ipc',"
        "'path':''},{'type':'uts'},{'type':'user'},{'type':'cgroup'}],"
        "'uidMappings':[{'containerID':0,'hostID':1000,'size':1},"
        "{'containerID':1,'hostID':100000,'size':65536}],"
        "'gidMappings':[{'containerID':0,'hostID':0,'size':4294967295}],'cgroupsPath':'/a/b',"
        "'maskedPaths':['/proc/kcore'],'readonlyPaths':['/proc/sys','/proc/bus'],"
        "'rootfsPropagation':'rslave'}}");
    assert_int_equal(s->new_namespaces, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC |
                                            CLONE_NEWUTS | CLONE_NEWUSER | CLONE_NEWCGROUP);
    assert_int_equal(s->n_uid_maps, 2);
    assert_int_equal(s->uid_maps[1].container_id, 1);
    assert_int_equal(s->uid_maps[1].host_id, 100000);
    assert_int_equal(s->uid_maps[1].size, 65536);
    assert_int_equal(s->gid_maps[0].size, 4294967295);
    assert_string_equal(s->cgroups_path, "/a/b");
    assert_int_equal(strv_len(s->masked_paths), 1);
    assert_string_equal(s->readonly_paths[1], "/proc/bus");
    assert_int_equal(s->rootfs_propagation, MS_SLAVE);
    assert_true(s->rootfs_propagation_recursive);

    static const struct {
        const char *name;
        uint64_t flag;
        bool recursive;
    } modes[] = {{"shared", MS_SHARED, false},         {"slave", MS_SLAVE, false},
                 {"private", MS_PRIVATE, false},       {"unbindable", MS_UNBINDABLE, false},
                 {"rshared", MS_SHARED, true},         {"rprivate", MS_PRIVATE, true},
                 {"runbindable", MS_UNBINDABLE, true}, {"", 0, false}};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        _cleanup_free_ char *patch =
            str_printf("{'linux':{'rootfsPropagation':'%s'}}", modes[i].name);
        _cleanup_spec_ struct oci_spec *m = accept(patch);
        assert_int_equal(m->rootfs_propagation, modes[i].flag);
        assert_int_equal(m->rootfs_propagation_recursive, modes[i].recursive);
    }
}

static void test_seccomp(void **state)
{
    (void)state;
    _cleanup_spec_ struct oci_spec *s =
        accept("{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':38,"
               "'architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_X32'],"
               "'flags':['SECCOMP_FILTER_FLAG_LOG','SECCOMP_FILTER_FLAG_SPEC_ALLOW'],"
               "'listenerPath':'','syscalls':[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},"
               "{'names':['clone'],'action':'SCMP_ACT_ERRNO','errnoRet':4095,'args':[{'index':5,"
               "'value':2114060288,'valueTwo':18446744073709551615,'op':'SCMP_CMP_MASKED_EQ'}]},"
               "{'names':['x'],'action':'SCMP_ACT_TRACE','errnoRet':0}]}}}");
    const struct oci_seccomp *f = s->seccomp;
    assert_int_equal(f->default_action, SECCOMP_RET_ERRNO);
    assert_true(f->has_default_errno);
    assert_int_equal(f->default_errno, 38);
    assert_int_equal(strv_len(f->architectures), 2);
    assert_int_equal(f->flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    assert_int_equal(f->n_rules, 3);
    assert_int_equal(f->rules[0].action, SECCOMP_RET_ALLOW);
    assert_string_equal(f->rules[0].names[1], "write");
    assert_false(f->rules[0].has_errno);
    assert_int_equal(f->rules[1].errno_ret, 4095);
    assert_int_equal(f->rules[1].n_args, 1);
    assert_int_equal(f->rules[1].args[0].index, 5);
    assert_int_equal(f->rules[1].args[0].value, 2114060288);
    assert_int_equal(f->rules[1].args[0].value_two, UINT64_MAX);
    assert_int_equal(f->rules[1].args[0].op, OCI_CMP_MASKED_EQ);
    assert_true(f->rules[2].has_errno);

    static const struct {
        const char *name;
        uint32_t action;
    } actions[] = {{"KILL", SECCOMP_RET_KILL_THREAD},
                   {"KILL_THREAD", SECCOMP_RET_KILL_THREAD},
                   {"KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
                   {"TRAP", SECCOMP_RET_TRAP},
                   {"LOG", SECCOMP_RET_LOG},
                   {"ALLOW", SECCOMP_RET_ALLOW}};
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        _cleanup_free_ char *patch =
            str_printf("{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_%s'}}}", actions[i].name);
        _cleanup_spec_ struct oci_spec *a = accept(patch);
        assert_int_equal(a->seccomp->default_action, actions[i].action);
    }
}

#define SECCOMP(rest) "{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW'," rest "}}}"
#define RULE(rest) SECCOMP("'syscalls':[{" rest "}]")
#define ARG(rest) RULE("'names':['a'],'action':'SCMP_ACT_TRAP','args':[{" rest "}]")
#define USERNS "'namespaces':[{'type':'mount'},{'type':'user'}],"
#define ONE_MAP "[{'containerID':0,'hostID':0,'size':1}]"
#define MAP(rest) "{'linux':{" USERNS "'gidMappings':" ONE_MAP ",'uidMappings':[" rest "]}}"
#define STRING_65 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *why;
    } cases[] = {
        {"{'ociVersion':'-'}", "ociVersion: is required"},
        {"{'ociVersion':null}", "ociVersion: must not be null"},
        {"{'ociVersion':1}", "ociVersion: expected a string, found 1"},
        {"{'ociVersion':''}", "ociVersion: expected a version"},
        {"{'ociVersion':'1.0'}", "found \"1.0\""},
        {"{'ociVersion':'1.0.x'}", "found \"1.0.x\""},
        {"{'ociVersion':'1.0.2x'}", "found \"1.0.2x\""},
        {"{'ociVersion':'v1.0.2'}", "found \"v1.0.2\""},
        {"{'process':[]}", "process: expected an object, found an array"},
        {"{'process':{'args':'-'}}", "process.args: is required"},
        {"{'process':{'args':[]}}", "process.args: must name the program"},
        {"{'process':{'args':['']}}", "process.args[0]: must name the program"},
        {"{'process':{'args':[1]}}", "process.args[0]: expected a string, found 1"},
        {"{'process':{'args':'sh'}}", "process.args: expected an array, found \"sh\""},
        {"{'process':{'cwd':'-'}}", "process.cwd: is required"},
        {"{'process':{'cwd':''}}", "process.cwd: must not be empty"},
        {"{'process':{'cwd':'a'}}", "process.cwd: expected an absolute path, found \"a\""},
        {"{'process':{'terminal':'true'}}", "process.terminal: expected true or false"},
        {"{'process':{'consoleSize':{'height':1}}}", "process.consoleSize.width: is required"},
        {"{'process':{'consoleSize':{'height':1,'width':65536}}}", "from 0 to 65535"},
        {"{'process':{'env':['A']}}", "process.env[0]: expected NAME=VALUE, found \"A\""},
        {"{'process':{'env':['A=','=B']}}", "process.env[1]: expected NAME=VALUE"},
        {"{'process':{'env':['']}}", "process.env[0]: expected NAME=VALUE"},
        {"{'process':{'user':{'uid':-1}}}", "process.user.uid: expected a whole number"},
        {"{'process':{'user':{'uid':4294967295}}}", "from 0 to 4294967294"},
        {"{'process':{'user':{'gid':1.0}}}", "process.user.gid: expected a whole number"},
        {"{'process':{'user':{'umask':512}}}", "process.user.umask: expected a whole number"},
        {"{'process':{'user':{'additionalGids':[4294967295]}}}", "additionalGids[0]"},
        {"{'process':{'user':{'additionalGids':[null]}}}", "additionalGids[0]: must not be null"},
        {"{'process':{'capabilities':{'ambient':'CAP_KILL'}}}", "ambient: expected an array"},
        {"{'process':{'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1}]}}", "\"RLIMIT_X\" is no"},
        {"{'process':{'rlimits':[{'type':'RLIMIT_AS','soft':2,'hard':1}]}}", "soft limit is above"},
        {"{'process':{'rlimits':[{'type':'RLIMIT_AS','hard':1}]}}", "rlimits[0].soft: is required"},
        {"{'process':{'rlimits':[{'type':'RLIMIT_AS','soft':-1,'hard':1}]}}", "rlimits[0].soft"},
        {"{'process':{'rlimits':[{'type':'RLIMIT_AS','soft':1,'hard':1},"
         "{'type':'RLIMIT_AS','soft':1,'hard':1}]}}",
         "process.rlimits[1]: RLIMIT_AS is there twice"},
        {"{'process':{'oomScoreAdj':1001}}", "process.oomScoreAdj: expected a whole number from"},
        {"{'process':{'oomScoreAdj':-1001}}", "from -1000 to 1000, found -1001"},
        {"{'root':'-'}", "root: is required"},
        {"{'root':null}", "root: must not be null"},
        {"{'root':{'path':'-'}}", "root.path: is required"},
        {"{'root':{'path':''}}", "root.path: must not be empty"},
        {"{'root':{'readonly':1}}", "root.readonly: expected true or false"},
        {"{'hostname':'h'}", "hostname: would be set on the host"},
        {"{'domainname':'h'}", "domainname: would be set on the host"},
        {"{'hostname':'" STRING_65 "'}", "hostname: is longer than 64 bytes"},
        {"{'domainname':'" STRING_65 "'}", "domainname: is longer than 64 bytes"},
        {"{'hostname':'a\\nb'}", "hostname: must not hold a newline"},
        {"{'mounts':{}}", "mounts: expected an array"},
        {"{'mounts':[[]]}", "mounts[0]: expected an object"},
        {"{'mounts':[{'type':'proc'}]}", "mounts[0].destination: is required"},
        {"{'mounts':[{'type':'proc','destination':''}]}", "mounts[0].destination: must not be"},
        {"{'mounts':[{'destination':'/a','source':'/b'}]}", "mounts[0].type: is required"},
        {"{'mounts':[{'destination':'/a','type':'','source':'/b'}]}", "mounts[0].type: is"},
        {"{'mounts':[{'destination':'/a','options':['rbind']}]}", "mounts[0].source: is required"},
        {"{'mounts':[{'destination':'/a','type':'bind'}]}", "mounts[0].source: is required"},
        {"{'mounts':[{'destination':'/a','type':'proc','options':'ro'}]}", "mounts[0].options"},
        {"{'annotations':[]}", "annotations: expected an object"},
        {"{'annotations':{'':'a'}}", "annotations[\"\"]: an annotation's key"},
        {"{'annotations':{'a.b':1}}", "annotations[\"a.b\"]: expected a string, found 1"},
        {"{'annotations':{'a':null}}", "annotations.a: must not be null"},
        {"{'linux':{'namespaces':[{'type':'x'},{'type':'mount'}]}}",
         "namespaces[0].type: expected"},
        {"{'linux':{'namespaces':[{},{'type':'mount'}]}}", "namespaces[0].type: is required"},
        {"{'linux':{'namespaces':[{'type':'mount'},{'type':'mount'}]}}", "[1]: this type is there"},
        {"{'linux':{" USERNS "'uidMappings':" ONE_MAP "}}", "gidMappings: a new user namespace"},
        {"{'linux':{" USERNS "'gidMappings':" ONE_MAP "}}", "uidMappings: a new user namespace"},
        {"{'linux':{'uidMappings':" ONE_MAP "}}", "uidMappings: ids can only be mapped"},
        {"{'linux':{'gidMappings':" ONE_MAP "}}", "gidMappings: ids can only be mapped"},
        {MAP("{'containerID':0,'hostID':0,'size':0}"), "uidMappings[0]: the size must not be 0"},
        {MAP("{'containerID':0,'hostID':0}"), "uidMappings[0].size: is required"},
        {MAP("{'containerID':1,'hostID':0,'size':4294967295}"), "goes beyond the largest id"},
        {MAP("{'containerID':0,'hostID':2,'size':4294967294}"), "goes beyond the largest id"},
        {MAP("{'containerID':0,'hostID':0,'size':10},{'containerID':9,'hostID':20,'size':1}"),
         "uidMappings[1]: overlaps with [0] inside"},
        {MAP("{'containerID':9,'hostID':20,'size':1},{'containerID':0,'hostID':0,'size':10}"),
         "uidMappings[1]: overlaps with [0] inside"},
        {MAP("{'containerID':0,'hostID':0,'size':10},{'containerID':10,'hostID':9,'size':1}"),
         "uidMappings[1]: overlaps with [0] on the host"},
        {"{'linux':{'cgroupsPath':1}}", "linux.cgroupsPath: expected a string"},
        {"{'linux':{'maskedPaths':['a']}}", "maskedPaths[0]: expected an absolute path"},
        {"{'linux':{'readonlyPaths':['/a','']}}", "readonlyPaths[1]: must not be empty"},
        {"{'linux':{'rootfsPropagation':'x'}}", "rootfsPropagation: expected one of shared"},
        {"{'linux':{'seccomp':{}}}", "seccomp.defaultAction: is required"},
        {"{'linux':{'seccomp':{'defaultAction':'ALLOW'}}}", "expected one of SCMP_ACT_KILL"},
        {SECCOMP("'defaultErrnoRet':1"), "defaultErrnoRet: only SCMP_ACT_ERRNO"},
        {SECCOMP("'defaultErrnoRet':4096"), "from 0 to 4095"},
        {SECCOMP("'architectures':['x']"), "architectures[0]: \"x\" is not known"},
        {SECCOMP("'flags':['x']"), "flags[0]: expected one of SECCOMP_FILTER_FLAG_TSYNC"},
        {SECCOMP("'flags':[null]"), "flags[0]: must not be null"},
        {RULE("'action':'SCMP_ACT_TRAP'"), "syscalls[0].names: is required"},
        {RULE("'names':[],'action':'SCMP_ACT_TRAP'"), "syscalls[0].names: must name"},
        {RULE("'names':[''],'action':'SCMP_ACT_TRAP'"), "names[0]: must not be empty"},
        {RULE("'names':['a']"), "syscalls[0].action: is required"},
        {RULE("'names':['a'],'action':'SCMP_ACT_TRAP','errnoRet':1"), "errnoRet: only"},
        {RULE("'names':['a'],'action':'SCMP_ACT_ERRNO','errnoRet':4096"), "from 0 to 4095"},
        {ARG("'index':6,'value':0,'op':'SCMP_CMP_EQ'"), "args[0].index: expected a whole"},
        {ARG("'index':0,'value':0,'op':'EQ'"), "args[0].op: expected one of SCMP_CMP_NE"},
        {ARG("'index':0,'op':'SCMP_CMP_EQ'"), "args[0].value: is required"},
        {ARG("'index':0,'value':-1,'op':'SCMP_CMP_EQ'"), "args[0].value: expected a whole"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        refuse(cases[i].patch, ERROR_CONFIG, cases[i].why);
}

static void test_unsupported(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *why;
    } cases[] = {
        {"{'ociVersion':'2.0.0'}", "ociVersion: this nucleus reads versions 1.x"},
        {"{'ociVersion':'0.5.0'}", "found \"0.5.0\""},
        {"{'linux':{'namespaces':[]}}", "linux.namespaces: without a mount namespace"},
        {"{'linux':'-'}", "linux.namespaces: without a mount namespace"},
        {"{'process':{'commandLine':'x'}}", "process.commandLine"},
        {"{'process':{'user':{'username':'x'}}}", "process.user.username"},
        {"{'annotations':{'org.criu.config':'/x'}}", "annotations[\"org.criu.config\"]: this"},
        {"{'vm':{'kernel':{'path':'/x'}}}", "vm.kernel.path"},
        {"{'windows':{'layerFolders':['x']}}", "windows.layerFolders"},
        {"{'solaris':{'milestone':'x'}}", "solaris.milestone"},
        {"{'zos':{'x':1}}", "zos.x"},
        {"{'freebsd':{'x':false}}", "freebsd.x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        refuse(cases[i].patch, ERROR_UNSUPPORTED, cases[i].why);
}

static unsigned n_warnings;
static char last_warning[256];

static void count_warning(enum log_level level, const char *text)
{
    if (level != LOG_WARNING_)
        return;
    n_warnings++;
    (void)snprintf(last_warning, sizeof(last_warning), "%s", text);
}

/* null and empty are "not asked for", and no reason to warn either. */
static void test_empty_is_absent(void **state)
{
    (void)state;
    n_warnings = 0;
    log_set_sink(count_warning, LOG_DEBUG_);
    _cleanup_spec_ struct oci_spec *s = accept(
        "{'hooks':{'prestart':[],'poststop':null},'vm':{},'windows':null,'hostname':'',"
        "'domainname':null,'mounts':[],'annotations':{'org.criu.config':''},'process':{"
        "'terminal':null,'consoleSize':null,'env':null,'user':{'uid':null,'username':''},"
        "'capabilities':null,'rlimits':[],'oomScoreAdj':null,'selinuxLabel':'',"
        "'apparmorProfile':'','scheduler':null,'ioPriority':null,'execCPUAffinity':{}},'linux':{'"
        "resources':{'devices':[],"
        "'memory':{},'cpu':{'cpus':''},'unified':null},'devices':[],'sysctl':{},'seccomp':null,"
        "'mountLabel':'','cgroupsPath':'','uidMappings':[],'gidMappings':null,'maskedPaths':null,"
        "'readonlyPaths':[],'personality':null,'intelRdt':null,'memoryPolicy':null,"
        "'netDevices':{},'timeOffsets':{'monotonic':{'secs':0},'boottime':null}}}");
    log_set_sink(NULL, LOG_DEBUG_);
    assert_int_equal(n_warnings, 0);
    assert_null(s->hostname);
    assert_null(s->cgroups_path);
    assert_null(s->seccomp);
    assert_false(s->process->has_capabilities || s->process->has_oom_score_adj);
    assert_false(s->process->has_scheduler || s->process->has_io_priority);
    assert_false(s->process->exec_affinity_initial.present);
    assert_false(s->has_personality || s->memory_policy || s->intel_rdt || s->mount_label);
    assert_false(s->time_monotonic.set || s->time_boottime.set);
    assert_int_equal(s->n_devices + s->n_sysctls + s->n_net_devices, 0);
    assert_null(s->resources.cpu.cpus);
}

static void test_unknown_properties_warn(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *warning;
    } cases[] = {
        {"{'x':1}", "c.json: x: unknown property, ignored"},
        {"{'linux':{'y':{'z':1}}}", "c.json: linux.y: unknown property, ignored"},
        {"{'process':{'user':{'q':null}}}", "c.json: process.user.q: unknown property, ignored"},
        {"{'mounts':[{'destination':'/a','type':'t','\\u001b[m':1}]}",
         "c.json: mounts[0][\"\\u001b[m\"]: unknown property, ignored"},
        {"{'mounts':[{'destination':'a','type':'t'}]}",
         "c.json: mounts[0].destination: is relative, taken as below /"},
    };
    log_set_sink(count_warning, LOG_DEBUG_);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        n_warnings = 0;
        oci_spec_free(accept(cases[i].patch));
        assert_int_equal(n_warnings, 1);
        assert_string_equal(last_warning, cases[i].warning);
    }

    struct strbuf b = {0};
    strbuf_add(&b, "{'x':1");
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, ",'x%d':1", i);
    strbuf_addc(&b, '}');
    n_warnings = 0;
    oci_spec_free(accept(b.s));
    assert_int_equal(n_warnings, 21);
    assert_string_equal(last_warning, "c.json: more warnings are not shown");
    strbuf_done(&b);
    log_set_sink(NULL, LOG_DEBUG_);
}

/* n characters 'a' behind a prefix. */
static char *long_text(const char *before, size_t n, const char *after)
{
    struct strbuf b = {0};
    strbuf_add(&b, before);
    for (size_t i = 0; i < n; i++)
        strbuf_addc(&b, 'a');
    strbuf_add(&b, after);
    return strbuf_take(&b);
}

static void test_path_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"{'root':{'path':'/", "'}}"},
        {"{'process':{'cwd':'/", "'}}"},
        {"{'linux':{'cgroupsPath':'/", "'}}"},
        {"{'linux':{'maskedPaths':['/", "']}}"},
        {"{'mounts':[{'type':'t','destination':'/", "'}]}"},
        {"{'mounts':[{'type':'t','destination':'/','source':'/", "'}]}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *most = long_text(cases[i].before, 4094, cases[i].after),
                            *more = long_text(cases[i].before, 4095, cases[i].after);
        oci_spec_free(accept(most));
        refuse(more, ERROR_CONFIG, "is longer than a path can be (4095 bytes)");
    }
    /* 64 bytes are fine for a host name. */
    _cleanup_free_ char *name =
        long_text("{'linux':{'namespaces':[{'type':'mount'},{'type':'uts'}]},"
                  "'hostname':'",
                  64, "'}");
    oci_spec_free(accept(name));
}

static char *maps(size_t n)
{
    struct strbuf b = {0};
    strbuf_add(&b, "{'linux':{" USERNS "'gidMappings':" ONE_MAP ",'uidMappings':[");
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, "%s{'containerID':%zu,'hostID':%zu,'size':1}", i ? "," : "", i, 2 * i);
    strbuf_add(&b, "]}}");
    return strbuf_take(&b);
}

static void test_number_of_maps(void **state)
{
    (void)state;
    _cleanup_free_ char *most = maps(340), *more = maps(341);
    _cleanup_spec_ struct oci_spec *s = accept(most);
    assert_int_equal(s->n_uid_maps, 340);
    refuse(more, ERROR_CONFIG, "uidMappings: has 341 ranges, the kernel takes 340");
}

static void test_line_and_column(void **state)
{
    (void)state;
    static const char text[] = "{\n  \"ociVersion\": \"1.2.0\",\n  \"process\": {\n"
                               "    \"args\": [\"sh\"], \"cwd\": \"/\",\n"
                               "    \"user\": {\"uid\": \"0\"}\n  }\n}\n";
    struct oci_spec *spec = NULL;
    struct error e = {0};
    assert_int_equal(oci_spec_parse(text, strlen(text), "/b/config.json", &spec, &e), -EINVAL);
    _cleanup_free_ char *line = error_render(&e);
    assert_string_equal(line, "cannot use config.json '/b/config.json:5:21': process.user.uid: "
                              "expected a whole number from 0 to 4294967294, found \"0\"");
    error_done(&e);
    assert_int_equal(oci_spec_parse("{\"a\" 1}", 7, "c", &spec, &e), -EINVAL);
    assert_string_equal(e.subject, "c:1:6");
    assert_int_equal(e.code, ERROR_CONFIG);
    assert_int_equal(oci_spec_parse("{\"a\" 1}", 7, "c", &spec, NULL), -EINVAL);
    error_done(&e);
}

static void check_template(bool rootless)
{
    _cleanup_free_ char *text = oci_spec_template(rootless);
    _cleanup_spec_ struct oci_spec *s = NULL;
    struct error e = {0};
    n_warnings = 0;
    log_set_sink(count_warning, LOG_DEBUG_);
    if (oci_spec_parse(text, strlen(text), "t", &s, &e) < 0)
        fail_msg("%s: %s", e.subject, e.why);
    log_set_sink(NULL, LOG_DEBUG_);
    assert_int_equal(n_warnings, 0);
    assert_true(text[strlen(text) - 1] == '\n' && strchr(text, '\n') != strrchr(text, '\n'));

    uint64_t namespaces =
        CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP;
    assert_int_equal(s->new_namespaces, namespaces | (rootless ? CLONE_NEWUSER : 0));
    assert_string_equal(s->oci_version, OCI_VERSION);
    assert_string_equal(s->root_path, "rootfs");
    assert_true(s->root_readonly);
    assert_string_equal(s->hostname, "nucleus");
    assert_string_equal(s->process->args[0], "sh");
    assert_null(s->process->args[1]);
    assert_false(s->process->terminal);
    /* docker's fourteen */
    assert_int_equal(s->process->capabilities.bounding, 0xa80425fb);
    assert_int_equal(s->process->capabilities.effective, 0xa80425fb);
    assert_int_equal(s->process->capabilities.permitted, 0xa80425fb);
    assert_int_equal(s->process->capabilities.inheritable, 0);
    assert_int_equal(s->process->capabilities.ambient, 0);
    assert_int_equal(s->process->rlimits[0].soft, 1024);
    assert_int_equal(s->n_uid_maps, rootless);
    assert_int_equal(s->n_gid_maps, rootless);
    if (rootless) {
        assert_int_equal(s->uid_maps[0].host_id, geteuid());
        assert_int_equal(s->gid_maps[0].host_id, getegid());
    }
    assert_int_equal(strv_len(s->masked_paths), 10);
    assert_int_equal(strv_len(s->readonly_paths), 5);
    assert_null(s->seccomp);

    static const char *const order[] = {"/proc",       "/dev", "/dev/pts",      "/dev/shm",
                                        "/dev/mqueue", "/sys", "/sys/fs/cgroup"};
    assert_int_equal(s->n_mounts, ARRAY_SIZE(order));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        assert_string_equal(s->mounts[i].destination, order[i]);
    assert_int_equal(strv_contains(s->mounts[2].options, "gid=5"), !rootless);
    assert_int_equal(strv_contains(s->mounts[5].options, "rbind"), rootless);
    assert_true(strv_contains(s->mounts[5].options, rootless ? "rro" : "ro"));
    assert_true(strv_contains(s->mounts[6].options, "ro"));
}

static void test_template(void **state)
{
    (void)state;
    check_template(false);
    check_template(true);
}

static void test_names(void **state)
{
    (void)state;
    for (int cap = 0; cap <= 40; cap++)
        assert_int_equal(oci_capability_parse(oci_capability_name(cap)), cap);
    assert_string_equal(oci_capability_name(0), "CAP_CHOWN");
    assert_string_equal(oci_capability_name(21), "CAP_SYS_ADMIN");
    assert_string_equal(oci_capability_name(40), "CAP_CHECKPOINT_RESTORE");
    assert_null(oci_capability_name(41));
    assert_null(oci_capability_name(-1));
    assert_int_equal(oci_capability_parse("CAP_"), -EINVAL);
    assert_int_equal(oci_capability_parse(""), -EINVAL);
    for (int resource = 0; resource < RLIM_NLIMITS; resource++)
        assert_int_equal(oci_rlimit_parse(oci_rlimit_name(resource)), resource);
    assert_null(oci_rlimit_name(RLIM_NLIMITS));
    assert_int_equal(oci_rlimit_parse("NOFILE"), -EINVAL);
    assert_int_equal(oci_namespace_flag(OCI_NS_TIME), CLONE_NEWTIME);
    assert_string_equal(oci_namespace_name(OCI_NS_MOUNT), "mount");
    assert_null(oci_namespace_name(_OCI_NS_MAX));
}

/* Loads a bundle, after writing `content` (may be NULL) to its config.json. */
static void load(const char *bundle, const char *content, enum error_code code, int errnum,
                 const char *subject, const char *why)
{
    struct oci_spec *spec = NULL;
    struct error e = {0};

    if (content) {
        _cleanup_close_ int dirfd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(file_replace_at(dirfd, "config.json", content, strlen(content)), 0);
    }
    int r = oci_spec_load(bundle, &spec, &e);
    if (code == ERROR_NONE) {
        assert_int_equal(r, 0);
        oci_spec_free(spec);
        return;
    }
    assert_int_equal(r, -errnum);
    assert_int_equal(e.code, code);
    assert_string_equal(e.subject, subject);
    if (why)
        assert_string_equal(e.why, why);
    error_done(&e);
}

static void test_load(void **state)
{
    (void)state;
    char dir[] = "/tmp/nucleus-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *path = path_join(dir, "config.json"), *none = path_join(dir, "none");
    _cleanup_free_ char *good = oci_spec_template(false);

    load(none, NULL, ERROR_CONFIG, ENOENT, none, NULL);
    load(dir, NULL, ERROR_CONFIG, ENOENT, path, NULL);
    load(dir, good, ERROR_NONE, 0, NULL, NULL);
    load(path, NULL, ERROR_CONFIG, ENOTDIR, path, NULL);
    assert_int_equal(truncate(path, 0), 0);
    _cleanup_free_ char *start = str_printf("%s:1:1", path);
    load(dir, NULL, ERROR_CONFIG, EINVAL, start, NULL);
    if (geteuid() != 0) {
        assert_int_equal(chmod(path, 0), 0);
        load(dir, NULL, ERROR_PERMISSION, EACCES, path, NULL);
        assert_int_equal(chmod(path, 0600), 0);
    }
    assert_int_equal(truncate(path, OCI_CONFIG_MAX), 0);
    load(dir, NULL, ERROR_CONFIG, EINVAL, start, NULL);
    assert_int_equal(truncate(path, (off_t)OCI_CONFIG_MAX + 1), 0);
    load(dir, NULL, ERROR_CONFIG, EFBIG, path, "it is larger than 16 MiB");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    load(dir, NULL, ERROR_CONFIG, EISDIR, path, "it is a directory");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    load(dir, NULL, ERROR_CONFIG, EINVAL, path, "it is not a regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("config.json", path), 0);
    load(dir, NULL, ERROR_CONFIG, ELOOP, path, NULL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_root_mounts_and_names),
        cmocka_unit_test(test_linux),
        cmocka_unit_test(test_seccomp),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_empty_is_absent),
        cmocka_unit_test(test_unknown_properties_warn),
        cmocka_unit_test(test_path_lengths),
        cmocka_unit_test(test_number_of_maps),
        cmocka_unit_test(test_line_and_column),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
