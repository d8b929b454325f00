/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "rootfs-bundle.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include "rootfs/mountinfo.h"

/* What mounts can be asked for beyond the usual: trees, maps of ids, copies, devices. */

/* A host of its own, in which mounts can be made: runs `b` in it, with `check` inside the
 * container. */
typedef void (*host_setup)(struct bundle *b);

static void assert_runs_on_host(struct bundle *b, host_setup set_up, inside check)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(1);
        set_up(b);
        struct outcome o = run(b, check);
        if (o.r || o.line)
            fprintf(stderr, "%d line %d %s %s\n", o.r, o.line, o.step, o.subject);
        _exit(o.r == 0 && o.line == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_ran(struct outcome o)
{
    if (o.r != 0)
        fail_msg("cannot %s '%s': %s", o.step, o.subject, strerror(-o.r));
    if (o.line != 0)
        fail_msg("the check in line %d failed inside", o.line);
}

static size_t open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Options of a tree */

static void mount_below_outside(struct bundle *b)
{
    make_dir(b->outside, "sub");
    _cleanup_free_ char *sub = path_join(b->outside, "sub");
    if (mount("tmpfs", sub, "tmpfs", MS_NOEXEC, NULL) < 0)
        _exit(1);
}

static int tree_inside(const struct bundle *b)
{
    (void)b;
    CHECK(has_flags("/one", ST_RDONLY) && !has_flags("/one/sub", ST_RDONLY));
    CHECK(has_flags("/all", ST_RDONLY | ST_NOSUID) && has_flags("/all/sub", ST_RDONLY | ST_NOSUID));
    CHECK(has_flags("/all/sub", ST_NOEXEC) && !has_flags("/all", ST_NOEXEC));
    CHECK(!has_flags("/last", ST_RDONLY) && !has_flags("/last/sub", ST_NOEXEC));
    CHECK(mountinfo_has("/time", "noatime,nodiratime") && mountinfo_has("/time/sub", "noatime"));
    CHECK(mountinfo_has("/strict/sub", "nosymfollow"));
    CHECK(!mountinfo_has("/strict", "relatime") && !mountinfo_has("/strict/sub", "relatime"));
    CHECK(has_flags("/fs", ST_RDONLY | ST_NODEV));
    return 0;
}

static void test_run_options_of_trees(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/one", "bind", "outside", "rbind,ro");
    add_mount(b, "/all", "bind", "outside", "rbind,rro,rnosuid,rnodev");
    add_mount(b, "/last", "bind", "outside", "rbind,ro,rrw,rexec,rsuid,rdev,rsymfollow");
    add_mount(b, "/time", "bind", "outside", "rbind,rnoatime,rnodiratime");
    add_mount(b, "/strict", "bind", "outside", "rbind,rstrictatime,rdiratime,rnosymfollow");
    add_mount(b, "/relative", "bind", "outside", "rbind,rrelatime,ratime,rnorelatime");
    add_mount(b, "/fs", "tmpfs", NULL, "rro,rnodev");
    assert_runs_on_host(b, mount_below_outside, tree_inside);
}

static struct oci_id_map uid_map[] = {{0, 5000, 10}, {1000, 0, 1}};
static struct oci_id_map gid_map[] = {{0, 6000, 10}, {1000, 0, 1}};

static void map_ids(struct oci_mount *m)
{
    m->uid_maps = uid_map;
    m->gid_maps = gid_map;
    m->n_uid_maps = ARRAY_SIZE(uid_map);
    m->n_gid_maps = ARRAY_SIZE(gid_map);
}

/* Whether the file system at `source` is one that can (tmpfs: since Linux 6.3; overlayfs:
 * never). */
static bool can_idmap(struct bundle *b, const char *source)
{
    struct rootfs_plan plan;

    add_mount(b, "/m", "bind", source, "bind,idmap");
    map_ids(&b->mounts[0]);
    plan_make(b, &plan);
    int r = rootfs_plan_open(&plan, &b->e);
    rootfs_plan_done(&plan);
    strv_free(b->mounts[0].options);
    b->mounts[0] = (struct oci_mount){0};
    b->spec.n_mounts = 0;
    assert_true(r == 0 || r == -EINVAL);
    return r == 0;
}

static void skip_unless_idmap(struct bundle *b, const char *source)
{
    skip_unless_root();
    if (!can_idmap(b, source))
        skip();
}

/* Each option the table has can be given, to a tmpfs and to a bind. */

static int nothing_inside(const struct bundle *b)
{
    (void)b;
    return 0;
}

static void test_run_every_option(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    bool idmap = can_idmap(b, "outside");
    for (const struct rootfs_option *t = rootfs_option_table; t->name; t++) {
        if (t->kind == ROOTFS_OPTION_BIND || t->kind == ROOTFS_OPTION_REMOUNT ||
            (t->kind == ROOTFS_OPTION_IDMAP && !idmap))
            continue;
        b->spec.n_mounts = 0;
        if (t->kind != ROOTFS_OPTION_IDMAP)
            add_mount(b, "/t", "tmpfs", NULL, t->name);
        if (t->kind != ROOTFS_OPTION_COPYUP) {
            _cleanup_free_ char *both = str_printf("bind,%s", t->name);
            add_mount(b, "/b", "bind", "outside", both);
        }
        if (t->kind == ROOTFS_OPTION_IDMAP)
            map_ids(&b->mounts[0]);
        struct outcome o = run(b, nothing_inside);
        if (o.r != 0)
            fail_msg("%s: cannot %s '%s': %s", t->name, o.step, o.subject, strerror(-o.r));
        for (size_t i = 0; i < b->spec.n_mounts; i++) {
            strv_free(b->mounts[i].options);
            b->mounts[i] = (struct oci_mount){0};
        }
    }
    b->spec.n_mounts = 0;
}

static int super_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mountinfo_has("/t", "sync") && mountinfo_has("/t", "dirsync"));
    CHECK(mountinfo_has("/t", "lazytime"));
    CHECK(!mountinfo_has("/u", "sync") && !mountinfo_has("/u", "lazytime"));
    return 0;
}

static void test_run_options_of_file_systems(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/t", "tmpfs", NULL, "sync,dirsync,lazytime");
    add_mount(b, "/u", "tmpfs", NULL, "sync,async,lazytime,nolazytime");
    assert_runs(b, super_inside);
}

/* Remounts */

static int remount_inside(const struct bundle *b)
{
    struct statvfs sv;
    (void)b;
    CHECK(has_flags("/data", ST_RDONLY | ST_NOSUID) && has_flags("/t", ST_NODEV));
    CHECK(!has_flags("/t", ST_RDONLY));
    CHECK(statvfs("/t", &sv) == 0 && sv.f_blocks * sv.f_frsize == 2 << 20);
    CHECK(mountinfo_has("/data", "shared:"));
    return 0;
}

static void test_run_remount(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/data", "bind", "outside", "bind,nosuid");
    add_mount(b, "/t", "tmpfs", NULL, "size=1m,nodev");
    add_mount(b, "/data", "none", NULL, "remount,bind,ro,shared");
    add_mount(b, "/t", "tmpfs", NULL, "remount,size=2m");
    assert_runs(b, remount_inside);
}

static void test_run_remount_of_nothing(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/etc", "none", NULL, "remount,bind,ro");
    assert_fails(b, -EINVAL, "nothing is mounted there", "/etc");
    make_link(b->root, "up", "/");
    b->mounts[0].destination = (char *)"/up";
    assert_fails(b, -EBUSY, "open mount", "/up");
}

/* Maps of ids */

static bool owned_by(const char *path, uid_t uid, gid_t gid)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_uid == uid && st.st_gid == gid;
}

static void give(struct bundle *b, const char *name, uid_t uid, gid_t gid)
{
    make_file(b->outside, name, name);
    _cleanup_free_ char *p = path_join(b->outside, name);
    assert_int_equal(chown(p, uid, gid), 0);
}

static int idmap_inside(const struct bundle *b)
{
    (void)b;
    CHECK(owned_by("/m/root", 5000, 6000));
    CHECK(owned_by("/m/nine", 5009, 6009));
    CHECK(owned_by("/m/thousand", 0, 0));
    CHECK(owned_by("/m/none", 65534, 65534));
    CHECK(owned_by("/p/thousand", 1000, 1000));
    CHECK(has_flags("/m", ST_NOSUID));
    /* What is made here by root is the file's 1000. */
    int fd = open("/m/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && owned_by("/p/new", 1000, 1000));
    fd_close(fd);
    return 0;
}

static void test_run_idmap_by_maps(void **state)
{
    struct bundle *b = *state;
    size_t files = open_files();

    skip_unless_idmap(b, "outside");
    give(b, "root", 0, 0);
    give(b, "nine", 9, 9);
    give(b, "thousand", 1000, 1000);
    give(b, "none", 77, 77);
    _cleanup_free_ char *outside = mem_strdup(b->outside);
    assert_int_equal(chmod(outside, 0777), 0);
    add_mount(b, "/m", "bind", "outside", "bind,idmap,nosuid");
    map_ids(&b->mounts[0]);
    add_mount(b, "/p", "bind", "outside", "bind");
    assert_runs(b, idmap_inside);
    assert_int_equal(open_files(), files);
    /* Nobody is left. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);

    /* Maps without the option: it is meant. */
    strv_free(b->mounts[0].options);
    b->mounts[0].options = NULL;
    strv_push(&b->mounts[0].options, mem_strdup("bind"));
    strv_push(&b->mounts[0].options, mem_strdup("nosuid"));
    _cleanup_free_ char *made = path_join(b->outside, "new");
    assert_int_equal(unlink(made), 0);
    assert_runs(b, idmap_inside);
}

static void mount_owned_below_outside(struct bundle *b)
{
    mount_below_outside(b);
    _cleanup_free_ char *p = path_join(b->outside, "sub/thousand");
    int fd = open(p, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || fchown(fd, 1000, 1000) < 0)
        _exit(1);
    fd_close(fd);
}

static int idmap_tree_inside(const struct bundle *b)
{
    (void)b;
    CHECK(owned_by("/one/thousand", 0, 0) && owned_by("/one/sub/thousand", 1000, 1000));
    CHECK(owned_by("/all/thousand", 0, 0) && owned_by("/all/sub/thousand", 0, 0));
    return 0;
}

static void test_run_idmap_of_trees(void **state)
{
    struct bundle *b = *state;

    skip_unless_idmap(b, "outside");
    if (!can_idmap(b, "/dev/shm"))
        skip();
    give(b, "thousand", 1000, 1000);
    add_mount(b, "/one", "bind", "outside", "rbind,idmap");
    add_mount(b, "/all", "bind", "outside", "rbind,ridmap");
    map_ids(&b->mounts[0]);
    map_ids(&b->mounts[1]);
    assert_runs_on_host(b, mount_owned_below_outside, idmap_tree_inside);
}

static int idmap_user_inside(const struct bundle *b)
{
    (void)b;
    CHECK(owned_by("/m/root", 0, 0) && owned_by("/m/nine", 9, 9));
    CHECK(owned_by("/p/root", 65534, 65534));
    int fd = open("/m/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && owned_by("/m/new", 0, 0));
    fd_close(fd);
    return 0;
}

/* Without maps of its own a mount has the container's. */
static void test_run_idmap_by_user_namespace(void **state)
{
    struct bundle *b = *state;
    struct oci_id_map map = {0, 100000, 65536};

    skip_unless_idmap(b, "outside");
    first_id = 100000;
    n_ids = 65536;
    assert_int_equal(chown(b->root, first_id, first_id), 0);
    give(b, "root", 0, 0);
    give(b, "nine", 9, 9);
    b->spec.new_namespaces |= CLONE_NEWUSER;
    b->spec.uid_maps = b->spec.gid_maps = &map;
    b->spec.n_uid_maps = b->spec.n_gid_maps = 1;
    add_mount(b, "/m", "bind", "outside", "bind,idmap");
    add_mount(b, "/p", "bind", "outside", "bind");
    assert_runs(b, idmap_user_inside);
    _cleanup_free_ char *made = path_join(b->outside, "new");
    assert_true(owned_by(made, 0, 0));
    b->spec.uid_maps = b->spec.gid_maps = NULL;
}

/* The same by the namespace file of one that is joined. */
static void test_open_idmap_by_joined_namespace(void **state)
{
    struct bundle *b = *state;
    int pidfd = -EBADF, fds[2];
    struct rootfs_plan plan;
    char c;

    skip_unless_idmap(b, "outside");
    first_id = 100000;
    n_ids = 65536;
    give(b, "nine", 9, 9);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = sys_clone3(CLONE_NEWUSER, -EBADF, &pidfd);
    if (pid == 0) {
        fd_close(fds[1]);
        _exit(read(fds[0], &c, 1) == 0 ? 0 : 1);
    }
    write_map(pid, "gid_map");
    write_map(pid, "uid_map");
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/user", (int)pid);
    b->spec.joined_namespaces = CLONE_NEWUSER;
    b->spec.namespace_paths[OCI_NS_USER] = path;
    add_mount(b, "/m", "bind", "outside", "bind,idmap");
    plan_make(b, &plan);
    assert_true(plan.user_namespace);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), 0);
    struct stat st;
    assert_int_equal(fstatat(plan.ops[0].source_fd, "nine", &st, 0), 0);
    assert_int_equal(st.st_uid, 100009);
    rootfs_plan_done(&plan);
    fd_close(fds[0]);
    fd_close(fds[1]);
    fd_close(pidfd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* CRIU would lose the map. */
static void test_externals_refuse_idmap(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    struct rootfs_external *list = NULL;
    size_t n = 0;

    add_mount(b, "/m", "bind", "outside", "bind,idmap");
    map_ids(&b->mounts[0]);
    plan_make(b, &plan);
    assert_int_equal(rootfs_externals(&plan, plan.root_fd, &list, &n, &b->e), -EOPNOTSUPP);
    assert_string_equal(b->e.subject, "/m");
    assert_null(list);
    rootfs_plan_done(&plan);
}

static void test_open_idmap_refuses(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    size_t files = open_files();
    static struct oci_id_map overlap[] = {{0, 1000, 10}, {5, 2000, 10}};

    skip_unless_idmap(b, "outside");
    add_mount(b, "/m", "bind", "/proc", "bind,idmap");
    map_ids(&b->mounts[0]);
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -EINVAL);
    assert_int_equal(b->e.code, ERROR_UNSUPPORTED);
    assert_string_equal(b->e.subject, "/proc");
    assert_non_null(strstr(b->e.why, "mounts[0]: its file system can't"));
    rootfs_plan_done(&plan);

    b->mounts[0].source = (char *)"/etc";
    b->mounts[0].uid_maps = overlap;
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -EINVAL);
    assert_int_equal(b->e.code, ERROR_CONFIG);
    assert_non_null(strstr(b->e.why, "uid_map"));
    rootfs_plan_done(&plan);
    assert_int_equal(open_files(), files);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* tmpcopyup */

static int copyup_inside(const struct bundle *b)
{
    struct stat st;
    char value[16] = "";

    CHECK(on_fs("/data", TMPFS_MAGIC) && owned_by("/data", 7, 8));
    CHECK(stat("/data", &st) == 0 && (st.st_mode & 07777) == 0750);
    CHECK(holds("/data/file", "text\n") && owned_by("/data/file", 3, 4));
    CHECK(stat("/data/file", &st) == 0 && (st.st_mode & 07777) == 04711);
    CHECK(st.st_mtim.tv_sec == 1000000);
    CHECK(getxattr("/data/file", "trusted.test", value, sizeof(value)) == 5);
    CHECK(streq(value, "value"));
    CHECK(stat("/data/sparse", &st) == 0 && st.st_size == (1 << 30) + 5 && st.st_blocks < 64);
    CHECK(link_is("/data/out", b->outside) && link_is("/data/dangling", "nowhere"));
    CHECK(owned_by("/data/dangling", 5, 6));
    CHECK(holds("/data/a/b/c/deep", "deep\n"));
    CHECK(stat("/data/a/b", &st) == 0 && (st.st_mode & 07777) == 01555);
    CHECK(stat("/data/fifo", &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0622);
    CHECK(is_device("/data/null", 1, 3));
    CHECK(on_fs("/ro", TMPFS_MAGIC) && has_flags("/ro", ST_RDONLY) && holds("/ro/file", "ro\n"));
    CHECK(on_fs("/new", TMPFS_MAGIC));
    /* The copy is not the original. */
    CHECK(unlink("/data/file") == 0 && mkdir("/data/x", 0755) == 0);
    return 0;
}

static void make_copy_source(struct bundle *b)
{
    _cleanup_free_ char *data = path_join(b->root, "data");
    static const struct timespec times[] = {{1000000, 0}, {1000000, 0}};

    make_dir(b->root, "data/a/b/c");
    make_dir(b->root, "ro");
    make_file(b->root, "ro/file", "ro\n");
    make_file(b->root, "data/file", "text\n");
    make_file(b->root, "data/a/b/c/deep", "deep\n");
    make_link(b->root, "data/out", b->outside);
    make_link(b->root, "data/dangling", "nowhere");
    int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    assert_int_equal(fchown(dir, 7, 8), 0);
    assert_int_equal(fchmod(dir, 0750), 0);
    int file = openat(dir, "file", O_WRONLY | O_CLOEXEC);
    assert_int_equal(fchown(file, 3, 4), 0);
    assert_int_equal(fchmod(file, 04711), 0);
    assert_int_equal(fsetxattr(file, "trusted.test", "value", 5, 0), 0);
    assert_int_equal(futimens(file, times), 0);
    fd_close(file);
    int sparse = openat(dir, "sparse", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(sparse, "begin", 5, 0), 5);
    assert_int_equal(pwrite(sparse, "tail!", 5, 1 << 30), 5);
    fd_close(sparse);
    assert_int_equal(fchownat(dir, "dangling", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(fchmodat(dir, "fifo", 0622, 0), 0);
    assert_int_equal(mknodat(dir, "null", S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(fchmodat(dir, "a/b", 01555, 0), 0);
    fd_close(dir);
}

static void test_run_copyup(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_copy_source(b);
    add_mount(b, "/data", "tmpfs", NULL, "tmpcopyup");
    add_mount(b, "/ro", "tmpfs", NULL, "tmpcopyup,ro");
    add_mount(b, "/new", "tmpfs", NULL, "tmpcopyup");
    assert_runs(b, copyup_inside);
    assert_true(is_there(b->root, "data/file") && !is_there(b->root, "data/x"));
}

static int copyup_covered_inside(const struct bundle *b)
{
    _cleanup_free_ char *data = NULL;
    (void)b;
    CHECK(holds("/etc/file", "secret\n") && !is_there("/etc", "gone"));
    CHECK(has_flags("/etc", ST_RDONLY));
    CHECK(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 0, 1 << 20, &data, NULL) == 0);
    const char *tmpfs = strstr(data, " / /etc ");
    CHECK(tmpfs && str_after(tmpfs, " / /etc ro,"));
    return 0;
}

/* Read-only at once, for something else is mounted there later; it must be filled before. */
static void test_run_copyup_of_a_covered_one(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    make_file(b->root, "etc/gone", "x");
    make_file(b->outside, "file", "secret\n");
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/etc", "tmpfs", NULL, "tmpcopyup,ro");
    add_mount(b, "/etc", "bind", "outside", "bind,ro");
    assert_runs(b, copyup_covered_inside);
}

static int copyup_options_inside(const struct bundle *b)
{
    struct stat st;
    (void)b;
    CHECK(owned_by("/etc", 12, 13) && holds("/etc/passwd", "root\n"));
    CHECK(stat("/etc", &st) == 0 && (st.st_mode & 07777) == 0700);
    /* A mount is not entered. */
    CHECK(is_there("/etc", "sub") && !is_there("/etc/sub", "secret"));
    CHECK(is_there("/etc", "covered") && holds("/etc/covered", ""));
    return 0;
}

static void test_run_copyup_options_and_mounts(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    add_mount(b, "/etc/sub", "bind", "outside", "bind");
    add_mount(b, "/etc/covered", "bind", "outside/secret", "bind");
    add_mount(b, "/etc", "tmpfs", NULL, "tmpcopyup,uid=12,gid=13,mode=700");
    assert_runs(b, copyup_options_inside);
}

static int copyup_user_inside(const struct bundle *b)
{
    (void)b;
    CHECK(holds("/etc/passwd", "root\n") && owned_by("/etc/passwd", 1, 1));
    CHECK(holds("/etc/foreign", "x") && owned_by("/etc/foreign", 0, 0));
    return 0;
}

static void test_run_copyup_in_user_namespace(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *passwd = path_join(b->root, "etc/passwd");

    skip_unless_root();
    first_id = 100000;
    n_ids = 10; /* 65534, what foreign ids show as, is not in it */
    make_file(b->root, "etc/foreign", "x");
    assert_int_equal(chown(b->root, first_id, first_id), 0);
    assert_int_equal(chown(passwd, first_id + 1, first_id + 1), 0);
    b->spec.new_namespaces |= CLONE_NEWUSER;
    add_mount(b, "/etc", "tmpfs", NULL, "tmpcopyup");
    assert_runs(b, copyup_user_inside);
    n_ids = 65536;
}

static void test_run_copyup_fails_clearly(void **state)
{
    struct bundle *b = *state;
    struct strbuf deep = {0};
    _cleanup_free_ char *text = mem_alloc(100001);

    skip_unless_root();
    memset(text, 'x', 100000);
    make_file(b->root, "etc/large", text);
    add_mount(b, "/etc", "tmpfs", NULL, "tmpcopyup,size=8k");
    assert_fails(b, -ENOSPC, "size=", "/etc");

    strbuf_add(&deep, "deep");
    for (int i = 0; i < 100; i++)
        strbuf_add(&deep, "/d");
    make_dir(b->root, deep.s);
    b->mounts[0].destination = (char *)"/deep";
    assert_fails(b, -ELOOP, "too deep", "/deep");
    strbuf_done(&deep);
}

/* Devices */

static struct oci_device device(mode_t type, const char *path, unsigned maj, unsigned min,
                                mode_t mode, uid_t uid, gid_t gid)
{
    return (struct oci_device){.type = type,
                               .path = (char *)(uintptr_t)path,
                               .major = maj,
                               .minor = min,
                               .has_mode = mode != 0,
                               .mode = mode,
                               .uid = uid,
                               .gid = gid};
}

static bool has_mode(const char *path, mode_t mode)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_mode == mode;
}

static int devices_inside(const struct bundle *b)
{
    struct stat st;
    (void)b;
    CHECK(is_device("/dev/fuse", 10, 229) && has_mode("/dev/fuse", S_IFCHR | 0640));
    CHECK(owned_by("/dev/fuse", 11, 12));
    CHECK(stat("/a/b/disk", &st) == 0 && st.st_mode == (S_IFBLK | 0666));
    CHECK(st.st_rdev == makedev(7, 3));
    CHECK(has_mode("/run/pipe", S_IFIFO | 0622) && owned_by("/run/pipe", 5, 0));
    /* A default one as config.json has it, and made once. */
    CHECK(is_device("/dev/null", 1, 3) && has_mode("/dev/null", S_IFCHR | 0444));
    CHECK(owned_by("/dev/null", 0, 9) && is_device("/dev/zero", 1, 5));
    CHECK(link_is("/dev/ptmx", "pts/ptmx"));
    CHECK(is_device("/dev/full", 1, 7) && has_mode("/dev/full", S_IFCHR | 0600));
    return 0;
}

static void test_run_devices(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {
        device(S_IFCHR, "/dev/fuse", 10, 229, 0640, 11, 12),
        device(S_IFBLK, "/a/../a//b/disk", 7, 3, 0, 0, 0),
        device(S_IFIFO, "/run/pipe", 99, 99, 0622, 5, 0),
        device(S_IFCHR, "/dev//null", 1, 3, 0444, 0, 9),
        device(S_IFCHR, "/dev/ptmx", 5, 2, 0666, 0, 0),
        device(S_IFCHR, "/dev/full", 1, 7, 0600, 0, 0),
    };
    _cleanup_free_ char *full = path_join(b->root, "dev/full");

    skip_unless_root();
    b->spec.devices = d;
    b->spec.n_devices = ARRAY_SIZE(d);
    assert_runs(b, devices_inside);
    /* Again, on what is there now, one of them with another mode. */
    assert_int_equal(chmod(full, 0666), 0);
    assert_runs(b, devices_inside);
}

static void test_run_device_meets_another(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {
        device(S_IFCHR, "/x", 10, 229, 0, 0, 0),
        device(S_IFCHR, "/x", 10, 200, 0, 0, 0),
    };

    skip_unless_root();
    b->spec.devices = d;
    b->spec.n_devices = 2;
    assert_fails(b, -EEXIST, "something else", "/x");
    d[1] = device(S_IFBLK, "/x", 10, 229, 0, 0, 0);
    assert_fails(b, -EEXIST, "something else", "/x");
    d[0] = device(S_IFIFO, "/etc/passwd", 0, 0, 0, 0, 0);
    assert_fails(b, -EEXIST, "something else", "/etc/passwd");
}

static void test_plan_refuses_devices(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {device(S_IFCHR, "/proc/x", 1, 3, 0, 0, 0)};

    b->spec.devices = d;
    b->spec.n_devices = 1;
    assert_refused(b, ERROR_CONFIG, "linux.devices[0]");
    d[0].path = (char *)"/dev/..";
    assert_refused(b, ERROR_CONFIG, "linux.devices[0]");
}

/* /dev of the image leads into /proc: no node there, and nothing over what is there. */
static void test_run_devices_not_in_proc(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {device(S_IFCHR, "/x/tty", 5, 0, 0, 0, 0)};

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    make_link(b->root, "dev", "proc/self");
    assert_fails(b, -EPERM, "directory of device", "/dev/null");
    _cleanup_free_ char *dev = path_join(b->root, "dev");
    assert_int_equal(unlink(dev), 0);
    make_link(b->root, "x", "/proc");
    b->spec.devices = d;
    b->spec.n_devices = 1;
    assert_fails(b, -EPERM, "directory of device", "/x/tty");
}

static int bound_dev_inside(const struct bundle *b)
{
    (void)b;
    CHECK(is_device("/dev/null", 1, 3) && is_device("/elsewhere", 1, 5));
    return 0;
}

/* A /dev of the host's is looked at, never written to. */
static void test_run_devices_beside_a_bound_dev(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {device(S_IFCHR, "/dev/null", 1, 3, 0600, 3, 3),
                             device(S_IFCHR, "/elsewhere", 1, 5, 0, 0, 0)};
    _cleanup_free_ char *null = path_join(b->outside, "null");

    skip_unless_root();
    assert_int_equal(mknod(null, S_IFCHR | 0666, makedev(1, 3)), 0);
    add_mount(b, "/dev", "bind", "outside", "rbind");
    b->spec.devices = d;
    b->spec.n_devices = 2;
    assert_runs(b, bound_dev_inside);
    assert_true(owned_by(null, 0, 0));
    d[0] = device(S_IFCHR, "/dev/fuse", 10, 229, 0, 0, 0);
    assert_fails(b, -ENOENT, "/dev is a bind mount", "/dev/fuse");
    assert_false(is_there(b->outside, "fuse"));
}

static int user_devices_inside(const struct bundle *b)
{
    (void)b;
    CHECK(is_device("/dev/null", 1, 3) && mountinfo_has("/dev/null", " /null /dev/null "));
    CHECK(has_mode("/dev/pipe", S_IFIFO | 0600) && owned_by("/dev/pipe", 4, 4));
    return 0;
}

static void test_run_devices_in_user_namespace(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    struct oci_device d[] = {device(S_IFIFO, "/dev/pipe", 0, 0, 0600, 4, 4),
                             device(S_IFCHR, "/dev/null", 1, 3, 0600, 0, 0)};

    skip_unless_root();
    first_id = 100000;
    n_ids = 65536;
    assert_int_equal(chown(b->root, first_id, first_id), 0);
    b->spec.new_namespaces |= CLONE_NEWUSER | CLONE_NEWPID;
    b->spec.devices = d;
    b->spec.n_devices = 2;
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/dev", "tmpfs", NULL, NULL);
    assert_runs(b, user_devices_inside);

    d[0] = device(S_IFBLK, "/dev/null", 1, 3, 0, 0, 0);
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -ENODEV);
    assert_int_equal(b->e.code, ERROR_CONFIG);
    assert_non_null(strstr(b->e.why, "linux.devices[0]: on the host it is not block device 1:3"));
    rootfs_plan_done(&plan);
    d[0] = device(S_IFCHR, "/dev/nucleus-none", 1, 3, 0, 0, 0);
    plan_make(b, &plan);
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -ENOENT);
    assert_int_equal(b->e.code, ERROR_CONFIG);
    rootfs_plan_done(&plan);
}

/* A cgroup without a namespace */

/* The directory of a cgroup2 hierarchy, or NULL. */
static char *find_cgroup2(void)
{
    _cleanup_free_ char *data = NULL;
    char *save = NULL;
    struct mountinfo m;

    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 0, 1 << 20, &data, NULL), 0);
    for (char *l = strtok_r(data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        if (mountinfo_parse(l, &m) == 0 && streq(m.type, "cgroup2"))
            return mem_strdup(m.point);
    return NULL;
}

static void move_to_cgroup(const char *dir)
{
    _cleanup_free_ char *procs = path_join(dir, "cgroup.procs");
    assert_int_equal(file_write_at(AT_FDCWD, procs, "0"), 0);
}

static int own_cgroup_inside(const struct bundle *b)
{
    (void)b;
    CHECK(on_fs("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC));
    CHECK(has_flags("/sys/fs/cgroup", ST_RDONLY | ST_NOSUID));
    CHECK(is_there("/sys/fs/cgroup", "cgroup.type")); /* not the hierarchy's root */
    CHECK(is_there("/sys/fs/cgroup", "below") && !is_there("/sys/fs/cgroup", "nucleus-unit"));
    CHECK(!mountinfo_has("/sys/fs/cgroup", "shared:"));
    return 0;
}

static void assert_sees_own_cgroup(struct bundle *b, const char *dir)
{
    int status = 0;
    size_t files = open_files();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        move_to_cgroup(dir);
        struct outcome o = run(b, own_cgroup_inside);
        if (o.r || o.line)
            fprintf(stderr, "%d line %d %s %s\n", o.r, o.line, o.step, o.subject);
        _exit(o.r == 0 && o.line == 0 && open_files() == files ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_run_cgroup_without_namespace(void **state)
{
    struct bundle *b = *state;
    _cleanup_free_ char *top = find_cgroup2();

    skip_unless_root();
    if (!top)
        skip();
    _cleanup_free_ char *dir = str_printf("%s/nucleus-unit-%d", top, (int)getpid());
    _cleanup_free_ char *below = path_join(dir, "below");
    make_dir(below, ".");
    b->spec.new_namespaces |= CLONE_NEWPID;
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid");
    assert_sees_own_cgroup(b, dir);
    /* The root of one that is joined is somebody else's. */
    b->spec.joined_namespaces = CLONE_NEWCGROUP;
    assert_sees_own_cgroup(b, dir);
    b->spec.joined_namespaces = 0;
    first_id = 100000;
    n_ids = 65536;
    assert_int_equal(chown(b->root, first_id, first_id), 0);
    b->spec.new_namespaces |= CLONE_NEWUSER;
    assert_sees_own_cgroup(b, dir);
    assert_int_equal(rmdir(below), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_externals_of_a_cgroup(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    struct rootfs_external *list = NULL;
    size_t n = 0;

    add_mount(b, "/sys/fs/cgroup", "cgroup", "cgroup", NULL);
    plan_make(b, &plan);
    assert_int_equal(rootfs_externals(&plan, plan.root_fd, &list, &n, &b->e), -EINVAL);
    assert_int_equal(b->e.code, ERROR_INTERNAL);
    plan.cgroup_path = "/sys/fs/cgroup/nucleus/x";
    assert_int_equal(rootfs_externals(&plan, plan.root_fd, &list, &n, &b->e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].dest, "/sys/fs/cgroup");
    assert_string_equal(list[0].source, plan.cgroup_path);
    rootfs_externals_free(list, n);
    rootfs_plan_done(&plan);
    b->spec.new_namespaces |= CLONE_NEWCGROUP;
    plan_make(b, &plan);
    assert_int_equal(rootfs_externals(&plan, plan.root_fd, &list, &n, &b->e), 0);
    assert_int_equal(n, 0);
    rootfs_plan_done(&plan);
}

/* --no-pivot */

static int mounts_proc_in_user_namespace(void)
{
    int pidfd = -EBADF, status = 0;
    pid_t pid = sys_clone3(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, -EBADF, &pidfd);

    if (pid == 0) {
        int fd = sys_fsmount("proc", NULL, NULL, 0, NULL);
        _exit(fd < 0 ? -fd : 0);
    }
    fd_close(pidfd);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -ECHILD;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

static int no_pivot_inside(const struct bundle *b)
{
    CHECK(!is_there(b->outside, "secret") && holds("/etc/passwd", "root\n"));
    CHECK(has_flags("/proc/sys", ST_RDONLY) && is_device("/etc/shadow", 1, 3));
    CHECK(on_fs("/proc", PROC_SUPER_MAGIC) && on_fs("/sys", SYSFS_MAGIC));
    /* Out of the chroot by way of a directory below: still the container. */
    CHECK(mkdir("/below", 0755) == 0);
    int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(slash >= 0 && chroot("/below") == 0 && fchdir(slash) == 0);
    for (int i = 0; i < 64; i++)
        CHECK(chdir("..") == 0);
    CHECK(chroot(".") == 0);
    CHECK(holds("/etc/passwd", "root\n"));
    /* With a procfs of the host's in the namespace, nobody would be kept from a new one without
     * masks. */
    CHECK(mounts_proc_in_user_namespace() == -EPERM);
    return 0;
}

static struct outcome run_no_pivot(struct bundle *b, inside check)
{
    struct rootfs_plan plan;

    plan_make(b, &plan);
    plan.no_pivot = true;
    if (rootfs_plan_open(&plan, &b->e) < 0) {
        _cleanup_free_ char *text = error_render(&b->e);
        fail_msg("%s", text);
    }
    struct outcome o = run_plan(b, &plan, check);
    rootfs_plan_done(&plan);
    return o;
}

static void set_up_no_pivot(struct bundle *b)
{
    static char *masks[] = {(char *)"/etc/shadow", NULL};
    static char *readonly[] = {(char *)"/proc/sys", NULL};

    make_file(b->root, "etc/shadow", "hash\n");
    b->spec.masked_paths = masks;
    b->spec.readonly_paths = readonly;
    b->spec.new_namespaces |= CLONE_NEWPID | CLONE_NEWNET;
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/sys", "sysfs", NULL, "ro");
}

static void test_run_no_pivot(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    set_up_no_pivot(b);
    assert_ran(run_no_pivot(b, no_pivot_inside));
    assert_true(on_fs("/proc", PROC_SUPER_MAGIC)); /* the host's own is where it was */
}

static int no_pivot_user_inside(const struct bundle *b)
{
    CHECK(!is_there(b->outside, "secret") && holds("/etc/passwd", "root\n"));
    CHECK(on_fs("/proc", PROC_SUPER_MAGIC) && has_flags("/proc/sys", ST_RDONLY));
    return 0;
}

static void test_run_no_pivot_in_user_namespace(void **state)
{
    struct bundle *b = *state;

    skip_unless_root();
    set_up_no_pivot(b);
    first_id = 100000;
    n_ids = 65536;
    assert_int_equal(chown(b->root, first_id, first_id), 0);
    b->spec.new_namespaces |= CLONE_NEWUSER;
    assert_ran(run_no_pivot(b, no_pivot_user_inside));
}

static void test_open_no_pivot_refuses_the_hosts_root(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    b->spec.root_path = (char *)"/";
    plan_make(b, &plan);
    plan.no_pivot = true;
    assert_int_equal(rootfs_plan_open(&plan, &b->e), -EOPNOTSUPP);
    assert_int_equal(b->e.code, ERROR_UNSUPPORTED);
    rootfs_plan_done(&plan);
}

/* Very many */

#define MANY 3000

static int many_inside(const struct bundle *b)
{
    struct rlimit limit;
    (void)b;
    CHECK(holds("/many/0/secret", "secret\n") && holds("/many/2999/secret", "secret\n"));
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 700);
    return 0;
}

static void test_run_many_binds(void **state)
{
    struct bundle *b = *state;
    struct rlimit limit, low = {.rlim_cur = 700};
    static char paths[MANY][32];
    static char *bind[] = {(char *)"bind", NULL};
    size_t files = open_files();

    skip_unless_root();
    struct oci_mount *mounts = mem_new(struct oci_mount, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/many/%d", i);
        mounts[i] = (struct oci_mount){
            .destination = paths[i], .source = (char *)"outside", .options = bind};
    }
    b->spec.mounts = mounts;
    b->spec.n_mounts = MANY;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_runs(b, many_inside);
    struct rlimit after;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_int_equal(after.rlim_cur, 700);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(open_files(), files);
    free(mounts);
    b->spec.n_mounts = 0;
}

static void test_open_too_many_binds(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;
    int status;
    struct rlimit low = {.rlim_cur = 64, .rlim_max = 64};
    static struct oci_mount mounts[100];
    static char *bind[] = {(char *)"bind", NULL};

    skip_unless_root();
    for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
        mounts[i] = (struct oci_mount){
            .destination = (char *)"/x", .source = (char *)"outside", .options = bind};
    b->spec.mounts = mounts;
    b->spec.n_mounts = ARRAY_SIZE(mounts);
    /* The hard limit can't be raised again, so somewhere else. */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        size_t files = open_files();
        if (setrlimit(RLIMIT_NOFILE, &low) < 0 ||
            rootfs_plan_make(&b->spec, b->dir, &plan, &b->e) < 0)
            _exit(1);
        if (rootfs_plan_open(&plan, &b->e) != -EMFILE || !strstr(b->e.remedy, "RLIMIT_NOFILE"))
            _exit(2);
        /* But for the root's. */
        if (open_files() != files + 1)
            _exit(3);
        rootfs_plan_done(&plan);
        _exit(open_files() == files ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    b->spec.n_mounts = 0;
}

/* Propagation of the root */

static int root_unbindable_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mountinfo_has("/", "unbindable") && !mountinfo_has("/proc", "unbindable"));
    return 0;
}

static int root_slave_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mountinfo_has("/", "master:") && !mountinfo_has("/", "shared:"));
    CHECK(mountinfo_has("/data", "shared:"));
    return 0;
}

static int root_shared_inside(const struct bundle *b)
{
    (void)b;
    CHECK(mountinfo_has("/", "shared:") && mountinfo_has("/proc", "shared:"));
    return 0;
}

static int root_private_inside(const struct bundle *b)
{
    (void)b;
    CHECK(!mountinfo_has("/", "master:") && !mountinfo_has("/", "shared:"));
    CHECK(!mountinfo_has("/", "unbindable"));
    return 0;
}

/* The bundle lies on a mount that is shared. */
static void share_root(struct bundle *b)
{
    if (mount(b->root, b->root, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, b->root, NULL, MS_SHARED, NULL) < 0 ||
        mount(b->outside, b->outside, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, b->outside, NULL, MS_SHARED, NULL) < 0)
        _exit(1);
}

static void test_run_propagation_of_root(void **state)
{
    struct bundle *b = *state;
    static const struct {
        uint64_t propagation;
        bool recursive;
        inside check;
    } cases[] = {
        {MS_UNBINDABLE, false, root_unbindable_inside},
        {MS_SLAVE, false, root_slave_inside},
        {MS_SLAVE, true, root_slave_inside},
        {MS_SHARED, true, root_shared_inside},
        {MS_PRIVATE, false, root_private_inside},
        {MS_PRIVATE, true, root_private_inside},
        {0, false, root_private_inside},
    };

    skip_unless_root();
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/data", "bind", "outside", "rbind,rshared");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        b->spec.rootfs_propagation = cases[i].propagation;
        b->spec.rootfs_propagation_recursive = cases[i].recursive;
        assert_runs_on_host(b, share_root, cases[i].check);
    }
}

/* Labels */

static void test_plan_labels(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    b->spec.mount_label = (char *)"system_u:object_r:container_file_t:s0:c1,c2";
    add_mount(b, "/t", "tmpfs", NULL, "size=1k");
    add_mount(b, "/dev/pts", "devpts", NULL, NULL);
    add_mount(b, "/proc", "proc", NULL, NULL);
    add_mount(b, "/sys", "sysfs", NULL, NULL);
    add_mount(b, "/dev/mqueue", "mqueue", NULL, NULL);
    add_mount(b, "/b", "bind", "outside", "bind");
    plan_make(b, &plan);
    _cleanup_free_ char *context = str_printf("context=%s", b->spec.mount_label);
    assert_string_equal(plan.mount_context, context);
    assert_string_equal(plan.ops[0].data[1], context);
    assert_string_equal(plan.ops[1].data[0], context);
    for (size_t i = 2; i < 6; i++)
        assert_null(plan.ops[i].data);
    rootfs_plan_done(&plan);
    assert_null(plan.mount_context);
}

/* Joined namespaces */

static void test_plan_joined_namespaces(void **state)
{
    struct bundle *b = *state;
    struct rootfs_plan plan;

    b->spec.joined_namespaces = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWCGROUP;
    plan_make(b, &plan);
    /* The root of a cgroup namespace that is there already is somebody else's cgroup. */
    assert_true(plan.user_namespace && plan.network_namespace && !plan.cgroup_namespace);
    rootfs_plan_done(&plan);
    b->spec.new_namespaces = 0;
    b->spec.joined_namespaces = CLONE_NEWNS;
    plan_make(b, &plan);
    assert_true(plan.joined_mounts);
    rootfs_plan_done(&plan);
    b->spec.joined_namespaces = 0;
    assert_refused(b, ERROR_UNSUPPORTED, "no mount namespace of its own");
}

/* Rendering */

static void test_plan_render_new_things(void **state)
{
    struct bundle *b = *state;
    struct oci_device d[] = {device(S_IFIFO, "/pipe", 0, 0, 0600, 1, 2),
                             device(S_IFBLK, "/dev/sda", 8, 0, 0660, 0, 6)};
    struct rootfs_plan plan;

    b->spec.devices = d;
    b->spec.n_devices = 2;
    b->spec.rootfs_propagation = MS_SHARED;
    b->spec.rootfs_propagation_recursive = true;
    add_mount(b, "/m", "bind", "outside", "rbind,ro,rro,rnoatime,ridmap");
    map_ids(&b->mounts[0]);
    add_mount(b, "/t", "tmpfs", NULL, "tmpcopyup,rro,ro,rrw");
    add_mount(b, "/m", "none", NULL, "remount,bind,rw");
    add_mount(b, "/dev", "bind", "/dev", "rbind");
    plan_make(b, &plan);
    _cleanup_free_ char *text = rootfs_plan_render(&plan);
    _cleanup_free_ char *want =
        str_printf("root %s rshared\n"
                   "rbind %s /m ro rro rnoatime ridmap uids=0:5000:10,1000:0:1 "
                   "gids=0:6000:10,1000:0:1 rprivate\n"
                   "mount tmpfs /t rw tmpcopyup\n"
                   "remount /m rw\n"
                   "rbind /dev /dev rprivate\n"
                   "fifo /pipe 0600 1:2\n"
                   "block device /dev/sda 8:0 0660 0:6 (must be there)\n",
                   b->root, b->outside);
    assert_string_equal(text, want);
    rootfs_plan_done(&plan);
}

/* mountinfo */

static void test_mountinfo_parse(void **state)
{
    (void)state;
    struct mountinfo m;
    char usual[] =
        "36 35 98:0 /mnt1 /mnt\\0402\\134 rw,noatime master:1 shared:2 - ext3 /dev/root rw";
    char bare[] = "1 0 0:1 / / rw - proc";
    static const char *const bad[] = {
        "",
        "36",
        "36 35 98:0 /mnt1",
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1",
        "36 35 98:0 /mnt1 /mnt2 rw -",
        "36 35 98:0 /mnt1 /mnt2 rw - ",
    };

    assert_int_equal(mountinfo_parse(usual, &m), 0);
    assert_string_equal(m.root, "/mnt1");
    assert_string_equal(m.point, "/mnt 2\\");
    assert_string_equal(m.type, "ext3");
    assert_int_equal(mountinfo_parse(bare, &m), 0);
    assert_string_equal(m.type, "proc");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_free_ char *line = mem_strdup(bad[i]);
        assert_int_equal(mountinfo_parse(line, &m), -EINVAL);
    }
}

static void test_mountinfo_reader(void **state)
{
    (void)state;
    struct mountinfo_reader *r = mem_new0(struct mountinfo_reader);
    struct mountinfo m;
    int fds[2], n = 0;
    struct strbuf b = {0};

    /* Lines that end where a read ends, or not. */
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, "%d 1 0:1 / /point%d rw - tmpfs tmpfs rw\n", i, i);
    assert_true(b.len < 65536 && b.len > sizeof(r->buf));
    assert_int_equal(fd_write_all(fds[1], b.s, b.len), 0);
    fds[1] = fd_close(fds[1]);
    r->fd = fds[0];
    int got;
    while ((got = mountinfo_next(r, &m)) > 0) {
        _cleanup_free_ char *want = str_printf("/point%d", n++);
        assert_string_equal(m.point, want);
    }
    assert_int_equal(got, 0);
    assert_int_equal(n, 1000);
    fd_close(fds[0]);

    /* One that is too long, and a file that is cut off. */
    int fd = memfd_create("lines", MFD_CLOEXEC);
    char *long_line = mem_alloc(40000);
    memset(long_line, 'x', 40000);
    assert_int_equal(fd_write_all(fd, long_line, 40000), 0);
    free(long_line);
    *r = (struct mountinfo_reader){.fd = fd};
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(mountinfo_next(r, &m), -E2BIG);
    *r = (struct mountinfo_reader){.fd = fd};
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(mountinfo_next(r, &m), -EINVAL);
    fd_close(fd);
    free(r);
    strbuf_done(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_run_options_of_trees),
        T(test_run_every_option),
        T(test_run_options_of_file_systems),
        T(test_run_remount),
        T(test_run_remount_of_nothing),
        T(test_run_idmap_by_maps),
        T(test_run_idmap_of_trees),
        T(test_run_idmap_by_user_namespace),
        T(test_open_idmap_by_joined_namespace),
        T(test_externals_refuse_idmap),
        T(test_open_idmap_refuses),
        T(test_run_copyup),
        T(test_run_copyup_of_a_covered_one),
        T(test_run_copyup_options_and_mounts),
        T(test_run_copyup_in_user_namespace),
        T(test_run_copyup_fails_clearly),
        T(test_run_devices),
        T(test_run_device_meets_another),
        T(test_plan_refuses_devices),
        T(test_run_devices_not_in_proc),
        T(test_run_devices_beside_a_bound_dev),
        T(test_run_devices_in_user_namespace),
        T(test_run_cgroup_without_namespace),
        T(test_externals_of_a_cgroup),
        T(test_run_no_pivot),
        T(test_run_no_pivot_in_user_namespace),
        T(test_open_no_pivot_refuses_the_hosts_root),
        T(test_run_many_binds),
        T(test_open_too_many_binds),
        T(test_run_propagation_of_root),
        T(test_plan_labels),
        T(test_plan_joined_namespaces),
        T(test_plan_render_new_things),
        cmocka_unit_test(test_mountinfo_parse),
        cmocka_unit_test(test_mountinfo_reader),
    };

    return cmocka_run_group_tests_name("rootfs mounts", tests, NULL, NULL);
}
