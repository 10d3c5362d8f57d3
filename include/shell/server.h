#pragma once

#include "core/connection.h"
#include "shell/kernel.h"
#include "shell/log.h"
#include "shell/poller.h"

/* The event loop: waits, and serves each ready connection as far as possible without blocking.
 * All memory is bounded and reserved at the start; serving allocates nothing.
 *
 * Stopping loses no byte that the kernel had received by then, and ends in bounded time:
 *
 *    the stop descriptor is readable
 *        |
 *        |  accept the backlog, then close the listener
 *        |  count the unread bytes of each connection: they are owed an answer
 *        v
 *    STOPPING  --- owed bytes echoed and sent --->  LINGERING  --- the peer's FIN --->  closed
 *        |                                          (our FIN is sent; input is discarded)
 *        |                                              |
 *        +------ the drain timeout expires: close ------+
 *
 * To close with unread input would send RST and destroy data that the peer has not read yet: so the
 * server sends FIN first, and reads until the peer's FIN. A peer that ignores our FIN delays the
 * exit until the timeout. STOPPED_SHORT means that a connection was still STOPPING then, and lost
 * bytes that it was owed.
 * Two cases are not covered. Clients in the backlog beyond connections_max, or beyond the available
 * descriptors, are refused. A peer that is still sending at the timeout, without reading, may lose
 * data from the kernel's send buffer.
 */

struct server_options {
    uint32_t connections_max;  /* the number of slots; further clients wait in the backlog */
    uint32_t buffer_bytes;     /* the most pending bytes per connection, and per receive */
    uint32_t idle_timeout_ms;  /* at most 2^30, so that a difference has a sign; 0: never */
    uint32_t drain_timeout_ms; /* at most 2^31 */
};

struct server {
    struct kernel kernel;
    struct poller poller;
    struct log *log;
    struct server_options options;
    int32_t listener;
    int32_t stop;
    enum interest listener_interest; /* NONE while accepting is paused */
    bool waiting;                    /* new connections have to wait, and the log says so */
    bool accept_tried;               /* since the last wait */
    uint32_t connected;
    uint32_t slots_used;   /* all slots ever used are below this number */
    uint32_t slot_free;    /* 1 + the slot that became free last; 0: none of those used is free */
    bool lossy;            /* the drain lost owed bytes */
    struct result failure; /* SERVER_FAILED: the result of the wait */
    int32_t error;         /* errno of the last call, for the log if it ended a connection */
    uint32_t turns;        /* of each connection in this pass: at least 1 */
    uint32_t accepts;      /* in this pass: at least 1 */

    /* Times; UINT64_MAX: never. */
    uint64_t retry_ms; /* when to resume accepting, after a fault */
    uint64_t sweep_ms; /* when to scan for idle connections */
    uint64_t drain_ms; /* when the drain ends; never: not stopping */

    struct connection *connections; /* by slot */
    uint8_t *areas;                 /* by slot: bytes pending after a partial send */
    size_t area_bytes;
    uint8_t *scratch; /* the target of every receive */
    struct readiness ready[POLLER_EVENTS_MAX];
};

/* Bytes of zeroed memory that server_init requires. It is address space: pages that no client
 * needs are never touched. On a 32-bit system the result may be more than it can address.
 *
 * requires  connections_max <= INT32_MAX: then the result does not wrap */
uint64_t server_memory_needed(const struct server_options *options);

/* Initialises a server for `listener`, a non-blocking listening socket, that runs until `stop`
 * becomes readable.
 *
 * requires  1 <= connections_max <= INT32_MAX; 1 <= buffer_bytes; `memory` holds
 *           server_memory_needed(options) zeroed bytes, aligned to KERNEL_MEMORY_UNIT; it and `log`
 *           outlive the server
 * errors    the fault of adding a descriptor to the poller
 */
struct result server_init(struct server *s, struct poller poller, struct log *log,
                          const struct server_options *options, int32_t listener, int32_t stop,
                          uint8_t *memory);

enum server_status {
    SERVER_RUNNING,
    SERVER_STOPPED,       /* drained; only `stop` and the poller are still open */
    SERVER_STOPPED_SHORT, /* likewise, but bytes were still owed at the timeout */
    SERVER_FAILED         /* the poller cannot wait: `failure` */
};

/* Waits once and serves what is ready. Call it while it returns RUNNING. */
enum server_status server_step(struct server *s);
