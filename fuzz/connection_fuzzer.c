/* Targets outcome_of_receive, outcome_of_send, outcome_of_accept and all of connection_*.
 *
 * Outcomes are compared with tables from the man pages. Any life of a connection that the server
 * can cause, with any results of the kernel, is accompanied by a simple model that counts bytes in
 * and out; after each step every query of the connection must agree with the model. For any 64
 * bytes, connection_is_valid must agree with a list of rules. */

#include <string.h>

#include "check.h"
#include "core/connection.h"
#include "input.h"

#define DESCRIPTOR 9

/* ---- Results */

struct meaning {
    enum outcome_kind kind;
    enum fault fault;
};

static const struct meaning of_fault[FAULT_OTHER + 1] = {
    [FAULT_WOULD_BLOCK] = {OUTCOME_WOULD_BLOCK, FAULT_WOULD_BLOCK},
    [FAULT_INTERRUPTED] = {OUTCOME_INTERRUPTED, FAULT_INTERRUPTED},
    [FAULT_RESET] = {OUTCOME_RESET, FAULT_RESET},
    [FAULT_PIPE] = {OUTCOME_RESET, FAULT_PIPE},
    [FAULT_ABORTED] = {OUTCOME_RESET, FAULT_ABORTED},
    [FAULT_DESCRIPTORS] = {OUTCOME_FAILED, FAULT_DESCRIPTORS},
    [FAULT_MEMORY] = {OUTCOME_FAILED, FAULT_MEMORY},
    [FAULT_NOT_FOUND] = {OUTCOME_FAILED, FAULT_NOT_FOUND},
    [FAULT_EXISTS] = {OUTCOME_FAILED, FAULT_EXISTS},
    [FAULT_NO_SPACE] = {OUTCOME_FAILED, FAULT_NO_SPACE},
    [FAULT_OTHER] = {OUTCOME_FAILED, FAULT_OTHER},
};

/* A fault, or a count: small, at a limit, or any. */
static struct result read_result(struct input *in) {
    static const int64_t limits[] = {-1, INT64_MIN, INT64_MAX, INT32_MAX, INT32_MAX + 1LL};
    struct result result = {.raw = 7};
    uint8_t what = input_byte(in);
    if (what < 64)
        result.fault = (enum fault)(what % (FAULT_OTHER + 1));
    else if (what < 96)
        result.value = limits[what % (sizeof limits / sizeof limits[0])];
    else if (what < 112)
        result.value = (int64_t)input_bytes(in, 8);
    else
        result.value = what - 112;
    if (result.fault != FAULT_NONE) result.value = (int64_t)input_number(in, INT64_MAX);
    return result;
}

static void check_outcome(struct outcome outcome, struct meaning expected, int64_t count) {
    CHECK(outcome.kind == expected.kind && outcome.fault == expected.fault);
    CHECK(outcome.count == (uint64_t)(expected.kind == OUTCOME_MOVED ? count : 0));
}

/* `at_nothing` is the outcome of 0 bytes. A kernel transfers at most what was requested. */
static struct meaning meaning_of(struct result result, size_t asked, enum outcome_kind at_nothing) {
    if (result.fault != FAULT_NONE) return of_fault[result.fault];
    if (result.value == 0) return (struct meaning){at_nothing, FAULT_NONE};
    bool possible = result.value > 0 && asked >= (uint64_t)result.value;
    if (possible) return (struct meaning){OUTCOME_MOVED, FAULT_NONE};
    return (struct meaning){OUTCOME_FAILED, FAULT_OTHER};
}

static struct outcome check_receive(struct result result, size_t asked) {
    struct outcome outcome = outcome_of_receive(result, asked);
    enum outcome_kind at_nothing = asked == 0 ? OUTCOME_WOULD_BLOCK : OUTCOME_END;
    check_outcome(outcome, meaning_of(result, asked, at_nothing), result.value);
    return outcome;
}

static struct outcome check_send(struct result result, size_t asked) {
    struct outcome outcome = outcome_of_send(result, asked);
    check_outcome(outcome, meaning_of(result, asked, OUTCOME_WOULD_BLOCK), result.value);
    return outcome;
}

static void try_results(struct input *in) {
    struct result result = read_result(in);
    size_t asked = input_size(in, SIZE_MAX);
    check_receive(result, asked);
    check_send(result, asked);
    struct meaning accepted = {OUTCOME_MOVED, FAULT_NONE};
    if (result.fault != FAULT_NONE)
        accepted = of_fault[result.fault];
    else if (result.value < 0 || result.value > 2147483647)
        accepted = (struct meaning){OUTCOME_FAILED, FAULT_OTHER};
    check_outcome(outcome_of_accept(result), accepted, 1);
}

/* ---- The life of a connection */

struct account {
    enum { AWAY, ECHOING, DRAINING, WAITING, OVER } stage;
    uint64_t in, out; /* bytes received to be echoed; bytes echoed */
    uint64_t owed;    /* DRAINING: bytes still to be received */
    enum connection_reason why;
    uint32_t opened; /* times */
    struct endpoint peer;
};

static enum connection_want due(const struct account *a) {
    bool unsent = a->in != a->out;
    switch (a->stage) {
    case ECHOING: return unsent ? CONNECTION_WANTS_WRITE : CONNECTION_WANTS_READ;
    case DRAINING:
        if (unsent) return CONNECTION_WANTS_WRITE;
        return a->owed == 0 ? CONNECTION_WANTS_SHUTDOWN : CONNECTION_WANTS_READ;
    case WAITING: return CONNECTION_WANTS_READ;
    case OVER: return CONNECTION_WANTS_CLOSE;
    default: return CONNECTION_WANTS_NOTHING;
    }
}

static void end(struct account *a, enum connection_reason why) {
    if (a->stage == OVER) return;
    a->stage = OVER;
    a->why = why;
}

static void end_by(struct account *a, enum outcome_kind kind) {
    if (kind == OUTCOME_END) end(a, CONNECTION_ENDED);
    if (kind == OUTCOME_RESET) end(a, CONNECTION_RESET);
    if (kind == OUTCOME_FAILED) end(a, CONNECTION_FAILED);
}

static void receive(struct connection *c, struct account *a, struct input *in, size_t capacity) {
    size_t most = connection_receive_max(c, capacity);
    uint64_t expected = capacity;
    if (a->stage == DRAINING && a->owed < expected) expected = a->owed;
    CHECK(most == expected);
    struct outcome outcome = check_receive(read_result(in), most);
    connection_received(c, outcome);
    if (a->stage != WAITING) a->in += outcome.count;
    if (a->stage == DRAINING) a->owed -= outcome.count;
    end_by(a, outcome.kind);
}

static void send(struct connection *c, struct account *a, struct input *in) {
    struct outcome outcome = check_send(read_result(in), (size_t)(a->in - a->out));
    connection_sent(c, outcome);
    a->out += outcome.count;
    end_by(a, outcome.kind);
}

static void admit(struct connection *c, struct account *a, struct input *in) {
    *a = (struct account){.stage = ECHOING, .opened = a->opened + 1};
    for (size_t i = 0; i < sizeof a->peer.address; i++)
        a->peer.address[i] = (uint8_t)(a->opened + i);
    a->peer.port = input_byte(in);
    connection_open(c, DESCRIPTOR, &a->peer);
    CHECK(c->interest == INTEREST_NONE);
}

/* Does what the connection wants, as the server would. */
static void serve(struct connection *c, struct account *a, struct input *in, size_t capacity) {
    switch (due(a)) {
    case CONNECTION_WANTS_READ: receive(c, a, in, capacity); break;
    case CONNECTION_WANTS_WRITE: send(c, a, in); break;
    case CONNECTION_WANTS_SHUTDOWN:
        connection_shut(c);
        a->stage = WAITING;
        break;
    case CONNECTION_WANTS_CLOSE:
        c->interest = INTEREST_NONE;
        connection_close(c);
        *a = (struct account){.stage = AWAY, .opened = a->opened};
        break;
    default: admit(c, a, in); break;
    }
}

static void check_token(const struct connection *c, const struct account *a) {
    if (a->stage != AWAY) {
        struct token token = connection_token(c, DESCRIPTOR);
        CHECK(token.slot == DESCRIPTOR && token.generation == a->opened);
    }
    for (uint32_t past = 0; past <= a->opened; past++) {
        struct token token = {.slot = DESCRIPTOR, .generation = past};
        CHECK(token_resolves(token, &c->slot) == (past == a->opened && a->stage != AWAY));
    }
}

static void check_account(const struct connection *c, const struct account *a, size_t capacity) {
    static const enum interest interests[] = {[CONNECTION_WANTS_READ] = INTEREST_READ,
                                              [CONNECTION_WANTS_WRITE] = INTEREST_WRITE,
                                              [CONNECTION_WANTS_CLOSE] = INTEREST_NONE};
    CHECK(connection_is_valid(c, capacity));
    CHECK(connection_wants(c) == due(a));
    CHECK(connection_interest(c) == interests[due(a)]);
    CHECK(buffer_pending(&c->pending) == a->in - a->out);
    CHECK(c->owed == a->owed);
    CHECK(c->reason == a->why);
    check_token(c, a);
    if (a->stage == AWAY) return; /* the fields of a closed connection are undefined */
    CHECK(c->received == a->in);
    CHECK(memcmp(c->peer.address, a->peer.address, sizeof a->peer.address) == 0);
    CHECK(c->peer.port == a->peer.port && c->peer.family == a->peer.family);
}

static void try_course(struct input *in) {
    struct connection c;
    struct account a = {.stage = AWAY};
    memset(&c, 0, sizeof c);
    size_t capacity = 1 + input_size(in, UINT32_MAX - 1);
    check_account(&c, &a, capacity);
    while (!input_ended(in)) {
        uint8_t what = input_byte(in) % 8;
        if (what == 6 && a.stage == ECHOING) {
            a.stage = DRAINING;
            a.owed = input_number(in, UINT32_MAX);
            connection_stop(&c, (uint32_t)a.owed);
        } else if (what == 7 && a.stage != AWAY) {
            enum connection_reason why = (enum connection_reason)(1 + input_byte(in) % 5);
            if (why == CONNECTION_ENDED && a.in != a.out) why = CONNECTION_RESET;
            connection_lose(&c, why);
            end(&a, why);
        } else {
            serve(&c, &a, in, capacity);
        }
        check_account(&c, &a, capacity);
        c.interest = (uint8_t)connection_interest(&c); /* as registered with the poller */
    }
}

/* ---- Validity */

/* One rule per line. */
static bool is_connection(const struct connection *c, size_t capacity) {
    uint64_t pending = (uint64_t)c->pending.write - c->pending.read;
    if (c->state > CONNECTION_DONE || c->interest > INTEREST_WRITE) return false;
    if (c->reason > CONNECTION_EXPIRED) return false;
    if ((c->reason == CONNECTION_REASON_NONE) == (c->state == CONNECTION_DONE)) return false;
    if (c->pending.read > c->pending.write || c->pending.write > capacity) return false;
    if (pending == 0 && c->pending.read != 0) return false;
    if (pending > c->received) return false;
    if (pending > 0 && c->state == CONNECTION_CLOSED) return false;
    if (pending > 0 && c->state == CONNECTION_LINGERING) return false;
    if (pending > 0 && c->reason == CONNECTION_ENDED) return false;
    if (c->owed > 0 && c->state < CONNECTION_STOPPING) return false;
    if (c->owed > 0 && c->state == CONNECTION_LINGERING) return false;
    if (c->state == CONNECTION_CLOSED) return !c->slot.live && c->interest == INTEREST_NONE;
    return c->slot.live && c->slot.generation > 0;
}

static void try_validity(struct input *in) {
    struct connection c;
    memset(&c, 0, sizeof c);
    c.state = input_byte(in) % 7;
    c.interest = input_byte(in) % 4;
    c.reason = input_byte(in) % 8;
    c.slot.live = input_byte(in) % 2 == 1;
    c.slot.generation = input_byte(in);
    c.pending.read = input_byte(in);
    c.pending.write = input_byte(in);
    c.received = input_byte(in);
    c.owed = input_byte(in);
    size_t capacity = input_byte(in);
    CHECK(connection_is_valid(&c, capacity) == is_connection(&c, capacity));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    switch (input_byte(&in) % 3) {
    case 0: try_course(&in); break;
    case 1: try_results(&in); break;
    default: try_validity(&in); break;
    }
    return 0;
}
