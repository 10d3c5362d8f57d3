#include "scenario/reference.h"

#include <string.h>

#include "scenario/digest.h"
#include "scenario/judge.h"
#include "shell/server.h"

/* RUN_BRIEFLY formats no log lines unless a fault is injected into the log. */

static struct server server;
static struct log event_log;

/* The server's memory: areas, scratch, connections. Only what a run used is cleared. */
#define MEMORY_BYTES ((SIM_DESCRIPTORS + 2) * KERNEL_MEMORY_UNIT)
static _Alignas(KERNEL_MEMORY_UNIT) uint8_t memory[MEMORY_BYTES];

static bool logs(const struct run *run, const struct scenario *scenario) {
    bool struck = (run->sim.vary & VARY_LOG) != 0;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        struck |= scenario->faults[i].call == CALL_LOG;
    return struck || run->judge != RUN_BRIEFLY;
}

/* The first byte behind a slot's area, which stays 0. */
static uint8_t *guard(uint32_t slot) {
    return server.areas + slot * server.area_bytes + server.options.buffer_bytes;
}

static bool start(struct run *run, const struct scenario *scenario) {
    uint32_t most = SIM_DESCRIPTORS_MIN + scenario_crowd(scenario) - SIM_CLIENT_FIRST;
    struct server_options options = {
        .connections_max = scenario->connections_max > 0 ? scenario->connections_max : most,
        .buffer_bytes = scenario->buffer_bytes > 0 ? scenario->buffer_bytes : 65536,
        .idle_timeout_ms = scenario->idle_timeout_s * 1000,
        .drain_timeout_ms = run->drain_timeout_ms,
    };
    bool epoll = run->sim.poller == SIM_EPOLL;
    struct kernel kernel = sim_kernel(&run->sim);
    struct poller poller = {
        .ops = epoll ? &poller_epoll : &poller_kqueue, .kernel = kernel, .queue = SIM_QUEUE};
    event_log =
        (struct log){.kernel = kernel, .level = logs(run, scenario) ? LOG_EVENTS : LOG_QUIET};
    struct result result =
        server_init(&server, poller, &event_log, &options, SIM_LISTENER, SIM_STOP, memory);
    memset(server.connections, 0, options.connections_max * sizeof(struct connection));
    for (uint32_t i = 0; i < options.connections_max; i++)
        *guard(i) = 0; /* earlier runs may have had larger areas */
    return result.fault == FAULT_NONE;
}

/* The server's connections are valid, no area was overrun, and the connection limit holds. */
static void judge_server(struct run *run) {
    uint32_t capacity = server.options.buffer_bytes;
    if (server.slots_used > server.options.connections_max) {
        oracle_fail(&run->oracle, "memory", "%u slots were used, more than there are",
                    server.slots_used);
        return;
    }
    for (uint32_t i = 0; i < server.slots_used; i++) {
        const struct connection *c = &server.connections[i];
        if (!connection_is_valid(c, capacity))
            oracle_fail(&run->oracle, "memory", "slot %u is not valid", i);
        if (capacity < KERNEL_MEMORY_UNIT && *guard(i) != 0)
            oracle_fail(&run->oracle, "memory", "slot %u wrote beyond its area", i);
    }
    if (run->sim.open > server.options.connections_max)
        oracle_fail(&run->oracle, "descriptors", "%u clients were accepted, more than the limit",
                    run->sim.open);
}

static void step(struct run *run) {
    run->status = server_step(&server);
    judge_server(run);
    if (run->status == SERVER_FAILED) oracle_fail(&run->oracle, "server-died", "the server failed");
}

/* The simulated kernel's stop descriptor tells it. */
static void stop(struct run *run) { (void)run; }

/* All that a pass leaves behind. A slot that is free has its number in the list and its generation;
 * what it was used for is gone. */
static uint64_t digest(uint64_t digest) {
    const struct server *s = &server;
    digest = digest_mix(digest, s->retry_ms);
    digest = digest_mix(digest, s->sweep_ms);
    digest = digest_mix(digest, s->drain_ms);
    digest = digest_mix(digest, (uint64_t)s->slots_used << 32 | s->slot_free);
    digest = digest_mix(digest, (uint64_t)s->connected << 32 | (uint64_t)s->listener_interest << 8 |
                                    (uint64_t)s->waiting << 1 | s->lossy);
    for (uint32_t i = 0; i < s->slots_used; i++) {
        const struct connection *c = &s->connections[i];
        digest = digest_mix(digest, (uint64_t)c->slot.generation << 32 | (uint32_t)c->descriptor);
        digest = digest_mix(digest, c->slot.live);
        if (c->state == CONNECTION_CLOSED) continue;
        digest = digest_mix(digest, c->received);
        digest = digest_mix(digest, (uint64_t)c->pending.read << 32 | c->pending.write);
        digest = digest_mix(digest, (uint64_t)c->owed << 32 | c->progress_ms);
        digest = digest_mix(digest, (uint64_t)c->peer.port << 32 | (uint64_t)c->state << 16 |
                                        (uint64_t)c->interest << 8 | c->reason);
        for (uint32_t at = c->pending.read; at < c->pending.write; at++)
            digest = digest_mix(digest, s->areas[i * s->area_bytes + at]);
    }
    return digest;
}

static const struct run_server reference = {
    .start = start, .step = step, .stop = stop, .digest = digest};

static void explore_reference(void *self, const struct scenario *scenario, enum sim_poller poller,
                              struct explore *explore, struct run_result *result) {
    (void)self;
    run_server(&reference, scenario, poller, RUN_BRIEFLY, NULL, explore, result);
}

static void run_reference(void *self, const struct scenario *scenario, enum sim_poller poller,
                          enum run_judge judge, struct sim_trace *trace,
                          struct run_result *result) {
    (void)self;
    run_server(&reference, scenario, poller, judge, trace, NULL, result);
}

const struct run_target reference_target = {
    .run = run_reference, .explore = explore_reference, .pollers = 2};
