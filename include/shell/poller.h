#pragma once

#include "core/outcome.h"
#include "core/readiness.h"
#include "shell/kernel.h"

/* Waits until descriptors are ready, level-triggered: a descriptor that is still ready is reported
 * again. Two implementations, over the same kernel table. */
struct poller {
    const struct poller_ops *ops;
    struct kernel kernel;
    int32_t queue; /* descriptor of the epoll or the kqueue */
};

/* The most events that one wait returns; the next wait returns the others. */
#define POLLER_EVENTS_MAX 256

struct poller_ops {
    /* Changes the interest in a descriptor, in effect at once.
     *
     * requires  from != to; `from` is the `to` of the last successful change
     * errors    the fault of the system call; the interest is then undefined, and the caller must
     *           change it to INTEREST_NONE and close the descriptor
     */
    struct result (*change)(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to);

    /* Waits up to `timeout_ms` (-1: no limit) and fills in `ready`.
     *
     * ensures   value: the number of events, at most POLLER_EVENTS_MAX
     */
    struct result (*wait)(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms);
};

extern const struct poller_ops poller_epoll;
extern const struct poller_ops poller_kqueue;
