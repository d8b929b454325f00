/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* For attacks on whoever looks a path up twice: exchanges two names, over and over, so that at any
 * moment either may be there.
 *
 *   swap ONE OTHER [PAUSE_US]
 *
 * Prints "ready" after the first exchange and then, now and again, "swaps N". Ends after a minute
 * by itself, whatever becomes of the test. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 60
#define REPORT 4096

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    useconds_t pause = argc > 3 ? (useconds_t)atoi(argv[3]) : 0;
    time_t end = time(NULL) + SECONDS;

    for (unsigned long n = 1; time(NULL) < end; n++) {
        if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0) {
            (void)fprintf(stderr, "swap: %s\n", strerror(errno));
            return 1;
        }
        if (n == 1)
            (void)puts("ready");
        if (n == 1 || n % REPORT == 0 || pause) {
            (void)printf("swaps %lu\n", n);
            (void)fflush(stdout);
        }
        if (pause)
            (void)usleep(pause);
    }
    return 0;
}
