/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The floor under every runtime: a container as `nucleus run` makes it from bench/'s bundle, by
 * nothing but the system calls it takes. No configuration is read, nothing is checked, recorded
 * or protected, no device program is loaded, no capability dropped, and nobody should use it for
 * anything else than to compare with. What a runtime takes beyond this is its own.
 *
 * MASKED_PATHS and READ_ONLY_PATHS are the bundle's (bundle.py: floor_header).
 *
 * usage: floor CGROUP ROOTFS PROGRAM [ARGUMENT...]
 * Exits with the program's status, with 125 when anything fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* <sys/mount.h> and <linux/mount.h> of Debian 12 can't be included together. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
          const void *data);
int umount2(const char *target, int flags);
#define MNT_DETACH 2

#define HARD (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(125);
    }
}

/* Of the paths that every bundle names, a kernel has some. */
static void make_read_only(const char *path)
{
    int r = mount(path, path, NULL, MS_BIND | MS_REC, NULL);

    if (r < 0 && errno == ENOENT)
        return;
    check(r, path);
    check(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), path);
}

/* A file is covered by /dev/null, a directory by an empty file system. */
static void mask(const char *path)
{
    int r = mount("/dev/null", path, NULL, MS_BIND, NULL);

    if (r < 0 && errno == ENOENT)
        return;
    if (r < 0 && errno == ENOTDIR)
        r = mount("tmpfs", path, "tmpfs", MS_RDONLY, NULL);
    check(r, path);
}

static void set_up_mounts(const char *rootfs)
{
    static const struct {
        const char *name;
        unsigned minor;
    } memory_devices[] = {
        {"dev/null", 3}, {"dev/zero", 5}, {"dev/full", 7}, {"dev/random", 8}, {"dev/urandom", 9}};
    static const char *const links[][2] = {{"pts/ptmx", "dev/ptmx"},
                                           {"/proc/self/fd", "dev/fd"},
                                           {"/proc/self/fd/0", "dev/stdin"},
                                           {"/proc/self/fd/1", "dev/stdout"},
                                           {"/proc/self/fd/2", "dev/stderr"}};
    static const char *const masked[] = {MASKED_PATHS};
    static const char *const read_only[] = {READ_ONLY_PATHS};

    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    check(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "bind the root");
    check(chdir(rootfs), "chdir");
    check(mount("proc", "proc", "proc", 0, NULL), "proc");
    check(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
          "dev");
    check(mkdir("dev/pts", 0755), "dev/pts");
    check(mkdir("dev/shm", 0755), "dev/shm");
    check(mkdir("dev/mqueue", 0755), "dev/mqueue");
    check(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                "newinstance,ptmxmode=0666,mode=0620,gid=5"),
          "dev/pts");
    check(mount("shm", "dev/shm", "tmpfs", HARD, "mode=1777,size=65536k"), "dev/shm");
    check(mount("mqueue", "dev/mqueue", "mqueue", HARD, NULL), "dev/mqueue");
    check(mount("sysfs", "sys", "sysfs", HARD | MS_RDONLY, NULL), "sys");
    check(mount("cgroup", "sys/fs/cgroup", "cgroup2", HARD | MS_RDONLY, NULL), "sys/fs/cgroup");
    umask(0);
    for (size_t i = 0; i < sizeof memory_devices / sizeof *memory_devices; i++)
        check(mknod(memory_devices[i].name, S_IFCHR | 0666, makedev(1, memory_devices[i].minor)),
              memory_devices[i].name);
    check(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)), "dev/tty");
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        check(symlink(links[i][0], links[i][1]), links[i][1]);
    umask(022);
    check((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    check(umount2(".", MNT_DETACH), "umount");
    check(chdir("/"), "chdir");
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++)
        make_read_only(read_only[i]);
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        mask(masked[i]);
    check(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), "read-only root");
}

static void be_the_container(char *const *argv)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    setsid();
    check(unshare(CLONE_NEWCGROUP), "cgroup namespace");
    check(sethostname("floor", 5), "sethostname");
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(s, "socket");
    check(ioctl(s, SIOCSIFFLAGS, &lo), "lo");
    close(s);
    set_up_mounts(argv[2]);
    execv(argv[3], argv + 3);
    check(-1, argv[3]);
}

int main(int argc, char *const *argv)
{
    int status;

    if (argc < 4) {
        fprintf(stderr, "usage: floor CGROUP ROOTFS PROGRAM [ARGUMENT...]\n");
        return 125;
    }
    check(mkdir(argv[1], 0755), argv[1]);
    int cgroup = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    check(cgroup, argv[1]);
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET |
                 CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    check((int)pid, "clone3");
    if (pid == 0)
        be_the_container(argv);
    check(waitpid(pid, &status, 0), "waitpid");
    check(rmdir(argv[1]), argv[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
