/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* What becomes of CRIU's log: excerpts of real ones (tests/data/criu-logs, made with CRIU 4.2.1;
 * the directory above is NUCLEUS_TEST_DATA) and the messages that are hard to provoke. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "checkpoint/criu/criu.h"

static const char *data_dir(void)
{
    const char *dir = getenv("NUCLEUS_TEST_DATA");
    return dir ? dir : "tests/data";
}

static void expect(const char *name, const char *log, size_t n, const char *why, const char *remedy)
{
    char *got_why = NULL, *got_remedy = NULL;

    criu_explain_log(log, n, &got_why, &got_remedy);
    assert_non_null(got_why);
    if (!strstr(got_why, why))
        fail_msg("%s: why is \"%s\", not \"%s\"", name, got_why, why);
    if (remedy ? !got_remedy || !strstr(got_remedy, remedy) : got_remedy != NULL)
        fail_msg("%s: remedy is \"%s\", not \"%s\"", name, got_remedy ? got_remedy : "(none)",
                 remedy ? remedy : "(none)");
    assert_null(strstr(got_why, "FAILED"));
    assert_null(strstr(got_why, "RLIMIT"));
    free(got_why);
    free(got_remedy);
}

static void test_real_logs(void **state)
{
    static const struct {
        const char *name, *why, *remedy;
    } logs[] = {
        {"already-traced", "Unable to interrupt task: 6414 (Operation not permitted)", "debugger"},
        {"file-lock", "Some file locks are hold by dumping tasks!", "--file-locks"},
        {"ghost-limit", "Can't dump ghost file /tmp/", "deleted file"},
        {"io-uring", "send_fds failed (-22)", "io_uring"},
        {"iptables-missing", "Locking network failed: iptables-restore", "nf_tables"},
        {"no-space", "No space left on device", "free space"},
        {"no-space-log-too", "No space left on device", "free space"},
        {"no-such-process", "Unable to interrupt task: 32765 (No such process)", "still runs"},
        {"external-mount", "mnt: 107:./data doesn't have a proper root", "declare the mount"},
        {"external-unix-socket", "External socket is used", "--ext-unix-sk"},
        {"restore-container-executable-missing", "Can't open file bin/busybox", "missing"},
        {"restore-corrupt-image", "Magic doesn't match for inventory.img", "damaged"},
        {"restore-corrupt-mm-image", "Failed unpacking object", "damaged"},
        {"restore-external-mount-not-given", "No mapping for 107", "same mounts"},
        {"restore-external-mount-source-missing", "/nowhere: No such file", "on this machine"},
        {"restore-external-netns-missing", "external netns: extNet", "network namespace"},
        {"restore-missing-image", "Unexpected EOF on (empty-image)", "damaged or missing"},
        {"restore-mountpoint-missing", "/data: No such file", "root file system"},
        {"restore-root-not-a-mount", "/proc: No such file", "root file system"},
        {"restore-truncated-image", "Read 28 bytes while 84 expected", "damaged"},
        {"restore-truncated-pages", "pages ends too early", "damaged"},
        {"restore-veth", "Can't restore link: -16", "interface"},
        {"restore-veth-name-taken", "Can't restore link: -17", "interface"},
        {"restore-file-mode-changed", "has bad mode 0100600 (expect 0100644)", "another mode"},
        {"restore-file-size-changed", "has bad size 11 (expect 6)", "another size"},
        {"restore-missing-directory", "on restore: No such file or directory", "missing"},
        {"restore-missing-executable", "/mysleep on restore: No such file", "missing"},
        {"restore-missing-file", "/f1 on restore: No such file or directory", "missing"},
        {"restore-pid-taken", "Can't fork for 6783: File exists", "same pid"},
        {"restore-tcp-established", "Connected TCP socket in image",
         "restore with --tcp-established"},
        {"stdout-outside-mntns", "Can't lookup mount=", "descriptor"},
        {"tcp-established", "Connected TCP socket, consider", "pass --tcp-established"},
        {"terminal", "Found dangling tty", "--shell-job"},
        {"terminal-session-leader", "Found slave peer index 0", "--shell-job"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
        _cleanup_free_ char *path = str_printf("%s/criu-logs/%s.log", data_dir(), logs[i].name);
        char *text;
        size_t n;
        if (file_read_at(AT_FDCWD, path, 0, 4 << 20, &text, &n) < 0)
            fail_msg("cannot read %s", path);
        expect(logs[i].name, text, n, logs[i].why, logs[i].remedy);
        free(text);
    }
}

/* One error line each, as CRIU writes them. */
static void test_known_messages_get_advice(void **state)
{
    static const struct {
        const char *message, *remedy;
    } lines[] = {
        {"unix: External socket is used. Consider using --ext-unix-sk option.", "--ext-unix-sk"},
        {"unix: External socket found in image. Consider using the --ext-unix-sk option",
         "restore with --ext-unix-sk"},
        {"inet: Unsupported proto 262 for socket 1f2e", "GODEBUG=multipathtcp=0"},
        {"inet: For Go programs, consider using \"GODEBUG=multipathtcp=0\" to disable MPTCP",
         "GODEBUG=multipathtcp=0"},
        {"inet: Unsupported proto 132 for socket 1f2e", "CRIU saves TCP"},
        {"inet: In-flight connection (l) for 1f2e", "try again"},
        {"inet: Can't bind inet socket (id 5): Cannot assign requested address", "address"},
        {"inet: Can't bind inet socket (id 5): Address already in use", "port"},
        {"sockets: Can't get 1:16 opt: Operation not supported", "4.2"},
        {"The root process 77 is not a session leader. Consider using --shell-job option",
         "--shell-job"},
        {"tty: Only one slave external peer is allowed (fd 0)", "exec"},
        {"Can't create link remap for /x. Use link-remap option.", "its name was removed"},
        {"File usr/lib/libc.so.6 has bad build-ID", "another build"},
        {"Unknown shit 600 (anon_inode:[io_uring])", "io_uring"},
        {"Can't dump file 5 of that type [600] (unknown anon_inode:[io_uring])", "io_uring"},
        {"Can't dump file 5 of that type [600] (unknown anon_inode:[userfaultfd])", "userfaultfd"},
        {"Can't dump file 5 of that type [600] (unknown anon_inode:bpf-prog)", "BPF"},
        {"Can't dump file 5 of that type [600] (unknown anon_inode:[perf_event])", "perf"},
        {"Can't dump file 5 of that type [20666] (chr /dev/fuse)", "that descriptor"},
        {"fsnotify: Can't find suitable path for handle (dev 0x1 ino 0x2): -2", "inotify"},
        {"fsnotify: \tCan't dump that handle", "inotify"},
        {"net: Locking network failed using nftables", "nf_tables"},
        {"Current sid 5 intersects with pid (5) in images", "pid namespace"},
        {"Unable to freeze cgroup /sys/fs/cgroup/x (10 x 100ms attempts, timeout: 10s)", "frozen"},
        {"Unseizable non-zombie 77 found, state D, err -1/22", "hung"},
        {"Tracking memory is not available. Consider omitting --track-mem option.", "CONFIG_MEM_SOFT_DIRTY"},
        {"Can't reset 77's dirty memory tracker: Operation not permitted", "CONFIG_MEM_SOFT_DIRTY"},
        {"Dumping seccomp filters not supported: Invalid argument", "CONFIG_CHECKPOINT_RESTORE"},
        {"couldn't suspend seccomp: Operation not permitted", "CAP_SYS_ADMIN"},
        {"vdso: Unexpected rt vDSO area bounds", "install-criu"},
        {"vdso: ELF header magic mismatch", "newer"},
        {"Can't handle rseq (pid: 77)", "restartable"},
        {"cpu: CPU instruction capabilities do not match run time", "processor"},
        {"Unable to drop capability 24: -1", "CAP_SETPCAP"},
        {"Can't mmap: Cannot allocate memory", "memory limit"},
        {"77 killed by signal 9: Killed", "memory limit"},
        {"Can't open /proc/77/mem: Permission denied", "SELinux or AppArmor"},
        {"Can't do it: Operation not permitted", "as root"},
        {"Missing required plugin: cuda_plugin.so", "plugin"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        _cleanup_free_ char *log = str_printf(
            "(00.024763) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for "
            "self: Operation not permitted\n"
            "(00.041356) Detected cgroup V1 freezer\n"
            "(00.048031)     77: Error (criu/some-file.c:123): %s\n"
            "(00.048056) \tUnseizing 6390 into 1\n"
            "(00.048077) Error (criu/cr-dump.c:1975): Dumping FAILED.\n",
            lines[i].message);
        const char *why = lines[i].message;
        /* As it stands, but for the tab. */
        expect(why, log, strlen(log), strchr(why, '\t') ? "Can't dump" : why, lines[i].remedy);
    }
    static const char plain[] =
        "(00.1) Task attached to shell terminal. Consider using --shell-job "
        "option. More details on http://criu.org/Simple_loop\n"
        "(00.2) Error (criu/tty.c:1): tty: dumping failed\n";
    expect("a line that is no error", plain, strlen(plain), "Task attached to shell terminal",
           "--shell-job");
}

static void test_unknown_errors_are_quoted(void **state)
{
    static const char chain[] = "(00.01) Error (criu/a.c:1): first\n"
                                "(00.02) Error (criu/a.c:2): second\n"
                                "(00.03) Error (criu/a.c:2): second\n"
                                "(00.04) Error (criu/a.c:3): third\n"
                                "(00.05) Error (criu/a.c:4): fourth\n"
                                "(00.06) Error (criu/files.c:1221): Unable to open fd=3 id=0xd\n"
                                "(00.07) Error (criu/cr-restore.c:2331): Restoring FAILED.\n"
                                "(00.08) Error (criu/a.c:5): cleaning up\n";
    static const char two_runs[] = "(00.01) Error (criu/a.c:1): before\n"
                                   "(00.02) Error (criu/cr-dump.c:1): Dumping FAILED.\n"
                                   "(00.01) Error (criu/a.c:2): now\n"
                                   "(00.02) Error (criu/cr-dump.c:1): Dumping FAILED.\n";
    static const char only_weak[] =
        "(00.01) Error (criu/cr-dump.c:1545): Dump files (pid: 7) failed "
        "with -1\n(00.02) Error (criu/cr-dump.c:1): Dumping FAILED.\n";
    char *why, *remedy;

    (void)state;
    criu_explain_log(chain, strlen(chain), &why, &remedy);
    assert_string_equal(why, "second; third; fourth");
    assert_null(remedy);
    free(why);
    criu_explain_log(two_runs, strlen(two_runs), &why, &remedy);
    assert_string_equal(why, "now");
    free(why);
    expect("only what followed", only_weak, strlen(only_weak), "Dump files (pid: 7)", NULL);
}

static void test_a_log_without_errors_is_said_to_be_so(void **state)
{
    static const char *const logs[] = {
        "",
        "\n\n",
        "(00.1) all is well\n",
        "Error\nError (\nError (x\nError (x): \n",
        "(00.1) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self\n",
        "(00.1) Error (criu/cgroup.c:1): cg: cgroupd: recv req error: Success\n",
        "(00.1) Error (criu/cr-dump.c:1975): Dumping FAILED.\n",
        "(00.1) a file with a name that is made to deceive: xxxxxxxxxxxxxx Error (a.c:1): see?",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(logs); i++)
        expect("nothing", logs[i], strlen(logs[i]), "names no error", NULL);
    char *why, *remedy;
    criu_explain_log(NULL, 0, &why, &remedy);
    assert_string_equal(why, "CRIU's log names no error");
    free(why);
}

static void test_control_characters_never_pass(void **state)
{
    static const char log[] = "Error (a.c:1): \x1b[31mred\x07 \xc2\x9b"
                              "31m \xff\xfe tab\there caf\xc3\xa9 \xe2\x82 \0zero\x7f\r\n";
    char *why, *remedy;

    (void)state;
    criu_explain_log(log, sizeof(log) - 1, &why, &remedy);
    assert_string_equal(why, "\\x1b[31mred\\x07 \\xc2\\x9b31m \\xff\\xfe tab here caf\xc3\xa9 "
                             "\\xe2\\x82 \\x00zero\\x7f");
    free(why);
}

static void test_long_lines_are_cut(void **state)
{
    struct strbuf b = {0};
    char *why, *remedy;

    (void)state;
    strbuf_add(&b, "Error (a.c:1): ");
    for (int i = 0; i < 100000; i++)
        strbuf_add(&b, "\xc3\xa9");
    criu_explain_log(b.s, b.len, &why, &remedy);
    assert_true(strlen(why) < 300);
    assert_true(str_is_utf8(why, strlen(why)));
    assert_non_null(strstr(why, "…"));
    free(why);
    strbuf_done(&b);
}

static void test_only_the_end_of_a_huge_log_is_read(void **state)
{
    size_t n = (size_t)9 << 20;
    char *log = mem_alloc(n), *why, *remedy;
    static const char last[] = "\nError (a.c:2): late\n";

    (void)state;
    memset(log, 'x', n);
    memcpy(log, "Error (a.c:1): early\n", 21);
    memcpy(log + n - strlen(last), last, strlen(last));
    criu_explain_log(log, n, &why, &remedy);
    assert_string_equal(why, "late");
    free(why);
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_logs),
        cmocka_unit_test(test_known_messages_get_advice),
        cmocka_unit_test(test_unknown_errors_are_quoted),
        cmocka_unit_test(test_a_log_without_errors_is_said_to_be_so),
        cmocka_unit_test(test_control_characters_never_pass),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_only_the_end_of_a_huge_log_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
