/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/seccomp.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/str.h"
#include "oci/decode.h"

/* config.json's "linux.seccomp". */

#define SECCOMP_ERRNO_MAX 4095 /* MAX_ERRNO of the kernel, which clamps larger ones */
#define SECCOMP_ARG_MAX 5      /* a system call has six arguments */

/* With a byte for the NUL. */
#define LISTENER_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static const struct oci_name actions[] = {
    {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
    {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
    {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
    {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO},
    {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE},
    {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},
    {"SCMP_ACT_LOG", SECCOMP_RET_LOG},
    {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF},
};

static const struct oci_name operators[] = {
    {"SCMP_CMP_NE", OCI_CMP_NE},
    {"SCMP_CMP_LT", OCI_CMP_LT},
    {"SCMP_CMP_LE", OCI_CMP_LE},
    {"SCMP_CMP_EQ", OCI_CMP_EQ},
    {"SCMP_CMP_GE", OCI_CMP_GE},
    {"SCMP_CMP_GT", OCI_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", OCI_CMP_MASKED_EQ},
};

static const struct oci_name flags[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
};

static const struct oci_name architectures[] = {
    {"SCMP_ARCH_X86", 0},      {"SCMP_ARCH_X86_64", 0},      {"SCMP_ARCH_X32", 0},
    {"SCMP_ARCH_ARM", 0},      {"SCMP_ARCH_AARCH64", 0},     {"SCMP_ARCH_MIPS", 0},
    {"SCMP_ARCH_MIPS64", 0},   {"SCMP_ARCH_MIPS64N32", 0},   {"SCMP_ARCH_MIPSEL", 0},
    {"SCMP_ARCH_MIPSEL64", 0}, {"SCMP_ARCH_MIPSEL64N32", 0}, {"SCMP_ARCH_PPC", 0},
    {"SCMP_ARCH_PPC64", 0},    {"SCMP_ARCH_PPC64LE", 0},     {"SCMP_ARCH_S390", 0},
    {"SCMP_ARCH_S390X", 0},    {"SCMP_ARCH_PARISC", 0},      {"SCMP_ARCH_PARISC64", 0},
    {"SCMP_ARCH_RISCV64", 0},  {"SCMP_ARCH_LOONGARCH64", 0}, {"SCMP_ARCH_M68K", 0},
    {"SCMP_ARCH_SH", 0},       {"SCMP_ARCH_SHEB", 0},
};

static int decode_action(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = decode_name(d, at, actions, ARRAY_SIZE(actions), &v);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_errno(struct decoder *d, const struct json_at *at, uint32_t *ret)
{
    uint64_t v = 0;
    int r = json_get_u64(at, SECCOMP_ERRNO_MAX, &v, d->e);
    if (r < 0)
        return r;
    *ret = (uint32_t)v;
    return 0;
}

static int decode_default_errno(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_seccomp *s = out;
    s->has_default_errno = true;
    return decode_errno(d, at, &s->default_errno);
}

static int decode_rule_errno(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_seccomp_rule *rule = out;
    rule->has_errno = true;
    return decode_errno(d, at, &rule->errno_ret);
}

/* "When the action doesn't support an errno, the runtime MUST print and error and fail"
 * (runtime-spec, config-linux.md). */
static int check_errno(struct decoder *d, const struct json_at *at, const char *key, bool has,
                       uint32_t action)
{
    if (!has || action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE)
        return 0;
    struct json_at member = json_member(at, key);
    return decode_error(d, &member, "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a number");
}

static int decode_flags(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t set = 0;
    int r = decode_name_set(d, at, flags, ARRAY_SIZE(flags), &set);
    *(uint32_t *)out = (uint32_t)set;
    return r;
}

static int decode_architectures(struct decoder *d, const struct json_at *at, void *out)
{
    char ***names = out;
    int r = decode_strv(d, at, names);

    for (size_t i = 0; r == 0 && *names && (*names)[i]; i++) {
        struct json_at el = json_element(at, i);
        uint64_t v;
        r = decode_name(d, &el, architectures, ARRAY_SIZE(architectures), &v);
    }
    return r;
}

static int decode_arg_index(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = json_get_u64(at, SECCOMP_ARG_MAX, &v, d->e);
    if (r < 0)
        return r;
    *(uint32_t *)out = (uint32_t)v;
    return 0;
}

static int decode_operator(struct decoder *d, const struct json_at *at, void *out)
{
    uint64_t v = 0;
    int r = decode_name(d, at, operators, ARRAY_SIZE(operators), &v);
    if (r < 0)
        return r;
    *(int *)out = (int)v;
    return 0;
}

static int decode_arg(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("index", decode_arg_index, struct oci_seccomp_arg, index),
        NEEDED("value", decode_u64, struct oci_seccomp_arg, value),
        FIELD("valueTwo", decode_u64, struct oci_seccomp_arg, value_two),
        NEEDED("op", decode_operator, struct oci_seccomp_arg, op),
    };
    return decode_object(d, at, fields, ARRAY_SIZE(fields), out);
}

static int decode_args(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_seccomp_rule *rule = out;
    return decode_array(d, at, sizeof(*rule->args), decode_arg, (void **)&rule->args,
                        &rule->n_args);
}

static int decode_names(struct decoder *d, const struct json_at *at, void *out)
{
    char ***names = out;
    int r = decode_strv(d, at, names);
    if (r < 0)
        return r;
    if (!*names || !(*names)[0])
        return decode_error(d, at, "must name at least one system call");
    for (size_t i = 0; (*names)[i]; i++) {
        struct json_at el = json_element(at, i);
        if ((*names)[i][0] == '\0')
            return decode_error(d, &el, "must not be empty");
    }
    return 0;
}

static int decode_rule(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("names", decode_names, struct oci_seccomp_rule, names),
        NEEDED("action", decode_action, struct oci_seccomp_rule, action),
        FIELD_WHOLE("errnoRet", decode_rule_errno),
        FIELD_WHOLE("args", decode_args),
    };
    struct oci_seccomp_rule *rule = out;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), rule);
    return r < 0 ? r : check_errno(d, at, "errnoRet", rule->has_errno, rule->action);
}

static int decode_rules(struct decoder *d, const struct json_at *at, void *out)
{
    struct oci_seccomp *s = out;
    return decode_array(d, at, sizeof(*s->rules), decode_rule, (void **)&s->rules, &s->n_rules);
}

/* "" is what Go makes of none. */
static int decode_listener_path(struct decoder *d, const struct json_at *at, void *out)
{
    char **path = out;
    int r = decode_string(d, at, path);
    if (r < 0 || !*path)
        return r;
    r = decode_check_absolute(d, at, *path);
    if (r == 0 && strlen(*path) > LISTENER_PATH_MAX)
        return decode_error(d, at, "is longer than a socket's path can be (%zu bytes)",
                            LISTENER_PATH_MAX);
    return r;
}

static bool notifies(const struct oci_seccomp *s)
{
    for (size_t i = 0; i < s->n_rules; i++)
        if (s->rules[i].action == SECCOMP_RET_USER_NOTIF)
            return true;
    return s->default_action == SECCOMP_RET_USER_NOTIF;
}

/* A listener that nothing notifies is never called: the same as none. */
static int check_listener(struct decoder *d, const struct json_at *at, struct oci_seccomp *s)
{
    struct json_at path = json_member(at, "listenerPath");
    struct json_at metadata = json_member(at, "listenerMetadata");

    if (s->listener_metadata && !s->listener_path)
        return decode_error(d, &metadata, "is for the listener at listenerPath, which is missing");
    if (notifies(s) && !s->listener_path)
        return decode_error(d, &path, "is required, but missing: SCMP_ACT_NOTIFY needs a listener");
    if (!notifies(s)) {
        free(TAKE_PTR(s->listener_path));
        free(TAKE_PTR(s->listener_metadata));
    }
    return 0;
}

int decode_seccomp(struct decoder *d, const struct json_at *at, void *out)
{
    static const struct oci_field fields[] = {
        NEEDED("defaultAction", decode_action, struct oci_seccomp, default_action),
        FIELD_WHOLE("defaultErrnoRet", decode_default_errno),
        FIELD("architectures", decode_architectures, struct oci_seccomp, architectures),
        FIELD("flags", decode_flags, struct oci_seccomp, flags),
        FIELD_WHOLE("syscalls", decode_rules),
        FIELD("listenerPath", decode_listener_path, struct oci_seccomp, listener_path),
        FIELD("listenerMetadata", decode_string, struct oci_seccomp, listener_metadata),
    };
    struct oci_seccomp *s = mem_new0(struct oci_seccomp);

    *(struct oci_seccomp **)out = s;
    int r = decode_object(d, at, fields, ARRAY_SIZE(fields), s);
    if (r == 0)
        r = check_errno(d, at, "defaultErrnoRet", s->has_default_errno, s->default_action);
    return r < 0 ? r : check_listener(d, at, s);
}

void oci_seccomp_free(struct oci_seccomp *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_rules; i++) {
        strv_free(s->rules[i].names);
        free(s->rules[i].args);
    }
    free(s->rules);
    strv_free(s->architectures);
    free(s->listener_path);
    free(s->listener_metadata);
    free(s);
}

#define ROW(table, i) ((i) < ARRAY_SIZE(table) ? &(table)[i] : NULL)

const struct oci_name *oci_seccomp_action(size_t i)
{
    return ROW(actions, i);
}

const struct oci_name *oci_seccomp_operator(size_t i)
{
    return ROW(operators, i);
}

const struct oci_name *oci_seccomp_architecture(size_t i)
{
    return ROW(architectures, i);
}

const struct oci_name *oci_seccomp_flag(size_t i)
{
    return ROW(flags, i);
}
