/* SPDX-License-Identifier: Apache-2.0 OR MIT */

/* A stand-in for CRIU that does what a file tells it, so that the things a real one does once in a
 * thousand runs can be had at will. Started as `fake-criu swrk N` it speaks CRIU's RPC on
 * descriptor N and answers VERSION, FEATURE_CHECK, DUMP and RESTORE. Nothing is really dumped or
 * restored.
 *
 * It reads `<its own path>.conf` (found through /proc/self/exe: the runtime clears the
 * environment), one order a line, `#` begins a comment. A test copies the program to where it wants
 * a CRIU and puts the file beside it. No file: a CRIU 4.2.1 that succeeds at everything.
 *
 * - version 4.2.1 [gitid=TEXT] [name=TEXT]
 *     what VERSION answers
 * - features mem_track=0 lazy_pages=1 pidfd_store=1
 * - fail-version
 *     VERSION answers success=false
 * - fail-features [TEXT]
 *     FEATURE_CHECK answers success=false, TEXT is cr_errmsg
 * - exit-at-start N
 *     ends at once with status N
 * - stderr TEXT
 *     a line for stderr, at start; may come again
 * - log LINE
 *     a line for the log file of a dump or restore; may come again
 * - log-size N
 *     the log file is made N bytes long (sparse)
 * - image NAME SIZE
 *     a file of SIZE bytes made in the images directory
 * - notify NAME [fds=N]
 *     a notification, in the order of the lines; N descriptors come with it; setup-namespaces and
 *     post-restore carry the restored pid. Only where notify_scripts was asked for
 * - always-notify
 *     or even where it was not
 * - ignore-nack
 *     goes on where a notification was refused
 * - fail-at dump|restore [errno=N] [errmsg=TEXT to the end of the line]
 * - hang-at STEP
 *     says nothing more, for ever
 * - die-at STEP [signal=N]
 *     ends with status 1, or by the signal
 * - garbage-at STEP
 *     sends 32 bytes of 0xff
 * - huge-at STEP
 *     sends a packet of 2 MiB (less where not root)
 * - empty-at STEP
 *     sends a packet of no bytes
 * - wrong-type-at STEP
 *     sends an answer of type CHECK
 *     STEP: start, version, features, dump, restore (the request came), notify:NAME (instead of
 *     that notification), response (instead of the answer to a dump or restore)
 * - restore-pid spawn|N
 *     RESTORE answers with a sleeping process made with CLONE_PARENT, so a child of the caller; or
 *     just with N
 * - kill-target
 *     SIGKILLs opts.pid at the end of a dump, unless leave_running
 * - record
 *     writes what it was given to `<its own path>.record`: arguments, environment, descriptors,
 *     signals, namespaces, and each request with its fields
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sched.h>
#include <unistd.h>

#include "checkpoint/criu/criu.pb-c.h"

#define MAX_LINES 256

static char self[PATH_MAX];
static char conf_text[1 << 16];
static char *lines[MAX_LINES];
static int n_lines;
static int sk = -1;
static FILE *record;
static pid_t restored = -1;

static void die(const char *what)
{
    fprintf(stderr, "fake-criu: %s: %s\n", what, strerror(errno));
    exit(99);
}

/* ---- its orders ---- */

static void read_conf(void)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 8);
    if (n < 0)
        die("/proc/self/exe");
    self[n] = '\0';

    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof(path), "%s.conf", self);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    size_t len = fread(conf_text, 1, sizeof(conf_text) - 1, f);
    conf_text[len] = '\0';
    (void)fclose(f);
    for (char *save, *line = strtok_r(conf_text, "\n", &save); line && n_lines < MAX_LINES;
         line = strtok_r(NULL, "\n", &save))
        if (*line && *line != '#')
            lines[n_lines++] = line;
}

/* The rest of line `i` behind `word`, or NULL where it is another order. */
static const char *order(int i, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(lines[i], word, n) != 0 || (lines[i][n] != ' ' && lines[i][n] != '\0'))
        return NULL;
    return lines[i] + n + (lines[i][n] == ' ');
}

static const char *find_order(const char *word)
{
    for (int i = 0; i < n_lines; i++)
        if (order(i, word))
            return order(i, word);
    return NULL;
}

/* True where an order `word` names `step`; *rest is what follows. */
static bool ordered_at(const char *word, const char *step, const char **rest)
{
    size_t n = strlen(step);

    for (int i = 0; i < n_lines; i++) {
        const char *arg = order(i, word);
        if (arg && strncmp(arg, step, n) == 0 && (arg[n] == ' ' || arg[n] == '\0')) {
            if (rest)
                *rest = arg + n;
            return true;
        }
    }
    return false;
}

static long option(const char *text, const char *key, long otherwise)
{
    const char *p = text ? strstr(text, key) : NULL;
    return p ? strtol(p + strlen(key), NULL, 10) : otherwise;
}

/* ---- the record ---- */

static void record_value(const char *prefix, const ProtobufCFieldDescriptor *f, const void *v);

static void record_message(const char *prefix, const ProtobufCMessage *m)
{
    const char *base = (const char *)m;

    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *at = base + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)(const void *)(base + f->quantifier_offset);
            const char *array = *(const char *const *)(const void *)at;
            for (size_t k = 0; k < n; k++) /* only strings and messages repeat here: pointers */
                record_value(prefix, f, array + k * sizeof(void *));
            continue;
        }
        bool pointer = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
        if (pointer ? !*(const void *const *)(const void *)at
                    : f->label == PROTOBUF_C_LABEL_OPTIONAL &&
                          !*(const protobuf_c_boolean *)(const void *)(base + f->quantifier_offset))
            continue;
        record_value(prefix, f, at);
    }
}

static void record_value(const char *prefix, const ProtobufCFieldDescriptor *f, const void *v)
{
    char name[256];

    (void)snprintf(name, sizeof(name), "%s%s", prefix, f->name);
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        fprintf(record, "%s=%s\n", name, *(const char *const *)v);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        fprintf(record, "%s\n", name);
        (void)strncat(name, ".", sizeof(name) - strlen(name) - 1);
        record_message(name, *(const ProtobufCMessage *const *)v);
        break;
    default: /* bool, int32, uint32, enum: four bytes each */
        fprintf(record, "%s=%d\n", name, *(const int *)v);
    }
}

static void record_status(void)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "Sig", 3) == 0)
            fputs(line, record);
    if (f)
        (void)fclose(f);
}

static void record_start(int argc, char **argv, char **envp)
{
    char path[PATH_MAX + 8], link[64], target[512];

    if (!find_order("record"))
        return;
    /* Before the record's own descriptor is there. */
    char fds[64][600];
    int n_fds = 0;
    for (int fd = 0; fd < 4096 && n_fds < 64; fd++) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        (void)snprintf(fds[n_fds++], sizeof(fds[0]), "fd %d %s", fd, target);
    }
    (void)snprintf(path, sizeof(path), "%s.record", self);
    record = fopen(path, "ae");
    if (!record)
        die(path);
    for (int i = 0; i < argc; i++)
        fprintf(record, "arg %s\n", argv[i]);
    for (char **e = envp; *e; e++)
        fprintf(record, "env %s\n", *e);
    for (int i = 0; i < n_fds; i++)
        fprintf(record, "%s\n", fds[i]);
    int death = 0;
    (void)prctl(PR_GET_PDEATHSIG, &death);
    fprintf(record, "pdeathsig %d\nown-pgrp %d\n", death, getpgrp() == getpid());
    static const char *const ns[] = {"cgroup", "mnt"};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(link, sizeof(link), "/proc/self/ns/%s", ns[i]);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        fprintf(record, "ns %.*s\n", n < 0 ? 0 : (int)n, target);
    }
    record_status();
    (void)fflush(record);
}

/* ---- the wire ---- */

static void send_bytes(const void *data, size_t n, int fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)data, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fds > 16)
        fds = 16;
    if (fds > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
        for (int i = 0; i < fds; i++) {
            int fd = 0; /* /dev/null will do */
            memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd, sizeof(fd));
        }
    }
    if (sendmsg(sk, &msg, MSG_NOSIGNAL) < 0)
        die("send");
}

static void send_response(const Criu__CriuResp *resp, int fds)
{
    size_t n = criu__criu_resp__get_packed_size(resp);
    uint8_t *buf = malloc(n + 1);

    if (!buf)
        die("malloc");
    (void)criu__criu_resp__pack(resp, buf);
    send_bytes(buf, n, fds);
    free(buf);
}

/* NULL at the end. */
static Criu__CriuReq *receive(void)
{
    ssize_t n = recv(sk, NULL, 0, MSG_PEEK | MSG_TRUNC);
    if (n <= 0)
        return NULL;
    uint8_t *buf = malloc((size_t)n);
    if (!buf || recv(sk, buf, (size_t)n, 0) != n)
        die("receive");
    Criu__CriuReq *req = criu__criu_req__unpack(NULL, (size_t)n, buf);
    free(buf);
    if (!req) {
        errno = EBADMSG;
        die("request");
    }
    return req;
}

/* Waits for the other side to go, then ends. */
static void drain(void)
{
    char c;
    while (recv(sk, &c, 1, 0) > 0)
        ;
    exit(1);
}

/* Does here what the orders say; returns where they say nothing. */
static void misbehave_at(const char *step)
{
    const char *rest;

    if (ordered_at("hang-at", step, NULL))
        for (;;)
            (void)pause();
    if (ordered_at("die-at", step, &rest)) {
        int sig = (int)option(rest, "signal=", 0);
        if (sig)
            (void)raise(sig);
        exit(1);
    }
    if (ordered_at("garbage-at", step, NULL)) {
        unsigned char junk[32];
        memset(junk, 0xff, sizeof(junk));
        send_bytes(junk, sizeof(junk), 0);
        drain();
    }
    if (ordered_at("huge-at", step, NULL)) {
        size_t n = 2 * 1024 * 1024;
        int size = 8 * 1024 * 1024;
        if (setsockopt(sk, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
            n = 128 * 1024;
        char *junk = calloc(1, n);
        send_bytes(junk, n, 0);
        free(junk);
        drain();
    }
    if (ordered_at("empty-at", step, NULL)) {
        send_bytes("", 0, 0);
        drain();
    }
    if (ordered_at("wrong-type-at", step, NULL)) {
        Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
        resp.type = CRIU__CRIU_REQ_TYPE__CHECK;
        resp.success = true;
        send_response(&resp, 0);
        drain();
    }
}

/* ---- its requests ---- */

static void answer_version(void)
{
    Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
    Criu__CriuVersion v = CRIU__CRIU_VERSION__INIT;
    const char *text = find_order("version");
    char gitid[64] = "", name[64] = "";

    misbehave_at("version");
    v.major_number = 4;
    v.minor_number = 2;
    v.sublevel = 1;
    if (text) {
        v.minor_number = v.sublevel = 0;
        (void)sscanf(text, "%d.%d.%d", &v.major_number, &v.minor_number, &v.sublevel);
        if (strstr(text, "gitid=") && sscanf(strstr(text, "gitid="), "gitid=%63s", gitid) == 1)
            v.gitid = gitid;
        if (strstr(text, "name=") && sscanf(strstr(text, "name="), "name=%63s", name) == 1)
            v.name = name;
    }
    v.has_sublevel = v.sublevel != 0;
    resp.type = CRIU__CRIU_REQ_TYPE__VERSION;
    resp.success = !find_order("fail-version");
    if (resp.success)
        resp.version = &v;
    send_response(&resp, 0);
}

static void answer_features(void)
{
    Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
    Criu__CriuFeatures f = CRIU__CRIU_FEATURES__INIT;
    const char *text = find_order("features"), *fail = find_order("fail-features");

    misbehave_at("features");
    f.has_mem_track = f.has_lazy_pages = f.has_pidfd_store = true;
    f.mem_track = option(text, "mem_track=", 0) != 0;
    f.lazy_pages = option(text, "lazy_pages=", 1) != 0;
    f.pidfd_store = option(text, "pidfd_store=", 1) != 0;
    resp.type = CRIU__CRIU_REQ_TYPE__FEATURE_CHECK;
    resp.success = !fail;
    resp.features = fail ? NULL : &f;
    if (fail && *fail)
        resp.cr_errmsg = (char *)fail;
    send_response(&resp, 0);
}

/* As CRIU does: the caller's descriptor, through the /proc of who made the socket. */
static int open_callers(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    char path[64];

    if (getsockopt(sk, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        die("SO_PEERCRED");
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)peer.pid, fd);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        die(path);
    return dir;
}

static void write_files(const Criu__CriuOpts *o)
{
    int images = open_callers(o->images_dir_fd);
    int work = o->has_work_dir_fd ? open_callers(o->work_dir_fd) : images;

    if (o->log_file) {
        int log = openat(work, o->log_file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        if (log < 0)
            die(o->log_file);
        for (int i = 0; i < n_lines; i++)
            if (order(i, "log"))
                (void)dprintf(log, "%s\n", order(i, "log"));
        if (find_order("log-size") && ftruncate(log, atol(find_order("log-size"))) < 0)
            die("log-size");
        (void)close(log);
    }
    for (int i = 0; i < n_lines; i++) {
        char name[128];
        long size = 0;
        if (!order(i, "image") || sscanf(order(i, "image"), "%127s %ld", name, &size) < 1)
            continue;
        int fd = openat(images, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, size) < 0)
            die(name);
        (void)close(fd);
    }
}

/* What comes back must not have more rights than any bundle gives. Its maker gives up its own, so
 * that there is no moment at which it has. */
static void give_up_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    for (int cap = 0; cap < 64; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)syscall(SYS_capset, &header, none);
}

static void spawn_restored(void)
{
    const char *what = find_order("restore-pid");

    if (!what)
        what = "spawn";
    if (strcmp(what, "spawn") != 0) {
        restored = atoi(what);
        return;
    }
    give_up_rights();
    restored = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    if (restored < 0)
        die("clone");
    if (restored == 0) {
        (void)syscall(SYS_close_range, 0, ~0U, 0);
        (void)alarm(600); /* a test that forgets it does not keep it for ever */
        for (;;)
            (void)pause();
    }
}

/* One notification; true where it was acknowledged, or refusals don't count. */
static bool notify(const char *text)
{
    Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
    Criu__CriuNotify n = CRIU__CRIU_NOTIFY__INIT;
    char name[64], step[80];

    if (sscanf(text, "%63s", name) != 1)
        return true;
    (void)snprintf(step, sizeof(step), "notify:%s", name);
    misbehave_at(step);
    n.script = name;
    if (strcmp(name, "setup-namespaces") == 0 || strcmp(name, "post-restore") == 0) {
        n.has_pid = true;
        n.pid = restored;
    }
    resp.type = CRIU__CRIU_REQ_TYPE__NOTIFY;
    resp.success = true;
    resp.notify = &n;
    send_response(&resp, (int)option(text, "fds=", 0));

    Criu__CriuReq *req = receive();
    if (!req)
        exit(1);
    if (record) {
        fprintf(record, "ack %s %d\n", name, req->notify_success);
        (void)fflush(record);
    }
    bool ok = req->type == CRIU__CRIU_REQ_TYPE__NOTIFY && req->notify_success;
    criu__criu_req__free_unpacked(req, NULL);
    return ok || find_order("ignore-nack");
}

static void answer_job(const Criu__CriuReq *req)
{
    Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
    Criu__CriuDumpResp dump = CRIU__CRIU_DUMP_RESP__INIT;
    Criu__CriuRestoreResp restore = CRIU__CRIU_RESTORE_RESP__INIT;
    bool is_dump = req->type == CRIU__CRIU_REQ_TYPE__DUMP;
    const char *step = is_dump ? "dump" : "restore", *rest = NULL;

    misbehave_at(step);
    if (!req->opts) {
        errno = EINVAL;
        die("opts");
    }
    write_files(req->opts);
    if (!is_dump)
        spawn_restored();
    bool ok = true;
    if (req->opts->notify_scripts || find_order("always-notify"))
        for (int i = 0; i < n_lines && ok; i++)
            if (order(i, "notify"))
                ok = notify(order(i, "notify"));
    misbehave_at("response");

    if (ordered_at("fail-at", step, &rest)) {
        ok = false;
        resp.cr_errno = (int32_t)option(rest, "errno=", 0);
        resp.has_cr_errno = resp.cr_errno != 0;
        const char *text = strstr(rest, "errmsg=");
        if (text)
            resp.cr_errmsg = (char *)text + strlen("errmsg=");
    }
    if (ok && is_dump && find_order("kill-target") && !req->opts->leave_running)
        (void)kill(req->opts->pid, SIGKILL);
    if (!ok && !is_dump && restored > 1 && !strcmp(find_order("restore-pid") ?: "spawn", "spawn"))
        (void)kill(restored, SIGKILL);
    resp.type = req->type;
    resp.success = ok;
    if (is_dump) {
        resp.dump = &dump;
    } else {
        restore.pid = ok ? restored : -1;
        resp.restore = &restore;
    }
    send_response(&resp, 0);
    exit(ok ? 0 : 1);
}

int main(int argc, char **argv, char **envp)
{
    read_conf();
    record_start(argc, argv, envp);
    for (int i = 0; i < n_lines; i++)
        if (order(i, "stderr"))
            fprintf(stderr, "%s\n", order(i, "stderr"));
    if (find_order("exit-at-start"))
        exit(atoi(find_order("exit-at-start")));
    if (argc == 2 && strcmp(argv[1], "check") == 0) {
        for (int i = 0; i < n_lines; i++)
            if (order(i, "check"))
                fprintf(stderr, "%s\n", order(i, "check"));
        return find_order("check") ? 1 : 0;
    }
    if (argc != 3 || strcmp(argv[1], "swrk") != 0) {
        fprintf(stderr, "usage: %s swrk FD\n", argv[0]);
        return 2;
    }
    sk = atoi(argv[2]);
    misbehave_at("start");

    Criu__CriuReq *req;
    while ((req = receive())) {
        if (record) {
            fprintf(record, "request\n");
            record_message("req.", &req->base);
            (void)fflush(record);
        }
        switch ((int)req->type) {
        case CRIU__CRIU_REQ_TYPE__VERSION:
            answer_version();
            break;
        case CRIU__CRIU_REQ_TYPE__FEATURE_CHECK:
            answer_features();
            break;
        case CRIU__CRIU_REQ_TYPE__DUMP:
        case CRIU__CRIU_REQ_TYPE__RESTORE:
            answer_job(req);
            break;
        default: {
            Criu__CriuResp resp = CRIU__CRIU_RESP__INIT;
            resp.type = CRIU__CRIU_REQ_TYPE__EMPTY;
            resp.success = false;
            send_response(&resp, 0);
        }
        }
        bool more = req->keep_open;
        criu__criu_req__free_unpacked(req, NULL);
        if (!more)
            break;
    }
    return 0;
}
