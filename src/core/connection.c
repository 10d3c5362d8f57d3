#include "core/connection.h"

/* A closed connection keeps only the generation of its slot; any other has a live token. */
/*@ requires readable: \valid_read(c);
  @ assigns  \nothing;
  @ ensures  twin: \result <==> ConnectionSlotValid(c);
  @*/
static bool slot_is_valid(const struct connection *c) {
    if (c->state == CONNECTION_CLOSED) return !c->slot.live && c->interest == INTEREST_NONE;
    return c->slot.live && c->slot.generation != 0;
}

bool connection_is_valid(const struct connection *c, size_t capacity) {
    if (!buffer_is_valid(&c->pending, capacity) || !slot_is_valid(c)) return false;
    size_t pending = buffer_pending(&c->pending);
    bool done = c->state == CONNECTION_DONE;
    bool may_owe = c->state == CONNECTION_STOPPING || done;
    bool may_pend = (c->state == CONNECTION_OPEN || may_owe) && c->reason != CONNECTION_ENDED;
    return c->state <= CONNECTION_DONE && c->interest <= INTEREST_WRITE &&
           c->reason <= CONNECTION_EXPIRED && (c->reason != CONNECTION_REASON_NONE) == done &&
           pending <= c->received && (may_pend || pending == 0) && (may_owe || c->owed == 0);
}

void connection_open(struct connection *c, uint32_t slot, const struct endpoint *peer) {
    assert(c->state == CONNECTION_CLOSED);
    /*@ assert blank: ConnectionBlank(c); */
    c->peer = *peer;
    /*@ assert still: ConnectionBlank(c); */
    token_issue(&c->slot, slot);
    c->received = 0;
    c->state = CONNECTION_OPEN;
    c->reason = CONNECTION_REASON_NONE;
    /*@ assert yet: ConnectionBlank(c); */
}

struct token connection_token(const struct connection *c, uint32_t slot) {
    return (struct token){.slot = slot, .generation = c->slot.generation};
}

enum connection_want connection_wants(const struct connection *c) {
    bool pending = buffer_pending(&c->pending) > 0;
    switch (c->state) {
    case CONNECTION_OPEN: return pending ? CONNECTION_WANTS_WRITE : CONNECTION_WANTS_READ;
    case CONNECTION_STOPPING:
        if (pending) return CONNECTION_WANTS_WRITE;
        return c->owed > 0 ? CONNECTION_WANTS_READ : CONNECTION_WANTS_SHUTDOWN;
    case CONNECTION_LINGERING: return CONNECTION_WANTS_READ;
    case CONNECTION_DONE: return CONNECTION_WANTS_CLOSE;
    default: return CONNECTION_WANTS_NOTHING;
    }
}

enum interest connection_interest(const struct connection *c) {
    switch (connection_wants(c)) {
    case CONNECTION_WANTS_READ: return INTEREST_READ;
    case CONNECTION_WANTS_WRITE: return INTEREST_WRITE;
    default: return INTEREST_NONE;
    }
}

size_t connection_receive_max(const struct connection *c, size_t capacity) {
    assert(connection_wants(c) == CONNECTION_WANTS_READ);
    bool limited = c->state == CONNECTION_STOPPING && c->owed < capacity;
    return limited ? c->owed : capacity;
}

/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires reads: ConnectionReads(c) && ConnectionMayTake(c, count);
  @ assigns  c->received, c->pending.read, c->pending.write, c->owed;
  @ ensures  valid: ConnectionValid(c, UINT32_MAX);
  @ ensures  took: ConnectionTook{Pre, Post}(c, count);
  @*/
static void take(struct connection *c, size_t count) {
    /* After our FIN no answer can be sent. */
    if (c->state == CONNECTION_LINGERING) return;
    if (c->state == CONNECTION_STOPPING) c->owed -= (uint32_t)count;
    c->received += count;
    buffer_commit(&c->pending, count);
}

/* Applies a failure, whichever call reported it. */
/*@ requires valid: \valid(c) && ConnectionValid(c, UINT32_MAX);
  @ requires open: c->state != CONNECTION_CLOSED && c->state != CONNECTION_DONE;
  @ assigns  c->state, c->reason;
  @ ensures  valid: ConnectionValid(c, \old(c->pending.write));
  @ ensures  lost: ConnectionLostBy{Pre, Post}(c, kind);
  @ ensures  same: kind != OUTCOME_RESET && kind != OUTCOME_FAILED ==> ConnectionSame{Pre, Post}(c);
  @*/
static void fail(struct connection *c, enum outcome_kind kind) {
    if (kind == OUTCOME_RESET) connection_lose(c, CONNECTION_RESET);
    if (kind == OUTCOME_FAILED) connection_lose(c, CONNECTION_FAILED);
}

void connection_received(struct connection *c, struct outcome outcome) {
    assert(connection_wants(c) == CONNECTION_WANTS_READ);
    if (outcome.kind == OUTCOME_MOVED)
        take(c, outcome.count);
    else if (outcome.kind == OUTCOME_END)
        connection_lose(c, CONNECTION_ENDED);
    else
        fail(c, outcome.kind);
}

void connection_sent(struct connection *c, struct outcome outcome) {
    assert(connection_wants(c) == CONNECTION_WANTS_WRITE);
    if (outcome.kind == OUTCOME_MOVED)
        buffer_consume(&c->pending, outcome.count);
    else
        fail(c, outcome.kind);
}

void connection_stop(struct connection *c, uint32_t unread) {
    assert(c->state == CONNECTION_OPEN);
    c->state = CONNECTION_STOPPING;
    c->owed = unread;
}

void connection_shut(struct connection *c) {
    assert(connection_wants(c) == CONNECTION_WANTS_SHUTDOWN);
    c->state = CONNECTION_LINGERING;
}

void connection_lose(struct connection *c, enum connection_reason reason) {
    assert(c->state != CONNECTION_CLOSED);
    assert(reason != CONNECTION_REASON_NONE);
    if (c->state == CONNECTION_DONE) return;
    c->state = CONNECTION_DONE;
    c->reason = (uint8_t)reason;
}

void connection_close(struct connection *c) {
    assert(c->state == CONNECTION_DONE);
    assert(c->interest == INTEREST_NONE);
    token_release(&c->slot);
    buffer_init(&c->pending);
    c->owed = 0;
    c->state = CONNECTION_CLOSED;
    c->reason = CONNECTION_REASON_NONE;
}
