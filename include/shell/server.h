#pragma once

#include "core/connection.h"
#include "shell/kernel.h"
#include "shell/log.h"
#include "shell/poller.h"

/* The loop: waits, and serves each connection that the poller selects as far as it can be served
 * without waiting. Everything is bounded, and reserved at the start; serving allocates nothing.
 *
 * Stopping loses nothing that the kernel had received by then, and ends in a bounded time:
 *
 *    the stop descriptor is readable
 *        |
 *        |  accept the backlog, then close the listener
 *        |  ask how many bytes each connection has unread: so many are owed
 *        v
 *    STOPPING  --- owed bytes echoed, all is sent --->  LINGERING  --- the peer's end --->  closed
 *        |                                              (our FIN is sent; what still arrives
 *        |                                               is discarded)
 *        |                                                  |
 *        +------ the drain time-out is over: close ---------+
 *
 * To close with unread input would send RST, and destroy what the peer has not read yet: hence FIN
 * first, and then reading on until the peer's own. A peer that ignores our FIN holds us for the
 * whole time-out. STOPPED_SHORT if a connection was still STOPPING then: it lost what it was owed.
 * Two things are not promised. Who waits in the backlog beyond connections_max, or for want of
 * descriptors, is refused. And who at the time-out still sends, and has not read, may lose from the
 * kernel's send buffer what was already sent.
 */

struct server_options {
    uint32_t slot_count;       /* descriptors that can be served are below this number */
    uint32_t connections_max;  /* further clients wait in the backlog */
    uint32_t buffer_bytes;     /* what one connection may have pending; at most one receive */
    uint32_t idle_timeout_ms;  /* at most 2^31; 0: never */
    uint32_t drain_timeout_ms; /* at most 2^31 */
};

struct server {
    struct kernel kernel;
    struct poller poller;
    struct log *log;
    struct server_options options;
    int32_t listener;
    int32_t stop;
    enum interest listener_interest; /* NONE while no client is accepted */
    uint32_t connected;
    uint32_t slots_used;   /* no connection ever had a slot from here on */
    bool lossy;            /* the drain lost bytes that were owed */
    struct result failure; /* SERVER_FAILED: of the wait */

    /* Times; UINT64_MAX: never. */
    uint64_t now_ms;   /* when the clock was last read */
    uint64_t retry_ms; /* when to try to accept again, while that is paused after a fault */
    uint64_t sweep_ms; /* when to look for idle connections */
    uint64_t drain_ms; /* when the drain ends; so long as it is never, we are not stopping */

    struct connection *connections; /* by slot */
    uint8_t *areas;                 /* by slot: what a short send left */
    size_t area_bytes;
    uint8_t *scratch; /* where every receive goes */
    struct readiness ready[POLLER_EVENTS_MAX];
};

/* Bytes of zeroed memory that server_init takes. It is address space: a page that no client ever
 * needed is never touched. */
size_t server_memory_needed(const struct server_options *options);

/* Prepares to serve clients of `listener`, a non-blocking listening socket, until `stop` becomes
 * readable.
 *
 * requires  1 <= connections_max <= slot_count; 1 <= buffer_bytes; `memory` holds
 *           server_memory_needed(options) zeroed bytes, aligned to KERNEL_MEMORY_UNIT; it and `log`
 *           stay the server's as long as it is stepped
 * errors    the fault of adding a descriptor to the poller
 */
struct result server_init(struct server *s, struct poller poller, struct log *log,
                          const struct server_options *options, int32_t listener, int32_t stop,
                          uint8_t *memory);

enum server_status {
    SERVER_RUNNING,
    SERVER_STOPPED,       /* drained; nothing is open but `stop` and the poller */
    SERVER_STOPPED_SHORT, /* likewise, but at the time-out bytes were still owed */
    SERVER_FAILED         /* the poller cannot wait; `failure` says why */
};

/* Waits once and serves what is ready. To be called as long as it returns RUNNING. */
enum server_status server_step(struct server *s);
