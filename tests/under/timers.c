#include "under/timers.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

/* Behind each there is an eventfd: a read gives the number of expirations, and sets it to 0. */
#define TIMERS_MAX 16
#define NEVER UINT64_MAX

static struct timer {
    bool used;
    int fd;
    clockid_t clock;
    uint64_t due_ms, interval_ms; /* interval 0: once */
} timers[TIMERS_MAX];

static struct timer *timer_of(int fd) {
    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (timers[i].used && timers[i].fd == fd) return &timers[i];
    return NULL;
}

static int64_t milliseconds(const struct timespec *time) {
    return time->tv_sec * 1000 + (time->tv_nsec + 999999) / 1000000;
}

static struct timespec time_of(uint64_t ms) {
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

int timerfd_create(clockid_t clock, int flags) {
    int fd = (int)REAL(SYS_eventfd2, 0, flags); /* its flags are the same numbers */
    for (size_t i = 0; fd >= 0 && i < TIMERS_MAX; i++) {
        if (timers[i].used) continue;
        timers[i] = (struct timer){.used = true, .fd = fd, .clock = clock, .due_ms = NEVER};
        return fd;
    }
    if (fd >= 0) world_unsupported("more than 16 timerfd");
    return fd;
}

int timerfd_gettime(int fd, struct itimerspec *now) {
    const struct timer *timer = timer_of(fd);
    if (timer == NULL) return (int)REAL(SYS_timerfd_gettime, fd, now);
    uint64_t now_ms = world_clock_ms();
    bool armed = timer->due_ms != NEVER && timer->due_ms > now_ms;
    *now = (struct itimerspec){.it_interval = time_of(timer->interval_ms),
                               .it_value = time_of(armed ? timer->due_ms - now_ms : 0)};
    return 0;
}

/* Expirations that were not read are forgotten. */
static void drain(int fd) {
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    uint64_t count;
    if (REAL(SYS_poll, &polled, 1, 0) > 0) REAL(SYS_read, fd, &count, sizeof count);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *asked, struct itimerspec *before) {
    struct timer *timer = timer_of(fd);
    if (timer == NULL) return (int)REAL(SYS_timerfd_settime, fd, flags, asked, before);
    if (before != NULL) timerfd_gettime(fd, before);
    struct timespec now = {.tv_sec = 0};
    if (flags & TFD_TIMER_ABSTIME) clock_gettime(timer->clock, &now);
    int64_t left_ms = milliseconds(&asked->it_value) - milliseconds(&now);
    bool armed = asked->it_value.tv_sec != 0 || asked->it_value.tv_nsec != 0;
    drain(fd);
    timer->interval_ms = (uint64_t)milliseconds(&asked->it_interval);
    timer->due_ms = armed ? world_clock_ms() + (left_ms > 0 ? (uint64_t)left_ms : 0) : NEVER;
    return 0;
}

static void expire(struct timer *timer, uint64_t now_ms) {
    uint64_t count = 1;
    if (timer->interval_ms > 0) count += (now_ms - timer->due_ms) / timer->interval_ms;
    REAL(SYS_write, timer->fd, &count, sizeof count);
    world_stirred();
    timer->due_ms = timer->interval_ms > 0 ? timer->due_ms + count * timer->interval_ms : NEVER;
}

int64_t timers_expire(void) {
    uint64_t now_ms = world_clock_ms();
    uint64_t next_ms = NEVER;
    for (size_t i = 0; i < TIMERS_MAX; i++) {
        if (!timers[i].used) continue;
        if (timers[i].due_ms <= now_ms) expire(&timers[i], now_ms);
        if (timers[i].due_ms < next_ms) next_ms = timers[i].due_ms;
    }
    return next_ms == NEVER ? -1 : (int64_t)(next_ms - now_ms);
}

void timers_forget(int fd) {
    struct timer *timer = timer_of(fd);
    if (timer != NULL) timer->used = false;
}
