/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#pragma once

#include "state/state.h"

/* A record as state_render() writes it, byte by byte, read without building a tree of it: `list`
 * reads thousands. NULL for any other text, which says nothing about it: state_parse() decides.
 * What is read here state_parse() reads alike. Newly allocated. */
struct state *record_parse_plain(const char *text, size_t len) _warn_unused_;
