#pragma once

#include <assert.h>

#include "core/buffer.h"
#include "core/endpoint.h"
#include "core/outcome.h"
#include "core/readiness.h"
#include "core/token.h"

/* The life of a connection.
 *
 *   CLOSED --open--> OPEN --------- END, RESET, FAILED ----------> DONE --close--> CLOSED
 *                     |                                             ^
 *                    stop                                           |
 *                     v                                             |
 *                  STOPPING --shut--> LINGERING -- END, RESET ... --+
 *
 * OPEN       echoes: reads while nothing is pending, writes while something is
 * STOPPING   the server is told to stop: echoes what the kernel had already received
 * LINGERING  our FIN is sent: what still arrives is discarded until the peer's end
 * DONE       nothing more can or need be done
 */
enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPEN,
    CONNECTION_STOPPING,
    CONNECTION_LINGERING,
    CONNECTION_DONE
};

/* The one thing to do next. */
enum connection_want {
    CONNECTION_WANTS_NOTHING,
    CONNECTION_WANTS_READ,
    CONNECTION_WANTS_WRITE,
    CONNECTION_WANTS_SHUTDOWN,
    CONNECTION_WANTS_CLOSE
};

/* Why a connection is DONE. */
enum connection_reason {
    CONNECTION_STAYS, /* it is not */
    CONNECTION_ENDED, /* the peer's FIN, and all that came before it was answered */
    CONNECTION_RESET,
    CONNECTION_FAILED,
    CONNECTION_IDLE,   /* no progress for the idle time-out */
    CONNECTION_EXPIRED /* still there at the end of the drain time-out */
};

/* One cache line. The descriptor is not here: it is the number of the slot. */
struct connection {
    uint64_t received;     /* bytes taken in to be echoed; less what is pending, bytes sent */
    struct buffer pending; /* in the scratch area while being served, else in its own area */
    struct token_slot slot;
    uint32_t owed; /* STOPPING: bytes that the kernel had received at the stop, still unread */
    uint32_t progress_ms; /* when bytes last moved; of a clock that wraps after 49 days */
    struct endpoint peer; /* kept from accept: after a reset the kernel no longer tells */
    uint8_t state;        /* enum connection_state */
    uint8_t interest;     /* enum interest: what the poller was last told */
    uint8_t reason;       /* enum connection_reason */
    int32_t error;        /* errno behind the reason, for the log alone; else 0 */
};

static_assert(sizeof(struct connection) == 64, "an idle connection costs one cache line");

/* True if every field agrees with the state, for a connection whose areas hold `capacity` bytes.
 * All zeroes is a valid closed connection. Every function below requires it and keeps it. */
bool connection_is_valid(const struct connection *c, size_t capacity);

/* Begins a connection that was accepted on descriptor `descriptor`.
 *
 * requires  CLOSED
 * ensures   OPEN, nothing pending, nothing told to the poller; it has a new token
 */
void connection_open(struct connection *c, uint32_t descriptor, const struct endpoint *peer);

/* The token issued when the connection on `descriptor` was opened.
 * requires  not CLOSED */
struct token connection_token(const struct connection *c, uint32_t descriptor);

/* What is to be done next: a function of the state, and never two things at once.
 *
 * ensures   READ only with nothing pending; WRITE only with something pending; SHUTDOWN never with
 *           something pending; CLOSE exactly when DONE; NOTHING exactly when CLOSED
 */
enum connection_want connection_wants(const struct connection *c);

/* What the poller must watch for until then.
 * ensures   READ or WRITE in every state from which only the peer can lead on; NONE otherwise */
enum interest connection_interest(const struct connection *c);

/* How many bytes to receive at the most, given room for `capacity`.
 *
 * requires  it wants READ; 1 <= capacity <= UINT32_MAX
 * ensures   the capacity; while STOPPING, no more than is owed
 */
size_t connection_receive_max(const struct connection *c, size_t capacity);

/* Takes note of what a receive did.
 *
 * requires  it wants READ; MOVED counts at most connection_receive_max
 * ensures   MOVED: the bytes are pending, and no more owed (LINGERING: forgotten); END, RESET,
 *           FAILED: DONE; INTERRUPTED, WOULD_BLOCK: nothing changed
 */
void connection_received(struct connection *c, struct outcome outcome);

/* Takes note of what a send of all pending bytes did.
 *
 * requires  it wants WRITE; MOVED counts at most what is pending
 * ensures   MOVED: so many fewer are pending; RESET, FAILED: DONE; otherwise nothing changed
 */
void connection_sent(struct connection *c, struct outcome outcome);

/* Tells the connection that the server stops, while the kernel holds `unread` bytes for it.
 *
 * requires  OPEN
 * ensures   STOPPING, and owed is `unread`
 */
void connection_stop(struct connection *c, uint32_t unread);

/* Takes note that our FIN was sent.
 *
 * requires  it wants SHUTDOWN
 * ensures   LINGERING
 */
void connection_shut(struct connection *c);

/* Gives the connection up: the poller refused it, or its time is over.
 *
 * requires  not CLOSED; `reason` is not STAYS
 * ensures   DONE; the first reason given is kept
 */
void connection_lose(struct connection *c, enum connection_reason reason);

/* Takes note that the descriptor was closed.
 *
 * requires  DONE, and the poller was told NONE
 * ensures   CLOSED; its token resolves to nothing
 */
void connection_close(struct connection *c);
