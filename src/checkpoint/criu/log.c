/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "checkpoint/criu/internal.h"

/* CRIU's log at level 4 has thousands of lines. A failure leaves a chain of error lines in it,
 *
 *     (00.052959)   6631: Error (criu/files-reg.c:2353): Can't open file tmp/f1 on restore: …
 *     (00.052962)   6631: Error (criu/files.c:1221): Unable to open fd=3 id=0xd
 *     (00.052997) Error (criu/cr-restore.c:2331): Restoring FAILED.
 *
 * the cause first and then what came of it; far before there may be errors that never mattered. All
 * of the text is for people only: parts of it (file names) are the container's to choose. */

#define LINE_SHOWN 240 /* bytes of a line that reach the error */
#define LINES_SHOWN 3

/* Errors that CRIU lives with, and the lines that end a failed run. */
static const char *const noise[] = {
    "Can't setup RLIMIT_NOFILE", "cgroupd: recv req error",   "Address already assigned",
    "No parent image found",     "can't read the kdat cache", "Dumping FAILED",
    "Pre-dumping FAILED",        "Restoring FAILED",
};

/* What follows from an error reported before: told only where nothing better is there. */
static const char *const consequences[] = {
    "Dump files (pid",
    "Unable to open fd=",
    "Can't open vma",
    "Unable to detach from",
    "Can't retrieve FD",
    "Message reply from daemon is trimmed",
    "Error flushing image",
    "exited, status=",
    "killed by signal",
    "Can't open cwd",
    "Killing processes because of failure",
    "Can't wait or bad status",
    "Could not initialize kernel features detection",
    "failed when initializing kerndat",
    "reported by netlink",
    "Unknown peer net namespace",
    "Can't fixup VMA's fd",
    "Can't unshare net-namespace",
    "For Go programs",
    /* CRIU looks for these on every restore, and can do without. */
    "execvp(\"ip",
    "restore -V failed",
    "A few mount points can't be mounted",
};

static const char *const ends[] = {"Dumping FAILED", "Restoring FAILED"};

struct advice {
    const char *pattern;
    const char *also; /* must be there too, or NULL */
    bool any_line;    /* a warning or a plain message says it, no error line does */
    const char *remedy;
    const char *instead; /* shown in place of a line that would tell nobody anything */
};

#define RESTORE_FILES "put the container's files back as they were at the checkpoint"
#define NEWER_CRIU "use a newer criu: run scripts/install-criu"
#define ROOM_FOR_IMAGES "free space, or choose other directories by --image-path and --work-path"
#define BAD_IMAGES "restore another checkpoint: an image of this one is damaged or missing"
#define HOST_FIREWALL "load the kernel's nf_tables module"

/* Sure signs: the last error that shows one is the cause, for what CRIU merely tried comes early.
 * Sources: CRIU's messages up to 4.2, and the reports in its issue tracker. */
static const struct advice advices[] = {
    /* connections and sockets */
    {"Connected TCP socket in image", NULL, false, "restore with --tcp-established"},
    {"Connected TCP socket", NULL, false,
     "pass --tcp-established, or let the container close its connections first"},
    {"In-flight connection", NULL, false,
     "try again: a connection was just being made to a listening socket"},
    {"Need to set the --tcp-close", NULL, false,
     "restore with the options the checkpoint was made with: it closed its TCP connections"},
    {"TCP_REPAIR can't be enabled for half-closed", NULL, false,
     "try again when the half-closed connection has ended"},
    {"inet socket", "Cannot assign requested address", false,
     "give the network the address the container had, then restore"},
    {"inet socket", "Address already in use", false,
     "stop what listens on the container's port, then restore"},
    {"External socket found in image", NULL, false, "restore with --ext-unix-sk"},
    {"External socket is used", NULL, false,
     "pass --ext-unix-sk, or close the unix socket that leads out of the container"},
    {"Unix socket", "without peer", false,
     "close the unix socket that leads out of the container's network namespace"},
    {"Control messages in queue", NULL, false,
     "try again when the unix socket's queue is empty: CRIU can't save descriptors or credentials "
     "(SO_PASSCRED) under way in it"},
    {"multipathtcp", NULL, false,
     "start Go programs with GODEBUG=multipathtcp=0: CRIU can't save MPTCP sockets"},
    {"Unsupported proto 262", NULL, false,
     "start Go programs with GODEBUG=multipathtcp=0: CRIU can't save MPTCP sockets"},
    {"Unsupported proto", NULL, false,
     "close the socket: CRIU saves TCP, UDP, UDP-Lite, ICMP, raw, unix, packet and netlink only"},
    {"Can't get 1:16 opt", NULL, false,
     "use criu 4.2 or newer, as Linux 6.16 and later need: run scripts/install-criu"},
    {"Can't set 1:16 opt", NULL, false,
     "use criu 4.2 or newer, as Linux 6.16 and later need: run scripts/install-criu"},

    /* terminals and sessions */
    {"shell-job option", NULL, true,
     "pass --shell-job, or run the container with a terminal of its own"},
    {"Found dangling tty", NULL, false,
     "pass --shell-job, or run the container with a terminal of its own"},
    {"is not a session leader", NULL, false,
     "pass --shell-job, or run the container with a terminal of its own"},
    {"Found slave peer index", NULL, false,
     "end every `exec` session that has a terminal, or pass --shell-job"},
    {"Only one slave external peer", NULL, false,
     "end every `exec` session that has a terminal: CRIU allows one terminal a container"},
    {"A session leader of", "is outside of its pid namespace", false,
     "end every process that was brought in from outside (exec)"},

    /* files */
    {"file locks are hold", NULL, false,
     "pass --file-locks, or let the container release its locks"},
    {"Can't lookup mount=", NULL, false,
     "give that descriptor something CRIU can find again: a pipe, or a file inside the container"},
    {"Open files on overmounted mounts", NULL, false,
     "close the file, or unmount what lies over it"},
    {"Can't dump ghost file", "increase limit", false,
     "let the container close that deleted file: it is above CRIU's ghost limit"},
    {"Use link-remap option", NULL, false,
     "let the container close the file: its name was removed while another name of it lives on"},
    {"Can't create link remap", NULL, false,
     "let the container close the file: its name was removed while another name of it lives on"},
    {"No space left on device", NULL, false, ROOM_FOR_IMAGES},
    {"Disk quota exceeded", NULL, false, ROOM_FOR_IMAGES},
    {"File too large", NULL, false, ROOM_FOR_IMAGES},
    {"has bad size", NULL, false, RESTORE_FILES ": this one has another size"},
    {"has bad mode", NULL, false, RESTORE_FILES ": this one has another mode"},
    {"has bad build-ID", NULL, false, RESTORE_FILES ": this program or library is another build"},
    {"on restore", "No such file or directory", false, RESTORE_FILES ": this one is missing"},
    {"Can't open file", "No such file or directory", false, RESTORE_FILES ": this one is missing"},
    {"is a fuse mount but not external", NULL, false,
     "unmount the FUSE file system, or bind it into the container by its config"},
    {"doesn't have a proper root mount", NULL, false,
     "declare the mount in the container's config: it was made from outside"},
    {"No mapping for", "mountpoint", false,
     "restore with a config that has the same mounts as at the checkpoint"},
    {"Failed to open_tree", "No such file or directory", false,
     "make what the config's mount points to: it is not there on this machine"},
    {"Can't stat mountpoint", "No such file or directory", false,
     "make that directory or file in the container's root file system"},
    {"autofs not supported", NULL, false, "unmount the autofs inside the container"},

    /* kinds of descriptors and memory CRIU does not know */
    {"io_uring", NULL, false,
     "run the program without io_uring: CRIU can't save it (a seccomp rule can refuse it)"},
    {"send_fds failed (-22)", NULL, false,
     "run the program without io_uring: CRIU can't save it (a seccomp rule can refuse it)"},
    {"[userfaultfd]", NULL, false, "close the userfaultfd: CRIU can't save it"},
    {"[perf_event]", NULL, false, "close the perf event: CRIU can't save it"},
    {"bpf-prog", NULL, false, "close the BPF program: CRIU can't save it"},
    {"bpf-link", NULL, false, "close the BPF link: CRIU can't save it"},
    {"[bpf", NULL, false, "close the BPF object: CRIU can't save it"},
    {"landlock", "of that type", false, "close the Landlock ruleset: CRIU can't save it"},
    {"of that type", NULL, false,
     "let the container close that descriptor: CRIU can't save its kind"},
    {"Unknown shit", NULL, false,
     "let the container close that descriptor: CRIU can't save its kind"},
    {"packetized mode", NULL, false,
     "let the container close its pipe made with O_DIRECT: CRIU can't save packets"},
    {"Can't handle non-regular mapping", NULL, false,
     "let the container unmap that device: CRIU can't save its memory"},
    {"Unsupported mapping found", NULL, false,
     "let the container unmap that device: CRIU can't save its memory"},
    {"Missing required plugin", NULL, false,
     "install the CRIU plugin it names: the checkpoint was made with it"},

    /* inotify, fanotify */
    {"Can't dump that handle", NULL, false,
     "remove the inotify watch: its file can't be found by handle on this file system (overlayfs)"},
    {"Can't find suitable path for handle", NULL, false,
     "remove the inotify watch: its file can't be found by handle on this file system (overlayfs)"},
    {"irmap: Failed to resolve", NULL, false,
     "remove the inotify watch: its file can't be found by handle on this file system (overlayfs)"},
    {"fsnotify: Can't find mount", NULL, false,
     "remove the inotify watch: its mount lies outside the container"},
    {"fsnotify: Unable to lookup a mount", NULL, false,
     "remove the inotify watch: its mount lies outside the container"},

    /* the network lock */
    {"Locking network failed using nftables", NULL, false, HOST_FIREWALL},
    {"Locking connection failed using nftables", NULL, false, HOST_FIREWALL},
    {"Locking network failed", NULL, false, HOST_FIREWALL ", or install iptables"},
    {"execvp(\"ip", "No such file or directory", false, HOST_FIREWALL ", or install iptables"},
    {"nftables", "not supported", false, HOST_FIREWALL},

    {"Unable to find an external netns", NULL, false,
     "name the network namespace to restore into, as the config did at the checkpoint"},
    {"IP tool failed on route restore", NULL, false,
     "remove routes over interfaces without carrier before the checkpoint: they can't be set "
     "again"},
    {"Can't restore link", NULL, false,
     "remove the network interface that has its name here, or leave the network to the engine"},

    /* processes */
    {"Can't fork for", "File exists", false,
     "stop the process that has the same pid now, or restore into a pid namespace of its own"},
    {"intersects with pid", NULL, false,
     "restore into a pid namespace of its own: a pid of the checkpoint is taken here"},
    {"Unable to interrupt task", "Operation not permitted", true,
     "detach the debugger or tracer (gdb, strace) from the container's processes"},
    {"Unable to interrupt task", "No such process", true,
     "see whether the container still runs: its process is gone"},
    {"Unable to freeze cgroup", NULL, false,
     "try again: a process of the container hung in the kernel and could not be frozen"},
    {"Unseizable", NULL, false,
     "try again: a process of the container hung in the kernel and could not be stopped"},
    {"Timeout reached. Try to interrupt", NULL, false,
     "try again when the container is less busy: it could not be stopped in time"},
    {"Can't dump a pid namespace without the process init", NULL, false,
     "checkpoint the container's first process, not another"},
    {"Zombies with threads", NULL, false, "try again when the container has reaped its zombies"},

    /* damaged images */
    {"Magic doesn't match", NULL, false, BAD_IMAGES},
    {"Failed unpacking object", NULL, false, BAD_IMAGES},
    {"Unexpected EOF on", NULL, false, BAD_IMAGES},
    {"bytes while", "expected", false, BAD_IMAGES},
    {"`- returned 0", NULL, true, BAD_IMAGES, "an image of memory pages ends too early"},
    {"mage corrupted", NULL, false, BAD_IMAGES},
    {"Image corruption", NULL, false, BAD_IMAGES},

    /* the kernel, the machine, versions */
    {"Tracking memory is not available", NULL, false,
     "use a kernel with soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)"},
    {"dirty memory tracker", NULL, false,
     "use a kernel with soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)"},
    {"soft-dirty", NULL, false, "use a kernel with soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)"},
    {"Dumping seccomp filters not supported", NULL, false,
     "use a kernel with CONFIG_CHECKPOINT_RESTORE, and run nucleus with CAP_SYS_ADMIN"},
    {"suspend seccomp", NULL, false,
     "use a kernel with CONFIG_CHECKPOINT_RESTORE, and run nucleus with CAP_SYS_ADMIN"},
    {"suspending seccomp failed", NULL, false,
     "use a kernel with CONFIG_CHECKPOINT_RESTORE, and run nucleus with CAP_SYS_ADMIN"},
    {"seccomp", "Can't fetch", false,
     "use a kernel with CONFIG_CHECKPOINT_RESTORE, and run nucleus with CAP_SYS_ADMIN"},
    {"ELF header magic mismatch", NULL, false,
     "restore with the criu that made the checkpoint, or a newer one"},
    {"Not supported images version", NULL, false,
     "restore with the criu that made the checkpoint, or a newer one"},
    {"Images corrupted or too old", NULL, false,
     "restore with the criu that made the checkpoint, or a newer one"},
    {"vdso: ", NULL, false, NEWER_CRIU ", for this kernel's vDSO is unknown to it"},
    {"rseq", NULL, false,
     "use Linux 5.13 and criu 3.17, or newer, which know restartable sequences"},
    {"more capabilities than this CRIU supports", NULL, false, NEWER_CRIU},
    {"cpu: ", NULL, false, "restore on a machine whose processor has the same features"},
    {"Time namespaces are not supported", NULL, false, "use Linux 5.6 or newer"},
    {"userfaultfd", NULL, false, "allow userfaultfd on this machine"},
    {"UFFD is not supported", NULL, false, "use a kernel with userfaultfd"},
    {"Unable to drop capability", NULL, false, "run nucleus as root, or with CAP_SETPCAP too"},
    {"apparmor LSM specified but", NULL, false, "load AppArmor, or restore without its profile"},
    {"can't write lsm profile", NULL, false,
     "load the container's AppArmor profile or SELinux policy before the restore"},
    {"Cannot allocate memory", NULL, false,
     "raise the container's memory limit: CRIU needs room within it, or free memory on the "
     "machine"},
};

/* Read only in the line already found to be the cause: they are common in harmless lines. */
static const struct advice last_resorts[] = {
    {"killed by signal 9", NULL, false,
     "raise the container's memory limit: the kernel may have killed it for memory"},
    {"Operation not permitted", NULL, false,
     "run nucleus as root, or with the capabilities CRIU needs"},
    {"Permission denied", NULL, false,
     "run nucleus as root, and see whether SELinux or AppArmor refused it"},
    {"Connection refused", NULL, false, "see that the page server runs and can be reached"},
};

struct line {
    const char *s;
    size_t n;
};

static bool has(struct line l, const char *needle)
{
    return memmem(l.s, l.n, needle, strlen(needle)) != NULL;
}

static bool has_any(struct line l, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (has(l, list[i]))
            return true;
    return false;
}

static bool next_line(const char **p, const char *end, struct line *ret)
{
    if (*p >= end)
        return false;
    const char *nl = memchr(*p, '\n', (size_t)(end - *p));
    *ret = (struct line){*p, (size_t)((nl ? nl : end) - *p)};
    *p = nl ? nl + 1 : end;
    return true;
}

/* The message behind "Error (file:line): ", which must begin where CRIU puts it: behind a time and
 * a pid. */
static bool error_message(struct line l, struct line *ret)
{
    static const char tag[] = "Error (";
    const char *p = memmem(l.s, MIN(l.n, (size_t)64), tag, strlen(tag));
    if (!p)
        return false;
    size_t left = l.n - (size_t)(p - l.s);
    const char *q = memmem(p, MIN(left, (size_t)160), "): ", 3);
    if (!q)
        return false;
    q += 3;
    const char *end = l.s + l.n;
    while (q < end && (*q == ' ' || *q == '\t'))
        q++;
    if (end - q > 3 && memcmp(q, "`- ", 3) == 0)
        q += 3;
    while (end > q && (end[-1] == ' ' || end[-1] == '\r'))
        end--;
    if (q == end)
        return false;
    *ret = (struct line){q, (size_t)(end - q)};
    return true;
}

static const struct advice *advise(const struct advice *list, size_t n, struct line l,
                                   bool is_error)
{
    for (size_t i = 0; i < n; i++)
        if ((is_error || list[i].any_line) && has(l, list[i].pattern) &&
            (!list[i].also || has(l, list[i].also)))
            return &list[i];
    return NULL;
}

/* Length of the well-formed UTF-8 character at `s` that is fit to print, else 0. */
static size_t printable(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (len > n || !str_is_utf8((const char *)s, len))
        return 0;
    return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : len; /* C1 controls: CSI among them */
}

/* A line as it may be shown: no control characters, valid UTF-8, not too long. */
static void add_line(struct strbuf *b, struct line l)
{
    const unsigned char *s = (const unsigned char *)l.s;
    size_t n = MIN(l.n, (size_t)LINE_SHOWN);

    for (size_t i = 0; i < n;) {
        size_t len = printable(s + i, l.n - i);
        if (len)
            strbuf_addn(b, l.s + i, len);
        else if (s[i] == '\t')
            strbuf_addc(b, ' ');
        else
            strbuf_addf(b, "\\x%02x", s[i]);
        i += len ? len : 1;
    }
    if (l.n > n)
        strbuf_add(b, "…");
}

/* The part of the log between the last two ends of a run. */
static void last_run(const char *log, size_t len, const char **ret_start, const char **ret_end)
{
    const char *p = log, *end = log + len, *start = log, *mark = NULL, *behind = NULL;
    struct line l, message;

    while (next_line(&p, end, &l)) {
        if (!error_message(l, &message) || !has_any(message, ends, ARRAY_SIZE(ends)))
            continue;
        if (mark)
            start = behind;
        mark = l.s;
        behind = p;
    }
    *ret_start = start;
    *ret_end = mark ? mark : end;
}

struct findings {
    struct line strong[LINES_SHOWN], weak[LINES_SHOWN];
    size_t n_strong, n_weak;
    struct line known; /* shows a sure sign */
    const struct advice *advice;
    bool from_error; /* it is an error line */
};

/* Keeps the last few, without repetitions. */
static void keep(struct line *list, size_t *n, struct line l)
{
    for (size_t i = 0; i < *n; i++)
        if (list[i].n == l.n && memcmp(list[i].s, l.s, l.n) == 0)
            return;
    if (*n == LINES_SHOWN) {
        memmove(list, list + 1, (LINES_SHOWN - 1) * sizeof(*list));
        (*n)--;
    }
    list[(*n)++] = l;
}

/* The text behind the time and pid of a line that is no error. */
static struct line plain_message(struct line l)
{
    const char *p = memmem(l.s, MIN(l.n, (size_t)120), "): ", 3);
    size_t skip = p ? (size_t)(p - l.s) + 3 : 0;

    if (!p && l.n > 0 && l.s[0] == '(') {
        const char *q = memchr(l.s, ')', MIN(l.n, (size_t)32));
        skip = q ? (size_t)(q - l.s) + 1 : 0;
    }
    while (skip < l.n && (l.s[skip] == ' ' || l.s[skip] == '\t'))
        skip++;
    return (struct line){l.s + skip, l.n - skip};
}

static void look_at(struct findings *f, struct line l)
{
    struct line message;
    bool is_error = error_message(l, &message);

    if (!is_error)
        message = plain_message(l);
    else if (has_any(message, noise, ARRAY_SIZE(noise)))
        return;
    bool weak = is_error && has_any(message, consequences, ARRAY_SIZE(consequences));
    if (is_error)
        keep(weak ? f->weak : f->strong, weak ? &f->n_weak : &f->n_strong, message);
    if (weak || (!is_error && f->from_error))
        return;
    const struct advice *advice = advise(advices, ARRAY_SIZE(advices), message, is_error);
    if (!advice || (is_error && f->from_error && streq(advice->remedy, f->advice->remedy)))
        return; /* the first of a chain tells most */
    f->advice = advice;
    f->known = message;
    f->from_error = is_error;
}

bool criu_log_explain(const char *log, size_t len, char **ret_why, char **ret_remedy)
{
    if (len == 0)
        return false;
    if (len > CRIU_LOG_MAX) {
        log += len - CRIU_LOG_MAX;
        len = CRIU_LOG_MAX;
    }
    const char *p, *end;
    struct findings f = {0};
    struct line l;
    last_run(log, len, &p, &end);
    while (next_line(&p, end, &l))
        look_at(&f, l);

    struct line *list = f.n_strong ? f.strong : f.weak;
    size_t n = f.n_strong ? f.n_strong : f.n_weak;
    if (f.advice) {
        if (f.advice->instead)
            f.known = (struct line){f.advice->instead, strlen(f.advice->instead)};
        list = &f.known;
        n = 1;
    }
    if (n == 0)
        return false;
    for (size_t i = 0; i < n && !f.advice; i++)
        f.advice = advise(advices, ARRAY_SIZE(advices), list[i], true);
    for (size_t i = 0; i < n && !f.advice; i++)
        f.advice = advise(last_resorts, ARRAY_SIZE(last_resorts), list[i], true);

    struct strbuf b = {0};
    for (size_t i = 0; i < n; i++) {
        strbuf_add(&b, i ? "; " : "");
        add_line(&b, list[i]);
    }
    *ret_why = strbuf_take(&b);
    *ret_remedy = f.advice ? mem_strdup(f.advice->remedy) : NULL;
    return true;
}

void criu_explain_log(const char *log, size_t len, char **ret_why, char **ret_remedy)
{
    if (criu_log_explain(log, len, ret_why, ret_remedy))
        return;
    *ret_why = mem_strdup("CRIU's log names no error");
    *ret_remedy = NULL;
}

char *criu_log_last_line(const char *text, size_t len)
{
    if (len == 0)
        return NULL;
    const char *p = text, *end = text + len;
    struct line l, last = {0};

    while (next_line(&p, end, &l)) {
        while (l.n > 0 && (*l.s == ' ' || *l.s == '\t')) {
            l.s++;
            l.n--;
        }
        if (l.n > 0 && !(l.n == 1 && *l.s == '\r'))
            last = l;
    }
    if (last.n == 0)
        return NULL;
    struct strbuf b = {0};
    add_line(&b, last);
    return strbuf_take(&b);
}
