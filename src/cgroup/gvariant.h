/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Values of D-Bus and their text format (https://docs.gtk.org/glib/gvariant-text-format.html),
 * which is what annotations give systemd's properties in: "uint64 5", "'text'", "['a', 'b']", "@as
 * []", "[('/dev/sda', uint64 100)]". Dictionaries, maybe types, byte strings and handles are not
 * read: no property of a unit has one. */
struct gvariant {
    char *type; /* D-Bus signature of one complete type: "t", "as", "a(st)" */
    union {
        bool boolean;    /* b */
        int64_t integer; /* n i x */
        uint64_t number; /* y q u t */
        double real;     /* d */
        char *string;    /* s o g: UTF-8, not NULL */
    };
    struct gvariant *items; /* of an array or tuple; of a variant the one in it */
    size_t n_items;
};

/* -EINVAL; *ret_why is then newly allocated, and says what is wrong and where. What is read can be
 * sent, but for the syntax of object paths and signatures, which is the library's to check. */
int gvariant_parse(const char *text, struct gvariant *ret, char **ret_why);
void gvariant_done(struct gvariant *v);
#define _cleanup_gvariant_ _cleanup_(gvariant_done)

/* Makers of values, for the properties that nucleus sets itself. */
struct gvariant gvariant_boolean(bool value);
struct gvariant gvariant_u32(uint32_t value);
struct gvariant gvariant_u64(uint64_t value);
struct gvariant gvariant_string(const char *value);
/* An array of `n` elements of the type, each still to be filled in by the caller. */
struct gvariant gvariant_array(const char *element_type, size_t n);
