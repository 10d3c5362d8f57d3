#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/connection.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define CAPACITY_MAX 4
#define STEPS_MAX 8
#define DESCRIPTOR 5

/* ---- The model: the state of a connection, counted in bytes. ---- */

enum phase { ABSENT, ECHOING, STOPPING, LINGERING, GONE };

struct model {
    enum phase phase;
    enum connection_reason reason;
    unsigned taken; /* bytes received to be echoed, in this life of the slot */
    unsigned sent;  /* of these */
    unsigned batch; /* bytes of the newest receive, which began at storage[0] */
    unsigned goal;  /* STOPPING: value of `taken` at which nothing more is owed */
    unsigned lives; /* connections begun so far */
};

static enum connection_want model_wants(const struct model *model) {
    switch (model->phase) {
    case ABSENT: return CONNECTION_WANTS_NOTHING;
    case ECHOING:
        return model->sent < model->taken ? CONNECTION_WANTS_WRITE : CONNECTION_WANTS_READ;
    case STOPPING:
        if (model->sent < model->taken) {
            return CONNECTION_WANTS_WRITE;
        }
        return model->taken < model->goal ? CONNECTION_WANTS_READ : CONNECTION_WANTS_SHUTDOWN;
    case LINGERING: return CONNECTION_WANTS_READ;
    case GONE: break;
    }
    return CONNECTION_WANTS_CLOSE;
}

static enum interest model_interest(const struct model *model) {
    switch (model_wants(model)) {
    case CONNECTION_WANTS_READ: return INTEREST_READ;
    case CONNECTION_WANTS_WRITE: return INTEREST_WRITE;
    default: return INTEREST_NONE;
    }
}

static unsigned model_receive_max(const struct model *model, unsigned capacity) {
    unsigned owed = model->goal - model->taken;
    return model->phase == STOPPING && owed < capacity ? owed : capacity;
}

static void model_end(struct model *model, enum connection_reason reason) {
    if (model->phase != GONE) {
        model->phase = GONE;
        model->reason = reason;
    }
}

/* ---- Operations: each with its effect on the model and on the connection. ---- */

enum verb { OPEN, RECEIVED, SENT, STOP, SHUT, LOSE, CLOSE };

struct operation {
    enum verb verb;
    struct outcome outcome;        /* RECEIVED, SENT */
    uint32_t unread;               /* STOP */
    enum connection_reason reason; /* LOSE */
};

#define OPERATIONS_MAX 24

struct operations {
    struct operation items[OPERATIONS_MAX];
    size_t count;
};

static void add(struct operations *operations, struct operation operation) {
    assert_true(operations->count < OPERATIONS_MAX);
    operations->items[operations->count++] = operation;
}

static void add_outcomes(struct operations *operations, enum verb verb, unsigned count_max) {
    static const struct outcome others[] = {
        {.kind = OUTCOME_INTERRUPTED},
        {.kind = OUTCOME_WOULD_BLOCK},
        {.kind = OUTCOME_END},
        {.kind = OUTCOME_RESET, .fault = FAULT_RESET},
        {.kind = OUTCOME_FAILED, .fault = FAULT_OTHER},
    };
    for (size_t i = 0; i < LENGTH(others); i++) {
        add(operations, (struct operation){.verb = verb, .outcome = others[i]});
    }
    for (size_t count = 1; count <= count_max; count++) {
        const struct outcome moved = {.kind = OUTCOME_MOVED, .count = count};
        add(operations, (struct operation){.verb = verb, .outcome = moved});
    }
}

static struct operations legal_operations(const struct model *model, unsigned capacity) {
    struct operations operations = {.count = 0};
    switch (model_wants(model)) {
    case CONNECTION_WANTS_NOTHING:
        add(&operations, (struct operation){.verb = OPEN});
        return operations;
    case CONNECTION_WANTS_READ:
        add_outcomes(&operations, RECEIVED, model_receive_max(model, capacity));
        break;
    case CONNECTION_WANTS_WRITE: add_outcomes(&operations, SENT, model->taken - model->sent); break;
    case CONNECTION_WANTS_SHUTDOWN: add(&operations, (struct operation){.verb = SHUT}); break;
    case CONNECTION_WANTS_CLOSE: add(&operations, (struct operation){.verb = CLOSE}); break;
    }
    for (uint32_t unread = 0; model->phase == ECHOING && unread <= 2; unread++) {
        add(&operations, (struct operation){.verb = STOP, .unread = unread});
    }
    const bool answered = model->sent == model->taken;
    for (enum connection_reason reason = CONNECTION_ENDED; reason <= CONNECTION_EXPIRED; reason++) {
        if (reason == CONNECTION_ENDED && !answered) continue;
        add(&operations, (struct operation){.verb = LOSE, .reason = reason});
    }
    return operations;
}

static void model_transfer(struct model *model, enum verb verb, struct outcome outcome) {
    unsigned count = (unsigned)outcome.count;
    switch (outcome.kind) {
    case OUTCOME_MOVED:
        if (verb == SENT) {
            model->sent += count;
        } else if (model->phase != LINGERING) {
            model->taken += count;
            model->batch = count;
        }
        break;
    case OUTCOME_END: /* a send has no end */
        if (verb == RECEIVED) {
            model_end(model, CONNECTION_ENDED);
        }
        break;
    case OUTCOME_RESET: model_end(model, CONNECTION_RESET); break;
    case OUTCOME_FAILED: model_end(model, CONNECTION_FAILED); break;
    case OUTCOME_INTERRUPTED:
    case OUTCOME_WOULD_BLOCK: break;
    }
}

static void model_apply(struct model *model, const struct operation *operation) {
    switch (operation->verb) {
    case OPEN: *model = (struct model){.phase = ECHOING, .lives = model->lives + 1}; break;
    case RECEIVED:
    case SENT: model_transfer(model, operation->verb, operation->outcome); break;
    case STOP:
        model->phase = STOPPING;
        model->goal = model->taken + operation->unread;
        break;
    case SHUT: model->phase = LINGERING; break;
    case LOSE: model_end(model, operation->reason); break;
    case CLOSE: *model = (struct model){.phase = ABSENT, .lives = model->lives}; break;
    }
}

/* A different peer for each life. */
static struct endpoint peer_of(unsigned life) {
    struct endpoint peer;
    memset(&peer, 0, sizeof peer);
    peer.address[0] = 127;
    peer.address[15] = (uint8_t)life;
    peer.scope = life << 16;
    peer.port = (uint16_t)(40000 + life);
    peer.family = ENDPOINT_IPV6;
    return peer;
}

static bool same_peer(const struct endpoint *a, const struct endpoint *b) {
    return memcmp(a->address, b->address, sizeof a->address) == 0 && a->scope == b->scope &&
           a->port == b->port && a->family == b->family;
}

static void apply(struct connection *connection, const struct operation *operation,
                  uint32_t descriptor, unsigned life) {
    const struct endpoint peer = peer_of(life);
    switch (operation->verb) {
    case OPEN: connection_open(connection, descriptor, &peer); break;
    case RECEIVED: connection_received(connection, operation->outcome); break;
    case SENT: connection_sent(connection, operation->outcome); break;
    case STOP: connection_stop(connection, operation->unread); break;
    case SHUT: connection_shut(connection); break;
    case LOSE: connection_lose(connection, operation->reason); break;
    case CLOSE: connection_close(connection); break;
    }
}

/* ---- Comparing the connection with the model ---- */

static bool same_connection(const struct connection *a, const struct connection *b) {
    return a->received == b->received && a->pending.read == b->pending.read &&
           a->pending.write == b->pending.write && a->slot.generation == b->slot.generation &&
           a->slot.live == b->slot.live && a->owed == b->owed && a->progress_ms == b->progress_ms &&
           same_peer(&a->peer, &b->peer) && a->state == b->state && a->interest == b->interest &&
           a->reason == b->reason;
}

/* The first difference from the model, or null. */
static const char *difference(const struct connection *connection, const struct model *model,
                              unsigned capacity) {
    static const enum connection_state states[] = {
        [ABSENT] = CONNECTION_CLOSED,     [ECHOING] = CONNECTION_OPEN,
        [STOPPING] = CONNECTION_STOPPING, [LINGERING] = CONNECTION_LINGERING,
        [GONE] = CONNECTION_DONE,
    };
    const unsigned unsent = model->taken - model->sent;
    const unsigned write = unsent > 0 ? model->batch : 0;
    const enum connection_want wants = model_wants(model);
    if (!connection_is_valid(connection, capacity)) {
        return "is_valid";
    } else if (connection->state != states[model->phase]) {
        return "state";
    } else if (connection_wants(connection) != wants) {
        return "wants";
    } else if (connection_interest(connection) != model_interest(model)) {
        return "interest";
    } else if (wants == CONNECTION_WANTS_READ &&
               connection_receive_max(connection, capacity) != model_receive_max(model, capacity)) {
        return "receive_max";
    } else if (connection->slot.live != (model->phase != ABSENT)) {
        return "slot";
    } else if (model->phase == ABSENT) {
        return NULL;
    } else if (connection->pending.read != write - unsent || connection->pending.write != write) {
        return "pending";
    } else if (connection->received != model->taken) {
        return "received";
    } else if (model->phase == STOPPING && connection->owed != model->goal - model->taken) {
        return "owed";
    }
    return connection->reason != model->reason ? "reason" : NULL;
}

/* What an operation changed although it must not, or null. */
static const char *trespass(const struct connection *before, const struct connection *after,
                            const struct operation *operation) {
    const enum outcome_kind kind = operation->outcome.kind;
    switch (operation->verb) {
    case OPEN: return after->interest != INTEREST_NONE ? "interest of a new connection" : NULL;
    case CLOSE: return NULL;
    case RECEIVED:
    case SENT:
        if ((kind == OUTCOME_INTERRUPTED || kind == OUTCOME_WOULD_BLOCK ||
             (kind == OUTCOME_END && operation->verb == SENT)) &&
            !same_connection(before, after)) {
            return "the connection, although nothing happened";
        }
        break;
    default: break;
    }
    if (after->slot.generation != before->slot.generation) {
        return "token";
    } else if (after->interest != before->interest) {
        return "registered interest";
    } else if (after->progress_ms != before->progress_ms) {
        return "time of progress";
    }
    return same_peer(&before->peer, &after->peer) ? NULL : "peer";
}

/* ---- All sequences of operations ----
 *
 * The functions depend on the connection alone, so two sequences that end in the same connection
 * and the same model have the same continuations. Each step merges them, and counts the merged
 * ones. */

struct node {
    struct connection connection;
    struct model model;
    uint64_t sequences; /* that end here */
};

#define NODES_MAX 32768 /* of one step; a power of two */

struct level {
    struct node nodes[NODES_MAX];
    size_t count;
    uint32_t index[2 * NODES_MAX]; /* a hash table of node numbers, from 1 on; 0 is free */
};

static uint64_t sequences;
static uint64_t cases;

static int report_cases(void **state) {
    (void)state;
    print_message("connection: %llu cases for %llu sequences\n", (unsigned long long)cases,
                  (unsigned long long)sequences);
    return 0;
}

static void clear(struct level *level) {
    level->count = 0;
    memset(level->index, 0, sizeof level->index);
}

static bool same_model(const struct model *a, const struct model *b) {
    return a->phase == b->phase && a->reason == b->reason && a->taken == b->taken &&
           a->sent == b->sent && a->batch == b->batch && a->goal == b->goal && a->lives == b->lives;
}

static size_t hash_of(const struct node *node) {
    const struct model *model = &node->model;
    const unsigned parts[] = {model->phase, model->reason, model->taken, model->sent,
                              model->batch, model->goal,   model->lives, node->connection.reason};
    size_t hash = 0;
    for (size_t i = 0; i < LENGTH(parts); i++) {
        hash = hash * 31 + parts[i];
    }
    return hash;
}

static void merge(struct level *level, const struct node *node) {
    size_t place = hash_of(node) % LENGTH(level->index);
    for (; level->index[place] != 0; place = (place + 1) % LENGTH(level->index)) {
        struct node *known = &level->nodes[level->index[place] - 1];
        if (same_connection(&known->connection, &node->connection) &&
            same_model(&known->model, &node->model)) {
            known->sequences += node->sequences;
            return;
        }
    }
    assert_true(level->count < NODES_MAX);
    level->nodes[level->count++] = *node;
    level->index[place] = (uint32_t)level->count;
}

static void check(const struct node *before, const struct node *after,
                  const struct operation *operation, unsigned capacity) {
    const char *differs = difference(&after->connection, &after->model, capacity);
    const char *touched = trespass(&before->connection, &after->connection, operation);
    cases++;
    if (differs != NULL || touched != NULL) {
        fail_msg("capacity %u, phase %d, taken %u, sent %u, goal %u, reason %d, then "
                 "verb %d (kind %d count %zu unread %u reason %d): %s %s",
                 capacity, before->model.phase, before->model.taken, before->model.sent,
                 before->model.goal, before->model.reason, operation->verb, operation->outcome.kind,
                 operation->outcome.count, operation->unread, operation->reason,
                 differs != NULL ? "differs in" : "changed", differs != NULL ? differs : touched);
    }
}

/* What the server does: it updates the registration, at once or only before a close, and records
 * the time and the errno. No function may depend on these, and they must not outlive the
 * connection. */
static void act_as_server(struct connection *connection, const struct operation *done, bool eager) {
    if (done->verb == OPEN) {
        connection->progress_ms = UINT32_MAX;
    }
    if (eager || connection_wants(connection) == CONNECTION_WANTS_CLOSE) {
        connection->interest = (uint8_t)connection_interest(connection);
    }
}

static void step(const struct node *node, struct level *next, unsigned capacity, bool eager) {
    const struct operations operations = legal_operations(&node->model, capacity);
    for (size_t i = 0; i < operations.count; i++) {
        const struct operation *operation = &operations.items[i];
        struct node after = *node;
        model_apply(&after.model, operation);
        apply(&after.connection, operation, DESCRIPTOR, after.model.lives);
        check(node, &after, operation, capacity);
        act_as_server(&after.connection, operation, eager);
        assert_true(connection_is_valid(&after.connection, capacity));
        merge(next, &after);
        sequences += node->sequences;
    }
}

static void explore(unsigned capacity, bool eager) {
    struct level *now = malloc(sizeof *now);
    struct level *next = malloc(sizeof *next);
    assert_non_null(now);
    assert_non_null(next);
    clear(now);
    now->nodes[now->count++] = (struct node){.sequences = 1};
    for (size_t steps = 0; steps < STEPS_MAX; steps++) {
        clear(next);
        for (size_t i = 0; i < now->count; i++) {
            step(&now->nodes[i], next, capacity, eager);
        }
        struct level *spent = now;
        now = next;
        next = spent;
    }
    free(now);
    free(next);
}

static void all_sequences_agree_with_the_model(void **state) {
    (void)state;
    for (unsigned capacity = 1; capacity <= CAPACITY_MAX; capacity++) {
        explore(capacity, true);
        explore(capacity, false);
    }
}

/* ---- Three connections side by side ---- */

#define SLOTS 3

struct slots {
    struct connection connections[SLOTS];
    struct model models[SLOTS];
    struct issued {
        struct token token;
        size_t at;
        unsigned life;
    } issued[STEPS_MAX];
    size_t count;
};

/* Enough operations to reach every state except those of the stop. */
static struct operations coarse_operations(const struct model *model) {
    static const struct outcome moved = {.kind = OUTCOME_MOVED, .count = 1};
    static const struct outcome reset = {.kind = OUTCOME_RESET, .fault = FAULT_RESET};
    struct operations operations = {.count = 0};
    switch (model_wants(model)) {
    case CONNECTION_WANTS_NOTHING: add(&operations, (struct operation){.verb = OPEN}); break;
    case CONNECTION_WANTS_READ:
        add(&operations, (struct operation){.verb = RECEIVED, .outcome = moved});
        add(&operations, (struct operation){.verb = RECEIVED, .outcome = reset});
        break;
    case CONNECTION_WANTS_WRITE:
        add(&operations, (struct operation){.verb = SENT, .outcome = moved});
        break;
    default: add(&operations, (struct operation){.verb = CLOSE}); break;
    }
    return operations;
}

/* A token resolves in its own slot during its own life, and never again. */
static void check_slots(const struct slots *slots) {
    static const struct operation nothing = {.verb = OPEN};
    for (size_t at = 0; at < SLOTS; at++) {
        const struct node node = {slots->connections[at], slots->models[at], 1};
        check(&node, &node, &nothing, 1);
        assert_false(token_resolves(TOKEN_LISTENER, &slots->connections[at].slot));
    }
    for (size_t i = 0; i < slots->count; i++) {
        const struct issued *issued = &slots->issued[i];
        const struct model *model = &slots->models[issued->at];
        const struct connection *connection = &slots->connections[issued->at];
        bool alive = model->phase != ABSENT && model->lives == issued->life;
        assert_int_equal(token_resolves(issued->token, &connection->slot), alive);
        if (alive) {
            struct token token = connection_token(connection, issued->token.slot);
            assert_true(token_pack(token) == token_pack(issued->token));
        }
        for (size_t j = 0; j < i; j++) {
            assert_true(token_pack(issued->token) != token_pack(slots->issued[j].token));
        }
    }
}

static void step_slot(struct slots *slots, size_t at, const struct operation *operation) {
    const uint32_t descriptor = (uint32_t)at + DESCRIPTOR;
    struct connection *connection = &slots->connections[at];
    struct model *model = &slots->models[at];
    model_apply(model, operation);
    apply(connection, operation, descriptor, model->lives);
    if (operation->verb == OPEN) {
        struct token token = connection_token(connection, descriptor);
        assert_int_equal(token.slot, descriptor);
        slots->issued[slots->count++] = (struct issued){token, at, model->lives};
    }
}

static void explore_slots(const struct slots *slots, size_t steps) {
    for (size_t at = 0; at < SLOTS; at++) {
        const struct operations operations = coarse_operations(&slots->models[at]);
        for (size_t i = 0; i < operations.count; i++) {
            struct slots after = *slots;
            step_slot(&after, at, &operations.items[i]);
            check_slots(&after);
            sequences++;
            if (steps + 1 < STEPS_MAX) {
                explore_slots(&after, steps + 1);
            }
        }
    }
}

static void tokens_resolve_only_during_their_connection(void **state) {
    (void)state;
    const struct slots slots = {.count = 0};
    explore_slots(&slots, 0);
}

/* ---- Edges ---- */

static struct connection opened(void) {
    struct connection connection;
    const struct endpoint peer = peer_of(1);
    memset(&connection, 0, sizeof connection);
    connection_open(&connection, DESCRIPTOR, &peer);
    return connection;
}

/* A closed connection still holds data of the previous one; the next must not inherit it. */
static void open_resets_everything_but_the_peer(void **state) {
    (void)state;
    const struct endpoint peer = peer_of(2);
    struct connection connection;
    memset(&connection, 0, sizeof connection);
    connection.received = 100;
    connection.peer = peer_of(1);
    assert_true(connection_is_valid(&connection, CAPACITY_MAX));
    connection_open(&connection, DESCRIPTOR, &peer);
    assert_int_equal(connection.received, 0);
    assert_true(same_peer(&connection.peer, &peer));
    cases++;
}

static void counts_are_not_truncated(void **state) {
    (void)state;
    const struct outcome moved = {.kind = OUTCOME_MOVED, .count = UINT32_MAX};
    struct connection connection = opened();
    for (uint64_t round = 1; round <= 3; round++) {
        assert_true(connection_receive_max(&connection, UINT32_MAX) == UINT32_MAX);
        connection_received(&connection, moved);
        assert_true(connection.received == round * UINT32_MAX);
        assert_true(connection_is_valid(&connection, UINT32_MAX));
        assert_false(connection_is_valid(&connection, UINT32_MAX - 1));
        connection_sent(&connection, moved);
        assert_int_equal(connection_wants(&connection), CONNECTION_WANTS_READ);
        cases++;
    }
    connection_stop(&connection, UINT32_MAX);
    assert_int_equal(connection_receive_max(&connection, 4), 4);
    assert_true(connection_receive_max(&connection, SIZE_MAX) == UINT32_MAX);
    connection_received(&connection, moved);
    connection_sent(&connection, moved);
    assert_int_equal(connection_wants(&connection), CONNECTION_WANTS_SHUTDOWN);
    assert_true(connection.received == UINT64_C(4) * UINT32_MAX);
    cases++;
}

static void every_fault_ends_the_connection(void **state) {
    (void)state;
    for (enum fault fault = FAULT_RESET; fault <= FAULT_OTHER; fault++) {
        const struct outcome reset = {.kind = OUTCOME_RESET, .fault = fault};
        const struct outcome failed = {.kind = OUTCOME_FAILED, .fault = fault};
        struct connection connection = opened();
        connection_received(&connection, reset);
        assert_int_equal(connection.reason, CONNECTION_RESET);
        connection = opened();
        connection_received(&connection, failed);
        assert_int_equal(connection.reason, CONNECTION_FAILED);
        assert_int_equal(connection_wants(&connection), CONNECTION_WANTS_CLOSE);
        cases++;
    }
}

/* ---- Validity: one field at a time contradicts the others. ---- */

static void check_invalid(struct connection connection, const char *why) {
    cases++;
    if (connection_is_valid(&connection, CAPACITY_MAX)) {
        fail_msg("expected invalid, got valid in state %d: %s", connection.state, why);
    }
}

/* Contradictions in any state. */
static void check_common_defects(const struct connection *valid) {
    struct connection bad;
    assert_true(connection_is_valid(valid, CAPACITY_MAX));
    bad = *valid;
    bad.state = CONNECTION_DONE + 1;
    check_invalid(bad, "unknown state");
    bad = *valid;
    bad.interest = INTEREST_WRITE + 1;
    check_invalid(bad, "unknown interest");
    bad = *valid;
    bad.reason = CONNECTION_EXPIRED + 1;
    check_invalid(bad, "unknown reason");
    bad = *valid;
    bad.pending = (struct buffer){.read = 0, .write = CAPACITY_MAX + 1};
    bad.received = 100;
    check_invalid(bad, "more pending than the capacity");
    bad = *valid;
    bad.pending = (struct buffer){.read = 2, .write = 2};
    check_invalid(bad, "empty but not rewound");
    bad = *valid;
    bad.slot.live = !valid->slot.live;
    check_invalid(bad, "token in use although closed, or not in use although open");
    bad = *valid;
    bad.reason =
        valid->reason == CONNECTION_REASON_NONE ? CONNECTION_ENDED : CONNECTION_REASON_NONE;
    check_invalid(bad, "a reason although not done, or none although done");
}

static void is_valid_rejects_every_contradiction(void **state) {
    (void)state;
    static const struct outcome moved = {.kind = OUTCOME_MOVED, .count = 2};
    struct connection closed;
    memset(&closed, 0, sizeof closed);
    assert_true(connection_is_valid(&closed, 0));
    check_common_defects(&closed);

    struct connection open = opened();
    check_common_defects(&open);
    open.slot.generation = 0;
    check_invalid(open, "generation 0 is never issued");
    open = opened();
    open.owed = 1;
    check_invalid(open, "something is owed before the stop");
    open = opened();
    connection_received(&open, moved);
    check_common_defects(&open);
    open.received = 1;
    check_invalid(open, "more is pending than was received");

    struct connection stopping = opened();
    connection_stop(&stopping, 2);
    check_common_defects(&stopping);

    struct connection lingering = opened();
    connection_stop(&lingering, 0);
    connection_shut(&lingering);
    check_common_defects(&lingering);
    lingering.owed = 1;
    check_invalid(lingering, "something is owed after our FIN");
    lingering.owed = 0;
    lingering.received = 2;
    lingering.pending.write = 2;
    check_invalid(lingering, "something is pending after our FIN");

    struct connection done = opened();
    connection_lose(&done, CONNECTION_IDLE);
    check_common_defects(&done);
    done.reason = CONNECTION_ENDED;
    done.received = 2;
    done.pending.write = 2;
    check_invalid(done, "ended with something pending");

    closed.interest = INTEREST_READ;
    check_invalid(closed, "still registered");
    closed.interest = INTEREST_NONE;
    closed.received = 2;
    closed.pending.write = 2;
    check_invalid(closed, "something is pending when closed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sequences_agree_with_the_model),
        cmocka_unit_test(tokens_resolve_only_during_their_connection),
        cmocka_unit_test(open_resets_everything_but_the_peer),
        cmocka_unit_test(counts_are_not_truncated),
        cmocka_unit_test(every_fault_ends_the_connection),
        cmocka_unit_test(is_valid_rejects_every_contradiction),
    };
    return cmocka_run_group_tests_name("connection", tests, NULL, report_cases);
}
