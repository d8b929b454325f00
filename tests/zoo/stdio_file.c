/* stdio streams on a file: half-read input, buffered output not yet written, append mode. */
#include "zoo.h"

static const char *in_path, *out_path, *log_path;
static FILE *in, *out, *log_file;
static int next_line, rounds;

enum { LINES = 2000 };

static void expect_line(void)
{
    char line[64], want[64];

    if (next_line == LINES) {
        rewind(in);
        next_line = 0;
    }
    snprintf(want, sizeof(want), "line %d of the input\n", next_line++);
    if (!fgets(line, sizeof(line), in) || strcmp(line, want) != 0)
        fail("input: not line %d", next_line - 1);
}

static void setup(void)
{
    in_path = zoo_path("stdio-in");
    out_path = zoo_path("stdio-out");
    log_path = zoo_path("stdio-log");
    in = fopen(in_path, "w+");
    out = fopen(out_path, "w+");
    log_file = fopen(log_path, "a");
    if (!in || !out || !log_file)
        fail_errno("fopen");
    for (int i = 0; i < LINES; i++)
        fprintf(in, "line %d of the input\n", i);
    rewind(in);
    for (int i = 0; i < 100; i++)
        expect_line();
    fprintf(out, "unflushed 0\n");
    fprintf(log_file, "begin\n");
    fflush(log_file);
}

static void verify(void)
{
    char text[64], want[64];
    struct stat st;
    off_t size;

    for (int i = 0; i < 500; i++)
        expect_line();

    /* What sits in the buffer of the stream is memory, not yet file. */
    snprintf(want, sizeof(want), "unflushed %d\n", rounds);
    if (fflush(out) != 0 || fseek(out, -(long)strlen(want), SEEK_END) != 0 ||
        !fgets(text, sizeof(text), out) || strcmp(text, want) != 0)
        fail("output: the last line is not %s", want);
    fseek(out, 0, SEEK_END);
    fprintf(out, "unflushed %d\n", ++rounds);

    must(fstat(fileno(log_file), &st));
    size = st.st_size;
    must(lseek(fileno(log_file), 0, SEEK_SET));
    fprintf(log_file, "again\n");
    fflush(log_file);
    must(stat(log_path, &st));
    if (st.st_size != size + 6)
        fail("log: append mode is gone");
}
