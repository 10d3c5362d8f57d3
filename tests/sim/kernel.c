#include "sim/kernel.h"

#include <string.h>

/* Of memory that was given back, so much is overwritten. */
#define POISON_MAX 64

/* So many receives from one client, while the others wait, are no turn any more. Nor two: who was
 * just accepted, or served, may have another when the stop is seen behind it. */
#define TURN_MAX 128

/* A server that keeps time in 32 bits sees them wrap while a scenario runs. */
#define CLOCK_FIRST_MS ((1ull << 32) - 500)

/* Random numbers: splitmix64. */
uint64_t sim_random(struct sim_kernel *sim) {
    uint64_t z = sim->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* `chance` is a power of two. */
static bool one_in(struct sim_kernel *sim, uint32_t vary, uint32_t chance) {
    if ((sim->vary & vary) == 0) return false;
    return (sim_random(sim) & (chance - 1)) == 0;
}

/* Part of a count, from 1 on: of what varies, sometimes less than all. */
static uint64_t part_of(struct sim_kernel *sim, uint32_t vary, uint64_t count) {
    if (count < 2 || !one_in(sim, vary, 2)) return count;
    uint64_t part = sim_random(sim);
    return 1 + (one_in(sim, vary, 2) ? part % 2 : part % count);
}

/* The trace. Its hash covers every call with its arguments and its result, also those that no
 * timeline shows; no addresses, and no bytes of clients, which follow from their positions. */

static void hash_word(struct sim_kernel *sim, uint64_t word) {
    sim->hash = (sim->hash ^ word) * 0x9e3779b97f4a7c15u;
    sim->hash ^= sim->hash >> 32;
}

static void note(struct sim_kernel *sim, struct sim_event event) {
    hash_word(sim, (uint64_t)event.call << 56 | (uint64_t)event.fault << 48 |
                       (uint64_t)(uint16_t)event.client << 32 | (uint32_t)event.descriptor);
    hash_word(sim, event.argument);
    hash_word(sim, (uint64_t)event.value);
    sim->events++;
    struct sim_trace *trace = sim->trace;
    if (trace != NULL && trace->count < trace->max) trace->events[trace->count++] = event;
}

static int32_t client_of(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor < SIM_CLIENT_FIRST || descriptor >= SIM_DESCRIPTORS) return -1;
    return sim->owner[descriptor];
}

static struct result traced(struct sim_kernel *sim, enum sim_call call, int32_t descriptor,
                            uint64_t argument, struct result result) {
    note(sim, (struct sim_event){.call = (uint8_t)call,
                                 .fault = (uint8_t)result.fault,
                                 .client = (int16_t)client_of(sim, descriptor),
                                 .descriptor = descriptor,
                                 .argument = argument,
                                 .value = result.fault == FAULT_NONE ? result.value : result.raw});
    return result;
}

static void world(struct sim_kernel *sim, uint32_t what, uint32_t client, uint64_t value) {
    note(sim, (struct sim_event){.call = (uint8_t)what,
                                 .client = (int16_t)client,
                                 .descriptor = -1,
                                 .value = (int64_t)value});
}

/* Faults */

static struct result failed(enum fault fault, int32_t raw) {
    return (struct result){.fault = fault, .raw = raw};
}

static const struct {
    enum fault fault;
    int32_t raw; /* Linux's number, for the log alone */
} errors[ERROR_KINDS] = {
    [ERROR_AGAIN] = {FAULT_WOULD_BLOCK, 11},
    [ERROR_INTR] = {FAULT_INTERRUPTED, 4},
    [ERROR_CONNRESET] = {FAULT_RESET, 104},
    [ERROR_PIPE] = {FAULT_PIPE, 32},
    [ERROR_CONNABORTED] = {FAULT_ABORTED, 103},
    [ERROR_MFILE] = {FAULT_DESCRIPTORS, 24},
    [ERROR_NFILE] = {FAULT_DESCRIPTORS, 23},
    [ERROR_NOMEM] = {FAULT_MEMORY, 12},
    [ERROR_NOBUFS] = {FAULT_MEMORY, 105},
    [ERROR_NOENT] = {FAULT_NOT_FOUND, 2},
    [ERROR_EXIST] = {FAULT_EXISTS, 17},
    [ERROR_NOSPC] = {FAULT_NO_SPACE, 28},
    [ERROR_PERM] = {FAULT_OTHER, 1},
    [ERROR_PROTO] = {FAULT_ABORTED, 71},
    [ERROR_TIMEDOUT] = {FAULT_OTHER, 110},
    [ERROR_HOSTUNREACH] = {FAULT_OTHER, 113},
    [ERROR_NETDOWN] = {FAULT_OTHER, 100},
    [ERROR_NOTCONN] = {FAULT_RESET, 107},
    [ERROR_IO] = {FAULT_OTHER, 5},
};

static bool is_passing(enum fault fault) {
    return fault == FAULT_WOULD_BLOCK || fault == FAULT_INTERRUPTED;
}

/* What the scenario says, or chance, makes this call fail with; FAULT_NONE if it is made. A fault
 * excuses the one connection that the call was for, which may be given up for it, and no other. */
static struct result strike(struct sim_kernel *sim, enum sim_call call, int32_t descriptor) {
    uint32_t nth = ++sim->calls[call];
    struct result result = failed(FAULT_NONE, 0);
    for (uint32_t i = 0; i < sim->fault_count; i++) {
        if (sim->faults[i].call == call && sim->faults[i].nth == nth)
            result = failed(errors[sim->faults[i].error].fault, errors[sim->faults[i].error].raw);
    }
    int32_t client = client_of(sim, descriptor);
    if (client >= 0 && result.fault != FAULT_NONE && !is_passing(result.fault))
        sim->oracle->clients[client].excused = true;
    bool transfers = call == CALL_RECEIVE || call == CALL_SEND;
    bool waits = call == CALL_ACCEPT || call == CALL_WAIT;
    if (result.fault != FAULT_NONE) return result;
    if ((transfers || waits) && one_in(sim, VARY_EINTR, 16)) return failed(FAULT_INTERRUPTED, 4);
    /* Not accept: no kernel says so while somebody is in the backlog, and the last accepting, at
     * the stop, has only its word. */
    if (transfers && one_in(sim, VARY_EAGAIN, 16)) return failed(FAULT_WOULD_BLOCK, 11);
    return result;
}

/* The network: what is under way arrives. */

/* Both sides' FINs have arrived: to the network there is no such connection any more. */
static bool is_over(const struct sim_link *link) {
    return link->fin_arrived && link->server_shut && link->delivered == link->written;
}

static void reset_arrives(struct sim_kernel *sim, struct sim_link *link) {
    if (link->reset_arrived || is_over(link)) return;
    link->reset_arrived = true;
    /* After the peer's FIN the same RST is a broken pipe (Linux, tcp_reset). */
    link->error = link->fin_arrived && !link->server_shut ? FAULT_PIPE : FAULT_RESET;
    sim->progress++;
}

/* The server's end answers with RST: what it sent and has not been delivered is lost (Linux,
 * tcp_close with unread data, and tcp_rcv_state_process of an orphan). */
static void server_resets(struct sim_link *link) {
    link->server_reset = true;
    link->written = link->delivered;
}

static void deliver_to_server(struct sim_kernel *sim, uint32_t client, uint32_t vary) {
    struct sim_link *link = &sim->links[client];
    uint64_t room = sim->receive_bytes - (link->arrived - link->taken);
    uint64_t count = link->sent - link->arrived;
    if (link->reset_arrived) return;
    if (count > room) count = room;
    if (count > 0 && (vary == 0 || !one_in(sim, vary, 4))) {
        count = vary == 0 ? count : part_of(sim, vary, count);
        link->arrived += count;
        sim->progress++;
        world(sim, SIM_ARRIVES, client, count);
        if (link->server_closed) server_resets(link); /* nobody is there to take it */
    }
    bool all = link->arrived == link->sent;
    if (link->reset_sent && (all || room == 0 || vary != 0)) reset_arrives(sim, link);
    if (link->fin_sent && all && !link->fin_arrived && (vary == 0 || !one_in(sim, vary, 4))) {
        link->fin_arrived = true;
        sim->progress++;
    }
}

/* Behind the server's FIN an RST is not seen: reads only tell the end (Linux, tcp_recvmsg). */
static void client_sees_end(struct sim_kernel *sim, uint32_t client) {
    struct sim_link *link = &sim->links[client];
    if (link->gone || link->fin_seen || link->reset_seen) return;
    if (link->server_shut && !link->server_reset && link->delivered == link->written)
        link->fin_delivered = true;
    if (link->fin_delivered && link->got == link->written) {
        link->fin_seen = true;
        world(sim, SIM_SEES_FIN, client, 0);
        oracle_end_seen(sim->oracle, client);
        sim->progress++;
    } else if (link->server_reset && !link->fin_delivered) {
        link->reset_seen = true;
        world(sim, SIM_SEES_RST, client, 0);
        sim->progress++;
    }
}

static void client_reads(struct sim_kernel *sim, uint32_t client) {
    struct sim_link *link = &sim->links[client];
    if (link->paused || link->gone || link->got == link->delivered) return;
    world(sim, SIM_READS, client, link->delivered - link->got);
    link->got = link->delivered;
    sim->oracle->clients[client].got = link->got;
    sim->progress++;
}

static void deliver_to_client(struct sim_kernel *sim, uint32_t client, uint32_t vary) {
    struct sim_link *link = &sim->links[client];
    uint64_t room = link->window - (link->delivered - link->got);
    uint64_t count = link->written - link->delivered;
    if (link->gone) { /* what comes to a closed socket is answered with RST */
        if (count > 0) {
            link->delivered = link->written;
            reset_arrives(sim, link);
        }
        return;
    }
    if (count > room) count = room;
    if (count > 0 && (vary == 0 || !one_in(sim, vary, 4))) {
        link->delivered += vary == 0 ? count : part_of(sim, vary, count);
        sim->progress++;
    }
    client_reads(sim, client);
    client_sees_end(sim, client);
}

/* Nothing is under way between the two ends, as nearly always: so it is asked without a branch. */
static bool is_quiet(const struct sim_link *link) {
    bool ends = link->server_shut | link->server_reset;
    bool seen = link->fin_seen | link->reset_seen | link->gone;
    return (link->sent == link->arrived) & (link->written == link->got) &
           (link->fin_sent == link->fin_arrived) & (link->reset_sent == link->reset_arrived) &
           (!ends | seen);
}

static void deliver_some(struct sim_kernel *sim, uint32_t vary) {
    for (uint32_t i = 0; i < sim->link_count; i++) {
        if (!sim->links[i].connected || is_quiet(&sim->links[i])) continue;
        deliver_to_server(sim, i, vary);
        deliver_to_client(sim, i, vary);
    }
}

void sim_deliver(struct sim_kernel *sim) {
    uint64_t before;
    do {
        before = sim->progress;
        deliver_some(sim, 0);
    } while (sim->progress != before);
}

/* State of a socket, as a poller sees it. */

static uint64_t unread(const struct sim_link *link) { return link->arrived - link->taken; }

static bool at_end(const struct sim_link *link) { return link->fin_arrived || link->reset_arrived; }

static uint64_t send_room(const struct sim_kernel *sim, const struct sim_link *link) {
    return sim->send_bytes - (link->written - link->delivered);
}

/* Not `room > 0`: a kernel calls a socket writable only once a good part of its buffer is free
 * (Linux: a third), and so a server that waits for less can wait for ever. */
static bool writable(const struct sim_kernel *sim, const struct sim_link *link) {
    uint64_t used = link->written - link->delivered;
    uint64_t room = send_room(sim, link);
    return link->reset_arrived || (room > 0 && room >= used / 2);
}

bool sim_writable(const struct sim_kernel *sim, uint32_t client) {
    return writable(sim, &sim->links[client]);
}

/* How many wait to be accepted. */
static uint32_t backlog(const struct sim_kernel *sim) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->link_count; i++)
        count += sim->links[i].waiting ? 1 : 0;
    return count;
}

/* What epoll would report, were it asked for everything (source: Linux, tcp_poll). */
static uint32_t epoll_state(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return backlog(sim) > 0 ? EPOLL_CODEC_IN : 0;
    if (descriptor == SIM_STOP) return sim->stop_pending ? EPOLL_CODEC_IN : 0;
    const struct sim_link *link = &sim->links[sim->owner[descriptor]];
    bool both = link->reset_arrived || (link->fin_arrived && link->server_shut);
    uint32_t state = unread(link) > 0 || at_end(link) ? EPOLL_CODEC_IN : 0;
    if (writable(sim, link) || link->server_shut || link->reset_arrived) state |= EPOLL_CODEC_OUT;
    if (at_end(link)) state |= EPOLL_CODEC_RDHUP;
    if (both) state |= EPOLL_CODEC_HUP;
    if (link->error != FAULT_NONE) state |= EPOLL_CODEC_ERR;
    return state;
}

/* What one filter of a kqueue would report; false if nothing (source: kqueue(2) of FreeBSD). */
static bool filter_state(const struct sim_kernel *sim, int32_t descriptor,
                         enum kqueue_filter filter, struct kqueue_record *record) {
    *record = (struct kqueue_record){.descriptor = descriptor, .filter = filter};
    if (descriptor == SIM_LISTENER || descriptor == SIM_STOP) {
        record->data = descriptor == SIM_LISTENER ? backlog(sim) : sim->stop_pending;
        return record->data > 0 && filter == KQUEUE_READ;
    }
    const struct sim_link *link = &sim->links[sim->owner[descriptor]];
    bool end = filter == KQUEUE_READ ? at_end(link) : link->reset_arrived || link->server_shut;
    if (end) record->flags = KQUEUE_CODEC_EOF;
    if (link->reset_arrived && link->error != FAULT_NONE) record->filter_flags = 104;
    record->data = (int64_t)(filter == KQUEUE_READ ? unread(link) : send_room(sim, link));
    return end || (filter == KQUEUE_READ ? unread(link) > 0 : writable(sim, link));
}

/* Calls on sockets */

static struct sim_kernel *self_of(void *self) { return self; }

/* The connection behind a descriptor, for a call that an event, accept or the stop led to. */
static struct sim_link *socket_of(struct sim_kernel *sim, int32_t descriptor, const char *call) {
    int32_t client = client_of(sim, descriptor);
    if (client < 0) {
        oracle_fail(sim->oracle, "%s on descriptor %d, which is not open", call, descriptor);
        return NULL;
    }
    if (!sim->reported[descriptor] && !sim->stopping)
        oracle_fail(sim->oracle, "%s on descriptor %d, which no event named", call, descriptor);
    return &sim->links[client];
}

static int32_t lowest_free(const struct sim_kernel *sim) {
    int32_t descriptor = SIM_CLIENT_FIRST;
    while (descriptor < SIM_DESCRIPTORS && sim->owner[descriptor] >= 0)
        descriptor++;
    return descriptor;
}

/* The descriptor comes first: without one it does not matter whether anybody waits (Linux,
 * FreeBSD). */
static struct result take_from_backlog(struct sim_kernel *sim, struct endpoint *peer) {
    uint32_t client = 0;
    int32_t descriptor = lowest_free(sim);
    if (sim->open >= sim->open_max || descriptor == SIM_DESCRIPTORS)
        return failed(FAULT_DESCRIPTORS, 24);
    while (client < sim->link_count && !sim->links[client].waiting)
        client++;
    if (client == sim->link_count) return failed(FAULT_WOULD_BLOCK, 11);
    struct sim_link *link = &sim->links[client];
    link->waiting = false;
    link->descriptor = descriptor;
    sim->owner[descriptor] = (int8_t)client;
    sim->reported[descriptor] = true;
    sim->open++;
    if ((uint32_t)descriptor >= sim->top) sim->top = (uint32_t)descriptor + 1;
    oracle_accepted(sim->oracle, client, sim->now_ms);
    sim->progress++;
    *peer = (struct endpoint){
        .address = {127, 0, 0, 1}, .port = (uint16_t)(10000 + client), .family = ENDPOINT_IPV4};
    return (struct result){.value = descriptor};
}

static struct result sim_accept(void *self, int32_t listener, struct endpoint *peer) {
    struct sim_kernel *sim = self_of(self);
    if (listener != SIM_LISTENER || !sim->listening)
        oracle_fail(sim->oracle, "accept on descriptor %d, which does not listen", listener);
    struct result result = strike(sim, CALL_ACCEPT, -1);
    if (result.fault == FAULT_NONE) result = take_from_backlog(sim, peer);
    bool taken = result.fault == FAULT_NONE || result.fault == FAULT_ABORTED;
    if (!taken && !is_passing(result.fault)) oracle_refused(sim->oracle, sim->now_ms);
    if (!taken && result.fault != FAULT_INTERRUPTED && backlog(sim) > 0)
        sim->oracle->turned_away = true;
    return traced(sim, CALL_ACCEPT, result.fault == FAULT_NONE ? (int32_t)result.value : listener,
                  0, result);
}

/* Less than `count` if the scenario says so of this call: each of its steps has one call, in their
 * order. */
static uint64_t shortened(struct sim_kernel *sim, uint32_t client, enum step_kind kind,
                          uint64_t count) {
    const struct scenario *scenario = sim->stream->scenario;
    struct sim_link *link = &sim->links[client];
    uint32_t left = link->shorts[kind - STEP_SHORT_RECEIVE].taken;
    if (left == link->shorts[kind - STEP_SHORT_RECEIVE].told) return count;
    link->shorts[kind - STEP_SHORT_RECEIVE].taken++;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const struct step *step = &scenario->steps[i];
        if (step->kind != kind || step->client != client || left-- > 0) continue;
        return step->count < count ? step->count : count;
    }
    return count;
}

/* What a read says once all is read. An RST behind the peer's FIN is told to a write alone. */
static struct result take_end(struct sim_link *link) {
    enum fault fault = link->error;
    if (link->fin_arrived) return (struct result){.value = 0};
    if (fault == FAULT_NONE)
        return link->reset_arrived ? (struct result){.value = 0} : failed(FAULT_WOULD_BLOCK, 11);
    link->error = FAULT_NONE;
    return failed(fault, 104);
}

/* Data first, then the error, once, then the end (Linux, tcp_recvmsg). */
static struct result take_bytes(struct sim_kernel *sim, struct sim_link *link, uint32_t client,
                                uint8_t *bytes, size_t length) {
    if (unread(link) == 0) return take_end(link);
    uint64_t count = unread(link) < length ? unread(link) : length;
    /* A read stops before the urgent byte; the next one begins with it. */
    if (link->urgent > link->taken && link->urgent < link->taken + count)
        count = link->urgent - link->taken;
    count = part_of(sim, VARY_SHORT, count);
    count = shortened(sim, client, STEP_SHORT_RECEIVE, count);
    stream_fill(sim->stream, client, link->taken, bytes, (size_t)count);
    link->taken += count;
    sim->moved += count;
    sim->progress++;
    oracle_taken(sim->oracle, client, count, sim->now_ms);
    return (struct result){.value = (int64_t)count};
}

static struct result sim_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    struct sim_kernel *sim = self_of(self);
    struct sim_link *link = socket_of(sim, descriptor, "receive");
    if (link == NULL) return failed(FAULT_OTHER, 9);
    if (length == 0) oracle_fail(sim->oracle, "receive of 0 bytes: its 0 looks like the end");
    if (++sim->received[descriptor] > TURN_MAX)
        oracle_fail(sim->oracle, "descriptor %d is served without end, and no other", descriptor);
    struct result result = strike(sim, CALL_RECEIVE, descriptor);
    if (result.fault == FAULT_NONE)
        result = take_bytes(sim, link, (uint32_t)sim->owner[descriptor], bytes, length);
    return traced(sim, CALL_RECEIVE, descriptor, length, result);
}

static struct result put_bytes(struct sim_kernel *sim, struct sim_link *link, uint32_t client,
                               const uint8_t *bytes, size_t length) {
    uint64_t room = send_room(sim, link);
    if (link->error != FAULT_NONE) {
        enum fault fault = link->error;
        link->error = FAULT_NONE;
        return failed(fault, fault == FAULT_PIPE ? 32 : 104);
    }
    if (link->reset_arrived || link->server_shut) return failed(FAULT_PIPE, 32);
    if (room == 0 && length > 0) return failed(FAULT_WOULD_BLOCK, 11);
    uint64_t count = part_of(sim, VARY_SHORT, room < length ? room : length);
    count = shortened(sim, client, STEP_SHORT_SEND, count);
    oracle_written(sim->oracle, client, bytes, (size_t)count, sim->now_ms);
    link->written += count;
    sim->moved += count;
    sim->progress++;
    return (struct result){.value = (int64_t)count};
}

static struct result sim_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length) {
    struct sim_kernel *sim = self_of(self);
    struct sim_link *link = socket_of(sim, descriptor, "send");
    if (link == NULL) return failed(FAULT_OTHER, 9);
    if (length == 0) oracle_fail(sim->oracle, "send of 0 bytes");
    struct result result = strike(sim, CALL_SEND, descriptor);
    if (result.fault == FAULT_NONE)
        result = put_bytes(sim, link, (uint32_t)sim->owner[descriptor], bytes, length);
    return traced(sim, CALL_SEND, descriptor, length, result);
}

static struct result sim_shutdown(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self_of(self);
    struct sim_link *link = socket_of(sim, descriptor, "shutdown");
    if (link == NULL) return failed(FAULT_OTHER, 9);
    struct result result = strike(sim, CALL_SHUTDOWN, descriptor);
    if (result.fault == FAULT_NONE && (link->reset_arrived || is_over(link)))
        result = failed(FAULT_OTHER, 107);
    if (result.fault == FAULT_NONE) {
        link->server_shut = true;
        sim->progress++;
        oracle_ended(sim->oracle, (uint32_t)sim->owner[descriptor], false, sim->now_ms);
    }
    return traced(sim, CALL_SHUTDOWN, descriptor, 0, result);
}

static struct result sim_unread(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self_of(self);
    struct sim_link *link = socket_of(sim, descriptor, "unread");
    if (link == NULL) return failed(FAULT_OTHER, 9);
    struct result result = strike(sim, CALL_UNREAD, descriptor);
    result.value = (int64_t)unread(link);
    return traced(sim, CALL_UNREAD, descriptor, 0, result);
}

/* A close with unread input is a reset, and destroys what did not reach the client; else what is
 * written still goes, and FIN after it. */
static void close_socket(struct sim_kernel *sim, int32_t descriptor) {
    uint32_t client = (uint32_t)sim->owner[descriptor];
    struct sim_link *link = &sim->links[client];
    struct sim_watch *watch = &sim->watches[descriptor];
    if (watch->registered)
        oracle_fail(sim->oracle, "close of descriptor %d, which epoll still knows", descriptor);
    bool reset = unread(link) > 0 && !link->reset_arrived;
    if (!link->server_shut || reset) oracle_ended(sim->oracle, client, reset, sim->now_ms);
    link->server_closed = link->server_shut = true;
    if (reset) server_resets(link);
    link->descriptor = 0;
    sim->stale[sim->stale_count++ % SIM_STALE_MAX] = watch->token;
    *watch = (struct sim_watch){.registered = false}; /* a kqueue forgets what is closed */
    sim->owner[descriptor] = -1;
    sim->reported[descriptor] = false;
    sim->open--;
    sim->progress++;
}

/* A close that fails has closed all the same (Linux, FreeBSD). */
static struct result sim_close(void *self, int32_t descriptor) {
    struct sim_kernel *sim = self_of(self);
    int32_t client = client_of(sim, descriptor);
    struct result result = strike(sim, CALL_CLOSE, -1);
    traced(sim, CALL_CLOSE, descriptor, 0, result);
    if (descriptor == SIM_LISTENER && sim->listening) {
        if (sim->watches[SIM_LISTENER].registered)
            oracle_fail(sim->oracle, "close of the listener, which epoll still knows");
        sim->watches[SIM_LISTENER] = (struct sim_watch){.registered = false};
        sim->listening = false;
        sim->progress++;
        for (uint32_t i = 0; i < sim->link_count; i++) {
            sim->links[i].server_reset |= sim->links[i].waiting;
            sim->links[i].waiting = false;
        }
    } else if (client < 0) {
        oracle_fail(sim->oracle, "close of descriptor %d, which is not open", descriptor);
    } else {
        close_socket(sim, descriptor);
    }
    return result;
}

static void sim_release(void *self, uint8_t *memory, size_t length) {
    struct sim_kernel *sim = self_of(self);
    sim->events++;
    hash_word(sim, length);
    memset(memory, 0xdb, sim->poison_bytes); /* who still reads it sees it */
}

static uint64_t sim_clock(void *self) {
    struct sim_kernel *sim = self_of(self);
    sim->events++;
    hash_word(sim, sim->now_ms);
    return sim->now_ms;
}

static struct result sim_log_write(void *self, const char *line, size_t length) {
    struct sim_kernel *sim = self_of(self);
    struct result result = strike(sim, CALL_LOG, -1);
    if (length == 0 || length > 4096 || line[length - 1] != '\n')
        oracle_fail(sim->oracle, "a log line of %llu bytes, or without an end",
                    (unsigned long long)length);
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, line + i, length - i < sizeof word ? length - i : sizeof word);
        hash_word(sim, word);
    }
    result.value = (int64_t)length;
    return traced(sim, CALL_LOG, -1, length, result);
}

/* Pollers */

static bool is_open(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return sim->listening;
    return descriptor == SIM_STOP || client_of(sim, descriptor) >= 0;
}

static struct result change_watch(struct sim_kernel *sim, int32_t descriptor,
                                  struct epoll_change change, uint64_t token) {
    struct sim_watch *watch = &sim->watches[descriptor];
    if (change.operation == EPOLL_ADD && watch->registered) return failed(FAULT_EXISTS, 17);
    if (change.operation != EPOLL_ADD && !watch->registered) return failed(FAULT_NOT_FOUND, 2);
    watch->registered = change.operation != EPOLL_DELETE;
    watch->events = change.events;
    watch->token = token;
    return (struct result){.value = 0};
}

/* A delete can fail in one way: what it would delete is not there. Then that is so, and no reason
 * to give a client up. */
static struct result strike_change(struct sim_kernel *sim, int32_t descriptor, bool deletes) {
    struct result result = strike(sim, CALL_CONTROL, deletes ? -1 : descriptor);
    if (descriptor == SIM_LISTENER && !deletes && result.fault != FAULT_NONE)
        oracle_refused(sim->oracle, sim->now_ms);
    if (!deletes || result.fault == FAULT_NONE) return result;
    if (result.fault != FAULT_NOT_FOUND) return failed(FAULT_NONE, 0);
    struct sim_watch *watch = &sim->watches[descriptor];
    *watch = (struct sim_watch){.token = watch->token};
    return result;
}

static struct result sim_epoll_control(void *self, int32_t queue, int32_t descriptor,
                                       struct epoll_change change, uint64_t token) {
    struct sim_kernel *sim = self_of(self);
    if (queue != SIM_QUEUE || !is_open(sim, descriptor)) {
        oracle_fail(sim->oracle, "epoll_ctl of descriptor %d, which is not open", descriptor);
        return failed(FAULT_OTHER, 9);
    }
    struct result result = strike_change(sim, descriptor, change.operation == EPOLL_DELETE);
    if (result.fault == FAULT_NONE) result = change_watch(sim, descriptor, change, token);
    hash_word(sim, token);
    return traced(sim, CALL_CONTROL, descriptor, change.events + 16u * change.operation, result);
}

/* Hints say too much or too little; a record as such always comes. */
static uint32_t vary_events(struct sim_kernel *sim, uint32_t events) {
    static const uint32_t odd[] = {EPOLL_CODEC_HUP, EPOLL_CODEC_RDHUP, EPOLL_CODEC_ERR,
                                   EPOLL_CODEC_IN,  EPOLL_CODEC_OUT,   0x400u};
    if (!one_in(sim, VARY_HINTS, 4)) return events;
    uint32_t other = odd[sim_random(sim) % 6];
    return one_in(sim, VARY_HINTS, 2) ? other : events | other;
}

/* When a descriptor's record has its turn, as the scenario says. */
static uint32_t *turn_of(struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return &sim->turns[WHO_LISTENER];
    if (descriptor == SIM_STOP) return &sim->turns[WHO_STOP];
    return &sim->turns[sim->owner[descriptor]];
}

/* Brings those who have a turn to the front, and leaves all others in their order. */
static void take_turns(struct sim_kernel *sim, int32_t order[SIM_DESCRIPTORS], uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        int32_t descriptor = order[i];
        uint32_t at = i;
        /* One less than no turn is more than any other. */
        for (; at > 0 && *turn_of(sim, order[at - 1]) - 1 > *turn_of(sim, descriptor) - 1; at--)
            order[at] = order[at - 1];
        order[at] = descriptor;
    }
}

/* The descriptors in the order in which this wait reports them. */
static uint32_t arrange(struct sim_kernel *sim, int32_t order[SIM_DESCRIPTORS]) {
    uint32_t count = 0;
    for (uint32_t i = SIM_LISTENER; i < sim->top; i++) {
        if (i != SIM_QUEUE && is_open(sim, (int32_t)i)) order[count++] = (int32_t)i;
    }
    for (uint32_t i = count; i > 1 && one_in(sim, VARY_ORDER, 2); i--) {
        uint32_t other = (uint32_t)(sim_random(sim) % i);
        int32_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
    if (sim->turn_count > 0) take_turns(sim, order, count);
    return count;
}

/* A record names it. */
static void report(struct sim_kernel *sim, int32_t descriptor) {
    sim->reported[descriptor] = true;
    sim->stopping |= descriptor == SIM_STOP;
    *turn_of(sim, descriptor) = 0;
}

static uint32_t gather_epoll(struct sim_kernel *sim, struct epoll_record *records, size_t max) {
    int32_t order[SIM_DESCRIPTORS];
    uint32_t count = arrange(sim, order);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count && found < max; i++) {
        const struct sim_watch *watch = &sim->watches[order[i]];
        if (!watch->registered) continue;
        uint32_t events = epoll_state(sim, order[i]);
        events &= watch->events | EPOLL_CODEC_ERR | EPOLL_CODEC_HUP;
        bool spurious = events == 0 && order[i] >= SIM_CLIENT_FIRST && one_in(sim, VARY_HINTS, 32);
        if (events == 0 && !spurious) continue;
        records[found].events = vary_events(sim, spurious ? watch->events : events);
        records[found++].token = watch->token;
        report(sim, order[i]);
        if (one_in(sim, VARY_ORDER, 8)) break;
    }
    if (found > 0 && found < max && sim->stale_count > 0 && one_in(sim, VARY_STALE, 4)) {
        uint64_t kept = sim->stale_count < SIM_STALE_MAX ? sim->stale_count : SIM_STALE_MAX;
        records[found].events = EPOLL_CODEC_IN | EPOLL_CODEC_HUP;
        records[found++].token = sim->stale[sim_random(sim) % kept];
    }
    for (uint32_t i = 0; i < found; i++) {
        hash_word(sim, records[i].events);
        hash_word(sim, records[i].token);
    }
    return found;
}

/* As with epoll: EOF, the errno or the number of bytes are missing, or wrong. The filter is the one
 * that was asked for. */
static void vary_record(struct sim_kernel *sim, struct kqueue_record *record) {
    static const uint32_t numbers[] = {0, 32, 54, 60}; /* FreeBSD's EPIPE, ECONNRESET, ETIMEDOUT */
    if (!one_in(sim, VARY_HINTS, 4)) return;
    uint64_t chosen = sim_random(sim);
    if (chosen & 1) record->flags ^= KQUEUE_CODEC_EOF;
    if (chosen & 2) record->filter_flags = numbers[chosen >> 8 & 3];
    if (chosen & 4) record->data = (int64_t)(chosen >> 16 & 0xffff);
}

static void hash_record(struct sim_kernel *sim, const struct kqueue_record *record) {
    hash_word(sim, (uint64_t)record->filter << 32 | (uint32_t)record->descriptor);
    hash_word(sim, (uint64_t)record->filter_flags << 32 | record->flags);
    hash_word(sim, (uint64_t)record->data);
    hash_word(sim, record->token);
}

/* One descriptor's records. Two filters of one are reported in any order. */
static uint32_t gather_filters(struct sim_kernel *sim, int32_t descriptor,
                               struct kqueue_record *events, size_t max) {
    const struct sim_watch *watch = &sim->watches[descriptor];
    bool both = watch->filters[KQUEUE_READ] && watch->filters[KQUEUE_WRITE];
    bool turned = both && one_in(sim, VARY_ORDER, 2);
    uint32_t found = 0;
    for (int i = 0; i < 2 && found < max; i++) {
        int filter = (i == 0) != turned ? KQUEUE_READ : KQUEUE_WRITE;
        bool ready = filter_state(sim, descriptor, (enum kqueue_filter)filter, &events[found]);
        bool client = descriptor >= SIM_CLIENT_FIRST;
        if (!watch->filters[filter] || !(ready || (client && one_in(sim, VARY_HINTS, 32))))
            continue;
        if (client) vary_record(sim, &events[found]);
        events[found++].token = watch->token;
        report(sim, descriptor);
    }
    return found;
}

static uint32_t gather_kqueue(struct sim_kernel *sim, struct kqueue_record *events, size_t max) {
    int32_t order[SIM_DESCRIPTORS];
    uint32_t count = arrange(sim, order);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count && found < max; i++) {
        found += gather_filters(sim, order[i], events + found, max - found);
        if (found > 0 && one_in(sim, VARY_ORDER, 8)) break;
    }
    if (found > 0 && found < max && sim->stale_count > 0 && one_in(sim, VARY_STALE, 4)) {
        uint64_t kept = sim->stale_count < SIM_STALE_MAX ? sim->stale_count : SIM_STALE_MAX;
        events[found] = (struct kqueue_record){.filter = KQUEUE_READ, .flags = KQUEUE_CODEC_EOF};
        events[found++].token = sim->stale[sim_random(sim) % kept];
    }
    for (uint32_t i = 0; i < found; i++)
        hash_record(sim, &events[i]);
    return found;
}

/* Fills in records by either poller; the result is their number. */
static uint32_t gather(struct sim_kernel *sim, void *records, size_t max) {
    memset(sim->reported, 0, sizeof sim->reported);
    memset(sim->received, 0, sizeof sim->received);
    if (sim->poller == SIM_EPOLL) return gather_epoll(sim, records, max);
    return gather_kqueue(sim, records, max);
}

/* No kernel wakes a process on the dot. But time passes no further than the scenario lets it. */
static uint64_t lateness(struct sim_kernel *sim) {
    uint64_t most = sim->until_ms - sim->now_ms;
    if (most == 0 || !one_in(sim, VARY_DELAY, 2)) return 0;
    uint64_t late = 1 + sim_random(sim) % SIM_LATE_MAX_MS;
    return late < most ? late : most;
}

/* Waits: lets the world move until something is ready, or time, if it may pass. */
static struct result wait_for(struct sim_kernel *sim, void *records, size_t max,
                              int32_t timeout_ms) {
    deliver_some(sim, sim->vary & VARY_DELAY);
    uint32_t found = gather(sim, records, max);
    if (found == 0) {
        sim_deliver(sim);
        found = gather(sim, records, max);
    }
    if (found > 0) return (struct result){.value = found};
    if (timeout_ms >= 0 && sim->now_ms + (uint64_t)timeout_ms <= sim->until_ms) {
        uint64_t began_ms = sim->now_ms;
        sim->now_ms += (uint64_t)timeout_ms;
        if (timeout_ms > 0) sim->now_ms += lateness(sim);
        oracle_timed_out(sim->oracle, began_ms, sim->now_ms);
        return (struct result){.value = 0};
    }
    sim->now_ms = timeout_ms >= 0 || sim->until_ms > sim->now_ms ? sim->until_ms : sim->now_ms;
    sim->idle = true;
    return failed(FAULT_INTERRUPTED, 4);
}

static struct result make_wait(struct sim_kernel *sim, void *records, size_t max,
                               int32_t timeout_ms) {
    struct result result = strike(sim, CALL_WAIT, -1);
    if (result.fault == FAULT_NONE) result = wait_for(sim, records, max, timeout_ms);
    hash_word(sim, max);
    return traced(sim, CALL_WAIT, SIM_QUEUE, (uint64_t)(int64_t)timeout_ms, result);
}

static struct result sim_epoll_wait(void *self, int32_t queue, struct epoll_record *records,
                                    size_t max, int32_t timeout_ms) {
    (void)queue;
    return make_wait(self_of(self), records, max, timeout_ms);
}

static struct result change_filter(struct sim_kernel *sim, const struct kqueue_record *change) {
    struct sim_watch *watch = &sim->watches[change->descriptor];
    if (change->flags & KQUEUE_CODEC_DELETE) {
        if (!watch->filters[change->filter]) return failed(FAULT_NOT_FOUND, 2);
        watch->filters[change->filter] = false;
        return failed(FAULT_NONE, 0);
    }
    watch->filters[change->filter] = true;
    watch->token = change->token;
    return failed(FAULT_NONE, 0);
}

/* Makes one change; the fault is that of its record. */
static struct result make_change(struct sim_kernel *sim, const struct kqueue_record *change) {
    if (!is_open(sim, change->descriptor)) {
        oracle_fail(sim->oracle, "a change of descriptor %d, which is not open",
                    change->descriptor);
        return failed(FAULT_OTHER, 9);
    }
    bool deletes = (change->flags & KQUEUE_CODEC_DELETE) != 0;
    struct result result = strike_change(sim, change->descriptor, deletes);
    if (result.fault == FAULT_NONE) result = change_filter(sim, change);
    hash_record(sim, change);
    return traced(sim, CALL_CONTROL, change->descriptor, change->flags + 65536u * change->filter,
                  result);
}

/* Changes first. What fails, or is made with RECEIPT, has a record; if there is no room for it, the
 * call ends there, with -1 and the change's errno, and those behind it are not made (kqueue(2), and
 * kqueue_kevent of FreeBSD). Only without any such record are events looked for.
 *
 * Our poller gives every change RECEIPT and room, for what fails could not be told apart else; that
 * it does so is for the oracle. */
static struct result sim_kevent(void *self, int32_t queue, const struct kqueue_record *changes,
                                size_t count, struct kqueue_record *events, size_t max,
                                int32_t timeout_ms) {
    struct sim_kernel *sim = self_of(self);
    size_t found = 0;
    bool refused = false;
    (void)queue;
    if (max < count) oracle_fail(sim->oracle, "a change without room for its receipt");
    for (size_t i = 0; i < count; i++) {
        bool told = (changes[i].flags & KQUEUE_CODEC_RECEIPT) != 0;
        if (!told) oracle_fail(sim->oracle, "a change without receipt");
        struct result result = make_change(sim, &changes[i]);
        if (result.fault == FAULT_NONE && !told) continue;
        if (found == max) return result;
        events[found] = changes[i];
        events[found].flags = KQUEUE_CODEC_ERROR;
        events[found].data = result.fault == FAULT_NONE ? 0 : result.raw;
        events[found++].fault = result.fault;
        refused |= result.fault != FAULT_NONE;
    }
    if (found == 0) return make_wait(sim, events, max, timeout_ms);
    /* Interrupted, it has applied the changes all the same (kqueue(2)); it brings no receipts. */
    if (!refused && one_in(sim, VARY_EINTR, 16)) return failed(FAULT_INTERRUPTED, 4);
    return (struct result){.value = (int64_t)found};
}

/* The world */

static void act_on_link(struct sim_kernel *sim, const struct step *step) {
    struct sim_link *link = &sim->links[step->client];
    struct oracle_client *judged = &sim->oracle->clients[step->client];
    switch (step->kind) {
    case STEP_CONNECT:
        *link = (struct sim_link){.connected = true, .waiting = true};
        link->window = step->count > 0 ? step->count : UINT32_MAX;
        if (sim->link_count <= step->client) sim->link_count = step->client + 1;
        judged->connected = true;
        break;
    case STEP_SEND: link->sent += step->count; break;
    case STEP_URGENT: link->urgent = link->sent++; break;
    case STEP_SHUTDOWN: link->fin_sent = judged->shut = true; break;
    case STEP_RESET:
        deliver_to_server(sim, step->client, sim->vary & VARY_DELAY);
        link->reset_sent = link->gone = judged->gone = true;
        link->sent = link->arrived; /* what was under way is lost */
        break;
    case STEP_CLOSE:
        link->gone = judged->gone = true;
        if (link->delivered > link->got)
            link->reset_sent = true;
        else
            link->fin_sent = judged->shut = true;
        break;
    case STEP_PAUSE: link->paused = true; break;
    case STEP_RESUME: link->paused = false; break;
    case STEP_SHORT_RECEIVE:
    case STEP_SHORT_SEND: link->shorts[step->kind - STEP_SHORT_RECEIVE].told++; break;
    default: break;
    }
    judged->sent = link->sent;
}

static void act_on_server(struct sim_kernel *sim, const struct step *step) {
    if (step->kind == STEP_DESCRIPTORS) {
        sim->open_max = step->count < SIM_DESCRIPTORS ? step->count : SIM_DESCRIPTORS;
    } else if (step->kind == STEP_WAIT) {
        sim->until_ms += step->count;
    } else if (step->kind == STEP_STOP) {
        sim->stop_pending = true;
        oracle_stops(sim->oracle, sim->now_ms);
        for (uint32_t i = 0; i < sim->link_count; i++) {
            struct oracle_client *c = &sim->oracle->clients[i];
            c->at_stop = c->ended ? 0 : sim->links[i].arrived;
        }
    }
}

void sim_act(struct sim_kernel *sim, const struct step *step) {
    world(sim, SIM_WORLD + step->kind, step->kind <= STEP_EXPECT_CLOSE ? step->client : UINT16_MAX,
          step->count);
    if (step->kind == STEP_REPORT)
        sim->turns[step->client] = ++sim->turn_count;
    else if (step->kind <= STEP_EXPECT_CLOSE)
        act_on_link(sim, step);
    else
        act_on_server(sim, step);
    sim->progress++;
}

static const struct kernel_ops table = {
    .accept = sim_accept,
    .receive = sim_receive,
    .send = sim_send,
    .shutdown = sim_shutdown,
    .close = sim_close,
    .unread = sim_unread,
    .release = sim_release,
    .epoll_control = sim_epoll_control,
    .epoll_wait = sim_epoll_wait,
    .kevent = sim_kevent,
    .clock_ms = sim_clock,
    .log_write = sim_log_write,
};

struct kernel sim_kernel(struct sim_kernel *sim) {
    return (struct kernel){.ops = &table, .self = sim};
}

void sim_init(struct sim_kernel *sim, struct oracle *oracle, const struct scenario *scenario,
              enum sim_poller poller, struct sim_trace *trace) {
    memset(sim, 0, sizeof *sim);
    memset(sim->owner, -1, sizeof sim->owner);
    sim->oracle = oracle;
    sim->stream = oracle->stream;
    sim->poller = poller;
    sim->random = scenario->seed;
    sim->vary = scenario->vary;
    sim->receive_bytes = scenario->kernel_receive > 0 ? scenario->kernel_receive : 1u << 18;
    sim->send_bytes = scenario->kernel_send > 0 ? scenario->kernel_send : 1u << 18;
    uint32_t buffer = scenario->buffer_bytes;
    sim->poison_bytes = buffer > 0 && buffer < POISON_MAX ? buffer : POISON_MAX;
    sim->faults = scenario->faults;
    sim->fault_count = scenario->fault_count;
    sim->open_max = SIM_DESCRIPTORS;
    sim->top = SIM_CLIENT_FIRST;
    sim->now_ms = sim->until_ms = CLOCK_FIRST_MS;
    sim->listening = true;
    sim->trace = trace;
}
