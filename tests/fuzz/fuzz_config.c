/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/spec.h"

/* config.json from any text: no crash, no leak, and an error or a spec that holds what spec.h
 * promises. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_namespaces(const struct oci_spec *s)
{
    require(oci_spec_isolates(s, CLONE_NEWNS));
    require((s->new_namespaces & s->joined_namespaces) == 0);
    for (int i = 0; i < _OCI_NS_MAX; i++) {
        const char *path = s->namespace_paths[i];
        bool joined = s->joined_namespaces & oci_namespace_flag((enum oci_namespace_type)i);
        require(joined == (path != NULL));
        require(!path || path[0] == '/');
    }
    require(!s->time_monotonic.set || (s->new_namespaces & CLONE_NEWTIME));
    require(s->time_monotonic.nanosecs < 1000000000 && s->time_boottime.nanosecs < 1000000000);
    require((s->n_uid_maps > 0) == (s->n_gid_maps > 0));
    require(!(s->new_namespaces & CLONE_NEWUSER) || s->n_uid_maps > 0);
    require((!s->hostname && !s->domainname) || oci_spec_isolates(s, CLONE_NEWUTS));
    require(s->n_net_devices == 0 || oci_spec_isolates(s, CLONE_NEWNET));
}

/* A sysctl's path stays below /proc/sys: no component is empty or leads upwards. */
static void check_sysctl(const char *key)
{
    for (const char *p = key;; p++) {
        size_t n = strcspn(p, ".");
        require(n > 0 && strspn(p, "/") < n);
        p += n;
        if (!*p)
            return;
    }
}

static void check_lists(const struct oci_spec *s)
{
    for (size_t i = 0; i < s->n_sysctls; i++) {
        require(s->sysctls[i].value);
        check_sysctl(s->sysctls[i].key);
    }
    for (size_t i = 0; i < s->n_devices; i++)
        require(s->devices[i].path[0] == '/' && s->devices[i].mode <= 07777);
    for (size_t i = 0; i < s->n_net_devices; i++)
        require(strlen(s->net_devices[i].host_name) < 16);
    for (int k = 0; k < _OCI_HOOK_MAX; k++)
        for (size_t i = 0; i < s->hooks[k].n; i++)
            require(s->hooks[k].list[i].path[0] == '/');
    for (size_t i = 0; i < s->resources.n_devices; i++)
        require(s->resources.devices[i].access != 0);
}

static void check_seccomp(const struct oci_seccomp *c)
{
    bool notify = c->default_action == SECCOMP_RET_USER_NOTIF;
    for (size_t i = 0; i < c->n_rules; i++)
        notify |= c->rules[i].action == SECCOMP_RET_USER_NOTIF;
    require(notify == (c->listener_path != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_spec *spec = NULL;
    struct error e = {0};

    int r = oci_spec_parse((const char *)data, size, "config.json", &spec, &e);
    if (r < 0) {
        require(!spec && e.code != ERROR_NONE && e.subject && e.why);
        /* What the scanner lets through, json-c has to take. */
        require(!str_after(e.why, "json-c"));
        free(error_render(&e));
    } else {
        require(spec->oci_version && spec->root_path && spec->root_path[0] && !e.why);
        require(!spec->process || (spec->process->args[0] && spec->process->cwd[0] == '/'));
        check_namespaces(spec);
        check_lists(spec);
        if (spec->seccomp)
            check_seccomp(spec->seccomp);
    }
    oci_spec_free(spec);
    error_done(&e);
    return 0;
}
