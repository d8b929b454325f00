/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/str.h"
#include "cgroup/cgroup.h"

/* io.max has a line a device. */
#define LIMIT_FILE_MAX ((size_t)1 << 20)
#define IO_DEVICES_MAX 4096
#define CPU_WEIGHT_DEFAULT 100 /* kernel/sched/core.c, CGROUP_WEIGHT_DFL */

void cgroup_limits_init(struct cgroup_limits *l)
{
    *l = (struct cgroup_limits){
        .memory_bytes = CGROUP_NO_LIMIT,
        .memory_high = CGROUP_NO_LIMIT,
        .memory_swap_max = CGROUP_NO_LIMIT,
        .cpu_quota_us = CGROUP_NO_LIMIT,
        .cpu_period_us = CGROUP_NO_LIMIT,
        .cpu_weight = CGROUP_NO_LIMIT,
        .pids_max = CGROUP_NO_LIMIT,
    };
}

static void io_free(struct cgroup_io_limit *io, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(io[i].device);
    free(io);
}

void cgroup_limits_done(struct cgroup_limits *l)
{
    io_free(l->io, l->n_io);
    cgroup_limits_init(l);
}

bool cgroup_limits_empty(const struct cgroup_limits *l)
{
    return l->memory_bytes == CGROUP_NO_LIMIT && l->memory_high == CGROUP_NO_LIMIT &&
           l->memory_swap_max == CGROUP_NO_LIMIT && l->cpu_quota_us == CGROUP_NO_LIMIT &&
           l->cpu_period_us == CGROUP_NO_LIMIT && l->cpu_weight == CGROUP_NO_LIMIT &&
           l->pids_max == CGROUP_NO_LIMIT && l->n_io == 0;
}

/* --- the formats --------------------------------------------------------------------------- */

/* "max" or a number of `n` characters. UINT64_MAX would be read as max, so it is out of range. */
static int parse_max_n(const char *s, size_t n, uint64_t *ret)
{
    char number[24];

    if (n == 3 && memcmp(s, "max", 3) == 0) {
        *ret = CGROUP_NO_LIMIT;
        return 0;
    }
    if (n >= sizeof(number))
        return -EINVAL;
    memcpy(number, s, n);
    number[n] = '\0';
    return num_parse_u64_max(number, CGROUP_NO_LIMIT - 1, ret);
}

/* Length without the one newline at the end. */
static size_t line_len(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && text[n - 1] == '\n' ? n - 1 : n;
}

int cgroup_parse_max(const char *text, uint64_t *ret)
{
    return parse_max_n(text, line_len(text), ret);
}

int cgroup_parse_cpu_max(const char *text, uint64_t *quota, uint64_t *period)
{
    size_t n = line_len(text), first = strcspn(text, " ");
    uint64_t q, p;

    if (first >= n)
        return -EINVAL;
    int r = parse_max_n(text, first, &q);
    if (r < 0)
        return r;
    r = parse_max_n(text + first + 1, n - first - 1, &p);
    if (r < 0)
        return r;
    if (p == 0 || p == CGROUP_NO_LIMIT)
        return -EINVAL;
    *quota = q;
    *period = p;
    return 0;
}

/* "MAJ:MIN" */
static int parse_device(const char *s, size_t n, char **ret)
{
    _cleanup_free_ char *text = mem_strndup(s, n);
    uint64_t v;

    char *colon = strchr(text, ':');
    if (!colon)
        return -EINVAL;
    *colon = '\0';
    if (num_parse_u64_max(text, UINT32_MAX, &v) < 0 ||
        num_parse_u64_max(colon + 1, UINT32_MAX, &v) < 0)
        return -EINVAL;
    *colon = ':';
    *ret = TAKE_PTR(text);
    return 0;
}

/* One "key=value" of io.max; each key once. */
static int parse_io_pair(const char *s, size_t n, struct cgroup_io_limit *io, unsigned *seen)
{
    const struct {
        const char *name;
        uint64_t *value;
    } keys[] = {
        {"rbps=", &io->rbps},
        {"wbps=", &io->wbps},
        {"riops=", &io->riops},
        {"wiops=", &io->wiops},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        size_t k = strlen(keys[i].name);
        if (n <= k || memcmp(s, keys[i].name, k) != 0)
            continue;
        if (*seen & 1u << i)
            return -EINVAL;
        *seen |= 1u << i;
        return parse_max_n(s + k, n - k, keys[i].value);
    }
    return -EINVAL;
}

/* blk-throttle.c, tg_prfill_limit(): "8:16 rbps=max wbps=1048576 riops=max wiops=max" */
static int parse_io_line(const char *s, size_t n, struct cgroup_io_limit *ret)
{
    struct cgroup_io_limit io = {
        .rbps = CGROUP_NO_LIMIT,
        .wbps = CGROUP_NO_LIMIT,
        .riops = CGROUP_NO_LIMIT,
        .wiops = CGROUP_NO_LIMIT,
    };
    const char *end = s + n, *blank = memchr(s, ' ', n);
    unsigned seen = 0;

    if (!blank)
        return -EINVAL;
    for (const char *p = blank; p;) {
        const char *next = memchr(p + 1, ' ', (size_t)(end - p - 1));
        int r = parse_io_pair(p + 1, (size_t)((next ? next : end) - p - 1), &io, &seen);
        if (r < 0)
            return r;
        p = next;
    }
    int r = parse_device(s, (size_t)(blank - s), &io.device);
    if (r < 0)
        return r;
    *ret = io;
    return 0;
}

static int parse_io_lines(const char *text, struct cgroup_io_limit **io, size_t *n)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (*n == IO_DEVICES_MAX)
            return -E2BIG;
        mem_grow(*io, *n);
        int r = parse_io_line(line, len, &(*io)[*n]);
        if (r < 0)
            return r;
        (*n)++;
        for (size_t i = 0; i + 1 < *n; i++)
            if (streq((*io)[i].device, (*io)[*n - 1].device))
                return -EINVAL;
        line += len + (line[len] == '\n');
    }
    return 0;
}

int cgroup_parse_io_max(const char *text, struct cgroup_io_limit **ret, size_t *ret_n)
{
    struct cgroup_io_limit *io = NULL;
    size_t n = 0;

    int r = parse_io_lines(text, &io, &n);
    if (r < 0) {
        io_free(io, n);
        return r;
    }
    *ret = io;
    *ret_n = n;
    return 0;
}

/* --- reading ------------------------------------------------------------------------------- */

/* cpu.weight reads 0 while cpu.idle is set, a value it does not take back. */
static int parse_weight(const char *text, uint64_t *ret)
{
    uint64_t v;

    int r = cgroup_parse_max(text, &v);
    if (r < 0)
        return r;
    if (v == CGROUP_NO_LIMIT)
        return -EINVAL;
    *ret = v ? v : CGROUP_NO_LIMIT;
    return 0;
}

static int parse_file(const char *name, const char *text, struct cgroup_limits *l)
{
    if (streq(name, "memory.max"))
        return cgroup_parse_max(text, &l->memory_bytes);
    if (streq(name, "memory.high"))
        return cgroup_parse_max(text, &l->memory_high);
    if (streq(name, "memory.swap.max"))
        return cgroup_parse_max(text, &l->memory_swap_max);
    if (streq(name, "cpu.max"))
        return cgroup_parse_cpu_max(text, &l->cpu_quota_us, &l->cpu_period_us);
    if (streq(name, "cpu.weight"))
        return parse_weight(text, &l->cpu_weight);
    if (streq(name, "pids.max"))
        return cgroup_parse_max(text, &l->pids_max);
    return cgroup_parse_io_max(text, &l->io, &l->n_io);
}

static const char *const limit_files[] = {
    "memory.max", "memory.high", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "io.max",
};

static int read_file(int dirfd, const char *path, const char *name, struct cgroup_limits *l,
                     struct error *e)
{
    _cleanup_free_ char *text = NULL, *full = path_join(path, name);

    int r = file_read_at(dirfd, name, 0, LIMIT_FILE_MAX, &text, NULL);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_errno(e, r, "read the limit", full);
    r = parse_file(name, text, l);
    if (r < 0)
        return error_set(e, ERROR_CGROUP, -r, "read the limit", full,
                         "report it with the kernel's version",
                         "'%.200s' is not in the format of cgroup-v2.rst", text);
    return 0;
}

int cgroup_read_limits(const char *path, struct cgroup_limits *ret, struct error *e)
{
    struct cgroup_limits l;

    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "read the limits of the cgroup", path);
    cgroup_limits_init(&l);
    for (size_t i = 0; i < ARRAY_SIZE(limit_files); i++) {
        int r = read_file(fd, path, limit_files[i], &l, e);
        if (r < 0) {
            cgroup_limits_done(&l);
            return r;
        }
    }
    *ret = l;
    return 0;
}

/* --- writing ------------------------------------------------------------------------------- */

/* One write(2) to one file. */
struct limit_write {
    const char *file;
    char *text;
    /* What it says is also what holds without it: no reason to ask for the controller. */
    bool is_default;
};

struct limit_plan {
    struct limit_write *writes;
    size_t n;
};

static void limit_plan_done(struct limit_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->writes[i].text);
    free(p->writes);
}

static void plan_add(struct limit_plan *p, const char *file, char *text, bool is_default)
{
    mem_grow(p->writes, p->n);
    p->writes[p->n++] = (struct limit_write){file, text, is_default};
}

static void plan_number(struct limit_plan *p, const char *file, uint64_t v, bool is_default)
{
    if (v != CGROUP_NO_LIMIT)
        plan_add(p, file, str_printf("%llu", (unsigned long long)v), is_default);
}

static void add_io_value(struct strbuf *b, const char *key, uint64_t v)
{
    if (v == CGROUP_NO_LIMIT)
        strbuf_addf(b, " %s=max", key);
    else
        strbuf_addf(b, " %s=%llu", key, (unsigned long long)v);
}

static void plan_io(struct limit_plan *p, const struct cgroup_io_limit *io)
{
    struct strbuf b = {0};
    bool is_default = io->rbps == CGROUP_NO_LIMIT && io->wbps == CGROUP_NO_LIMIT &&
                      io->riops == CGROUP_NO_LIMIT && io->wiops == CGROUP_NO_LIMIT;

    strbuf_add(&b, io->device);
    add_io_value(&b, "rbps", io->rbps);
    add_io_value(&b, "wbps", io->wbps);
    add_io_value(&b, "riops", io->riops);
    add_io_value(&b, "wiops", io->wiops);
    plan_add(p, "io.max", strbuf_take(&b), is_default);
}

static void plan_cpu(struct limit_plan *p, const struct cgroup_limits *l)
{
    struct strbuf b = {0};
    bool no_quota = l->cpu_quota_us == CGROUP_NO_LIMIT;

    if (no_quota && l->cpu_period_us == CGROUP_NO_LIMIT)
        return;
    if (no_quota)
        strbuf_add(&b, "max");
    else
        strbuf_addf(&b, "%llu", (unsigned long long)l->cpu_quota_us);
    if (l->cpu_period_us != CGROUP_NO_LIMIT)
        strbuf_addf(&b, " %llu", (unsigned long long)l->cpu_period_us);
    plan_add(p, "cpu.max", strbuf_take(&b), no_quota);
}

static void plan_writes(const struct cgroup_limits *l, struct limit_plan *p)
{
    plan_number(p, "memory.max", l->memory_bytes, false);
    plan_number(p, "memory.high", l->memory_high, false);
    plan_number(p, "memory.swap.max", l->memory_swap_max, false);
    plan_cpu(p, l);
    plan_number(p, "cpu.weight", l->cpu_weight, l->cpu_weight == CPU_WEIGHT_DEFAULT);
    plan_number(p, "pids.max", l->pids_max, false);
    for (size_t i = 0; i < l->n_io; i++)
        plan_io(p, &l->io[i]);
}

/* The controller of a file: what stands before the dot. */
static char *controller_of(const char *file)
{
    return mem_strndup(file, strcspn(file, "."));
}

/* Where v1 has it: "memory (/sys/fs/cgroup/memory)"; io is called blkio there. NULL: nowhere. */
static const char *find_v1(const struct cgroup_host *host, const char *controller)
{
    const char *name = streq(controller, "io") ? "blkio" : controller;

    for (char *const *v = host->v1_controllers; v && *v; v++) {
        const char *rest = str_after(*v, name);
        if (rest && *rest == ' ')
            return *v;
    }
    return NULL;
}

static int no_controller(const struct cgroup_host *host, const struct limit_write *w,
                         const char *controller, struct error *e)
{
    const char *v1 = find_v1(host, controller);

    if (v1)
        return error_set(e, ERROR_CGROUP, ENOENT, "set the limit", w->file,
                         "boot with cgroup v2 alone (cgroup_no_v1=all), or run without this limit",
                         "the controller is not in the v2 hierarchy at %s: it is bound to cgroup "
                         "v1, as %s",
                         host->mount, v1);
    return error_set(e, ERROR_CGROUP, ENOENT, "set the limit", w->file,
                     "use a kernel that has it, without cgroup_disable= or a container around it "
                     "that keeps it back, or run without this limit",
                     "the controller %s is not in the v2 hierarchy at %s", controller, host->mount);
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
        size_t k = strcspn(p, " \n");
        if (k == n && memcmp(p, word, n) == 0)
            return true;
        p += k;
    }
    return false;
}

static int enable_failed(int r, const char *controller, const char *file, struct error *e)
{
    const char *remedy = NULL;

    switch (r) {
    case -EBUSY:
        remedy = "move the processes of that cgroup into a child of it: with processes of its own "
                 "it can't share out controllers (cgroup-v2.rst, no internal process constraint)";
        break;
    case -ENOENT:
        remedy = "enable the controller in its parent's cgroup.subtree_control";
        break;
    case -EACCES:
    case -EPERM:
    case -EROFS:
        remedy = "run as root, or have the cgroup delegated with this controller";
        break;
    case -EOPNOTSUPP:
        remedy = "choose a linux.cgroupsPath outside of threaded cgroups";
        break;
    default:
        break;
    }
    _cleanup_free_ char *step = str_printf("enable the controller %s in", controller);
    return error_set(e, ERROR_CGROUP, -r, step, file, remedy, NULL);
}

static int enable_in(const char *dir, const char *controller, struct error *e)
{
    _cleanup_free_ char *file = path_join(dir, "cgroup.subtree_control"), *text = NULL;

    int r = file_read_at(AT_FDCWD, file, 0, 4096, &text, NULL);
    if (r == 0 && has_word(text, controller))
        return 0;
    if (r == 0) {
        _cleanup_free_ char *word = str_printf("+%s", controller);
        r = file_write_at(AT_FDCWD, file, word);
    }
    return r < 0 ? enable_failed(r, controller, file, e) : 0;
}

/* In the mount's root and each directory on the way to the parent of `path`. */
static int enable_down_to(const char *mount, const char *path, const char *controller,
                          struct error *e)
{
    _cleanup_free_ char *dir = mem_strdup(path);

    for (size_t n = strlen(mount);;) {
        char saved = dir[n];
        dir[n] = '\0';
        int r = enable_in(*dir ? dir : "/", controller, e);
        dir[n] = saved;
        if (r < 0)
            return r;
        n++;
        n += strcspn(dir + n, "/");
        if (dir[n] == '\0')
            return 0;
    }
}

/* Makes the file of a write appear. */
static int provide(const struct cgroup_host *host, int dirfd, const char *path,
                   const struct limit_write *w, struct error *e)
{
    _cleanup_free_ char *controller = controller_of(w->file);

    if (!host->mount || !path_is_below(path, host->mount) || streq(path, host->mount))
        return error_set(e, ERROR_CGROUP, EINVAL, "set the limit", w->file, NULL,
                         "the cgroup %s does not lie below the cgroup2 mount (%s)", path,
                         host->mount ? host->mount : "there is none");
    if (!strv_contains(host->controllers, controller))
        return no_controller(host, w, controller, e);
    int r = enable_down_to(host->mount, path, controller, e);
    if (r < 0)
        return r;
    if (faccessat(dirfd, w->file, F_OK, 0) < 0)
        return error_set(e, ERROR_CGROUP, errno, "set the limit", w->file,
                         streq(w->file, "memory.swap.max")
                             ? "use a kernel with swap accounting, or run without this limit"
                             : "use a kernel that has this file, or run without this limit",
                         "the controller %s is enabled, yet %s has no such file", controller, path);
    return 0;
}

static int write_failed(int r, const char *path, const struct limit_write *w, struct error *e)
{
    _cleanup_free_ char *full = path_join(path, w->file);
    const char *remedy = NULL;

    switch (r) {
    case -EINVAL:
    case -ERANGE:
        remedy = "choose a value the kernel takes (cgroup-v2.rst names the ranges)";
        break;
    case -ENODEV:
    case -ENXIO:
        remedy = streq(w->file, "io.max") ? "name a whole block device of this host" : NULL;
        break;
    case -EACCES:
    case -EPERM:
    case -EROFS:
        remedy = "run as root, or have the cgroup delegated to you";
        break;
    default:
        break;
    }
    return error_set(e, ERROR_CGROUP, -r, "set the limit", full, remedy,
                     "the kernel refuses '%s': %s", w->text, strerror(-r));
}

int cgroup_write_limits(const struct cgroup_host *host, const char *path,
                        const struct cgroup_limits *l, struct error *e)
{
    _cleanup_(limit_plan_done) struct limit_plan plan = {0};

    plan_writes(l, &plan);
    if (plan.n == 0)
        return 0;
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, ERROR_CGROUP, errno, "set the limits of the cgroup", path, NULL, NULL);

    for (size_t i = 0; i < plan.n; i++) {
        const struct limit_write *w = &plan.writes[i];
        int r = file_write_at(fd, w->file, w->text);
        if (r == -ENOENT && w->is_default)
            continue;
        if (r == -ENOENT) {
            r = provide(host, fd, path, w, e);
            if (r < 0)
                return r;
            r = file_write_at(fd, w->file, w->text);
        }
        if (r < 0)
            return write_failed(r, path, w, e);
    }
    return 0;
}
