#pragma once

#include <assert.h>

#include "core/buffer.h"
#include "core/endpoint.h"
#include "core/outcome.h"
#include "core/readiness.h"
#include "core/token.h"

/* The states of a connection.
 *
 *   CLOSED --open--> OPEN --------- END, RESET, FAILED ----------> DONE --close--> CLOSED
 *                     |                                             ^
 *                    stop                                           |
 *                     v                                             |
 *                  STOPPING --shut--> LINGERING -- END, RESET ... --+
 *
 * OPEN       echoes: reads while nothing is pending, writes while something is
 * STOPPING   the server is stopping: echoes what the kernel had already received
 * LINGERING  our FIN is sent: input is discarded until the peer's FIN
 * DONE       to be closed
 */
enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPEN,
    CONNECTION_STOPPING,
    CONNECTION_LINGERING,
    CONNECTION_DONE
};

/* The one action to take next. */
enum connection_want {
    CONNECTION_WANTS_NOTHING,
    CONNECTION_WANTS_READ,
    CONNECTION_WANTS_WRITE,
    CONNECTION_WANTS_SHUTDOWN,
    CONNECTION_WANTS_CLOSE
};

/* Why a connection is DONE. */
enum connection_reason {
    CONNECTION_REASON_NONE, /* not DONE */
    CONNECTION_ENDED, /* the peer's FIN; all input before it, and before our own, was answered */
    CONNECTION_RESET,
    CONNECTION_FAILED,
    CONNECTION_IDLE,   /* no progress for the idle timeout */
    CONNECTION_EXPIRED /* still open at the end of the drain timeout */
};

/* One cache line. */
struct connection {
    uint64_t received;     /* bytes received to be echoed; minus those pending: bytes sent */
    struct buffer pending; /* in the scratch area while it is served, otherwise in its own area */
    struct token_slot slot;
    uint32_t owed;        /* STOPPING: bytes that were unread in the kernel at the stop */
    uint32_t progress_ms; /* when bytes were last transferred; wraps after 49 days */
    struct endpoint peer; /* from accept: after a reset the kernel no longer knows it */
    uint8_t state;        /* enum connection_state */
    uint8_t interest;     /* enum interest: as last set in the poller */
    uint8_t reason;       /* enum connection_reason */
    int32_t descriptor;   /* set by the caller, as interest and progress_ms are */
};

static_assert(sizeof(struct connection) == 64, "an idle connection costs one cache line");

/*@
#include "core/acsl/connection.acsl"
*/

/* True if every field is consistent with the state, for a connection whose areas hold `capacity`
 * bytes. Zeroed memory is a valid closed connection. Every function below requires and preserves
 * it.
 * carries   CLOSE-3, FLOW-3 */
/*@ requires readable: \valid_read(c);
  @ assigns  \nothing;
  @ ensures  twin: \result <==> ConnectionValid(c, capacity);
  @ ensures  zeroes: ConnectionZeroes(c) ==> \result && c->state == CONNECTION_CLOSED;
  @*/
bool connection_is_valid(const struct connection *c, size_t capacity);

/* Opens a connection in slot number `slot`.
 *
 * requires  CLOSED; `peer` is not part of the connection
 * ensures   OPEN, nothing pending, not in the poller; it has a new token
 * carries   FAIR-1
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires closed: c->state == CONNECTION_CLOSED;
  @ requires peer: \valid_read(peer) && \separated(c, peer);
  @ assigns  c->slot.generation, c->slot.live, c->received, c->peer, c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, 0);
  @ ensures  opened: c->state == CONNECTION_OPEN && c->received == 0 && ConnectionReads(c);
  @ ensures  untold: c->interest == INTEREST_NONE;
  @ ensures  others: TokensAge(\old(c->slot.generation), c->slot.generation);
  @ ensures  peer: c->peer == \old(*peer);
  @*/
void connection_open(struct connection *c, uint32_t slot, const struct endpoint *peer);

/* The token issued when the connection in `slot` was opened.
 * requires  not CLOSED
 * carries   FAIR-1 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ requires open: c->state != CONNECTION_CLOSED;
  @ assigns  \nothing;
  @ ensures  token: \result.slot == slot && TokenResolves(\result, &c->slot);
  @*/
struct token connection_token(const struct connection *c, uint32_t slot);

/* The next action: a function of the state, and never two actions at once.
 *
 * ensures   READ only with nothing pending; WRITE only with something pending; SHUTDOWN never with
 *           something pending; CLOSE exactly when DONE; NOTHING exactly when CLOSED
 * carries   CLOSE-1, CLOSE-3, CLOSE-7, CLOSE-8, FLOW-1, FLOW-3, STOP-2, STOP-3
 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ assigns  \nothing;
  @ ensures  read: \result == CONNECTION_WANTS_READ <==> ConnectionReads(c);
  @ ensures  write: \result == CONNECTION_WANTS_WRITE <==> ConnectionWrites(c);
  @ ensures  shutdown: \result == CONNECTION_WANTS_SHUTDOWN <==> ConnectionShuts(c);
  @ ensures  close: \result == CONNECTION_WANTS_CLOSE <==> ConnectionCloses(c);
  @ ensures  nothing: \result == CONNECTION_WANTS_NOTHING <==> c->state == CONNECTION_CLOSED;
  @ ensures  answered: \result == CONNECTION_WANTS_CLOSE && c->reason == CONNECTION_ENDED ==>
  @            !ConnectionPends(c);
  @*/
enum connection_want connection_wants(const struct connection *c);

/* What the poller must watch for before that action.
 * ensures   READ or WRITE in every state that only the peer can end; NONE otherwise
 * carries   COST-2, COST-3, COST-4, FLOW-2 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ assigns  \nothing;
  @ ensures  read: \result == INTEREST_READ <==> ConnectionReads(c);
  @ ensures  write: \result == INTEREST_WRITE <==> ConnectionWrites(c);
  @ ensures  none: \result == INTEREST_NONE <==> !ConnectionReads(c) && !ConnectionWrites(c);
  @*/
enum interest connection_interest(const struct connection *c);

/* The most bytes to receive into `capacity` bytes of space.
 *
 * requires  it wants READ; 1 <= capacity <= UINT32_MAX
 * ensures   the capacity; while STOPPING, at most the bytes owed
 * carries   FLOW-3, STOP-2
 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ requires reads: ConnectionReads(c) && 1 <= capacity <= UINT32_MAX;
  @ assigns  \nothing;
  @ ensures  max: \result == ConnectionReceiveMax(c, capacity);
  @ ensures  some: 1 <= \result <= capacity;
  @*/
size_t connection_receive_max(const struct connection *c, size_t capacity);

/* Applies the outcome of a receive.
 *
 * requires  it wants READ; MOVED counts at most connection_receive_max; no more than 2^64 bytes
 * ensures   MOVED: the bytes are pending and no longer owed (LINGERING: discarded); END, RESET,
 *           FAILED: DONE; INTERRUPTED, WOULD_BLOCK: unchanged
 * carries   CLOSE-1, CLOSE-2, CLOSE-5, ECHO-3, FAULT-1, STOP-2
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires reads: ConnectionReads(c);
  @ requires moved: outcome.kind == OUTCOME_MOVED ==> ConnectionMayTake(c, outcome.count);
  @ assigns  c->received, c->pending.read, c->pending.write, c->owed, c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, UINT32_MAX);
  @ ensures  moved: outcome.kind == OUTCOME_MOVED ==> ConnectionTook{Pre, Post}(c, outcome.count);
  @ ensures  end: outcome.kind == OUTCOME_END ==> ConnectionLost{Pre, Post}(c, CONNECTION_ENDED);
  @ ensures  lost: ConnectionLostBy{Pre, Post}(c, outcome.kind);
  @ ensures  same: OutcomeWaits(outcome) ==> ConnectionSame{Pre, Post}(c);
  @*/
void connection_received(struct connection *c, struct outcome outcome);

/* Applies the outcome of a send of all pending bytes.
 *
 * requires  it wants WRITE; MOVED counts at most the pending bytes
 * ensures   MOVED: that many fewer are pending; RESET, FAILED: DONE; otherwise unchanged
 * carries   CLOSE-3, CLOSE-5, FAULT-1, FLOW-2
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires writes: ConnectionWrites(c);
  @ requires moved: outcome.kind == OUTCOME_MOVED ==> outcome.count <= BufferPending(&c->pending);
  @ assigns  c->pending.read, c->pending.write, c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, \old(c->pending.write));
  @ ensures  moved: outcome.kind == OUTCOME_MOVED ==> ConnectionGave{Pre, Post}(c, outcome.count);
  @ ensures  lost: ConnectionLostBy{Pre, Post}(c, outcome.kind);
  @ ensures  same: outcome.kind == OUTCOME_END || OutcomeWaits(outcome) ==>
  @            ConnectionSame{Pre, Post}(c);
  @*/
void connection_sent(struct connection *c, struct outcome outcome);

/* Stops the connection, while the kernel holds `unread` bytes for it.
 *
 * requires  OPEN
 * ensures   STOPPING, and owed is `unread`
 * carries   STOP-2
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires open: c->state == CONNECTION_OPEN;
  @ assigns  c->state, c->owed;
  @ ensures  valid: ConnectionValid(c, \old(c->pending.write));
  @ ensures  stopping: c->state == CONNECTION_STOPPING && c->owed == unread;
  @*/
void connection_stop(struct connection *c, uint32_t unread);

/* Records that our FIN was sent.
 *
 * requires  it wants SHUTDOWN
 * ensures   LINGERING
 * carries   STOP-3
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires shuts: ConnectionShuts(c);
  @ assigns  c->state;
  @ ensures  valid: ConnectionValid(c, 0);
  @ ensures  lingering: c->state == CONNECTION_LINGERING && ConnectionReads(c);
  @*/
void connection_shut(struct connection *c);

/* Marks the connection as lost: the poller refused it, or a timeout expired.
 *
 * requires  not CLOSED; `reason` is not NONE, and ENDED only with nothing pending
 * ensures   DONE; the first reason is kept
 * carries   CLOSE-3, REF-7, REF-8, REF-14
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires open: c->state != CONNECTION_CLOSED;
  @ requires reason: CONNECTION_REASON_NONE < reason <= CONNECTION_EXPIRED;
  @ requires answered: reason == CONNECTION_ENDED ==> !ConnectionPends(c);
  @ assigns  c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, \old(c->pending.write));
  @ ensures  lost: ConnectionLost{Pre, Post}(c, reason);
  @*/
void connection_lose(struct connection *c, enum connection_reason reason);

/* Records that the descriptor was closed.
 *
 * requires  DONE, and not in the poller
 * ensures   CLOSED; its token resolves to nothing
 * carries   CLOSE-9, FAIR-1
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires done: c->state == CONNECTION_DONE && c->interest == INTEREST_NONE;
  @ assigns  c->slot.live, c->pending.read, c->pending.write, c->owed, c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, 0);
  @ ensures  closed: c->state == CONNECTION_CLOSED;
  @ ensures  dead: !c->slot.live && \forall struct token t; !TokenResolves(t, &c->slot);
  @ ensures  history: c->slot.generation == \old(c->slot.generation);
  @*/
void connection_close(struct connection *c);
