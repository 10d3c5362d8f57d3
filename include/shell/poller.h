#pragma once

#include "core/outcome.h"
#include "core/readiness.h"
#include "shell/kernel.h"

/* Waits until descriptors are ready, level-triggered: what is ready and was not served is reported
 * again. Two implementations, over the same kernel table. */
struct poller {
    const struct poller_ops *ops;
    struct kernel kernel;
    int32_t queue; /* descriptor of the epoll or the kqueue */
};

/* The most events that one wait returns; what else is ready comes with the next. */
#define POLLER_EVENTS_MAX 256

struct poller_ops {
    /* Leads a descriptor from one interest to another, in effect at once.
     *
     * requires  from != to, and `from` is what the last change that succeeded led to
     * errors    the fault of the system call; the descriptor may then watch for anything, and is
     *           to be led to INTEREST_NONE and closed
     */
    struct result (*change)(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to);

    /* Waits up to `timeout_ms` (-1: for ever) and fills in `ready`.
     *
     * ensures   value: how many were filled in, at most POLLER_EVENTS_MAX
     */
    struct result (*wait)(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms);
};

extern const struct poller_ops poller_epoll;
extern const struct poller_ops poller_kqueue;
