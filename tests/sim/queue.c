#include "sim/queue.h"

#include <string.h>

#include "sim/faults.h"
#include "sim/tcp.h"
#include "sim/trace.h"

bool queue_is_open(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor == SIM_LISTENER) return sim->listening;
    return descriptor == SIM_STOP || sim_client_of(sim, descriptor) >= 0;
}

struct result queue_inject(struct sim_kernel *sim, int32_t descriptor, bool deletes) {
    struct result result = fault_inject(sim, CALL_CONTROL, deletes ? -1 : descriptor);
    if (descriptor == SIM_LISTENER && !deletes && result.fault != FAULT_NONE)
        oracle_refused(sim->oracle, sim->now_ms);
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
    return &sim->turns[sim->owner[descriptor]];
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

uint32_t queue_order(struct sim_kernel *sim, int32_t order[SIM_DESCRIPTORS]) {
    uint32_t count = 0;
    for (uint32_t i = SIM_LISTENER; i < sim->top; i++) {
        if (i != SIM_QUEUE && queue_is_open(sim, (int32_t)i)) order[count++] = (int32_t)i;
    }
    for (uint32_t i = count; i > 1 && vary_one_in(sim, VARY_ORDER, 2); i--) {
        uint32_t other = (uint32_t)(sim_random(sim) % i);
        int32_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
    if (sim->turn_count > 0) take_turns(sim, order, count);
    return count;
}

void queue_report(struct sim_kernel *sim, int32_t descriptor) {
    sim->reported[descriptor] = true;
    sim->stopping |= descriptor == SIM_STOP;
    *turn_of(sim, descriptor) = 0;
}

bool queue_adds_stale(struct sim_kernel *sim, uint32_t found, size_t max, uint64_t *token) {
    bool fits = found > 0 && found < max && sim->stale_count > 0;
    if (!fits || !vary_one_in(sim, VARY_STALE, 4)) return false;
    uint64_t kept = sim->stale_count < SIM_STALE_MAX ? sim->stale_count : SIM_STALE_MAX;
    *token = sim->stale[sim_random(sim) % kept];
    return true;
}

/* No kernel wakes a process exactly on time. No more time passes than the scenario allows. */
static uint64_t lateness(struct sim_kernel *sim) {
    uint64_t most = sim->until_ms - sim->now_ms;
    if (most == 0 || !vary_one_in(sim, VARY_DELAY, 2)) return 0;
    uint64_t late = 1 + sim_random(sim) % SIM_LATE_MAX_MS;
    return late < most ? late : most;
}

static uint32_t collect(struct sim_kernel *sim, queue_gather *gather, void *records, size_t max) {
    memset(sim->reported, 0, sizeof sim->reported);
    memset(sim->received, 0, sizeof sim->received);
    return gather(sim, records, max);
}

/* Delivers until something is ready; if nothing is, lets time pass, if the scenario allows. */
static struct result wait_for(struct sim_kernel *sim, queue_gather *gather, void *records,
                              size_t max, int32_t timeout_ms) {
    tcp_deliver(sim, sim->vary & VARY_DELAY);
    uint32_t found = collect(sim, gather, records, max);
    if (found == 0) {
        sim_deliver(sim);
        found = collect(sim, gather, records, max);
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
    return fault_result(FAULT_INTERRUPTED, 4);
}

struct result queue_wait(struct sim_kernel *sim, queue_gather *gather, void *records, size_t max,
                         int32_t timeout_ms) {
    struct result result = fault_inject(sim, CALL_WAIT, -1);
    if (result.fault == FAULT_NONE) result = wait_for(sim, gather, records, max, timeout_ms);
    trace_hash(sim, max);
    return trace_call(sim, CALL_WAIT, SIM_QUEUE, (uint64_t)(int64_t)timeout_ms, result);
}
