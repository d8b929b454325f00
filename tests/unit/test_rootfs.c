/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs-bundle.h"

/* Options */

static void test_options_table(void **state)
{
    (void)state;
    struct error e = {0};
    size_t works = 0;

    for (const struct rootfs_option *t = rootfs_option_table; t->name; t++) {
        for (const struct rootfs_option *u = t + 1; u->name; u++)
            assert_string_not_equal(t->name, u->name);
        char *v[] = {(char *)(uintptr_t)t->name, NULL};
        for (int bind = 0; bind < 2; bind++) {
            struct rootfs_options o;
            int r = rootfs_options_parse(v, bind, "mounts[7].options", &o, &e);
            switch (t->kind) {
            case ROOTFS_OPTION_TREE_ATTR:
                assert_int_equal(o.tree_set, t->value);
                break;
            case ROOTFS_OPTION_TREE_ATTR_CLEAR:
                assert_int_equal(o.tree_set, 0);
                assert_int_equal(o.tree_clear & t->value, t->value);
                break;
            case ROOTFS_OPTION_IDMAP:
                assert_true(o.idmap);
                assert_int_equal(o.idmap_recursive, t->value == MS_REC);
                break;
            case ROOTFS_OPTION_REMOUNT:
                assert_true(o.remount);
                break;
            case ROOTFS_OPTION_COPYUP:
                assert_true(o.copyup);
                break;
            case ROOTFS_OPTION_ATTR:
                assert_int_equal(o.attr_set, t->value);
                break;
            case ROOTFS_OPTION_ATTR_CLEAR:
                assert_int_equal(o.attr_set, 0);
                assert_int_equal(o.attr_clear & t->value, t->value);
                break;
            case ROOTFS_OPTION_PROPAGATION:
                assert_int_equal(o.propagation | (o.propagation_recursive ? MS_REC : 0), t->value);
                break;
            case ROOTFS_OPTION_BIND:
                assert_true(o.bind);
                assert_int_equal(o.recursive, t->value == MS_REC);
                break;
            case ROOTFS_OPTION_SUPER:
                assert_int_equal(strv_len(o.data), bind ? 0 : 1);
                break;
            case ROOTFS_OPTION_SUPER_CLEAR:
            case ROOTFS_OPTION_NOTHING:
            case ROOTFS_OPTION_GONE:
                assert_int_equal(strv_len(o.data), 0);
                break;
            }
            assert_int_equal(r, 0);
            /* mount_setattr() takes no value of the field without the whole of it cleared. */
            if (o.attr_set & MOUNT_ATTR__ATIME)
                assert_int_equal(o.attr_clear & MOUNT_ATTR__ATIME, MOUNT_ATTR__ATIME);
            assert_int_equal(o.attr_set & o.attr_clear & ~(uint64_t)MOUNT_ATTR__ATIME, 0);
            if (o.tree_set & MOUNT_ATTR__ATIME)
                assert_int_equal(o.tree_clear & MOUNT_ATTR__ATIME, MOUNT_ATTR__ATIME);
            assert_int_equal(o.tree_set & o.tree_clear & ~(uint64_t)MOUNT_ATTR__ATIME, 0);
            rootfs_options_done(&o);
            works += bind && t->kind != ROOTFS_OPTION_GONE ? 1 : 0;
        }
    }
    for (size_t i = 0; i < works; i++)
        assert_non_null(rootfs_option_name(i));
    assert_null(rootfs_option_name(works));
    error_done(&e);
}

/* Each one that the runtime-spec names (config.md, "Linux mount options"). */
static void test_options_of_the_spec(void **state)
{
    (void)state;
    static const char *const names[] = {
        "async",          "atime",      "bind",         "defaults",    "dev",
        "diratime",       "dirsync",    "exec",         "iversion",    "lazytime",
        "loud",           "mand",       "noatime",      "nodev",       "nodiratime",
        "noexec",         "noiversion", "nolazytime",   "nomand",      "norelatime",
        "nostrictatime",  "nosuid",     "nosymfollow",  "private",     "ratime",
        "rbind",          "rdev",       "rdiratime",    "relatime",    "remount",
        "rexec",          "rnoatime",   "rnodiratime",  "rnoexec",     "rnorelatime",
        "rnostrictatime", "rnosuid",    "rnosymfollow", "ro",          "rprivate",
        "rrelatime",      "rro",        "rrw",          "rshared",     "rslave",
        "rstrictatime",   "rsuid",      "rsymfollow",   "runbindable", "rw",
        "shared",         "silent",     "slave",        "strictatime", "suid",
        "symfollow",      "sync",       "tmpcopyup",    "unbindable",  "idmap",
        "ridmap",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        bool there = false;
        for (const struct rootfs_option *t = rootfs_option_table; t->name; t++)
            there |= streq(t->name, names[i]);
        if (!there)
            fail_msg("%s is missing", names[i]);
    }
}

static struct rootfs_options parse(const char *a, const char *b, const char *c, bool bind)
{
    char *v[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
    struct rootfs_options o;
    assert_int_equal(rootfs_options_parse(v, bind, "x", &o, NULL), 0);
    return o;
}

static void test_options_later_wins(void **state)
{
    (void)state;
    struct rootfs_options o = parse("ro", "nosuid", "rw", true);
    assert_int_equal(o.attr_set, MOUNT_ATTR_NOSUID);
    assert_int_equal(o.attr_clear, MOUNT_ATTR_RDONLY);
    o = parse("noatime", "strictatime", NULL, true);
    assert_int_equal(o.attr_set, MOUNT_ATTR_STRICTATIME);
    o = parse("strictatime", "atime", NULL, true);
    assert_int_equal(o.attr_set, MOUNT_ATTR_STRICTATIME);
    o = parse("noatime", "atime", NULL, true);
    assert_int_equal(o.attr_set, 0);
    assert_int_equal(o.attr_clear, MOUNT_ATTR__ATIME);
    o = parse("strictatime", "relatime", NULL, true);
    assert_int_equal(o.attr_set, 0);
    o = parse("rslave", "private", NULL, true);
    assert_int_equal(o.propagation, MS_PRIVATE);
    assert_false(o.propagation_recursive);

    o = parse("rro", "rnosuid", "rrw", true);
    assert_int_equal(o.tree_set, MOUNT_ATTR_NOSUID);
    assert_int_equal(o.tree_clear, MOUNT_ATTR_RDONLY);
    assert_int_equal(o.attr_set | o.attr_clear, 0);
    o = parse("rnoatime", "noexec", "rstrictatime", true);
    assert_int_equal(o.tree_set, MOUNT_ATTR_STRICTATIME);
    assert_int_equal(o.attr_set, MOUNT_ATTR_NOEXEC);
    o = parse("ridmap", "idmap", NULL, true);
    assert_true(o.idmap && !o.idmap_recursive);

    o = parse("sync", "size=1k", "async", false);
    assert_int_equal(strv_len(o.data), 1);
    assert_string_equal(o.data[0], "size=1k");
    rootfs_options_done(&o);
    o = parse("lazytime", "lazytime", "mode=755", false);
    assert_int_equal(strv_len(o.data), 2);
    rootfs_options_done(&o);
    /* bind counts wherever it stands */
    o = parse("sync", "nodev", "rbind", false);
    assert_true(o.bind && o.recursive && !o.data);
}

/* Plans */

static void test_plan_of_an_engine(void **state)
{
    struct bundle *b = *state;
    char *masked[] = {(char *)"/proc/kcore", (char *)"/sys/firmware", NULL};
    char *readonly[] = {(char *)"/proc/sys", NULL};

    b->spec.new_namespaces |= CLONE_NEWCGROUP | CLONE_NEWNET;
    b->spec.root_readonly = true;
    b->spec.masked_paths = masked;
    b->spec.readonly_paths = readonly;
    add_mount(b, "/proc", "proc", "proc", "nosuid,noexec,nodev");
    add_mount(b, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,ro,mode=755,size=65536k");
    add_mount(b, "/sys", "sysfs", "sysfs", "nosuid,ro");
    add_mount(b, "/sys/fs/cgroup", "cgroup", "cgroup", "relatime,ro");
    add_mount(b, "/a/../b//c/.", "bind", "/etc", "rbind,rw,noexec");
    add_mount(b, "data", NULL, "outside", "bind,rslave,noatime");
    add_mount(b, "/img", "ext4", "/dev/loop9", "ro,sync,discard");

    struct rootfs_plan plan;
    plan_make(b, &plan);
    _cleanup_free_ char *text = rootfs_plan_render(&plan);
    _cleanup_free_ char *want =
        str_printf("root %s/rootfs ro private\n"
                   "mount proc /proc nosuid nodev noexec\n"
                   "mount tmpfs /dev ro nosuid strictatime (read-only at the end) mode=755 "
                   "size=65536k\n"
                   "mount sysfs /sys ro nosuid\n"
                   "mount cgroup2 /sys/fs/cgroup ro relatime\n"
                   "rbind /etc /b/c rw noexec rprivate\n"
                   "bind %s/outside /data noatime rslave\n"
                   "mount ext4 /img ro sync discard ro\n"
                   "device /dev/null 1:3 0666\n"
                   "device /dev/zero 1:5 0666\n"
                   "device /dev/full 1:7 0666\n"
                   "device /dev/random 1:8 0666\n"
                   "device /dev/urandom 1:9 0666\n"
                   "device /dev/tty 5:0 0666\n"
                   "symlink /dev/ptmx -> pts/ptmx\n"
                   "symlink /dev/fd -> /proc/self/fd\n"
                   "symlink /dev/stdin -> /proc/self/fd/0\n"
                   "symlink /dev/stdout -> /proc/self/fd/1\n"
                   "symlink /dev/stderr -> /proc/self/fd/2\n"
                   "readonly /proc/sys\n"
                   "mask /proc/kcore\n"
                   "mask /sys/firmware\n",
                   b->dir, b->dir);
    assert_string_equal(text, want);
    assert_true(plan.network_namespace && plan.cgroup_namespace && !plan.user_namespace);
    assert_string_equal(plan.ops[5].origin, "mounts[5]");
    assert_true(plan.ops[5].source_is_dir);
    rootfs_plan_done(&plan);
}

static void test_plan_leaves_a_bound_dev_alone(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    add_mount(b, "/dev/", "bind", "/dev", "rbind");
    plan_make(b, &plan);
    assert_int_equal(plan.n_ops, 1);
    rootfs_plan_done(&plan);
}

static void test_plan_readonly_covered_tmpfs_is_not_late(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    add_mount(b, "/x", "tmpfs", NULL, "ro");
    add_mount(b, "/x", "bind", "/etc", "bind");
    plan_make(b, &plan);
    assert_false(plan.ops[0].late_readonly);
    rootfs_plan_done(&plan);
}

static void test_plan_refuses(void **state)
{
    struct bundle *b = *state;
    static const struct {
        const char *dest, *type, *source, *options;
        enum error_code code;
        const char *words;
    } cases[] = {
        {"/x", "bind", "/etc", "bind,noexce", ERROR_CONFIG, "'noexce': mounts[0].options"},
        {"/x", "bind", "/etc", "bind,size=1k", ERROR_CONFIG, "mounts[0].options"},
        {"/x", "tmpfs", NULL, "remount,size=1k", ERROR_CONFIG, "'size=1k': mounts[0]"},
        {"/x", "tmpfs", NULL, "remount,bind,sync", ERROR_NONE, NULL},
        {"/x", "bind", "/etc", "bind,tmpcopyup", ERROR_CONFIG, "mounts[0]: only a new tmpfs"},
        {"/x", "tmpfs", NULL, "remount,tmpcopyup", ERROR_CONFIG, "mounts[0]: only a new tmpfs"},
        {"/x", "mqueue", NULL, "tmpcopyup", ERROR_CONFIG, "mounts[0] is no tmpfs"},
        {"/x", "tmpfs", NULL, "tmpcopyup", ERROR_NONE, NULL},
        {"/x", "bind", "/etc", "rbind,idmap", ERROR_CONFIG, "mounts[0]: there are no ids"},
        {"/x", "tmpfs", NULL, "idmap", ERROR_CONFIG, "mounts[0]: only ids of a bind mount"},
        {"/x", "bind", "/etc", "remount,bind,idmap", ERROR_CONFIG, "only ids of a bind mount"},
        {"/x", "tmpfs", NULL, "=1", ERROR_CONFIG, "no name"},
        {"/x", "tmpfs", NULL, "", ERROR_NONE, NULL},
        {"/x", "bind", NULL, "bind", ERROR_CONFIG, "mounts[0] has no source"},
        {"/x", NULL, NULL, "ro", ERROR_CONFIG, "mounts[0] has no type"},
        {"/x", "none", "/etc", "ro", ERROR_CONFIG, "mounts[0] has no type"},
        {"/", "tmpfs", NULL, NULL, ERROR_CONFIG, "root.path"},
        {"/a/../..", "bind", "/etc", "bind", ERROR_CONFIG, "root.path"},
        {"", "tmpfs", NULL, NULL, ERROR_CONFIG, "mounts[0] has no destination"},
        {"/sys/fs/cgroup", "cgroup", NULL, "ro", ERROR_NONE, NULL},
        /* CVE-2019-16884 */
        {"/proc", "tmpfs", NULL, NULL, ERROR_CONFIG, "mounts[0]"},
        {"/proc/self/attr", "tmpfs", NULL, NULL, ERROR_CONFIG, "mounts[0]"},
        {"/x/../proc/sys", "bind", "/etc", "bind", ERROR_CONFIG, "mounts[0]"},
        {"/proc/uptime", "bind", "/etc/passwd", "bind", ERROR_NONE, NULL},
        {"/process", "tmpfs", NULL, NULL, ERROR_NONE, NULL},
        {"/proc", "bind", "/proc", "rbind", ERROR_NONE, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        add_mount(b, cases[i].dest, cases[i].type, cases[i].source, cases[i].options);
        if (cases[i].code == ERROR_NONE) {
            struct rootfs_plan plan;
            plan_make(b, &plan);
            rootfs_plan_done(&plan);
        } else {
            assert_refused(b, cases[i].code, cases[i].words);
        }
        strv_free(b->mounts[0].options);
        b->mounts[0].options = NULL;
        b->spec.n_mounts = 0;
    }

    char value[300] = "lowerdir=";
    memset(value + 9, 'x', 280);
    add_mount(b, "/x", "overlay", "overlay", value);
    assert_refused(b, ERROR_UNSUPPORTED, "255 bytes");
}

static void test_plan_refuses_namespace_and_paths(void **state)
{
    struct bundle *b = *state;
    char *paths[] = {(char *)"/x", (char *)"/.", NULL};

    b->spec.masked_paths = paths;
    assert_refused(b, ERROR_CONFIG, "linux.maskedPaths[1]");
    b->spec.masked_paths = NULL;
    b->spec.readonly_paths = paths;
    assert_refused(b, ERROR_CONFIG, "linux.readonlyPaths[1]");
    b->spec.readonly_paths = NULL;
    b->spec.new_namespaces = CLONE_NEWPID;
    assert_refused(b, ERROR_UNSUPPORTED, "type mount");
}

static void test_plan_root(void **state)
{
    struct bundle *b = *state;

    make_link(b->dir, "loop", "loop");
    make_link(b->dir, "good", "./rootfs/../rootfs");
    b->spec.root_path = (char *)"missing";
    assert_refused(b, ERROR_CONFIG, "missing': it is not there; correct root.path");
    b->spec.root_path = (char *)"outside/secret";
    assert_refused(b, ERROR_CONFIG, "not a directory");
    b->spec.root_path = (char *)"loop";
    assert_refused(b, ERROR_CONFIG, "circle");
    b->spec.root_path = NULL;
    assert_refused(b, ERROR_CONFIG, "root.path");

    struct rootfs_plan plan;
    b->spec.root_path = (char *)"good";
    plan_make(b, &plan);
    assert_string_equal(plan.root, b->root);
    rootfs_plan_done(&plan);
    assert_int_equal(plan.root_fd, -EBADF);

    /* A plan that never was leaves descriptor 0 alone. */
    struct rootfs_plan zeros = {0};
    rootfs_plan_done(&zeros);
    assert_true(fcntl(0, F_GETFD) >= 0 || errno != EBADF);
}

static void test_plan_open_names_missing_source(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    skip_unless_root();
    add_mount(b, "/a", "tmpfs", NULL, NULL);
    add_mount(b, "/b", "bind", "/no/such/source", "bind");
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -ENOENT);
    _cleanup_free_ char *text = error_render(&b->e);
    assert_non_null(strstr(text, "'/no/such/source': mounts[1]"));
    assert_int_equal(b->e.code, ERROR_CONFIG);
    rootfs_plan_done(&plan);
}

/* Execution */

static void add_usual(struct bundle *b)
{
    add_mount(b, "/proc", "proc", "proc", "nosuid,noexec,nodev");
    add_mount(b, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
    add_mount(b, "/dev/pts", "devpts", "devpts",
              "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620");
    add_mount(b, "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k");
    add_mount(b, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
    add_mount(b, "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro");
}

static int usual_inside(const struct bundle *b)
{
    struct stat st;

    CHECK(!is_there(b->dir, "."));
    CHECK(holds("/etc/passwd", "root\n"));
    CHECK(on_fs("/proc", PROC_SUPER_MAGIC));
    CHECK(on_fs("/dev", TMPFS_MAGIC));
    CHECK(on_fs("/dev/pts", DEVPTS_SUPER_MAGIC));
    CHECK(on_fs("/sys", SYSFS_MAGIC));
    CHECK(has_flags("/sys", ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC));
    CHECK(has_flags("/dev/shm", ST_NOSUID | ST_NODEV | ST_NOEXEC));
    CHECK(is_device("/dev/null", 1, 3) && is_device("/dev/tty", 5, 0));
    CHECK(is_device("/dev/urandom", 1, 9));
    CHECK(stat("/dev/null", &st) == 0 && (st.st_mode & 07777) == 0666);
    CHECK(stat("/dev/shm", &st) == 0 && (st.st_mode & 07777) == 01777);
    CHECK(stat("/dev/mqueue", &st) == 0);
    CHECK(link_is("/dev/ptmx", "pts/ptmx"));
    CHECK(link_is("/dev/fd", "/proc/self/fd"));
    CHECK(link_is("/dev/stderr", "/proc/self/fd/2"));
    CHECK(access("/dev/ptmx", R_OK | W_OK) == 0);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    CHECK(mountinfo_has("/", " / "));
    CHECK(umask(0) == 0077);
    return 0;
}

static void test_run_usual(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    b->spec.new_namespaces |= CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET;
    add_usual(b);
    assert_runs(b, usual_inside);
    /* On the host: bare mount points with usual modes, nothing mounted. */
    struct stat st, root;
    _cleanup_free_ char *dev = path_join(b->root, "dev");
    assert_int_equal(stat(dev, &st), 0);
    assert_int_equal(stat(b->root, &root), 0);
    assert_int_equal(st.st_dev, root.st_dev);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_false(is_there(b->root, "dev/null"));
    /* And again, everything being there now. */
    assert_runs(b, usual_inside);
}

static int root_of_host_inside(const struct bundle *b)
{
    CHECK(!is_there(b->outside, "secret"));
    CHECK(has_flags("/", ST_RDONLY));
    CHECK(is_there("/", "usr"));
    return 0;
}

static void test_run_the_hosts_root(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    b->spec.root_path = (char *)"/";
    b->spec.root_readonly = true;
    add_mount(b, "/tmp", "tmpfs", NULL, NULL);
    add_mount(b, "/dev", "bind", "/dev", "rbind");
    assert_runs(b, root_of_host_inside);
}

static int cgroup_inside(const struct bundle *b)
{
    (void)b;
    CHECK(on_fs("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC));
    CHECK(has_flags("/sys/fs/cgroup", ST_RDONLY));
    CHECK(mountinfo_has("/sys/fs/cgroup", " / /sys/fs/cgroup "));
    return 0;
}

static void test_run_cgroup(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    b->spec.new_namespaces |= CLONE_NEWCGROUP | CLONE_NEWNET;
    add_mount(b, "/proc", "proc", "proc", NULL);
    add_mount(b, "/sys", "sysfs", "sysfs", "ro");
    add_mount(b, "/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid");
    assert_runs(b, cgroup_inside);
}

static int readonly_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mkdir("/x", 0755) < 0 && errno == EROFS);
    CHECK(mkdir("/rw/x", 0755) == 0);
    CHECK(mkdir("/dev/x", 0755) < 0 && errno == EROFS);
    CHECK(is_device("/dev/null", 1, 3));
    CHECK(on_fs("/dev/shm", TMPFS_MAGIC) && mkdir("/dev/shm/x", 0755) == 0);
    return 0;
}

static void test_run_readonly_root_and_dev(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    b->spec.root_readonly = true;
    add_mount(b, "/dev", "tmpfs", "tmpfs", "ro,mode=755");
    add_mount(b, "/dev/shm", "tmpfs", "shm", NULL);
    add_mount(b, "/rw", "tmpfs", NULL, NULL);
    assert_runs(b, readonly_inside);
}

static int bind_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mountinfo_has("/plain", " rw,") && mountinfo_has("/plain", "relatime "));
    CHECK(mountinfo_has("/ro", " ro,nosuid,nodev,noexec,noatime "));
    CHECK(mountinfo_has("/strict", "nosymfollow"));
    CHECK(!mountinfo_has("/strict", "relatime"));
    CHECK(holds("/plain/secret", "secret\n"));
    CHECK(holds("/etc/file", "secret\n"));
    CHECK(open("/etc/file", O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
    CHECK(open("/ro/x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
    return 0;
}

static void test_run_bind_options(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/plain", "bind", "outside", "rbind,rw");
    add_mount(b, "/ro", "bind", "outside", "rbind,ro,nosuid,nodev,noexec,noatime");
    add_mount(b, "/strict", "none", "outside", "bind,strictatime,nosymfollow");
    add_mount(b, "/etc/file", "bind", "outside/secret", "bind,ro");
    assert_runs(b, bind_inside);
}

static int tmpfs_mode_inside(const struct bundle *b)
{
    struct stat st;
    (void)b;
    CHECK(stat("/private", &st) == 0 && (st.st_mode & 07777) == 0700);
    CHECK(has_flags("/private", ST_RDONLY));
    CHECK(stat("/new", &st) == 0 && (st.st_mode & 07777) == 01777);
    CHECK(stat("/asked", &st) == 0 && (st.st_mode & 07777) == 0711);
    return 0;
}

static void test_run_tmpfs_mode(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *p = path_join(b->root, "private");

    skip_unless_root();
    make_dir(b->root, "asked");
    assert_int_equal(mkdir(p, 0700), 0);
    add_mount(b, "/private", "tmpfs", NULL, "ro");
    add_mount(b, "/new", "tmpfs", NULL, NULL);
    add_mount(b, "/asked", "tmpfs", NULL, "mode=711");
    assert_runs(b, tmpfs_mode_inside);
}

static void test_run_bad_option_is_named(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/x", "tmpfs", NULL, "mode=755,sise=1k");
    assert_fails(b, -EINVAL, "use mount option", "sise=1k");
}

/* Propagation: peers of the host only where the spec says so. */

static int propagation_inside(const struct bundle *b)
{
    (void)b;
    CHECK(!mountinfo_has("/default", "shared:") && !mountinfo_has("/default", "master:"));
    CHECK(mountinfo_has("/slave", "master:") && !mountinfo_has("/slave", "shared:"));
    CHECK(mountinfo_has("/shared", "shared:"));
    CHECK(mountinfo_has("/", "shared:"));
    CHECK(!mountinfo_has("/proc", "shared:"));
    return 0;
}

static void test_run_propagation(void **state)
{
    struct bundle *b = *state;
    int status = 0;

    skip_unless_root();
    b->spec.rootfs_propagation = MS_SHARED;
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/default", "bind", "outside", "rbind");
    add_mount(b, "/slave", "bind", "outside", "rbind,rslave");
    add_mount(b, "/shared", "bind", "outside", "rbind,rshared");

    /* A host of its own, where the source is shared. */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", b->outside, "tmpfs", 0, NULL) < 0 ||
            mount(NULL, b->outside, NULL, MS_SHARED, NULL) < 0)
            _exit(1);
        struct outcome o = run(b, propagation_inside);
        if (o.r || o.line)
            fprintf(stderr, "%d line %d %s %s\n", o.r, o.line, o.step, o.subject);
        _exit(o.r == 0 && o.line == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Masked and read-only paths */

static int masked_inside(const struct bundle *b)
{
    struct stat st;
    (void)b;
    CHECK(holds("/etc/shadow", ""));
    CHECK(is_device("/etc/shadow", 1, 3));
    CHECK(is_device("/proc/version", 1, 3));
    CHECK(on_fs("/secrets", TMPFS_MAGIC) && !is_there("/secrets", "key"));
    CHECK(has_flags("/secrets", ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC));
    CHECK(is_device("/real", 1, 3)); /* by way of a link */
    CHECK(lstat("/missing", &st) < 0);
    CHECK(has_flags("/proc/sys", ST_RDONLY | ST_NOEXEC)); /* /proc's own flag stays */
    CHECK(!has_flags("/proc", ST_RDONLY));
    CHECK(open("/proc/sys/kernel/hostname", O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
    CHECK(mkdir("/etc/x", 0755) < 0 && errno == EROFS);
    CHECK(mkdir("/x", 0755) == 0 && rmdir("/x") == 0);
    return 0;
}

static char *mask_list[] = {(char *)"/etc/shadow",
                            (char *)"/proc/version",
                            (char *)"/secrets",
                            (char *)"/missing",
                            (char *)"/etc/passwd/below",
                            (char *)"/link",
                            NULL};
static char *readonly_list[] = {(char *)"/proc/sys", (char *)"/etc", (char *)"/missing/too", NULL};

static void test_run_masked_and_readonly(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_file(b->root, "etc/shadow", "hash\n");
    make_file(b->root, "real", "x\n");
    make_link(b->root, "link", "/real");
    make_dir(b->root, "secrets");
    make_file(b->root, "secrets/key", "key\n");
    b->spec.masked_paths = mask_list;
    b->spec.readonly_paths = readonly_list;
    add_mount(b, "/proc", "proc", "proc", "noexec");
    add_mount(b, "/dev", "tmpfs", "tmpfs", "mode=755");
    assert_runs(b, masked_inside);
}

/* A /dev of the image's own, with something else called null in it (CVE-2025-31133). */
static void run_fake_null(struct bundle *b, bool link)
{
    skip_unless_root();
    make_dir(b->dir, "fakedev");
    _cleanup_free_ char *dev = path_join(b->dir, "fakedev");
    if (link)
        make_link(dev, "null", "/etc/passwd");
    else
        make_file(dev, "null", "");
    make_file(b->root, "etc/shadow", "hash\n");
    b->spec.masked_paths = mask_list;
    add_mount(b, "/dev", "bind", "fakedev", "bind");
    struct outcome o = run(b, NULL);
    assert_int_equal(o.r, -ENODEV);
    assert_non_null(strstr(o.step, "null device"));
    assert_string_equal(o.subject, "/etc/shadow");
}

static void test_run_mask_refuses_file_as_null(void **state)
{
    run_fake_null(*state, false);
}

static void test_run_mask_refuses_link_as_null(void **state)
{
    run_fake_null(*state, true);
}

static void test_run_mask_needs_null(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_dir(b->dir, "fakedev");
    make_file(b->root, "etc/shadow", "hash\n");
    b->spec.masked_paths = mask_list;
    add_mount(b, "/dev", "bind", "fakedev", "bind");
    assert_fails(b, -ENOENT, "mask", "/etc/shadow");
}

/* Devices in a rootfs without a tmpfs on /dev */

static void test_run_device_refuses_other_file(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_dir(b->root, "dev");
    make_file(b->root, "dev/null", "");
    assert_fails(b, -EEXIST, "something else", "/dev/null");
}

static void test_run_device_refuses_link(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *target = path_join(b->outside, "zero");

    skip_unless_root();
    make_dir(b->root, "dev");
    make_link(b->root, "dev/zero", target);
    assert_fails(b, -EEXIST, "something else", "/dev/zero");
    assert_false(is_there(b->outside, "zero"));
}

static int replaced_inside(const struct bundle *b)
{
    (void)b;
    CHECK(link_is("/dev/ptmx", "pts/ptmx"));
    CHECK(link_is("/dev/stdin", "elsewhere")); /* the image's */
    CHECK(is_device("/dev/full", 1, 7));
    return 0;
}

static void test_run_devices_in_an_image(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *full = path_join(b->root, "dev/full");

    skip_unless_root();
    make_dir(b->root, "dev");
    make_file(b->root, "dev/ptmx", "");
    make_link(b->root, "dev/stdin", "elsewhere");
    assert_int_equal(mknod(full, S_IFCHR | 0600, makedev(1, 7)), 0);
    assert_runs(b, replaced_inside);
    assert_runs(b, replaced_inside);
}

/* Symlinks of the image */

static int contained_inside(const struct bundle *b)
{
    (void)b;
    CHECK(is_device("/dev/null", 1, 3));
    CHECK(on_fs("/mnt", TMPFS_MAGIC));
    CHECK(on_fs("/up", TMPFS_MAGIC));
    CHECK(holds("/etc/resolv.conf", "secret\n"));
    CHECK(holds("/run/systemd/resolve/stub", "secret\n"));
    return 0;
}

static void test_run_links_stay_inside(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *up = str_printf("../../../../../..%s/up", b->outside);

    skip_unless_root();
    make_link(b->root, "dev", b->outside);
    make_link(b->root, "mnt", b->outside);
    make_link(b->root, "up", up);
    make_link(b->root, "etc/resolv.conf", "../../../run/systemd/resolve/stub");
    add_mount(b, "/mnt", "tmpfs", NULL, NULL);
    add_mount(b, "/up", "tmpfs", NULL, NULL);
    add_mount(b, "/etc/resolv.conf", "bind", "outside/secret", "bind");
    assert_runs(b, contained_inside);
    assert_false(is_there(b->outside, "null"));
    assert_false(is_there(b->outside, "up"));
    /* What the links name was made inside. */
    _cleanup_free_ char *inner = path_join(b->root, b->outside);
    assert_true(is_there(inner, "."));
    assert_true(is_there(b->root, "run/systemd/resolve/stub"));
}

static void test_run_link_loop(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_link(b->root, "a", "b");
    make_link(b->root, "b", "a");
    add_mount(b, "/a/x", "tmpfs", NULL, NULL);
    assert_fails(b, -ELOOP, "open mount point", "/a/x");
}

static void test_run_link_to_root_is_refused(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_link(b->root, "a", "..");
    add_mount(b, "/a", "tmpfs", NULL, NULL);
    assert_fails(b, -EBUSY, "leads to the container's root", "/a");
}

static void test_run_file_in_the_way(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/etc/passwd", "bind", "outside", "bind");
    assert_fails(b, -ENOTDIR, "open mount point", "/etc/passwd");
}

/* CVE-2019-19921: /proc a symlink, so that procfs lies elsewhere. */
static void test_run_proc_link_is_refused(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_link(b->root, "proc", "etc");
    add_mount(b, "/proc", "proc", "proc", NULL);
    assert_fails(b, -ELOOP, "symbolic link", "/proc");
}

static void test_run_sysfs_link_is_refused(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    b->spec.new_namespaces |= CLONE_NEWNET;
    make_link(b->root, "a", "etc");
    add_mount(b, "/a/sys", "sysfs", "sysfs", NULL);
    assert_fails(b, -ELOOP, "symbolic link", "/a/sys");
}

/* CVE-2019-16884: a mount whose destination leads into /proc. */
static void test_run_link_into_proc_is_refused(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_link(b->root, "a", "/proc/self/attr");
    make_link(b->root, "b", "proc");
    add_mount(b, "/proc", "proc", "proc", NULL);
    add_mount(b, "/a", "tmpfs", NULL, NULL);
    assert_fails(b, -EPERM, "/proc", "/a");
    b->mounts[1].destination = (char *)"/b";
    assert_fails(b, -EPERM, "/proc", "/b");
    b->mounts[1].destination = (char *)"/b/self/attr";
    assert_fails(b, -EPERM, "/proc", "/b/self/attr");
}

static void test_run_bind_on_proc_must_be_proc(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "bind", "outside", "bind");
    assert_fails(b, -EPERM, "/proc", "/proc");
}

static int proc_file_inside(const struct bundle *b)
{
    (void)b;
    CHECK(holds("/proc/uptime", "secret\n"));
    /* This kernel drops the mount at the next look-up; it must only not be refused. */
    CHECK(is_there("/proc/net", "dev"));
    return 0;
}

static void test_run_allowed_files_of_proc(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "bind", "/proc", "rbind");
    add_mount(b, "/proc/uptime", "bind", "outside/secret", "bind");
    add_mount(b, "/proc/net/dev", "bind", "outside/secret", "bind");
    assert_runs(b, proc_file_inside);
}

/* The root is swapped after it was looked at. */

static void swap_root(struct bundle *b, bool link)
{
    struct rootfs_plan plan;
    _cleanup_free_ char *moved = path_join(b->dir, "moved");

    skip_unless_root();
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), 0);
    assert_int_equal(rename(b->root, moved), 0);
    if (link)
        make_link(b->dir, "rootfs", "outside");
    else
        make_dir(b->root, "etc");
    struct outcome o = run_plan(b, &plan, NULL);
    assert_int_equal(o.r, link ? -ELOOP : -ESTALE);
    assert_non_null(strstr(o.step, "replaced"));
    assert_false(is_there(b->outside, "dev"));
    rootfs_plan_done(&plan);
}

static void test_run_root_swapped_for_link(void **state)
{
    swap_root(*state, true);
}

static void test_run_root_swapped_for_directory(void **state)
{
    swap_root(*state, false);
}

/* User namespaces */

static int user_inside(const struct bundle *b)
{
    int line = usual_inside(b);
    if (line)
        return line;
    CHECK(mountinfo_has("/dev/null", " /null /dev/null "));
    CHECK(is_device("/etc/shadow", 1, 3));
    CHECK(has_flags("/proc/sys", ST_RDONLY));
    return 0;
}

static void give_away(struct bundle *b)
{
    static const char *const paths[] = {"", "etc", "etc/passwd", "etc/shadow"};

    make_file(b->root, "etc/shadow", "hash\n");
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        _cleanup_free_ char *p = path_join(b->root, paths[i]);
        assert_int_equal(chown(p, first_id, first_id), 0);
    }
}

static void set_up_user(struct bundle *b, unsigned first, unsigned n)
{
    first_id = first;
    n_ids = n;
    give_away(b);
    b->spec.new_namespaces |=
        CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS;
    b->spec.masked_paths = mask_list;
    b->spec.readonly_paths = readonly_list;
    add_usual(b);
}

static void test_run_user_namespace(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    set_up_user(b, 100000, 65536);
    assert_runs(b, user_inside);
}

/* The namespace's root can't reach the bundle by its path. */
static void test_run_user_namespace_private_bundle(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    set_up_user(b, 100000, 65536);
    assert_int_equal(chmod(b->dir, 0700), 0);
    assert_runs(b, user_inside);
}

static void test_run_user_namespace_without_open(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    /* What a caller without CAP_SYS_ADMIN leaves to the child. */
    skip_unless_root();
    set_up_user(b, 100000, 65536);
    plan_make(b, &plan);
    struct outcome o = run_plan(b, &plan, user_inside);
    rootfs_plan_done(&plan);
    if (o.r || o.line)
        fail_msg("%d, line %d: %s '%s'", o.r, o.line, o.step, o.subject);
}

static void test_run_user_namespace_sysfs_needs_network(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    set_up_user(b, 100000, 65536);
    b->spec.new_namespaces &= ~(uint64_t)CLONE_NEWNET;
    assert_fails(b, -EPERM, "network namespace", "/sys");
}

/* A caller without any privilege: everything is cloned in the child. */
static void test_run_rootless(void **state)
{
    struct bundle *b = *state;
    int status = 0;

    skip_unless_root();
    set_up_user(b, 65534, 1);
    add_mount(b, "/data", "bind", "outside", "bind,ro,rslave");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0 ||
            prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
            _exit(1);
        struct outcome o = run(b, user_inside);
        if (o.r || o.line)
            fprintf(stderr, "%d line %d %s %s\n", o.r, o.line, o.step, o.subject);
        _exit(o.r == 0 && o.line == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Checkpoint */

static void test_externals(void **state)
{
    struct bundle *b = *state;
    struct rootfs_external *list = NULL;
    size_t n = 0;
    struct rootfs_plan plan;

    make_file(b->root, "etc/shadow", "hash\n");
    make_file(b->root, "real", "x\n");
    make_link(b->root, "link", "/real");
    make_link(b->root, "var", "etc");
    make_dir(b->root, "secrets");
    b->spec.masked_paths = mask_list;
    b->spec.new_namespaces |= CLONE_NEWUSER;
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/var/data/x", "bind", "outside", "bind");
    add_mount(b, "/dev", "tmpfs", NULL, NULL);
    plan_make(b, &plan);
    assert_int_equal(rootfs_externals(&plan, plan.root_fd, &list, &n, &b->e), 0);

    static const char *const want[] = {"/etc/data/x", "/dev/null",    "/dev/zero", "/dev/full",
                                       "/dev/random", "/dev/urandom", "/dev/tty"};
    assert_int_equal(n, ARRAY_SIZE(want));
    for (size_t i = 0; i < n; i++)
        assert_string_equal(list[i].dest, want[i]);
    assert_string_equal(list[0].source, b->outside);
    assert_string_equal(list[3].source, "/dev/full");
    rootfs_externals_free(list, n);
    rootfs_plan_done(&plan);
}

static void test_make_mountpoints(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    struct stat st;

    make_link(b->root, "data", b->outside);
    make_link(b->root, "run", "/dev/run");
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/dev", "tmpfs", NULL, NULL);
    add_mount(b, "/dev/shm", "tmpfs", NULL, NULL);
    add_mount(b, "/run/x", "tmpfs", NULL, NULL); /* below /dev, too */
    add_mount(b, "/etc/hosts", "bind", "outside/secret", "bind");
    add_mount(b, "/srv/a/b", "bind", "outside", "bind");
    add_mount(b, "/data", "tmpfs", NULL, NULL);
    plan_make(b, &plan);
    mode_t mask = umask(0077);
    assert_int_equal(rootfs_make_mountpoints(&plan, plan.root_fd, &b->e), 0);
    assert_int_equal(rootfs_make_mountpoints(&plan, plan.root_fd, &b->e), 0);
    assert_int_equal(umask(mask), 0077);
    rootfs_plan_done(&plan);

    _cleanup_free_ char *srv = path_join(b->root, "srv/a/b");
    _cleanup_free_ char *hosts = path_join(b->root, "etc/hosts");
    _cleanup_free_ char *inner = path_join(b->root, b->outside);
    assert_int_equal(stat(srv, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    assert_int_equal(stat(hosts, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
    assert_int_equal(stat(inner, &st), 0);
    assert_true(is_there(b->root, "proc") && is_there(b->root, "dev"));
    assert_false(is_there(b->root, "dev/shm"));
    assert_false(is_there(b->root, "dev/run"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_table),
        cmocka_unit_test(test_options_of_the_spec),
        cmocka_unit_test(test_options_later_wins),
        T(test_plan_of_an_engine),
        T(test_plan_leaves_a_bound_dev_alone),
        T(test_plan_readonly_covered_tmpfs_is_not_late),
        T(test_plan_refuses),
        T(test_plan_refuses_namespace_and_paths),
        T(test_plan_root),
        T(test_plan_open_names_missing_source),
        T(test_run_usual),
        T(test_run_the_hosts_root),
        T(test_run_cgroup),
        T(test_run_readonly_root_and_dev),
        T(test_run_bind_options),
        T(test_run_tmpfs_mode),
        T(test_run_bad_option_is_named),
        T(test_run_propagation),
        T(test_run_masked_and_readonly),
        T(test_run_mask_refuses_file_as_null),
        T(test_run_mask_refuses_link_as_null),
        T(test_run_mask_needs_null),
        T(test_run_device_refuses_other_file),
        T(test_run_device_refuses_link),
        T(test_run_devices_in_an_image),
        T(test_run_links_stay_inside),
        T(test_run_link_loop),
        T(test_run_link_to_root_is_refused),
        T(test_run_file_in_the_way),
        T(test_run_proc_link_is_refused),
        T(test_run_sysfs_link_is_refused),
        T(test_run_link_into_proc_is_refused),
        T(test_run_bind_on_proc_must_be_proc),
        T(test_run_allowed_files_of_proc),
        T(test_run_root_swapped_for_link),
        T(test_run_root_swapped_for_directory),
        T(test_run_user_namespace),
        T(test_run_user_namespace_private_bundle),
        T(test_run_user_namespace_without_open),
        T(test_run_user_namespace_sysfs_needs_network),
        T(test_run_rootless),
        T(test_externals),
        T(test_make_mountpoints),
    };

    return cmocka_run_group_tests_name("rootfs", tests, NULL, NULL);
}
