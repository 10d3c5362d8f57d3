/* The speed of upper() and of memcpy on the same bytes, in GB/s, best of several tries, as JSON.
 * Usage: upper_speed [BYTES] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/upper.h"

#define BYTES_MAX (1u << 20)
#define TRIES 25
#define BYTES_A_TRY (256u << 20)

static uint8_t from[BYTES_MAX];
static uint8_t to[BYTES_MAX];

static void do_upper(size_t length) { upper(to, length); }
static void do_memcpy(size_t length) { memcpy(to, from, length); }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Called through a pointer that is opaque to the compiler, so that it removes no work. */
static double best_rate(void (*volatile work)(size_t), size_t length) {
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        double begin = seconds();
        for (size_t done = 0; done < BYTES_A_TRY; done += length)
            work(length);
        double rate = BYTES_A_TRY / (seconds() - begin) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

int main(int count, char *arguments[]) {
    size_t length = count > 1 ? strtoul(arguments[1], NULL, 10) : 4096;
    if (length < 1 || length > BYTES_MAX) return fputs("usage: upper_speed [BYTES]\n", stderr), 2;
    for (size_t i = 0; i < BYTES_MAX; i++)
        from[i] = to[i] = (uint8_t)(i * 2654435761u >> 13);
    double upper_rate = best_rate(do_upper, length);
    double memcpy_rate = best_rate(do_memcpy, length);
    printf("{\"bytes\": %zu, \"upper_gb_s\": %.2f, \"memcpy_gb_s\": %.2f}\n", length, upper_rate,
           memcpy_rate);
    return 0;
}
