/* Memory: private, shared with a child, a memfd, read-only, and never touched. */
#include "zoo.h"

#include <sys/mman.h>

enum { SIZE = 4 << 20, PAGE = 4096 };

static unsigned char *anon, *shared, *memory_file, *rdonly, *untouched, *holed;
static int memfd, ask[2], reply[2];
static uint64_t round_no;

static void *map(size_t size, int flags, int fd)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (p == MAP_FAILED)
        fail_errno("mmap");
    return p;
}

static void child(void)
{
    uint64_t seed;

    must(close(ask[1]));
    while (read(ask[0], &seed, sizeof(seed)) == sizeof(seed)) {
        zoo_fill(shared + SIZE / 2, SIZE / 2, seed);
        if (write(reply[1], &seed, sizeof(seed)) != sizeof(seed))
            break;
    }
    _exit(0);
}

static void setup(void)
{
    anon = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    shared = map(SIZE, MAP_SHARED | MAP_ANONYMOUS, -1);
    rdonly = map(PAGE * 4, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    untouched = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    holed = map(PAGE * 16, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memfd = must(memfd_create("zoo memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    must(ftruncate(memfd, SIZE));
    memory_file = map(SIZE, MAP_SHARED, memfd);
    must(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));

    zoo_fill(anon, SIZE, 1);
    zoo_fill(shared, SIZE, 2);
    zoo_fill(memory_file, SIZE, 3);
    zoo_fill(rdonly, PAGE * 4, 4);
    zoo_fill(holed, PAGE * 16, 5);
    must(mprotect(rdonly, PAGE * 4, PROT_READ));
    must(madvise(holed + PAGE * 4, PAGE * 4, MADV_DONTNEED));

    must(pipe(ask));
    must(pipe(reply));
    if (must(fork()) == 0)
        child();
    must(close(ask[0]));
    must(close(reply[1]));
}

static void verify(void)
{
    static const unsigned char zeros[PAGE];
    uint64_t seed = 100 + ++round_no, back;

    zoo_check("private", anon, SIZE, 1);
    zoo_check("shared, first half", shared, SIZE / 2, 2);
    if (round_no > 1)
        zoo_check("shared, the child's half", shared + SIZE / 2, SIZE / 2, seed - 1);
    zoo_check("memfd", memory_file, SIZE, 3);
    zoo_check("read-only", rdonly, PAGE * 4, 4);
    zoo_check("before the hole", holed, PAGE * 4, 5);
    for (size_t i = 0; i < 4; i++)
        if (memcmp(holed + PAGE * (4 + i), zeros, PAGE) != 0)
            fail("the hole is not empty");
    for (size_t i = 0; i < SIZE; i += PAGE * 64)
        if (untouched[i] != 0)
            fail("untouched memory has content");
    if (must(fcntl(memfd, F_GET_SEALS)) != F_SEAL_SHRINK)
        fail("the memfd's seals changed");

    /* Mapping and file, parent and child, still mean the same memory. */
    memory_file[10] ^= 0xff;
    must(pread(memfd, &back, 1, 10));
    if ((back & 0xff) != memory_file[10])
        fail("memfd: mapping and file have parted");
    memory_file[10] ^= 0xff;
    zoo_write("ask", ask[1], &seed, sizeof(seed));
    zoo_read("reply", reply[0], &back, sizeof(back));
    zoo_check("shared, what the child wrote", shared + SIZE / 2, SIZE / 2, seed);
}
