/* The server with any kernel: every state that it can reach is followed by every event, for ever.
 * See ../README.md for what is assumed. */
#include <__fc_builtin.h>

#include "any.h"
#include "shell/server.c"

#ifndef SLOTS
#define SLOTS 1
#endif
#define BUFFER_BYTES 1
#define LISTENER 3
#define STOP 4
#define FIRST 5

/* How often in one event the kernel makes the server go on: by an interruption, by as many bytes as
 * were asked for, by a client to accept. Then it has nothing, or fails. */
#ifndef LUCK
#define LUCK 1
#endif

static struct server s;
static struct log no_log;
static uint8_t memory[(SLOTS + 1) * KERNEL_MEMORY_UNIT + SLOTS * sizeof(struct connection)]
    __attribute__((aligned(KERNEL_MEMORY_UNIT)));
static bool is_open[SLOTS]; /* by descriptor, from FIRST */
static bool listening;
static int luck;

static bool lucky(void) {
    if (luck == 0 || any_bool()) return false;
    luck--;
    return true;
}

static struct result done(void) {
    if (any_bool()) return (struct result){.fault = FAULT_NONE};
    return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
}

static void check_connection(int32_t descriptor) {
    /*@ check given: FIRST <= descriptor < FIRST + SLOTS; */
    /*@ check open: is_open[descriptor - FIRST] == 1; */
}

static struct connection *holder_of(int32_t descriptor) {
    for (int i = 0; i < SLOTS; i++)
        if (s.connections[i].state != CONNECTION_CLOSED &&
            s.connections[i].descriptor == descriptor)
            return &s.connections[i];
    return NULL;
}

static struct result accept(void *self, int32_t listener, struct endpoint *peer) {
    /*@ check listening: listener == LISTENER && listening == 1; */
    /*@ check peer: \valid(peer); */
    if (!lucky()) {
        if (any_bool()) return (struct result){.value = -1};
        if (any_bool()) return any_fault(FAULT_WOULD_BLOCK, FAULT_WOULD_BLOCK);
        return any_fault(FAULT_DESCRIPTORS, FAULT_OTHER);
    }
    if (any_bool()) return any_fault(FAULT_INTERRUPTED, FAULT_ABORTED);
    int i = 0;
    while (i < SLOTS && is_open[i])
        i++;
    /*@ check limit: i < SLOTS; */
    is_open[i] = true;
    any_bytes(peer, sizeof *peer);
    return (struct result){.value = FIRST + i};
}

/* A transfer of at most `length` bytes; of all of them only by luck. */
static struct result moved(size_t length) {
    for (size_t count = 0; count < length; count++)
        if (any_bool()) return (struct result){.value = (int64_t)count};
    if (lucky()) {
        if (any_bool()) return any_fault(FAULT_INTERRUPTED, FAULT_INTERRUPTED);
        return (struct result){.value = (int64_t)length};
    }
    if (any_bool()) return any_fault(FAULT_WOULD_BLOCK, FAULT_WOULD_BLOCK);
    if (any_bool()) return any_fault(FAULT_RESET, FAULT_ABORTED);
    return any_fault(FAULT_DESCRIPTORS, FAULT_OTHER);
}

static struct result receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    check_connection(descriptor);
    /*@ check scratch: bytes == s.areas + SLOTS * s.area_bytes; */
    /*@ check length: 1 <= length <= s.options.buffer_bytes; */
    any_bytes(bytes, length);
    return moved(length);
}

static struct result send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length) {
    check_connection(descriptor);
    /*@ check readable: \valid_read(bytes + (0 .. length - 1)); */
    struct connection *c = holder_of(descriptor);
    const uint8_t *storage = bytes - c->pending.read;
    const uint8_t *area = s.areas + (size_t)(c - s.connections) * s.area_bytes;
    /*@ check own: storage == s.scratch || storage == area; */
    /*@ check pending: 1 <= length && c->pending.read + length == c->pending.write; */
    /*@ check inside: c->pending.write <= s.options.buffer_bytes <= s.area_bytes; */
    return moved(length);
}

static struct result shutdown(void *self, int32_t descriptor) {
    check_connection(descriptor);
    return done();
}

static struct result close(void *self, int32_t descriptor) {
    if (descriptor == LISTENER) {
        /*@ check listening: listening == 1; */
        listening = false;
    } else {
        check_connection(descriptor);
        is_open[descriptor - FIRST] = false;
    }
    return done();
}

static struct result unread(void *self, int32_t descriptor) {
    check_connection(descriptor);
    if (any_bool()) return (struct result){.value = any_positive()};
    if (any_bool()) return (struct result){.value = 0};
    return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
}

static void release(void *self, uint8_t *bytes, size_t length) {
    /*@ check area: \valid(bytes + (0 .. length - 1)) && bytes < s.scratch; */
    /*@ check whole: (bytes - s.areas) % length == 0 && length == s.area_bytes; */
    any_bytes(bytes, length);
}

static uint64_t clock_ms(void *self) { return any_ms(); }

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    /*@ check differ: from != to; */
    if (descriptor == LISTENER) {
        /*@ check listening: listening == 1; */
        return done();
    }
    if (descriptor == STOP) return done();
    check_connection(descriptor);
    struct connection *c = holder_of(descriptor);
    /*@ check from: c->interest == from; */
    /*@ check token: token.slot == c - s.connections; */
    return done();
}

static struct token no_token(void) {
    uint32_t slot = Frama_C_unsigned_int_interval(SLOTS < 2 ? 2 : SLOTS, UINT32_MAX);
    return (struct token){.slot = slot, .generation = any_u32};
}

/* Of a server's own two descriptors, of any slot, or of none; of any generation. */
static struct token any_token(void) {
    for (uint32_t slot = 0; slot < SLOTS || slot < 2; slot++)
        if (any_bool()) return (struct token){.slot = slot, .generation = any_u32};
    return no_token();
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout) {
    /*@ check timeout: -1 <= timeout; */
    if (any_bool()) return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
    if (any_bool()) return (struct result){.value = 0};
    any_bytes(ready, sizeof *ready);
    ready[0].token = no_token(); /* other events, and other numbers of them: see go_on */
    return (struct result){.value = 1};
}

void log_connect(struct log *log, struct token token, const struct endpoint *peer) {
    /*@ check peer: \valid_read(peer); */
}
void log_data(struct log *log, struct token token, const uint8_t *bytes, size_t length) {
    /*@ check bytes: \valid_read(bytes + (0 .. length - 1)); */
}
void log_disconnect(struct log *log, struct token token, const struct connection *c,
                    int32_t error) {
    /*@ check done: c->state == CONNECTION_DONE; */
}
void log_wait(struct log *log, struct result why) {}
void log_accept(struct log *log) {}
void log_stop(struct log *log, uint32_t connections) {}

/* Forgets what counts without end, and what the next event does not depend on: so that the states
 * are finitely many. Each is replaced by any value that it can have. */
static void forget(void) {
    luck = LUCK;
    s.error = any_int;
    s.waiting = any_bool_value();
    s.accept_tried = any_bool_value();
    s.turns = Frama_C_unsigned_int_interval(1, TURNS_MAX);
    s.accepts = Frama_C_unsigned_int_interval(1, 1 + POLLER_EVENTS_MAX / READY_PER_ACCEPT);
    s.sweep_ms = any_u64;
    if (s.drain_ms == NEVER)
        s.retry_ms = any_u64;
    else
        s.drain_ms = any_ms();
    for (int i = 0; i < SLOTS; i++) {
        struct connection *c = &s.connections[i];
        c->progress_ms = any_u32;
        c->received = any_received(c->pending.write - c->pending.read);
        if (c->slot.generation != 0) c->slot.generation = any_positive();
        if (c->owed != 0) c->owed = any_positive();
        any_bytes(&c->peer, sizeof c->peer);
    }
    any_bytes(memory, (SLOTS + 1) * KERNEL_MEMORY_UNIT);
    any_bytes(s.ready, sizeof s.ready);
}

/* A pass is a wait, any number of events, and what is due after them: each from any state. What a
 * full wait changes is the scan for idle connections. */
static bool go_on(void) {
    if (any_bool()) return server_step(&s) == SERVER_RUNNING;
    if (any_bool())
        dispatch(&s, any_token());
    else
        sweep(&s, any_ms(), true);
    return true;
}

void main(void) {
    static const struct kernel_ops ops = {.accept = accept,
                                          .receive = receive,
                                          .send = send,
                                          .shutdown = shutdown,
                                          .close = close,
                                          .unread = unread,
                                          .release = release,
                                          .clock_ms = clock_ms};
    static const struct poller_ops poller_ops = {.change = change, .wait = wait};
    struct poller poller = {.ops = &poller_ops, .kernel = {.ops = &ops}};
    struct server_options options = {.connections_max = SLOTS, .buffer_bytes = BUFFER_BYTES};
    options.idle_timeout_ms = Frama_C_unsigned_int_interval(0, 1u << 30);
    options.drain_timeout_ms = Frama_C_unsigned_int_interval(0, 1u << 31);
    listening = true;
    luck = LUCK;
    struct result result = server_init(&s, poller, &no_log, &options, LISTENER, STOP, memory);
    if (result.fault != FAULT_NONE) return;
    do {
        forget();
    } while (go_on());
}
