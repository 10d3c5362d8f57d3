/* Clocks and sleeps: in the thread that waits, time is that of the simulated kernel. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

#define CLOCKS 12

/* The real time of each clock when the simulated time was first asked for, and that time. */
static struct timespec begins[CLOCKS];
static uint64_t first_ms;

static bool is_simulated(clockid_t clock) {
    bool counts_cpu = clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
    return world_is_mine() && clock >= 0 && clock < CLOCKS && !counts_cpu;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!is_simulated(clock)) return (int)REAL(SYS_clock_gettime, clock, now);
    for (clockid_t each = 0; first_ms == 0 && each < CLOCKS; each++)
        REAL(SYS_clock_gettime, each, &begins[each]);
    if (first_ms == 0) first_ms = world_clock_ms();
    uint64_t passed_ms = world_clock_ms() - first_ms;
    long ns = begins[clock].tv_nsec + (long)(passed_ms % 1000) * 1000000;
    now->tv_sec = begins[clock].tv_sec + (time_t)(passed_ms / 1000) + ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    *now = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now != NULL) *now = time.tv_sec;
    return time.tv_sec;
}

/* A sleep is a wait for nothing. */

static uint32_t gather_nothing(struct sim_kernel *sim, void *records, size_t max) { return 0; }

int nanosleep(const struct timespec *asked, struct timespec *left) {
    if (!world_is_mine()) return (int)REAL(SYS_nanosleep, asked, left);
    if (left != NULL) *left = (struct timespec){.tv_sec = 0};
    int64_t ms = asked->tv_sec * 1000 + (asked->tv_nsec + 999999) / 1000000;
    return world_wait(gather_nothing, NULL, 1, ms, NULL);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked,
                    struct timespec *left) {
    if (!world_is_mine())
        return REAL(SYS_clock_nanosleep, clock, flags, asked, left) < 0 ? errno : 0;
    if (flags == TIMER_ABSTIME) world_unsupported("clock_nanosleep with TIMER_ABSTIME");
    return nanosleep(asked, left) < 0 ? errno : 0;
}

int usleep(useconds_t us) {
    struct timespec asked = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    return nanosleep(&asked, NULL);
}

unsigned sleep(unsigned s) {
    struct timespec asked = {.tv_sec = s};
    return nanosleep(&asked, NULL) < 0 ? s : 0;
}
