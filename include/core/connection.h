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
    CONNECTION_REASON_NONE, /* it is not */
    CONNECTION_ENDED, /* the peer's FIN; what came before it, and before our own, was answered */
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
    int32_t error;        /* errno behind the reason, for the log alone; 0 if there is none */
};

static_assert(sizeof(struct connection) == 64, "an idle connection costs one cache line");

/*@
#include "core/acsl/connection.acsl"
*/

/* True if every field agrees with the state, for a connection whose areas hold `capacity` bytes.
 * All zeroes is a valid closed connection. Every function below requires it and keeps it.
 * carries   CLOSE-3, FLOW-3 */
/*@ requires readable: \valid_read(c);
  @ assigns  \nothing;
  @ ensures  twin: \result <==> ConnectionValid(c, capacity);
  @ ensures  zeroes: ConnectionZeroes(c) ==> \result && c->state == CONNECTION_CLOSED;
  @*/
bool connection_is_valid(const struct connection *c, size_t capacity);

/* Begins a connection that was accepted on descriptor `descriptor`.
 *
 * requires  CLOSED; `peer` lies outside the connection
 * ensures   OPEN, nothing pending, nothing told to the poller; it has a new token
 * carries   FAIR-1
 */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires closed: c->state == CONNECTION_CLOSED;
  @ requires peer: \valid_read(peer) && \separated(c, peer);
  @ assigns  c->slot.generation, c->slot.live, c->received, c->peer, c->state, c->reason, c->error;
  @ ensures  valid: ConnectionValid(c, 0);
  @ ensures  opened: c->state == CONNECTION_OPEN && c->received == 0 && ConnectionReads(c);
  @ ensures  untold: c->interest == INTEREST_NONE;
  @ ensures  others: TokensAge(\old(c->slot.generation), c->slot.generation);
  @ ensures  peer: c->peer == \old(*peer) && c->error == 0;
  @*/
void connection_open(struct connection *c, uint32_t descriptor, const struct endpoint *peer);

/* The token issued when the connection on `descriptor` was opened.
 * requires  not CLOSED
 * carries   FAIR-1 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ requires open: c->state != CONNECTION_CLOSED;
  @ assigns  \nothing;
  @ ensures  token: \result.slot == descriptor && TokenResolves(\result, &c->slot);
  @*/
struct token connection_token(const struct connection *c, uint32_t descriptor);

/* What is to be done next: a function of the state, and never two things at once.
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

/* What the poller must watch for until then.
 * ensures   READ or WRITE in every state from which only the peer can lead on; NONE otherwise
 * carries   COST-2, COST-3, COST-4, FLOW-2 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ assigns  \nothing;
  @ ensures  read: \result == INTEREST_READ <==> ConnectionReads(c);
  @ ensures  write: \result == INTEREST_WRITE <==> ConnectionWrites(c);
  @ ensures  none: \result == INTEREST_NONE <==> !ConnectionReads(c) && !ConnectionWrites(c);
  @*/
enum interest connection_interest(const struct connection *c);

/* How many bytes to receive at the most, given room for `capacity`.
 *
 * requires  it wants READ; 1 <= capacity <= UINT32_MAX
 * ensures   the capacity; while STOPPING, no more than is owed
 * carries   FLOW-3, STOP-2
 */
/*@ requires valid: \valid_read(c) && ConnectionValid(c, UINT32_MAX);
  @ requires reads: ConnectionReads(c) && 1 <= capacity <= UINT32_MAX;
  @ assigns  \nothing;
  @ ensures  max: \result == ConnectionReceiveMax(c, capacity);
  @ ensures  some: 1 <= \result <= capacity;
  @*/
size_t connection_receive_max(const struct connection *c, size_t capacity);

/* Takes note of what a receive did.
 *
 * requires  it wants READ; MOVED counts at most connection_receive_max; 2^64 bytes never come
 * ensures   MOVED: the bytes are pending, and no more owed (LINGERING: forgotten); END, RESET,
 *           FAILED: DONE; INTERRUPTED, WOULD_BLOCK: nothing changed
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

/* Takes note of what a send of all pending bytes did.
 *
 * requires  it wants WRITE; MOVED counts at most what is pending
 * ensures   MOVED: so many fewer are pending; RESET, FAILED: DONE; otherwise nothing changed
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

/* Tells the connection that the server stops, while the kernel holds `unread` bytes for it.
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

/* Takes note that our FIN was sent.
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

/* Gives the connection up: the poller refused it, or its time is over.
 *
 * requires  not CLOSED; `reason` is not STAYS, and ENDED only with nothing pending
 * ensures   DONE; the first reason given is kept
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

/* Takes note that the descriptor was closed.
 *
 * requires  DONE, and the poller was told NONE
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
