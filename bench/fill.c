/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Holds N MiB of memory that nothing can leave out or compress, and waits: what the bench
 * freezes to have large images.
 *
 * usage: fill MIB */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    size_t size = strtoul(argv[1], NULL, 10) << 20;
    uint64_t *words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return 1;

    uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < size / sizeof(*words); i++) {
        /* xorshift64: no page is zero, no two are alike */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        words[i] = x;
    }
    for (;;)
        pause();
}
