#include "sim/queue.h"

#include <string.h>

#include "sim/faults.h"
#include "sim/sink.h"
#include "sim/tcp.h"
#include "sim/trace.h"

bool queue_is_open(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return sim->listening;
    return descriptor == SIM_STOP || sim_client_of(sim, descriptor) >= 0;
}

struct result queue_inject(struct sim_kernel *sim, int32_t descriptor, bool deletes) {
    struct result result = fault_inject(sim, CALL_CONTROL, deletes ? -1 : descriptor);
    if (descriptor == SIM_LISTENER && !deletes && result.fault != FAULT_NONE) {
        oracle_refused(sim->oracle, sim->now_ms);
        sim->pass.waiting = 0;
    }
    if (!deletes || result.fault == FAULT_NONE) return result;
    /* A delete can fail in one way only: nothing is registered. Then nothing is, and that is no
     * reason to close the connection. */
    if (result.fault != FAULT_NOT_FOUND) return fault_result(FAULT_NONE, 0);
    struct sim_watch *watch = &sim->watches[descriptor];
    *watch = (struct sim_watch){.token = watch->token};
    return result;
}

/* The position of a descriptor's record by the scenario's report steps; 0: none. */
static uint32_t *turn_of(struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return &sim->turns[WHO_LISTENER];
    if (descriptor == SIM_STOP) return &sim->turns[WHO_STOP];
    static uint32_t none;
    uint32_t client = (uint32_t)sim_client_of(sim, descriptor);
    return client < SCENARIO_CLIENTS_MAX ? &sim->turns[client] : &none;
}

/* Moves descriptors with a turn to the front; the order of all others stays. */
static void take_turns(struct sim_kernel *sim, int32_t order[SIM_DESCRIPTORS], uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        int32_t descriptor = order[i];
        uint32_t at = i;
        /* 0 - 1 is the largest number: no turn sorts last. */
        for (; at > 0 && *turn_of(sim, order[at - 1]) - 1 > *turn_of(sim, descriptor) - 1; at--)
            order[at] = order[at - 1];
        order[at] = descriptor;
    }
}

/* As queue_is_open, of a descriptor that is in range. */
static inline bool is_in_order(const struct sim_kernel *sim, uint32_t i) {
    if (i >= SIM_CLIENT_FIRST) return sim->owner[i] > 0;
    return i == SIM_STOP || (i == SIM_LISTENER && sim->listening);
}

void queue_ends_behind(struct sim_kernel *sim, int32_t descriptor) {
    sim->next = (uint32_t)descriptor + 1;
}

static void move_to(int32_t order[SIM_DESCRIPTORS], uint32_t from, uint32_t to) {
    int32_t moved = order[from];
    memmove(&order[to + 1], &order[to], (from - to) * sizeof order[0]);
    order[to] = moved;
}

static void shuffle(struct sim_kernel *sim, int32_t order[SIM_DESCRIPTORS], uint32_t count) {
    for (uint32_t i = count; i > 1 && vary_one_in(sim, VARY_ORDER, 2); i--) {
        uint32_t other = (uint32_t)vary_below(sim, VARY_ORDER, i);
        int32_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
}

/* Of those that are ready, any one comes first, then any other. */
static void take_any_order(struct sim_kernel *sim,
                           bool (*is_ready)(const struct sim_kernel *sim, int32_t descriptor),
                           int32_t order[SIM_DESCRIPTORS], uint32_t count) {
    sim->ready = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_ready(sim, order[i])) move_to(order, i, sim->ready++);
    }
    for (uint32_t i = 0; i + 1 < sim->ready; i++)
        move_to(order, i + vary_listed(sim, VARY_ORDER, sim->ready - i, false), i);
}

bool queue_ends_early(struct sim_kernel *sim, uint32_t i) {
    bool last = !vary_by_chance(sim, VARY_ORDER) && i + 1 >= sim->ready;
    return !last && vary_one_in(sim, VARY_ORDER, 8);
}

uint32_t queue_order(struct sim_kernel *sim,
                     bool (*is_ready)(const struct sim_kernel *sim, int32_t descriptor),
                     int32_t order[SIM_DESCRIPTORS]) {
    uint32_t count = 0;
    uint32_t first = sim->next > 0 && sim->next < sim->top ? sim->next : SIM_LISTENER;
    for (uint32_t i = first; i < sim->top; i++) {
        if (is_in_order(sim, i)) order[count++] = (int32_t)i;
    }
    for (uint32_t i = SIM_LISTENER; i < first; i++) {
        if (is_in_order(sim, i)) order[count++] = (int32_t)i;
    }
    sim->next = 0;
    if (vary_by_chance(sim, VARY_ORDER))
        shuffle(sim, order, count);
    else if ((sim->vary & VARY_ORDER) != 0)
        take_any_order(sim, is_ready, order, count);
    if (sim->turn_count > 0) take_turns(sim, order, count);
    return count;
}

bool queue_may_be_spurious(const struct sim_kernel *sim, int32_t descriptor) {
    int32_t client = sim_client_of(sim, descriptor);
    return client >= 0 && client < SCENARIO_CLIENTS_MAX;
}

void queue_report(struct sim_kernel *sim, int32_t descriptor) {
    sim->reported[descriptor] = true;
    if (descriptor == SIM_STOP) sim->stop_told_ms = sim->now_ms;
    *turn_of(sim, descriptor) = 0;
}

bool queue_adds_stale(struct sim_kernel *sim, uint32_t found, size_t max, uint64_t *token) {
    bool fits = found > 0 && found < max && sim->stale_count > 0;
    if (!fits || !vary_one_in(sim, VARY_STALE, 4)) return false;
    uint64_t kept = sim->stale_count < SIM_STALE_MAX ? sim->stale_count : SIM_STALE_MAX;
    *token = sim->stale[vary_below(sim, VARY_STALE, kept)];
    return true;
}

/* No kernel wakes a process exactly on time. No more time passes than the scenario allows. */
static uint64_t lateness(struct sim_kernel *sim) {
    uint64_t most = sim->until_ms - sim->now_ms;
    if (most == 0 || !vary_one_in(sim, VARY_DELAY, 2)) return 0;
    uint64_t late = 1 + vary_below(sim, VARY_DELAY, SIM_LATE_MAX_MS);
    return late < most ? late : most;
}

/* How many connections of the backlog the server can have. */
static uint32_t acceptable(const struct sim_kernel *sim) {
    uint32_t most = sim->stream->scenario->connections_max;
    if (most == 0 || most > sim->open_max) most = sim->open_max;
    uint32_t left = most > sim->open ? most - sim->open : 0;
    return tcp_backlog(sim) < left ? tcp_backlog(sim) : left;
}

static uint32_t collect(struct sim_kernel *sim, queue_gather *gather, void *records, size_t max) {
    uint32_t found = gather(sim, records, max);
    sim->full = found == max;
    sim->pass = (struct oracle_pass){.records = found,
                                     .waiting = sim->reported[SIM_LISTENER] ? acceptable(sim) : 0};
    return found;
}

/* What the service of a crowd takes, within what the scenario allows; all else takes no time. */
static uint64_t pass_ms(struct sim_kernel *sim) {
    uint64_t most = sim->until_ms - sim->now_ms;
    if (sim->crowd == 0 || most == 0) return 0;
    uint64_t takes = SIM_CROWD_PASS_MS;
    if (vary_one_in(sim, VARY_DELAY, 2)) takes = vary_below(sim, VARY_DELAY, SIM_CROWD_PASS_MS);
    return takes < most ? takes : most;
}

/* Delivers until something is ready; if nothing is, lets time pass, if the scenario allows. */
static struct result wait_for(struct sim_kernel *sim, queue_gather *gather, void *records,
                              size_t max, int32_t timeout_ms) {
    if (sim->now_ms < sim->until_ms) tcp_crowd_sends(sim);
    if (!sim->late) tcp_deliver(sim, sim->vary & VARY_DELAY);
    sim->late = false;
    uint32_t found = collect(sim, gather, records, max);
    if (found == 0) {
        sim_deliver(sim);
        found = collect(sim, gather, records, max);
    }
    if (found > 0) {
        sim->pass_ms = pass_ms(sim);
        return (struct result){.value = found};
    }
    if (timeout_ms >= 0 && sim->now_ms + (uint64_t)timeout_ms <= sim->until_ms) {
        uint64_t began_ms = sim->now_ms;
        sim->now_ms += (uint64_t)timeout_ms;
        if (timeout_ms > 0) sim->now_ms += lateness(sim);
        if (!sim->foreign) oracle_timed_out(sim->oracle, began_ms, began_ms + (uint64_t)timeout_ms);
        return (struct result){.value = 0};
    }
    sim->now_ms = timeout_ms >= 0 || sim->until_ms > sim->now_ms ? sim->until_ms : sim->now_ms;
    sim->idle = true;
    return fault_result(FAULT_INTERRUPTED, 4);
}

struct result queue_wait(struct sim_kernel *sim, queue_gather *gather, void *records, size_t max,
                         int32_t timeout_ms) {
    if (!sim->foreign) oracle_passed(sim->oracle, &sim->pass);
    sink_drain(sim);
    sim->pass = (struct oracle_pass){.records = 0};
    sim->pass_ms = 0;
    memset(sim->reported, 0, sim->top * sizeof sim->reported[0]);
    memset(sim->received, 0, sim->top * sizeof sim->received[0]);
    struct result result = fault_inject(sim, CALL_WAIT, -1);
    if (result.fault == FAULT_NONE) result = wait_for(sim, gather, records, max, timeout_ms);
    trace_hash(sim, max);
    return trace_call(sim, CALL_WAIT, SIM_QUEUE, (uint64_t)(int64_t)timeout_ms, result);
}
