/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "base/str.h"
#include "cgroup/stats.h"

/* `stats`: what people want to know of a container at one moment. What is not known (no controller)
 * is USAGE_UNKNOWN. */

#define USAGE_UNKNOWN INT64_MIN

struct usage_row {
    char *id, *name;
    int64_t cpu_usec;          /* of all CPUs, since it was made */
    int64_t at_usec;           /* when this was looked up, CLOCK_MONOTONIC */
    int64_t cpu_tenths;        /* tenths of a percent of one CPU since the row before */
    int64_t memory;            /* bytes */
    int64_t memory_limit;      /* bytes; INT64_MAX: none */
    int64_t tasks;             /* processes and threads */
    int64_t io_read, io_write; /* bytes */
};
struct usage_table {
    struct usage_row *rows;
    size_t n;
};
void usage_table_done(struct usage_table *t);
#define _cleanup_usage_table_ _cleanup_(usage_table_done)

/* Adds a row. */
void usage_table_add(struct usage_table *t, const char *id, const char *name, int64_t at_usec,
                     const struct cgroup_stats *s);

/* Fills in cpu_tenths of every container that is in both. */
void usage_table_compare(struct usage_table *t, const struct usage_table *before);

/* The table with its header; `eol` ends each line. */
void usage_table_print(const struct usage_table *t, const char *eol, struct strbuf *out);

/* One container as an object, unknown values null. A new reference. */
struct json_object *usage_row_json(const struct usage_row *row);
