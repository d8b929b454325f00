/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "state/record-plain.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A state file: what loads is written so that it loads again and is then written the same. What is
 * read the short way is read the long way, and alike. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state *s = NULL, *again = NULL;
    struct state *plain = record_parse_plain((const char *)data, size);
    struct error e = {0};

    if (state_parse((const char *)data, size, "fuzz.json", &s, &e) < 0) {
        char *line = error_render(&e);
        if (plain || e.code != ERROR_STATE || strchr(line, '\n') || strlen(line) > 4096)
            abort();
        free(line);
        error_done(&e);
        return 0;
    }
    char *text = state_render(s);
    if (plain) {
        char *same = state_render(plain);
        if (strcmp(text, same) != 0 || plain->pid != s->pid)
            abort();
        free(same);
        state_free(plain);
    }
    if (state_parse(text, strlen(text), "again.json", &again, &e) < 0)
        abort();
    char *text_again = state_render(again);
    if (strcmp(text, text_again) != 0 || strcmp(s->id, again->id) != 0 || s->pid < 0)
        abort();
    free(text);
    free(text_again);
    state_free(s);
    state_free(again);
    return 0;
}
