#include "sim/epoll.h"

#include "sim/faults.h"
#include "sim/queue.h"
#include "sim/tcp.h"
#include "sim/trace.h"

#define EDGES 0x80000000u    /* EPOLLET */
#define ONE_SHOT 0x40000000u /* EPOLLONESHOT */

/* The events that are set, whatever is registered (source: Linux, tcp_poll). */
uint32_t epoll_state(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return tcp_backlog(sim) > 0 ? EPOLL_CODEC_IN : 0;
    if (descriptor == SIM_STOP) return sim->stop_pending ? EPOLL_CODEC_IN : 0;
    const struct sim_link *link = &sim->links[sim_client_of(sim, descriptor)];
    bool both = link->reset_arrived || (link->fin_arrived && link->server_shut);
    uint32_t state = tcp_is_readable(link) || tcp_at_end(link) ? EPOLL_CODEC_IN : 0;
    if (tcp_is_writable(sim, link) || link->server_shut || link->reset_arrived)
        state |= EPOLL_CODEC_OUT;
    if (tcp_at_end(link)) state |= EPOLL_CODEC_RDHUP;
    if (both) state |= EPOLL_CODEC_HUP;
    if (link->error != FAULT_NONE) state |= EPOLL_CODEC_ERR;
    return state;
}

/* The wake-ups so far of the kinds that a watch is for (Linux, ep_poll_callback). */
static uint32_t edges_of(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return sim->listener_edges;
    if (sim_client_of(sim, descriptor) < 0) return sim->stop_pending;
    const struct sim_link *link = &sim->links[sim_client_of(sim, descriptor)];
    uint32_t events = sim->watches[descriptor].events;
    return link->edges[EDGE_ALL] + ((events & EPOLL_CODEC_IN) ? link->edges[EDGE_READ] : 0) +
           ((events & EPOLL_CODEC_OUT) ? link->edges[EDGE_WRITE] : 0);
}

/* A watch for writing that finds no room is woken once there is room (Linux, tcp_poll:
 * SOCK_NOSPACE). */
static void ask_for_room(struct sim_kernel *sim, int32_t descriptor) {
    int32_t client = sim_client_of(sim, descriptor);
    if (client >= 0 && (sim->watches[descriptor].events & EPOLL_CODEC_OUT) != 0)
        sim->links[client].full |= !tcp_is_writable(sim, &sim->links[client]);
}

/* True if a watch may report now: not disarmed, and with EPOLLET, after an edge. */
static bool is_due(struct sim_kernel *sim, int32_t descriptor) {
    struct sim_watch *watch = &sim->watches[descriptor];
    if (!watch->registered || watch->disarmed) return false;
    uint32_t edges = edges_of(sim, descriptor);
    if ((watch->events & EDGES) != 0 && watch->edges == edges) return false;
    watch->edges = edges;
    ask_for_room(sim, descriptor);
    return true;
}

static struct result change_watch(struct sim_kernel *sim, int32_t descriptor,
                                  struct epoll_change change, uint64_t token) {
    struct sim_watch *watch = &sim->watches[descriptor];
    if (change.operation == EPOLL_ADD && watch->registered) return fault_result(FAULT_EXISTS, 17);
    if (change.operation != EPOLL_ADD && !watch->registered)
        return fault_result(FAULT_NOT_FOUND, 2);
    watch->registered = change.operation != EPOLL_DELETE;
    watch->disarmed = false;
    watch->events = change.events;
    watch->edges = edges_of(sim, descriptor) - 1; /* what is ready now is reported */
    watch->token = token;
    return (struct result){.value = 0};
}

struct result sim_epoll_control(void *self, int32_t queue, int32_t descriptor,
                                struct epoll_change change, uint64_t token) {
    struct sim_kernel *sim = self;
    if (queue != SIM_QUEUE || !queue_is_open(sim, descriptor)) {
        oracle_fail(sim->oracle, "system-calls", "epoll_ctl of descriptor %d, which is not open",
                    descriptor);
        return fault_result(FAULT_OTHER, 9);
    }
    /* Linux fails no change of a registration; the reference is to bear it all the same. */
    struct result result = fault_result(FAULT_NONE, 0);
    if (!sim->foreign || change.operation == EPOLL_ADD)
        result = queue_inject(sim, descriptor, change.operation == EPOLL_DELETE);
    if (result.fault == FAULT_NONE) result = change_watch(sim, descriptor, change, token);
    trace_hash(sim, token);
    return trace_call(sim, CALL_CONTROL, descriptor, change.events + 16u * change.operation,
                      result);
}

/* Varies a hint: an event too many, or another one. The record itself is always reported. */
static uint32_t vary_events(struct sim_kernel *sim, uint32_t events) {
    static const uint32_t odd[] = {EPOLL_CODEC_HUP, EPOLL_CODEC_RDHUP, EPOLL_CODEC_ERR,
                                   EPOLL_CODEC_IN,  EPOLL_CODEC_OUT,   0x400u};
    if (!vary_one_in(sim, VARY_HINTS, 4)) return events;
    uint32_t other = odd[vary_below(sim, VARY_HINTS, 6)];
    return vary_below(sim, VARY_HINTS, 2) == 0 ? other : events | other;
}

/* What is watched for, of what there is. */
static uint32_t watched_state(const struct sim_kernel *sim, int32_t descriptor) {
    uint32_t events = sim->watches[descriptor].events | EPOLL_CODEC_ERR | EPOLL_CODEC_HUP;
    return epoll_state(sim, descriptor) & events;
}

static bool is_ready(const struct sim_kernel *sim, int32_t descriptor) {
    return sim->watches[descriptor].registered && watched_state(sim, descriptor) != 0;
}

uint32_t epoll_gather(struct sim_kernel *sim, void *events, size_t max) {
    struct epoll_record *records = events;
    int32_t order[SIM_DESCRIPTORS];
    uint32_t count = queue_order(sim, is_ready, order);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_watch *watch = &sim->watches[order[i]];
        if (!is_due(sim, order[i])) continue;
        uint32_t ready = watched_state(sim, order[i]);
        bool spurious =
            ready == 0 && queue_may_be_spurious(sim, order[i]) && vary_one_in(sim, VARY_HINTS, 32);
        if (ready == 0 && !spurious) continue;
        watch->disarmed = (watch->events & ONE_SHOT) != 0;
        records[found].events = vary_events(sim, spurious ? watch->events & 0xffffu : ready);
        records[found++].token = watch->token;
        queue_report(sim, order[i]);
        if (found == max || queue_ends_early(sim, i)) {
            queue_ends_behind(sim, order[i]);
            break;
        }
    }
    uint64_t stale;
    if (queue_adds_stale(sim, found, max, &stale)) {
        records[found].events = EPOLL_CODEC_IN | EPOLL_CODEC_HUP;
        records[found++].token = stale;
    }
    for (uint32_t i = 0; i < found; i++) {
        trace_hash(sim, records[i].events);
        trace_hash(sim, records[i].token);
    }
    return found;
}

struct result sim_epoll_wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                             int32_t timeout_ms) {
    return queue_wait(self, epoll_gather, records, max, timeout_ms);
}
