/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "security/program-search.h"

#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "security/program-cache.h"

/* What a conditional jump can reach behind itself. */
#define REACH 255

/* Where the filter gets to by architecture and number alone: its answer, or the place where it
 * first looks at something else. Nothing is known there but that place: what is loaded next
 * overwrites the only register. */
struct outcome {
    bool answers;
    uint32_t value; /* what it returns, or an instruction */
};

struct range {
    uint32_t first;
    struct outcome outcome;
};

static bool same(const struct outcome *a, const struct outcome *b)
{
    return a->answers == b->answers && a->value == b->value;
}

static bool compare(const struct sock_filter *i, uint32_t a, bool *ret)
{
    switch (i->code) {
    case BPF_JMP | BPF_JEQ | BPF_K:
        *ret = a == i->k;
        return true;
    case BPF_JMP | BPF_JGT | BPF_K:
        *ret = a > i->k;
        return true;
    case BPF_JMP | BPF_JGE | BPF_K:
        *ret = a >= i->k;
        return true;
    default:
        return false; /* one by which a range would not have one outcome */
    }
}

/* The code is valid, so jumps are inside and it ends. */
static bool evaluate(const struct sock_filter *code, uint32_t arch, uint32_t nr,
                     struct outcome *ret)
{
    bool loaded = false;
    uint32_t a = 0;

    for (size_t pc = 0;; pc++) {
        const struct sock_filter *i = &code[pc];
        bool holds;
        switch (i->code) {
        case BPF_RET | BPF_K:
            *ret = (struct outcome){true, i->k};
            return true;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k == offsetof(struct seccomp_data, arch)) {
                a = arch;
            } else if (i->k == offsetof(struct seccomp_data, nr)) {
                a = nr;
            } else {
                *ret = (struct outcome){false, (uint32_t)pc};
                return true;
            }
            loaded = true;
            break;
        default:
            if (!loaded || !compare(i, a, &holds))
                return false;
            pc += holds ? i->jt : i->jf;
        }
    }
}

static int compare_numbers(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The numbers at which some comparison begins to have another result: from one to the next the
 * filter takes one way. */
static uint32_t *boundaries(const struct sock_filter *code, size_t n, size_t *ret_n)
{
    uint32_t *all = mem_new(uint32_t, 2 * n + 1);
    size_t count = 0;

    all[count++] = 0;
    for (size_t i = 0; i < n; i++) {
        if (BPF_CLASS(code[i].code) != BPF_JMP || code[i].code == (BPF_JMP | BPF_JA))
            continue;
        all[count++] = code[i].k;
        all[count++] = code[i].k + 1; /* behind the last it is 0, which is one anyway */
    }
    qsort(all, count, sizeof(*all), compare_numbers);
    *ret_n = count;
    return all;
}

static struct range *find_ranges(const struct sock_filter *code, size_t n, uint32_t arch,
                                 size_t *ret_n)
{
    size_t n_firsts, count = 0;
    _cleanup_free_ uint32_t *firsts = boundaries(code, n, &n_firsts);
    _cleanup_free_ struct range *ranges = mem_new(struct range, n_firsts);

    for (size_t i = 0; i < n_firsts; i++) {
        struct range r = {.first = firsts[i]};
        if (!evaluate(code, arch, r.first, &r.outcome))
            return NULL;
        if (count == 0 || !same(&ranges[count - 1].outcome, &r.outcome))
            ranges[count++] = r;
    }
    *ret_n = count;
    return TAKE_PTR(ranges);
}

/* The filter in the making: the search, an instruction for each outcome, and what was kept. */
struct search {
    const struct range *ranges;
    struct outcome outcomes[REACH];
    size_t n_outcomes;
    size_t n_nodes;
    struct sock_filter code[2 * BPF_MAXINSNS];
    size_t n;
};

static size_t outcome_index(const struct search *s, const struct outcome *o)
{
    size_t i = 0;

    while (i < s->n_outcomes && !same(&s->outcomes[i], o))
        i++;
    return i;
}

/* The place of what decides over ranges `from` to `to` (excluded), which is made where it is a
 * comparison. Those of the left half lie before those of the right, all behind their parent. */
static size_t add_node(struct search *s, size_t from, size_t to)
{
    if (to - from == 1)
        return 1 + s->n_nodes + outcome_index(s, &s->ranges[from].outcome);

    const size_t at = s->n++, middle = from + (to - from) / 2;
    const size_t below = add_node(s, from, middle), above = add_node(s, middle, to);
    s->code[at] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, s->ranges[middle].first,
                                     (uint8_t)(above - at - 1), (uint8_t)(below - at - 1));
    return at;
}

static void follow(bool *kept, const struct sock_filter *code, size_t pc)
{
    switch (BPF_CLASS(code[pc].code)) {
    case BPF_RET:
        break;
    case BPF_JMP:
        if (code[pc].code == (BPF_JMP | BPF_JA)) {
            kept[pc + 1 + code[pc].k] = true;
        } else {
            kept[pc + 1 + code[pc].jt] = true;
            kept[pc + 1 + code[pc].jf] = true;
        }
        break;
    default:
        kept[pc + 1] = true;
    }
}

/* Copies what can be reached from where arguments decide. Jumps get shorter, never longer. */
static void add_kept(struct search *s, const struct sock_filter *code, size_t n)
{
    _cleanup_free_ bool *kept = mem_alloc(n);
    _cleanup_free_ size_t *place = mem_new(size_t, n);
    size_t at = 1 + s->n_nodes + s->n_outcomes;

    for (size_t i = 0; i < s->n_outcomes; i++)
        if (!s->outcomes[i].answers)
            kept[s->outcomes[i].value] = true;
    for (size_t pc = 0; pc < n; pc++) {
        place[pc] = at;
        if (!kept[pc])
            continue;
        follow(kept, code, pc);
        at++;
    }
    for (size_t i = 0; i < s->n_outcomes; i++) {
        const struct outcome *o = &s->outcomes[i];
        s->code[s->n] = o->answers ? (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, o->value)
                                   : (struct sock_filter)BPF_STMT(
                                         BPF_JMP | BPF_JA, (uint32_t)(place[o->value] - s->n - 1));
        s->n++;
    }
    for (size_t pc = 0; pc < n; pc++) {
        if (!kept[pc])
            continue;
        struct sock_filter i = code[pc];
        if (i.code == (BPF_JMP | BPF_JA)) {
            i.k = (uint32_t)(place[pc + 1 + i.k] - place[pc] - 1);
        } else if (BPF_CLASS(i.code) == BPF_JMP) {
            i.jt = (uint8_t)(place[pc + 1 + i.jt] - place[pc] - 1);
            i.jf = (uint8_t)(place[pc + 1 + i.jf] - place[pc] - 1);
        }
        s->code[s->n++] = i;
    }
}

bool program_search(const struct sock_filter *code, size_t n, uint32_t arch,
                    struct sock_filter **ret, size_t *ret_n)
{
    size_t n_ranges;

    if (!program_is_valid(code, n))
        return false;
    _cleanup_free_ struct range *ranges = find_ranges(code, n, arch, &n_ranges);
    if (!ranges || n_ranges > REACH)
        return false;

    _cleanup_free_ struct search *s = mem_new0(struct search);
    s->ranges = ranges;
    s->n_nodes = n_ranges - 1;
    for (size_t i = 0; i < n_ranges; i++)
        if (outcome_index(s, &ranges[i].outcome) == s->n_outcomes)
            s->outcomes[s->n_outcomes++] = ranges[i].outcome;
    /* Then there is room, too: what is kept is no longer than the original. */
    if (s->n_nodes + s->n_outcomes > REACH || 1 + s->n_nodes + s->n_outcomes >= n)
        return false;
    s->code[s->n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    (void)add_node(s, 0, n_ranges);
    add_kept(s, code, n);
    if (s->n >= n)
        return false;
    *ret = mem_dup(s->code, s->n * sizeof(*s->code));
    *ret_n = s->n;
    return true;
}
