/* Clocks and sleeps: in the thread that waits, time is that of the simulated kernel. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

#define CLOCKS 12

/* What the monotonic clocks say when the process first asks: their rounding, as of a timer that is
 * kept as a float, repeats. */
#define FIRST_S 1000000

/* The time of each clock when the simulated time was first asked for, and that time. */
static struct timespec begins[CLOCKS];
static uint64_t first_ms;

static bool counts_cpu(clockid_t clock) {
    return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

static bool is_monotonic(clockid_t clock) {
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW ||
           clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME;
}

static int real_clock(clockid_t clock, struct timespec *now) {
    static struct timespec first;
    if (REAL(SYS_clock_gettime, clock, now) < 0) return -1;
    if (!is_monotonic(clock) || !world_exists()) return 0;
    if (first.tv_sec == 0) REAL(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &first);
    now->tv_sec += FIRST_S - first.tv_sec;
    return 0;
}

/* All clocks stop, at a whole second. */
static void stop_clocks(void) {
    for (clockid_t each = 0; each < CLOCKS; each++) {
        real_clock(each, &begins[each]);
        begins[each] = (struct timespec){.tv_sec = begins[each].tv_sec + 1};
    }
    first_ms = world_clock_ms();
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!world_is_mine() || clock >= CLOCKS || counts_cpu(clock)) return real_clock(clock, now);
    if (first_ms == 0) stop_clocks();
    uint64_t passed_ms = world_clock_ms() - first_ms;
    now->tv_sec = begins[clock].tv_sec + (time_t)(passed_ms / 1000);
    now->tv_nsec = (long)(passed_ms % 1000) * 1000000;
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
    return world_wait("nanosleep", gather_nothing, NULL, 1, ms, NULL);
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
