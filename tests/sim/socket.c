#include "sim/socket.h"

#include "sim/faults.h"
#include "sim/tcp.h"
#include "sim/trace.h"

/* More receives than this from one connection between two waits starve the others. A turn of the
 * server is shorter, but a connection can have several: one that was just accepted or served has
 * another one if the stop is seen after it. */
#define TURN_MAX 128

/* The connection behind a descriptor. The server calls only after a reason to: an event, accept or
 * the stop; or that it seems idle after a full wait, which may have left out its event. */
static struct sim_link *socket_of(struct sim_kernel *sim, int32_t descriptor, const char *call) {
    int32_t client = sim_client_of(sim, descriptor);
    if (client < 0) {
        oracle_fail(sim->oracle, "system-calls", "%s on descriptor %d, which is not open", call,
                    descriptor);
        return NULL;
    }
    if (sim->foreign) return &sim->links[client];
    bool left_out = sim->full && oracle_is_idle(sim->oracle, (uint32_t)client, sim->now_ms);
    if (left_out) sim->reported[descriptor] = true; /* what it receives ends its idleness */
    if (!sim->reported[descriptor] && !sim->reported[SIM_STOP] && !left_out)
        oracle_fail(sim->oracle, "system-calls", "%s on descriptor %d, which no event named", call,
                    descriptor);
    return &sim->links[client];
}

static int32_t lowest_free(const struct sim_kernel *sim) {
    int32_t descriptor = SIM_CLIENT_FIRST;
    while (descriptor < (int32_t)sim->slot_count && sim->owner[descriptor] != 0)
        descriptor++;
    return descriptor;
}

/* The descriptor is reserved first: without one the call fails whether or not the backlog is empty
 * (Linux, FreeBSD). */
static struct result take_from_backlog(struct sim_kernel *sim, struct endpoint *peer) {
    int32_t descriptor = lowest_free(sim);
    if (sim->open >= sim->open_max || descriptor == (int32_t)sim->slot_count)
        return fault_result(FAULT_DESCRIPTORS, 24);
    if (tcp_backlog(sim) == 0) return fault_result(FAULT_WOULD_BLOCK, 11);
    uint32_t client = sim->backlog[sim->backlog_taken++];
    struct sim_link *link = &sim->links[client];
    link->waiting = false;
    /* BSD does not hand out a connection that was reset; with it its data is gone. */
    if (link->reset_arrived && sim->system != SIM_LINUX) return fault_result(FAULT_ABORTED, 103);
    link->descriptor = descriptor;
    sim->owner[descriptor] = (int16_t)(client + 1);
    sim->reported[descriptor] = true;
    sim->open++;
    sim->pass.accepts++;
    if ((uint32_t)descriptor >= sim->top) sim->top = (uint32_t)descriptor + 1;
    oracle_accepted(sim->oracle, client, sim->now_ms);
    sim->progress++;
    *peer = (struct endpoint){
        .address = {127, 0, 0, 1}, .port = (uint16_t)(10000 + client), .family = ENDPOINT_IPV4};
    return (struct result){.value = descriptor};
}

struct result sim_accept(void *self, int32_t listener, struct endpoint *peer) {
    struct sim_kernel *sim = self;
    if (listener != SIM_LISTENER || !sim->listening)
        oracle_fail(sim->oracle, "system-calls", "accept on descriptor %d, which does not listen",
                    listener);
    struct result result = fault_inject(sim, CALL_ACCEPT, -1);
    if (result.fault == FAULT_WOULD_BLOCK) sim->listener_edges++;
    if (result.fault == FAULT_NONE) result = take_from_backlog(sim, peer);
    if (result.fault != FAULT_NONE)
        sim->pass.waiting = 0; /* to try again at once is not asked for */
    bool taken = result.fault == FAULT_NONE || result.fault == FAULT_ABORTED;
    if (result.fault == FAULT_DESCRIPTORS || result.fault == FAULT_WOULD_BLOCK)
        sim->short_of_descriptors = result.fault == FAULT_DESCRIPTORS;
    /* SPEC.md, FAULT-3: without descriptors another server may close what it accepts next. */
    if (sim->foreign && sim->short_of_descriptors && result.fault == FAULT_NONE)
        sim->oracle->clients[sim_client_of(sim, (int32_t)result.value)].excused = true;
    if (!taken && !fault_is_passing(result.fault)) oracle_refused(sim->oracle, sim->now_ms);
    if (!taken && result.fault != FAULT_INTERRUPTED && tcp_backlog(sim) > 0)
        sim->oracle->turned_away = true;
    return trace_call(sim, CALL_ACCEPT,
                      result.fault == FAULT_NONE ? (int32_t)result.value : listener, 0, result);
}

/* Less than `count` if the scenario has a short step for this call. Each such step shortens one
 * call, in order. */
static uint64_t shortened(struct sim_kernel *sim, uint32_t client, enum step_kind kind,
                          uint64_t count) {
    const struct scenario *scenario = sim->stream->scenario;
    struct sim_link *link = &sim->links[client];
    uint32_t left = link->shorts[kind - STEP_SHORT_RECEIVE].used;
    if (left == link->shorts[kind - STEP_SHORT_RECEIVE].steps) return count;
    link->shorts[kind - STEP_SHORT_RECEIVE].used++;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const struct step *step = &scenario->steps[i];
        if (step->kind != kind || step->client != client || left-- > 0) continue;
        return step->count < count ? step->count : count;
    }
    return count;
}

/* The result of a read once all bytes are read. On Linux an RST after the peer's FIN fails only a
 * write; on BSD also a read, once. */
static struct result read_end(const struct sim_kernel *sim, struct sim_link *link) {
    enum fault fault = link->error;
    bool fails = sim->system != SIM_LINUX && fault != FAULT_NONE;
    if (link->fin_arrived && !fails) return (struct result){.value = 0};
    if (fault == FAULT_NONE)
        return link->reset_arrived ? (struct result){.value = 0}
                                   : fault_result(FAULT_WOULD_BLOCK, 11);
    link->error = FAULT_NONE;
    return fault_result(fault, 104);
}

/* Data first, then the error, once, then 0 (Linux, tcp_recvmsg). */
static struct result read_bytes(struct sim_kernel *sim, struct sim_link *link, uint32_t client,
                                uint8_t *bytes, size_t length) {
    if (tcp_at_urgent(link) && tcp_unread(link) > 0 && length > 0) tcp_pass_urgent(sim, client);
    if (tcp_unread(link) == 0) return read_end(sim, link);
    uint64_t count = tcp_unread(link) < length ? tcp_unread(link) : length;
    /* A read stops before the urgent byte; the next one begins with it, or behind it. */
    if (link->urgent_end > link->taken + 1 && link->urgent_end <= link->taken + count)
        count = link->urgent_end - 1 - link->taken;
    /* A short read means that the rest had not arrived: after the FIN there is none. The reference
     * is to bear it all the same; others may conclude from it that they have read all. */
    if (!sim->foreign || !tcp_at_end(link)) {
        count = vary_part_of(sim, VARY_SHORT, count);
        count = shortened(sim, client, STEP_SHORT_RECEIVE, count);
    }
    if (count < length && count < tcp_unread(link)) link->edges[EDGE_READ]++; /* data likewise */
    stream_fill(sim->stream, client, link->taken, bytes, (size_t)count);
    link->taken += count;
    sim->moved += count;
    sim->progress++;
    oracle_taken(sim->oracle, client, count, sim->now_ms);
    return (struct result){.value = (int64_t)count};
}

struct result sim_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    struct sim_kernel *sim = self;
    struct sim_link *link = socket_of(sim, descriptor, "receive");
    if (link == NULL) return fault_result(FAULT_OTHER, 9);
    if (length == 0 && !sim->foreign)
        oracle_fail(sim->oracle, "system-calls", "receive of 0 bytes: its result looks like FIN");
    sim->pass.receives++;
    if (++sim->received[descriptor] > TURN_MAX && !sim->foreign)
        oracle_fail(sim->oracle, "system-calls", "descriptor %d: more than %d receives in a row",
                    descriptor, TURN_MAX);
    struct result result = fault_inject(sim, CALL_RECEIVE, descriptor);
    if (result.fault == FAULT_WOULD_BLOCK) link->edges[EDGE_READ]++; /* as after a short read */
    if (result.fault == FAULT_NONE)
        result = read_bytes(sim, link, (uint32_t)sim_client_of(sim, descriptor), bytes, length);
    return trace_call(sim, CALL_RECEIVE, descriptor, length, result);
}

static struct result write_bytes(struct sim_kernel *sim, struct sim_link *link, uint32_t client,
                                 const uint8_t *bytes, size_t length) {
    uint64_t room = tcp_send_room(sim, link);
    /* On BSD a write fails at once with EPIPE, and leaves the error to a read. */
    if (link->error != FAULT_NONE && sim->system == SIM_LINUX) {
        enum fault fault = link->error;
        link->error = FAULT_NONE;
        return fault_result(fault, fault == FAULT_PIPE ? 32 : 104);
    }
    if (link->reset_arrived || link->server_shut) return fault_result(FAULT_PIPE, 32);
    /* BSD takes a part only if there is room for SO_SNDLOWAT bytes (sosend_generic). */
    bool little = sim->system != SIM_LINUX && room < length && room < tcp_low_water(sim);
    link->full |= room < length;
    if ((room == 0 && length > 0) || little) return fault_result(FAULT_WOULD_BLOCK, 11);
    uint64_t count = vary_part_of(sim, VARY_SHORT, room < length ? room : length);
    count = shortened(sim, client, STEP_SHORT_SEND, count);
    if (count < length && count < room) link->edges[EDGE_WRITE]++; /* room that came just after */
    oracle_written(sim->oracle, client, bytes, (size_t)count, sim->now_ms);
    link->written += count;
    sim->moved += count;
    sim->progress++;
    return (struct result){.value = (int64_t)count};
}

struct result sim_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length) {
    struct sim_kernel *sim = self;
    struct sim_link *link = socket_of(sim, descriptor, "send");
    if (link == NULL) return fault_result(FAULT_OTHER, 9);
    if (length == 0 && !sim->foreign) oracle_fail(sim->oracle, "system-calls", "send of 0 bytes");
    struct result result = fault_inject(sim, CALL_SEND, descriptor);
    if (result.fault == FAULT_WOULD_BLOCK) link->edges[EDGE_WRITE]++;
    if (result.fault == FAULT_NONE)
        result = write_bytes(sim, link, (uint32_t)sim_client_of(sim, descriptor), bytes, length);
    return trace_call(sim, CALL_SEND, descriptor, length, result);
}

struct result sim_shutdown(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self;
    struct sim_link *link = socket_of(sim, descriptor, "shutdown");
    if (link == NULL) return fault_result(FAULT_OTHER, 9);
    struct result result = fault_inject(sim, CALL_SHUTDOWN, descriptor);
    if (result.fault == FAULT_NONE && (link->reset_arrived || tcp_is_over(link)))
        result = fault_result(FAULT_RESET, sim->system == SIM_NETBSD ? 22 : 107);
    if (result.fault == FAULT_NONE) {
        link->server_shut = true;
        sim->progress++;
        oracle_ended(sim->oracle, (uint32_t)sim_client_of(sim, descriptor),
                     tcp_due(link, link->sent), false, sim->now_ms);
    }
    return trace_call(sim, CALL_SHUTDOWN, descriptor, 0, result);
}

struct result sim_unread(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self;
    struct sim_link *link = socket_of(sim, descriptor, "unread");
    if (link == NULL) return fault_result(FAULT_OTHER, 9);
    struct result result = fault_inject(sim, CALL_UNREAD, descriptor);
    result.value = (int64_t)tcp_counted(link);
    return trace_call(sim, CALL_UNREAD, descriptor, 0, result);
}

/* On Linux a close with unread input sends RST and discards output in flight; otherwise, and on BSD
 * always, output is still delivered, followed by FIN. */
static void close_connection(struct sim_kernel *sim, int32_t descriptor) {
    uint32_t client = (uint32_t)sim_client_of(sim, descriptor);
    struct sim_link *link = &sim->links[client];
    struct sim_watch *watch = &sim->watches[descriptor];
    if (watch->registered && !sim->foreign)
        oracle_fail(sim->oracle, "system-calls",
                    "close of descriptor %d, which epoll still watches", descriptor);
    bool reset = tcp_unread(link) > 0 && !link->reset_arrived && sim->system == SIM_LINUX;
    /* What matters of another server is what its client sees, and this one has seen FIN. */
    bool seen = sim->foreign && link->fin_seen;
    if (!link->server_shut || (reset && !seen))
        oracle_ended(sim->oracle, client, tcp_due(link, link->sent), reset, sim->now_ms);
    link->server_closed = link->server_shut = true;
    if (reset) tcp_server_resets(link);
    link->descriptor = 0;
    sim->received[descriptor] = 0;
    sim->stale[sim->stale_count++ % SIM_STALE_MAX] = watch->token;
    *watch = (struct sim_watch){.registered = false}; /* a kqueue drops closed descriptors */
    sim->owner[descriptor] = 0;
    sim->reported[descriptor] = false;
    sim->open--;
    sim->progress++;
}

/* A close that fails has still closed the descriptor (Linux, FreeBSD). */
struct result sim_close(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self;
    int32_t client = sim_client_of(sim, descriptor);
    struct result result = fault_inject(sim, CALL_CLOSE, -1);
    trace_call(sim, CALL_CLOSE, descriptor, 0, result);
    if (descriptor == SIM_LISTENER && sim->listening) {
        if (sim->watches[SIM_LISTENER].registered && !sim->foreign)
            oracle_fail(sim->oracle, "system-calls",
                        "close of the listener, which epoll still watches");
        sim->watches[SIM_LISTENER] = (struct sim_watch){.registered = false};
        uint32_t limit = sim->stream->scenario->connections_max;
        if (limit > 0 && sim->open >= limit) sim->oracle->turned_away = true;
        sim->listening = false;
        sim->progress++;
        for (uint32_t i = 0; i < sim->link_count; i++) {
            sim->links[i].server_reset |= sim->links[i].waiting;
            sim->links[i].waiting = false;
        }
        sim->backlog_taken = sim->backlog_end;
    } else if (client < 0) {
        oracle_fail(sim->oracle, "system-calls", "close of descriptor %d, which is not open",
                    descriptor);
    } else {
        close_connection(sim, descriptor);
    }
    return result;
}
