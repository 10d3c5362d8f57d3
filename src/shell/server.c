#include "shell/server.h"

#include <assert.h>

#include "core/upper.h"

/* A pass serves all that one wait reported. Its turns, each a receive and a send, are shared among
 * them: one or two connections get TURNS_MAX, which fills pipes; many get one, so that the pass
 * stays short and nobody waits long. The next wait reports the rest. */
#define TURNS_MAX 32
#define PASS_TURNS 64

/* A pass accepts one client, plus one per READY_PER_ACCEPT ready connections: a failing accept is
 * expensive beside a short pass, not beside a long one. */
#define READY_PER_ACCEPT 8

/* More calls than a backlog holds clients, so that even endless interruptions end. */
#define BACKLOG_MAX (1u << 16)

/* No event reports that descriptors are available again, so a failed accept is retried. */
#define RETRY_MS 100

/* The shortest time between scans for idle connections, and so the most that one is late. */
#define SWEEP_MS 100

#define NEVER UINT64_MAX

static uint64_t area_bytes(const struct server_options *options) {
    uint64_t units =
        (options->buffer_bytes + (uint64_t)KERNEL_MEMORY_UNIT - 1) / KERNEL_MEMORY_UNIT;
    return units * KERNEL_MEMORY_UNIT;
}

/* An area and a connection for each slot, and the scratch area. */
uint64_t server_memory_needed(const struct server_options *options) {
    uint64_t slot_bytes = area_bytes(options) + sizeof(struct connection);
    return options->connections_max * slot_bytes + area_bytes(options);
}

static uint32_t slot_of(const struct server *s, const struct connection *c) {
    return (uint32_t)(c - s->connections);
}

static struct token token_of(const struct server *s, const struct connection *c) {
    return connection_token(c, slot_of(s, c));
}

static uint8_t *area_of(const struct server *s, const struct connection *c) {
    return s->areas + (size_t)slot_of(s, c) * s->area_bytes;
}

/* True if the token identifies an open connection. */
static bool resolves(const struct server *s, struct token token) {
    return token.slot < s->slots_used && token_resolves(token, &s->connections[token.slot].slot);
}

/* Time: the clock is read only while a deadline is set. */

static uint64_t time_ms(const struct server *s) { return s->kernel.ops->clock_ms(s->kernel.self); }

/* The clock truncates to milliseconds, so a deadline is one later: never early. */
static uint64_t in_future(const struct server *s, uint32_t ms) { return time_ms(s) + ms + 1; }

static uint64_t next_deadline(const struct server *s) {
    uint64_t next = s->retry_ms < s->sweep_ms ? s->retry_ms : s->sweep_ms;
    return next < s->drain_ms ? next : s->drain_ms;
}

static int32_t timeout_ms(uint64_t next, uint64_t now) {
    if (next == NEVER) return -1;
    uint64_t left = next > now ? next - now : 0;
    return left < INT32_MAX ? (int32_t)left : INT32_MAX;
}

/* Accepting: while no new connection can be served the listener is not watched, and clients wait in
 * its backlog. */

static struct result watch_listener(struct server *s, enum interest to) {
    struct result result = {.fault = FAULT_NONE};
    if (s->listener_interest != to)
        result = s->poller.ops->change(&s->poller, s->listener, TOKEN_LISTENER,
                                       s->listener_interest, to);
    if (result.fault == FAULT_NONE) s->listener_interest = to;
    return result;
}

static void pause_accepting(struct server *s, uint64_t retry_ms) {
    watch_listener(s, INTEREST_NONE);
    s->listener_interest = INTEREST_NONE; /* even if that failed: then it was no longer watched */
    s->retry_ms = retry_ms;
}

/* Logs that new connections have to wait, once. */
static void report_wait(struct server *s, struct result why) {
    if (!s->waiting) log_wait(s->log, why);
    s->waiting = true;
}

static void resume_accepting(struct server *s) {
    struct result watched = watch_listener(s, INTEREST_READ);
    s->retry_ms = watched.fault == FAULT_NONE ? NEVER : in_future(s, RETRY_MS);
}

/* Settling: the only place where the interest in a connection is set. */

static void fail(struct server *s, struct connection *c, struct result result) {
    s->error = result.raw;
    connection_lose(c, CONNECTION_FAILED);
}

static void shut(struct server *s, struct connection *c) {
    struct result result = s->kernel.ops->shutdown(s->kernel.self, c->descriptor);
    if (result.fault == FAULT_NONE)
        connection_shut(c);
    else if (result.fault == FAULT_RESET)
        connection_lose(c, CONNECTION_RESET);
    else
        fail(s, c, result);
}

static struct result watch(struct server *s, struct connection *c, enum interest to) {
    struct result result = s->poller.ops->change(&s->poller, c->descriptor, token_of(s, c),
                                                 (enum interest)c->interest, to);
    if (result.fault == FAULT_NONE) c->interest = (uint8_t)to;
    return result;
}

/* The slots that were used and are free are a list, linked by what they hold as descriptor. */

static void free_slot(struct server *s, struct connection *c) {
    c->descriptor = (int32_t)s->slot_free;
    s->slot_free = slot_of(s, c) + 1;
}

static struct connection *take_slot(struct server *s) {
    if (s->slot_free == 0) return &s->connections[s->slots_used++];
    struct connection *c = &s->connections[s->slot_free - 1];
    s->slot_free = (uint32_t)c->descriptor;
    return c;
}

/* Removes the descriptor from the poller before closing it: a duplicate elsewhere (fork,
 * pidfd_getfd) would otherwise cause events for ever. If that fails, it was no longer there. */
static void disconnect(struct server *s, struct connection *c) {
    log_disconnect(s->log, token_of(s, c), c, s->error);
    if (c->interest != INTEREST_NONE) watch(s, c, INTEREST_NONE);
    c->interest = INTEREST_NONE;
    s->kernel.ops->close(s->kernel.self, c->descriptor);
    connection_close(c);
    free_slot(s, c);
    s->connected--;
    if (s->listener_interest == INTEREST_NONE && s->drain_ms == NEVER) resume_accepting(s);
}

static void settle(struct server *s, struct connection *c) {
    if (connection_wants(c) == CONNECTION_WANTS_SHUTDOWN) shut(s, c);
    enum interest to = connection_interest(c);
    if (c->interest == INTEREST_WRITE && to != INTEREST_WRITE)
        s->kernel.ops->release(s->kernel.self, area_of(s, c), s->area_bytes);
    if (c->interest != to && to != INTEREST_NONE) {
        struct result result = watch(s, c, to);
        if (result.fault != FAULT_NONE) fail(s, c, result);
    }
    if (connection_wants(c) == CONNECTION_WANTS_CLOSE) disconnect(s, c);
}

/* Serving */

/* The time of progress is that of the call: a pass may be long, and the process paused in it. */
static uint32_t progress_ms(const struct server *s) {
    return s->options.idle_timeout_ms > 0 ? (uint32_t)time_ms(s) : 0;
}

/* Records progress for the idle timeout, and an error for the log, if it ends the connection. */
static void record_progress(struct server *s, struct connection *c, struct outcome outcome,
                            struct result result) {
    if (outcome.kind == OUTCOME_MOVED)
        c->progress_ms = progress_ms(s);
    else
        s->error = result.raw;
}

/* Sends what is pending in `storage`; true if more can be done at once. */
static bool flush(struct server *s, struct connection *c, const uint8_t *storage) {
    size_t asked = buffer_pending(&c->pending);
    struct result result =
        s->kernel.ops->send(s->kernel.self, c->descriptor, storage + c->pending.read, asked);
    struct outcome outcome = outcome_of_send(result, asked);
    connection_sent(c, outcome);
    record_progress(s, c, outcome, result);
    return outcome.kind == OUTCOME_INTERRUPTED || outcome.count == asked;
}

/* Receives once, and sends the answer; true if more can be done at once. A partial receive emptied
 * the socket; the next wait reports what arrives later. */
static bool echo(struct server *s, struct connection *c) {
    size_t asked = connection_receive_max(c, s->options.buffer_bytes);
    struct result result = s->kernel.ops->receive(s->kernel.self, c->descriptor, s->scratch, asked);
    struct outcome outcome = outcome_of_receive(result, asked);
    connection_received(c, outcome);
    record_progress(s, c, outcome, result);
    bool again = outcome.kind == OUTCOME_INTERRUPTED || outcome.count == asked;
    if (connection_wants(c) != CONNECTION_WANTS_WRITE) return again;

    log_data(s->log, token_of(s, c), s->scratch, outcome.count);
    upper(s->scratch, outcome.count);
    bool sent = flush(s, c, s->scratch);
    if (connection_wants(c) != CONNECTION_WANTS_WRITE) return again;
    buffer_move(&c->pending, area_of(s, c), s->scratch);
    return sent;
}

/* Takes the connection's next action; true if more can be done at once. */
static bool advance(struct server *s, struct connection *c) {
    switch (connection_wants(c)) {
    case CONNECTION_WANTS_READ: return echo(s, c);
    case CONNECTION_WANTS_WRITE: return flush(s, c, area_of(s, c));
    default: return false;
    }
}

static void serve(struct server *s, struct connection *c) {
    for (uint32_t turn = 0; turn < s->turns && advance(s, c); turn++) {
    }
    settle(s, c);
}

/* Opening */

static void open_connection(struct server *s, int32_t descriptor, const struct endpoint *peer) {
    struct connection *c = take_slot(s);
    connection_open(c, slot_of(s, c), peer);
    c->descriptor = descriptor;
    if (s->options.idle_timeout_ms > 0 && s->sweep_ms == NEVER)
        s->sweep_ms = in_future(s, s->options.idle_timeout_ms);
    c->progress_ms = progress_ms(s);
    s->connected++;
    log_connect(s->log, token_of(s, c), peer);
    serve(s, c); /* its first bytes, or its FIN, have often arrived */
}

/* Accepts one client; true if the next can be tried at once. */
static bool accept_one(struct server *s) {
    s->accept_tried = true;
    if (s->connected == s->options.connections_max) {
        report_wait(s, (struct result){.fault = FAULT_NONE});
        pause_accepting(s, NEVER);
        return false;
    }
    struct endpoint peer;
    struct result result = s->kernel.ops->accept(s->kernel.self, s->listener, &peer);
    struct outcome outcome = outcome_of_accept(result);
    if (outcome.kind == OUTCOME_FAILED) {
        report_wait(s, result);
        pause_accepting(s, in_future(s, RETRY_MS));
        return false;
    }
    if (outcome.kind == OUTCOME_MOVED) open_connection(s, (int32_t)result.value, &peer);
    return outcome.kind != OUTCOME_WOULD_BLOCK;
}

static void accept_up_to(struct server *s, uint32_t count) {
    for (uint32_t i = 0; i < count && accept_one(s); i++) {
    }
}

/* Stopping: see server.h */

static void stop(struct server *s, struct connection *c) {
    struct result unread = s->kernel.ops->unread(s->kernel.self, c->descriptor);
    connection_stop(c, unread.fault == FAULT_NONE ? (uint32_t)unread.value : 0);
    serve(s, c);
}

static void begin_drain(struct server *s) {
    log_stop(s->log, s->connected);
    s->waiting = true; /* not reported from here on: clients are accepted now or refused */
    s->poller.ops->change(&s->poller, s->stop, TOKEN_STOP, INTEREST_READ, INTEREST_NONE);
    accept_up_to(s, BACKLOG_MAX);
    if (s->retry_ms != NEVER) /* the fault may concern one client only: try the next ones */
        accept_up_to(s, BACKLOG_MAX);
    pause_accepting(s, NEVER);
    s->kernel.ops->close(s->kernel.self, s->listener);
    s->sweep_ms = NEVER;
    s->drain_ms = in_future(s, s->options.drain_timeout_ms);
    for (uint32_t i = 0; i < s->slots_used; i++) {
        if (s->connections[i].state == CONNECTION_OPEN) stop(s, &s->connections[i]);
    }
}

/* Timeouts */

static void expire(struct server *s, struct connection *c, enum connection_reason reason) {
    if (c->state == CONNECTION_STOPPING) s->lossy = true;
    connection_lose(c, reason);
    settle(s, c);
}

static void end_drain(struct server *s) {
    for (uint32_t i = 0; i < s->slots_used; i++) {
        if (s->connections[i].state != CONNECTION_CLOSED)
            expire(s, &s->connections[i], CONNECTION_EXPIRED);
    }
}

/* How long it had been idle at that time; negative if there was progress since. */
static int32_t idle_ms(const struct connection *c, uint64_t at_ms) {
    return (int32_t)((uint32_t)at_ms - c->progress_ms);
}

/* Scans all connections for idle ones: a timer for each would cost every message more. After a full
 * wait one that seems idle may be ready without a report, and is served first. */
static void sweep(struct server *s, uint64_t at_ms, bool full) {
    int32_t limit = (int32_t)s->options.idle_timeout_ms;
    int32_t longest = 0;
    for (uint32_t i = 0; i < s->slots_used; i++) {
        struct connection *c = &s->connections[i];
        if (full && c->state == CONNECTION_OPEN && idle_ms(c, at_ms) > limit) serve(s, c);
        if (c->state == CONNECTION_CLOSED) continue;
        int32_t idle = idle_ms(c, at_ms);
        if (idle > limit)
            expire(s, c, CONNECTION_IDLE);
        else if (idle > longest)
            longest = idle;
    }
    int32_t left = limit - longest > SWEEP_MS ? limit - longest : SWEEP_MS;
    s->sweep_ms = s->connected > 0 ? at_ms + (uint32_t)left + 1 : NEVER;
}

/* The loop */

static void dispatch(struct server *s, struct token token) {
    uint64_t packed = token_pack(token);
    if (resolves(s, token))
        serve(s, &s->connections[token.slot]);
    else if (packed == token_pack(TOKEN_LISTENER) && s->listener_interest == INTEREST_READ)
        accept_up_to(s, s->accepts);
    else if (packed == token_pack(TOKEN_STOP) && s->drain_ms == NEVER)
        begin_drain(s);
}

/* `at_ms` is when the wait began, or ended if it timed out: it reported every connection ready at
 * that time. Since then bytes may have arrived, and the process may have been paused: so, too, in a
 * wait that was interrupted. */
static void check_deadlines(struct server *s, struct result waited, uint64_t at_ms) {
    bool full = waited.value == POLLER_EVENTS_MAX;
    if (at_ms >= s->retry_ms) resume_accepting(s);
    if (at_ms >= s->sweep_ms && waited.fault == FAULT_NONE) sweep(s, at_ms, full);
    if (at_ms >= s->drain_ms) end_drain(s);
}

/* Logs that connections no longer wait: the listener was watched, and a wait that was not full did
 * not report it. During a drain it is not watched. */
static void check_waiting(struct server *s, struct result waited) {
    bool reported = waited.fault == FAULT_NONE && waited.value < POLLER_EVENTS_MAX;
    if (!s->waiting || !reported || s->accept_tried) return;
    s->waiting = false;
    log_accept(s->log);
}

static void share_pass(struct server *s, uint32_t ready) {
    s->turns = ready > PASS_TURNS ? 1 : ready > 1 ? PASS_TURNS / ready : TURNS_MAX;
    s->accepts = 1 + ready / READY_PER_ACCEPT;
}

enum server_status server_step(struct server *s) {
    s->accept_tried = s->listener_interest != INTEREST_READ; /* it cannot be left out then */
    uint64_t next = next_deadline(s);
    uint64_t at_ms = next != NEVER ? time_ms(s) : 0;
    int32_t asked = timeout_ms(next, at_ms);
    struct result waited = s->poller.ops->wait(&s->poller, s->ready, asked);
    if (waited.fault != FAULT_NONE && waited.fault != FAULT_INTERRUPTED) {
        s->failure = waited;
        return SERVER_FAILED;
    }
    share_pass(s, waited.fault == FAULT_NONE ? (uint32_t)waited.value : 0);
    for (int64_t i = 0; waited.fault == FAULT_NONE && i < waited.value; i++)
        dispatch(s, s->ready[i].token);
    check_waiting(s, waited);
    if (waited.fault == FAULT_NONE && waited.value == 0 && asked > 0) at_ms += (uint32_t)asked;
    check_deadlines(s, waited, at_ms);
    if (s->drain_ms == NEVER || s->connected > 0) return SERVER_RUNNING;
    return s->lossy ? SERVER_STOPPED_SHORT : SERVER_STOPPED;
}

struct result server_init(struct server *s, struct poller poller, struct log *log,
                          const struct server_options *options, int32_t listener, int32_t stop,
                          uint8_t *memory) {
    assert(options->connections_max >= 1 && options->connections_max <= INT32_MAX);
    assert(options->buffer_bytes >= 1);
    *s = (struct server){.kernel = poller.kernel,
                         .poller = poller,
                         .log = log,
                         .options = *options,
                         .listener = listener,
                         .stop = stop,
                         .retry_ms = NEVER,
                         .sweep_ms = NEVER,
                         .drain_ms = NEVER,
                         .areas = memory,
                         .area_bytes = (size_t)area_bytes(options)};
    s->scratch = memory + options->connections_max * s->area_bytes;
    s->connections = (struct connection *)(void *)(s->scratch + s->area_bytes);
    struct result result =
        poller.ops->change(&poller, stop, TOKEN_STOP, INTEREST_NONE, INTEREST_READ);
    return result.fault != FAULT_NONE ? result : watch_listener(s, INTEREST_READ);
}
