/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "sys/fs.h"
#include "sys/process.h"

/* The oldest kernel nucleus is tested on: Debian 12's. */
#define OLDEST_MAJOR 6
#define OLDEST_MINOR 1

#define LINE_MAX_BYTES 4096
#define MODULES_MAX ((size_t)16 << 20)
#define TRIAL_MS 5000

char *doctor_read_line(const char *path)
{
    char *text = NULL;

    if (file_read_at(AT_FDCWD, path, 0, LINE_MAX_BYTES, &text, NULL) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* ---- trials on children ---- */

/* Takes a child from clone3 that ends by itself; 0, or negative errno. */
static int collect(int pidfd)
{
    siginfo_t info;

    int r = sys_pidfd_wait(pidfd, TRIAL_MS);
    if (r < 0)
        (void)sys_pidfd_send_signal(pidfd, SIGKILL);
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    (void)fd_close(pidfd);
    return r;
}

/* A child that does nothing. */
static int try_child(uint64_t flags, int cgroup_fd)
{
    int pidfd = -EBADF;
    pid_t pid = sys_clone3(flags, cgroup_fd, &pidfd);

    if (pid == 0)
        _exit(0);
    return pid < 0 ? pid : collect(pidfd);
}

/* In a mount namespace of its own, so that what is mounted is gone with it. Nothing allocates. */
static _noreturn_ void mount_child(struct mount_trial *t)
{
    t->ran = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
    if (t->ran < 0)
        _exit(1);
    int fresh = sys_fsmount("tmpfs", "tmpfs", NULL, 0, NULL);
    t->fsopen = MIN(fresh, 0);
    int copy = sys_open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE);
    t->open_tree = MIN(copy, 0);
    int any = fresh >= 0 ? fresh : copy;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (any >= 0 && root >= 0) {
        t->mount_setattr = sys_mount_setattr(any, 0, MOUNT_ATTR_RDONLY, 0, 0);
        t->move_mount = sys_move_mount(any, root);
    }
    _exit(0);
}

void doctor_try_namespaces(struct doctor *d)
{
    struct mount_trial none = {.ran = -EPERM, 1, 1, 1, 1}, *shared;

    d->mounts = none;
    d->userns = try_child(CLONE_NEWUSER, -EBADF);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return;
    *shared = none;
    int pidfd = -EBADF;
    pid_t pid = sys_clone3(CLONE_NEWNS, -EBADF, &pidfd);
    if (pid == -EPERM)
        pid = sys_clone3(CLONE_NEWUSER | CLONE_NEWNS, -EBADF, &pidfd);
    if (pid == 0)
        mount_child(shared);
    if (pid < 0)
        shared->ran = pid;
    else
        (void)collect(pidfd);
    d->mounts = *shared;
    (void)munmap(shared, sizeof(*shared));
}

/* ---- kernel ---- */

static void look_release(struct doctor *d, const struct check *c, struct finding *f)
{
    (void)c;
    finding_fact(f, "release", d->release);
    finding_fact_bool(f, "tested", doctor_kernel_is(d, OLDEST_MAJOR, OLDEST_MINOR));
    if (doctor_kernel_is(d, OLDEST_MAJOR, OLDEST_MINOR)) {
        finding_set(f, FINDING_OK, "%s", d->release);
        return;
    }
    finding_set(f, FINDING_LIMITED, "%s: older than any that nucleus is tested on", d->release);
    finding_remedy(f, "boot Linux %d.%d or newer", OLDEST_MAJOR, OLDEST_MINOR);
}

static void look_seccomp(struct doctor *d, const struct check *c, struct finding *f)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    _cleanup_free_ char *actions = doctor_read_line("/proc/sys/kernel/seccomp/actions_avail");

    (void)d;
    (void)c;
    bool filters = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    finding_fact_bool(f, "filters", filters);
    finding_fact(f, "actions", actions);
    if (filters) {
        finding_set(f, FINDING_OK, "filters, actions: %s", actions ? actions : "not listed");
        return;
    }
    finding_set(f, FINDING_MISSING, "no filters: %s", strerror(errno));
    finding_remedy(f, "boot a kernel with CONFIG_SECCOMP_FILTER=y");
}

static void look_landlock(struct doctor *d, const struct check *c, struct finding *f)
{
    (void)d;
    (void)c;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    finding_fact_int(f, "abi", abi < 0 ? 0 : abi);
    if (abi > 0) {
        finding_set(f, FINDING_OK, "ABI %ld", abi);
        return;
    }
    finding_set(f, FINDING_MISSING, "%s",
                errno == EOPNOTSUPP ? "in the kernel, but switched off" : "not in the kernel");
    finding_remedy(f, "boot with landlock among lsm=");
}

static void look_lsm(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_free_ char *list = doctor_read_line("/sys/kernel/security/lsm");

    (void)d;
    (void)c;
    finding_fact(f, "active", list);
    if (list) {
        finding_set(f, FINDING_OK, "%s", list);
        return;
    }
    finding_set(f, FINDING_LIMITED, "not known: /sys/kernel/security/lsm can't be read");
    finding_remedy(f, "mount -t securityfs securityfs /sys/kernel/security");
}

/* ---- file systems and modules ---- */

/* Whether one of the module lists of the running kernel has `file` ("overlay.ko"). Loads nothing.
 */
static bool module_list_has(const struct doctor *d, const char *list, const char *file)
{
    _cleanup_free_ char *path = str_printf("/lib/modules/%s/%s", d->release, list);
    _cleanup_free_ char *name = str_printf("/%s", file), *text = NULL;

    return file_read_at(AT_FDCWD, path, 0, MODULES_MAX, &text, NULL) == 0 && strstr(text, name);
}

static bool module_is_there(const struct doctor *d, const char *file)
{
    return module_list_has(d, "modules.builtin", file) || module_list_has(d, "modules.dep", file);
}

static void look_filesystem(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_free_ char *text = NULL, *name = str_printf("\t%s\n", c->arg);
    _cleanup_free_ char *module = str_printf("%s.ko", c->arg);

    int r = file_read_at(AT_FDCWD, "/proc/filesystems", 0, 65536, &text, NULL);
    bool listed = r == 0 && strstr(text, name);
    bool loadable = !listed && module_is_there(d, module);
    finding_fact_bool(f, "listed", listed);
    finding_fact_bool(f, "module", loadable);
    if (listed || loadable) {
        finding_set(f, FINDING_OK, "%s", listed ? "in the kernel" : "a module, not loaded yet");
    } else if (r < 0) {
        finding_set(f, FINDING_LIMITED, "not known: /proc/filesystems: %s", strerror(-r));
    } else {
        finding_set(f, FINDING_MISSING, "not in /proc/filesystems");
        finding_remedy(f, "load the module: modprobe %s", c->arg);
    }
}

/* Asks nf_tables for its generation: NFT_MSG_GETGEN, answered by NFT_MSG_NEWGEN where it is there.
 * 0 or negative errno. */
static int ask_nf_tables(void)
{
    struct {
        struct nlmsghdr nl;
        struct nfgenmsg nf;
    } ask = {
        .nl = {.nlmsg_len = sizeof(ask),
               .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
               .nlmsg_flags = NLM_F_REQUEST},
        .nf = {.version = NFNETLINK_V0},
    };
    struct {
        struct nlmsghdr nl;
        struct nlmsgerr err;
        char more[1024];
    } answer;
    struct timeval patience = {.tv_sec = 2};

    _cleanup_close_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (sk < 0 || setsockopt(sk, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        send(sk, &ask, sizeof(ask), 0) < 0)
        return -errno;
    ssize_t n = recv(sk, &answer, sizeof(answer), 0);
    if (n < 0)
        return -errno;
    if ((size_t)n < sizeof(answer.nl))
        return -EBADMSG;
    if (answer.nl.nlmsg_type != NLMSG_ERROR)
        return 0;
    return (size_t)n < sizeof(answer.nl) + sizeof(answer.err) ? -EBADMSG : answer.err.error;
}

static void look_nf_tables(struct doctor *d, const struct check *c, struct finding *f)
{
    int r = 0;

    (void)c;
    /* The kernel is asked only where it has no module to load for the answer. */
    bool known = access("/sys/module/nf_tables", F_OK) == 0 || module_is_there(d, "nf_tables.ko");
    if (!known)
        r = ask_nf_tables();
    bool there = known || r == 0;
    finding_fact_bool(f, "there", there);
    if (there) {
        finding_set(f, FINDING_OK, "in the kernel, or a module of it");
    } else if (r == -EPERM) {
        finding_set(f, FINDING_LIMITED, "not known: only root may ask");
    } else {
        finding_set(f, FINDING_MISSING, "not in the kernel (%s)", strerror(-r));
        finding_remedy(f, "boot a kernel with CONFIG_NF_TABLES");
    }
}

/* A mapping is born dirty: bit 55 of its pagemap entry says so where the kernel keeps track
 * (Documentation/admin-guide/mm/soft-dirty.rst). 1, 0, or negative errno. */
static int soft_dirty(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t entry = 0;
    int r = 0;

    _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    *(volatile char *)p = 1;
    ssize_t n = pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / page * sizeof(entry)));
    if (n != (ssize_t)sizeof(entry))
        r = n < 0 ? -errno : -EIO;
    (void)munmap(p, page);
    return r < 0 ? r : (int)(entry >> 55 & 1);
}

static void look_soft_dirty(struct doctor *d, const struct check *c, struct finding *f)
{
    (void)d;
    (void)c;
    int r = soft_dirty();
    finding_fact_bool(f, "there", r > 0);
    if (r > 0) {
        finding_set(f, FINDING_OK, "the kernel keeps track of changed pages");
    } else if (r < 0) {
        finding_set(f, FINDING_LIMITED, "not known: /proc/self/pagemap: %s", strerror(-r));
    } else {
        finding_set(f, FINDING_MISSING, "the kernel does not keep track of changed pages");
        finding_remedy(f, "boot a kernel with CONFIG_MEM_SOFT_DIRTY=y");
    }
}

const struct check doctor_kernel_checks[] = {
    {"kernel_release", "release", "what nucleus is tested on", NEED_EXTRA, look_release, NULL},
    {"seccomp", "seccomp", "containers with a seccomp profile", NEED_EXTRA, look_seccomp, NULL},
    {"landlock", "Landlock", "programs that confine themselves", NEED_EXTRA, look_landlock, NULL},
    {"lsm", "security modules", "containers with a label or profile of one", NEED_EXTRA, look_lsm,
     NULL},
    {"overlayfs", "overlayfs", "root file systems made of layers, as engines have them", NEED_EXTRA,
     look_filesystem, "overlay"},
    {"nf_tables", "nf_tables", "checkpoints with --tcp-established", NEED_EXTRA, look_nf_tables,
     NULL},
    {"soft_dirty", "soft-dirty tracking", "pre-dumps", NEED_EXTRA, look_soft_dirty, NULL},
    {0},
};

/* ---- system calls ---- */

static int try_openat2(const struct doctor *d)
{
    (void)d;
    _cleanup_close_ int fd = sys_openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0);
    return MIN(fd, 0);
}

/* A child born in the cgroup its parent is in already. */
static int try_clone3(const struct doctor *d)
{
    _cleanup_free_ char *own = doctor_own_cgroup(d);
    _cleanup_close_ int fd = own ? open(own, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;

    int r = try_child(0, fd);
    /* The kernel knows what is asked, and that cgroup is not the caller's to fill. */
    return r == -EACCES || r == -ENOENT || r == -EBUSY || r == -EOPNOTSUPP ? 1 : r;
}

static int try_pidfd_open(const struct doctor *d)
{
    (void)d;
    _cleanup_close_ int fd = sys_pidfd_open(getpid());
    return MIN(fd, 0);
}

/* Marks nothing: there is no such descriptor. */
static int try_close_range(const struct doctor *d)
{
    (void)d;
    return sys_cloexec_from(~0U);
}

/* Without a namespace to try it in: arguments that are refused tell a kernel that has the call from
 * one that answers ENOSYS. */
static int trial_or_number(const struct doctor *d, int tried, long number)
{
    if (d->mounts.ran == 0 && tried <= 0)
        return tried;
    return syscall(number, -1, NULL, ~0UL, NULL, 0) < 0 && errno == ENOSYS ? -ENOSYS : 1;
}

static int try_fsopen(const struct doctor *d)
{
    return trial_or_number(d, d->mounts.fsopen, SYS_fsopen);
}

static int try_open_tree(const struct doctor *d)
{
    return trial_or_number(d, d->mounts.open_tree, SYS_open_tree);
}

static int try_mount_setattr(const struct doctor *d)
{
    return trial_or_number(d, d->mounts.mount_setattr, SYS_mount_setattr);
}

static int try_move_mount(const struct doctor *d)
{
    return trial_or_number(d, d->mounts.move_mount, SYS_move_mount);
}

static const struct {
    const char *name;
    int (*try)(const struct doctor *d); /* 0; 1: there, but not tried; negative errno */
    const char *since;
} calls[] = {
    {"openat2", try_openat2, "5.6"},
    {"clone3", try_clone3, "5.7"},
    {"pidfd_open", try_pidfd_open, "5.3"},
    {"fsopen", try_fsopen, "5.2"},
    {"open_tree", try_open_tree, "5.2"},
    {"move_mount", try_move_mount, "5.2"},
    {"mount_setattr", try_mount_setattr, "5.12"},
    {"close_range", try_close_range, "5.11"},
};

static void look_call(struct doctor *d, const struct check *c, struct finding *f)
{
    size_t i = 0;

    while (!streq(calls[i].name, c->arg))
        i++;
    int r = calls[i].try(d);
    finding_fact_bool(f, "tried", r == 0);
    if (r == 0) {
        finding_set(f, FINDING_OK, "works");
    } else if (r == 1) {
        finding_set(f, FINDING_OK, "there; the caller may not use it by itself");
    } else if (r == -EPERM || r == -EACCES) {
        finding_set(f, FINDING_BROKEN, "refused to the caller: %s", strerror(-r));
        finding_remedy(f, "run as root, or loosen the seccomp profile that nucleus runs under");
    } else {
        finding_set(f, FINDING_MISSING, "%s", strerror(-r));
        finding_remedy(f,
                       "boot Linux %s or newer, or let it through the seccomp profile that "
                       "nucleus runs under",
                       calls[i].since);
    }
}

const struct check doctor_syscall_checks[] = {
    {"syscall_openat2", "openat2", "paths that stay inside a root file system", NEED_CONTAINERS,
     look_call, "openat2"},
    {"syscall_clone3", "clone3 into a cgroup", "processes born in their cgroup", NEED_CONTAINERS,
     look_call, "clone3"},
    {"syscall_pidfd_open", "pidfd_open", "signals that reach the right process", NEED_CONTAINERS,
     look_call, "pidfd_open"},
    {"syscall_fsopen", "fsopen", "a container's own file systems", NEED_CONTAINERS, look_call,
     "fsopen"},
    {"syscall_open_tree", "open_tree", "bind mounts", NEED_CONTAINERS, look_call, "open_tree"},
    {"syscall_move_mount", "move_mount", "a container's mounts", NEED_CONTAINERS, look_call,
     "move_mount"},
    {"syscall_mount_setattr", "mount_setattr", "read-only mounts", NEED_CONTAINERS, look_call,
     "mount_setattr"},
    {"syscall_close_range", "close_range", "descriptors kept from containers", NEED_CONTAINERS,
     look_call, "close_range"},
    {0},
};

/* ---- namespaces ---- */

static bool namespace_exists(const char *name)
{
    _cleanup_free_ char *path = path_join("/proc/self/ns", name);

    return access(path, F_OK) == 0;
}

static void look_namespace(struct doctor *d, const struct check *c, struct finding *f)
{
    bool there = namespace_exists(c->arg);

    (void)d;
    finding_fact_bool(f, "there", there);
    finding_set(f, there ? FINDING_OK : FINDING_MISSING, "%s",
                there ? "there" : "not in /proc/self/ns");
    if (!there)
        finding_remedy(f, "boot a kernel that has it, and have /proc mounted");
}

/* What each switch says; more than one can be off. */
static void look_userns(struct doctor *d, const struct check *c, struct finding *f)
{
    _cleanup_free_ char *most = doctor_read_line("/proc/sys/user/max_user_namespaces");
    _cleanup_free_ char *clone = doctor_read_line("/proc/sys/kernel/unprivileged_userns_clone");
    _cleanup_free_ char *apparmor =
        doctor_read_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    bool there = namespace_exists(c->arg);
    bool no_clone = clone && streq(clone, "0"), confined = apparmor && streq(apparmor, "1");

    finding_fact_bool(f, "there", there);
    finding_fact_bool(f, "allowed", d->userns == 0);
    finding_fact(f, "max_user_namespaces", most);
    finding_fact(f, "unprivileged_userns_clone", clone);
    finding_fact(f, "apparmor_restrict_unprivileged_userns", apparmor);
    if (there && d->userns == 0) {
        finding_set(f, FINDING_OK, "there, and the caller may make one");
        if (no_clone || confined)
            finding_note(f, "others than root may not, or only with an AppArmor profile");
        return;
    }
    finding_set(f, there ? FINDING_BROKEN : FINDING_MISSING, "%s%s",
                there ? "there, but the caller may not make one: " : "not in the kernel",
                there ? strerror(-d->userns) : "");
    if (!there)
        finding_remedy(f, "boot a kernel with CONFIG_USER_NS=y");
    else if (most && streq(most, "0"))
        finding_remedy(f, "sysctl user.max_user_namespaces=10000");
    else if (no_clone)
        finding_remedy(f, "sysctl kernel.unprivileged_userns_clone=1");
    else if (confined)
        finding_remedy(f, "give nucleus an AppArmor profile that allows userns");
}

const struct check doctor_namespace_checks[] = {
    {"namespace_cgroup", "cgroup", "containers", NEED_CONTAINERS, look_namespace, "cgroup"},
    {"namespace_ipc", "ipc", "containers", NEED_CONTAINERS, look_namespace, "ipc"},
    {"namespace_mnt", "mnt", "containers", NEED_CONTAINERS, look_namespace, "mnt"},
    {"namespace_net", "net", "containers", NEED_CONTAINERS, look_namespace, "net"},
    {"namespace_pid", "pid", "containers", NEED_CONTAINERS, look_namespace, "pid"},
    {"namespace_uts", "uts", "containers", NEED_CONTAINERS, look_namespace, "uts"},
    {"namespace_time", "time", "containers with clocks of their own", NEED_EXTRA, look_namespace,
     "time"},
    {"namespace_user", "user", "containers whose root is not the host's, and those of users",
     NEED_EXTRA, look_userns, "user"},
    {0},
};
