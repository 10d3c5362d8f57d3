#include "under/pollers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sim/epoll.h"
#include "under/real.h"
#include "under/world.h"

/* No wait reports more. */
#define RECORDS_MAX 1024

static int queue = -1; /* the one epoll that has the listener and the clients */

static int64_t milliseconds(const struct timespec *time) {
    if (time == NULL) return -1;
    return time->tv_sec * 1000 + (time->tv_nsec + 999999) / 1000000;
}

/* epoll */

static enum epoll_operation operation_of(int operation) {
    switch (operation) {
    case EPOLL_CTL_ADD: return EPOLL_ADD;
    case EPOLL_CTL_DEL: return EPOLL_DELETE;
    default: return EPOLL_MODIFY;
    }
}

int epoll_ctl(int on, int operation, int fd, struct epoll_event *event) {
    if (!world_is_simulated(fd)) {
        world_stirred();
        return (int)REAL(SYS_epoll_ctl, on, operation, fd, event);
    }
    if (queue < 0) queue = on;
    if (on != queue) world_unsupported("epoll_ctl of a second epoll");
    world_called("epoll_ctl");
    struct epoll_change change = {.operation = operation_of(operation),
                                  .events = event == NULL ? 0 : event->events};
    return (int)world_result(sim_epoll_control(world_sim, SIM_QUEUE, world_descriptors[fd].sim,
                                               change, event == NULL ? 0 : event->data.u64));
}

/* Records of real descriptors. */
static uint32_t gather_real(struct sim_kernel *sim, struct epoll_record *records, size_t max) {
    struct epoll_event events[64];
    world_is_calm();
    long found = REAL(SYS_epoll_pwait, queue, events, max < 64 ? max : 64, 0, NULL, 8);
    for (long i = 0; i < found; i++)
        records[i] = (struct epoll_record){.events = events[i].events, .token = events[i].data.u64};
    if (found > 0) world_stirred();                        /* until nothing more is found */
    if (found > 0 && world_has_threads()) sim->progress++; /* another one's */
    return found < 0 ? 0 : (uint32_t)found;
}

/* What is real comes first if it may have changed, so that no crowd keeps it waiting; other threads
 * may have changed it at any time, and are asked for if there would be no record. */
static uint32_t gather_epoll(struct sim_kernel *sim, void *target, size_t max) {
    struct epoll_record *records = target;
    bool asked = world_is_stirred();
    uint32_t found = asked ? gather_real(sim, records, max) : 0;
    if (found < max) found += epoll_gather(sim, records + found, max - found);
    if (found == 0 && !asked && world_has_threads()) found = gather_real(sim, records, max);
    return found;
}

static int wait_on(int on, struct epoll_event *events, int max, int64_t timeout_ms,
                   const sigset_t *blocked) {
    static struct epoll_record records[RECORDS_MAX];
    if (on != queue && world_is_mine() && timeout_ms != 0)
        world_unsupported("epoll_wait of a second epoll");
    if (on != queue) {
        int limited = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
        return (int)REAL(SYS_epoll_pwait, on, events, max, limited, blocked, 8);
    }
    size_t room = max > RECORDS_MAX ? RECORDS_MAX : (size_t)max;
    int found = world_wait("epoll_wait", gather_epoll, records, room, timeout_ms, blocked);
    for (int i = 0; i < found; i++)
        events[i] = (struct epoll_event){.events = records[i].events, .data.u64 = records[i].token};
    return found;
}

int epoll_wait(int on, struct epoll_event *events, int max, int timeout_ms) {
    return wait_on(on, events, max, timeout_ms, NULL);
}

int epoll_pwait(int on, struct epoll_event *events, int max, int timeout_ms,
                const sigset_t *blocked) {
    return wait_on(on, events, max, timeout_ms, blocked);
}

int epoll_pwait2(int on, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *blocked) {
    return wait_on(on, events, max, milliseconds(timeout), blocked);
}

/* poll */

static uint32_t gather_poll(struct sim_kernel *sim, void *target, size_t count) {
    struct pollfd *polled = target;
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        polled[i].revents = 0;
        if (!world_is_simulated(polled[i].fd)) continue;
        uint32_t asked = (uint16_t)polled[i].events | EPOLLERR | EPOLLHUP;
        uint32_t state = epoll_state(sim, world_descriptors[polled[i].fd].sim);
        polled[i].revents = (short)(state & asked);
        found += polled[i].revents != 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (polled[i].fd < 0 || world_is_simulated(polled[i].fd)) continue;
        found += REAL(SYS_poll, &polled[i], 1, 0) > 0;
    }
    return found;
}

static bool has_simulated(const struct pollfd *polled, nfds_t count) {
    for (nfds_t i = 0; i < count; i++)
        if (world_is_simulated(polled[i].fd)) return true;
    return false;
}

static int wait_poll(const char *call, struct pollfd *polled, nfds_t count, int64_t timeout_ms,
                     const sigset_t *blocked) {
    if (has_simulated(polled, count) || (world_is_mine() && timeout_ms != 0))
        return world_wait(call, gather_poll, polled, count, timeout_ms, blocked);
    int limited = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
    return (int)REAL(SYS_poll, polled, count, limited);
}

int poll(struct pollfd *polled, nfds_t count, int timeout_ms) {
    return wait_poll("poll", polled, count, timeout_ms, NULL);
}

int ppoll(struct pollfd *polled, nfds_t count, const struct timespec *timeout,
          const sigset_t *blocked) {
    return wait_poll("poll", polled, count, milliseconds(timeout), blocked);
}

int __poll_chk(struct pollfd *polled, nfds_t count, int timeout_ms, size_t room);

int __poll_chk(struct pollfd *polled, nfds_t count, int timeout_ms, size_t room) {
    return poll(polled, count, timeout_ms);
}

int pollers_wait_for(int fd, short events) {
    struct pollfd polled = {.fd = fd, .events = events};
    return world_wait("blocking sockets", gather_poll, &polled, 1, -1, NULL);
}

/* select, by way of poll */

static nfds_t polled_of(int count, const fd_set *reads, const fd_set *writes,
                        struct pollfd polled[FD_SETSIZE]) {
    nfds_t used = 0;
    for (int fd = 0; fd < count; fd++) {
        int events = (reads != NULL && FD_ISSET(fd, reads) ? POLLIN : 0) |
                     (writes != NULL && FD_ISSET(fd, writes) ? POLLOUT : 0);
        if (events != 0) polled[used++] = (struct pollfd){.fd = fd, .events = (short)events};
    }
    return used;
}

/* An error or the end makes a descriptor ready for what was asked (Linux, select.c: POLLIN_SET). */
static int sets_of(const struct pollfd *polled, nfds_t count, fd_set *reads, fd_set *writes) {
    int found = 0;
    if (reads != NULL) FD_ZERO(reads);
    if (writes != NULL) FD_ZERO(writes);
    for (nfds_t i = 0; i < count; i++) {
        bool readable = (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
        bool writable = (polled[i].revents & (POLLOUT | POLLERR)) != 0;
        readable = readable && (polled[i].events & POLLIN) != 0;
        writable = writable && (polled[i].events & POLLOUT) != 0;
        if (readable) FD_SET(polled[i].fd, reads);
        if (writable) FD_SET(polled[i].fd, writes);
        found += readable + writable;
    }
    return found;
}

static int wait_select(int count, fd_set *reads, fd_set *writes, fd_set *others, int64_t timeout_ms,
                       const sigset_t *blocked) {
    static struct pollfd polled[FD_SETSIZE];
    nfds_t used = polled_of(count, reads, writes, polled);
    int found = wait_poll("select", polled, used, timeout_ms, blocked);
    if (found < 0) return found;
    if (others != NULL) FD_ZERO(others);
    return sets_of(polled, used, reads, writes);
}

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict others,
           struct timeval *restrict timeout) {
    int64_t timeout_ms = -1;
    if (timeout != NULL) timeout_ms = timeout->tv_sec * 1000 + (timeout->tv_usec + 999) / 1000;
    return wait_select(count, reads, writes, others, timeout_ms, NULL);
}

int pselect(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict others,
            const struct timespec *restrict timeout, const sigset_t *restrict blocked) {
    return wait_select(count, reads, writes, others, milliseconds(timeout), blocked);
}

void pollers_forget(int fd) {
    if (fd == queue) queue = -1;
}
