#include "scenario/run.h"

#include <stdio.h>
#include <string.h>

#include "scenario/judge.h"

/* This many steps of the server in a row without progress are a spin. */
#define STILL_MAX 256

/* After the last step this much time passes, in which the server retries to accept. */
#define REST_MS 1000

#define DRAIN_DEFAULT_S 5

/* RUN_BRIEFLY: at most this many events; this many transferred bytes count as one. */
#define BRIEF_EVENTS_MAX 2048
#define BRIEF_BYTES 64

static struct run run;

/* The server's memory: areas, scratch, connections. Only what a run used is cleared. */
#define MEMORY_BYTES ((SIM_DESCRIPTORS + 2) * KERNEL_MEMORY_UNIT)
static _Alignas(KERNEL_MEMORY_UNIT) uint8_t memory[MEMORY_BYTES];

/* Over its limit of events: what happens from here on is not judged. */
static bool is_cut(void) {
    return run.judge == RUN_BRIEFLY &&
           run.sim.events + run.sim.moved / BRIEF_BYTES > BRIEF_EVENTS_MAX;
}

static bool is_over(void) { return run.oracle.failed || is_cut(); }

static bool running(void) { return run.status == SERVER_RUNNING && !is_over(); }

static void step_server(void) {
    run.sim.idle = false;
    run.status = server_step(&run.server);
    judge_step(&run);
    if (run.status == SERVER_FAILED) oracle_fail(&run.oracle, "the server failed");
}

/* Runs the server until it is idle or `until` is true. */
static void run_until(bool (*until)(const struct step *), const struct step *step) {
    uint32_t still = 0;
    run.sim.idle = false;
    while (running() && !run.sim.idle && !(until != NULL && until(step))) {
        uint64_t before = run.sim.progress;
        uint64_t now = run.sim.now_ms;
        step_server();
        still = run.sim.progress == before && run.sim.now_ms == now ? still + 1 : 0;
        if (still == STILL_MAX) oracle_fail(&run.oracle, "%u steps without progress", still);
    }
    sim_deliver(&run.sim); /* output in flight still reaches the clients */
}

static void run_until_idle(void) { run_until(NULL, NULL); }

static bool has_expected(const struct step *step) {
    return run.sim.links[step->client].got >= run.expected[step->client];
}

/* After the stop only what had arrived by then is owed. With VARY_DELAY that may be less than what
 * was sent. */
static bool has_owed(const struct step *step) {
    return run.oracle.stopping &&
           run.sim.links[step->client].got >= run.oracle.clients[step->client].at_stop;
}

static bool has_ended(const struct step *step) {
    const struct sim_link *link = &run.sim.links[step->client];
    return link->fin_seen || link->reset_seen;
}

static void check_literal(const struct scenario *scenario, const struct step *step,
                          uint32_t number) {
    for (uint32_t i = 0; i < step->count; i++) {
        uint8_t byte;
        stream_fill(&run.stream, step->client, run.expected[step->client] + i, &byte, 1);
        if (oracle_mapped(byte) != scenario->bytes[step->offset + i])
            oracle_fail(&run.oracle,
                        "step %u, expect %s: byte %u is 0x%02x, but the input gives 0x%02x", number,
                        scenario_client_name(step->client), i, scenario->bytes[step->offset + i],
                        oracle_mapped(byte));
    }
}

static void check_step(const struct scenario *scenario, const struct step *step, uint32_t number) {
    const char *word = scenario_step_words[step->kind];
    bool good = true;
    uint64_t due = run.sim.links[step->client].sent;
    if (step->kind == STEP_EXPECT) {
        if (step->literal && run.judge == RUN_EXPECTATIONS) check_literal(scenario, step, number);
        due = run.expected[step->client] += step->count;
        run_until(has_expected, step);
        good = has_expected(step) || has_owed(step);
    } else if (step->kind == STEP_EXPECT_END) {
        run_until(has_ended, step);
        good = run_close_of(&run, step->client) == CLOSE_FIN;
    } else if (step->kind == STEP_EXPECT_CLOSE) {
        run_until((step->closes & CLOSE_OPEN) ? NULL : has_ended, step);
        good = (run_close_of(&run, step->client) & step->closes) != 0;
    } else {
        run_until_idle();
    }
    const struct oracle_client *c = &run.oracle.clients[step->client];
    if (!good && run.judge == RUN_EXPECTATIONS && !(c->excused && c->ended))
        oracle_fail(&run.oracle, "step %u, %s %s: got %llu of %llu bytes, %s", number, word,
                    scenario_client_name(step->client),
                    (unsigned long long)run.sim.links[step->client].got, (unsigned long long)due,
                    run_close_of(&run, step->client) == CLOSE_FIN   ? "FIN"
                    : run_close_of(&run, step->client) == CLOSE_RST ? "RST"
                                                                    : "still open");
    if (run.sim.idle) judge_idle(&run, false);
}

static bool is_judge(enum step_kind kind) {
    return kind == STEP_EXPECT || kind == STEP_EXPECT_END || kind == STEP_EXPECT_CLOSE ||
           kind == STEP_SETTLE;
}

static void act(enum step_kind kind, uint32_t client, uint32_t count) {
    const struct step step = {.kind = kind, .client = client, .count = count};
    sim_act(&run.sim, &step);
    if (kind == STEP_STOP) run.stop_ms = run.sim.now_ms + run.server.options.drain_timeout_ms;
}

/* Performs a step, and then runs the server until it is idle; with VARY_DELAY, for a few steps. */
static void perform(const struct scenario *scenario, const struct step *step) {
    if (step->kind == STEP_FREEZE || step->kind == STEP_THAW)
        run.frozen = step->kind == STEP_FREEZE;
    act(step->kind, step->client, step->count);
    /* What is sent arrives at once, as on loopback, even while the server is stopped. */
    if ((scenario->vary & VARY_DELAY) == 0) sim_deliver(&run.sim);
    if (run.frozen || scenario_is_choice(step->kind)) return;
    if ((scenario->vary & VARY_DELAY) == 0 || step->kind == STEP_WAIT) {
        run_until_idle();
        if (running()) judge_idle(&run, false);
        return;
    }
    for (uint64_t left = sim_random(&run.sim) % 4; left > 0 && running(); left--)
        step_server();
}

/* The end of every scenario: clients that are left read everything and leave; the server stops. */

static void let_clients_leave(void) {
    run.frozen = false;
    act(STEP_DESCRIPTORS, 0, run.sim.slot_count);
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        const struct sim_link *link = &run.sim.links[i];
        if (!link->connected || link->gone) continue;
        if (link->paused) act(STEP_RESUME, i, 0);
        if (!link->fin_sent) act(STEP_SHUTDOWN, i, 0);
    }
    run_until_idle();
    act(STEP_WAIT, 0, REST_MS);
    run_until_idle();
    if (!is_over()) judge_idle(&run, true);
}

/* Output in flight reaches the clients even after the server has exited. */
static void let_clients_read(void) {
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        if (run.sim.links[i].paused) act(STEP_RESUME, i, 0);
    }
    sim_deliver(&run.sim);
}

static void stop_server(void) {
    if (!run.oracle.stopping) act(STEP_STOP, 0, 0);
    /* Where the order varies, many waits may pass before one reports the stop. */
    uint32_t waits_ms = run.sim.crowd * SIM_CROWD_PASS_MS;
    act(STEP_WAIT, 0, run.server.options.drain_timeout_ms + REST_MS + waits_ms);
    run_until_idle();
    let_clients_read();
    if (is_over()) return;
    if (run.status == SERVER_RUNNING)
        oracle_fail(&run.oracle, "the server does not stop");
    else
        judge_drain(&run);
}

static bool logs(const struct scenario *scenario) {
    bool struck = (scenario->vary & VARY_LOG) != 0;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        struck |= scenario->faults[i].call == CALL_LOG;
    return struck || run.judge != RUN_BRIEFLY;
}

static bool start(const struct scenario *scenario, enum sim_poller poller,
                  struct sim_trace *trace) {
    uint32_t slots = SIM_DESCRIPTORS_MIN + scenario_crowd(scenario);
    struct server_options options = {
        .connections_max =
            scenario->connections_max > 0 ? scenario->connections_max : slots - SIM_CLIENT_FIRST,
        .buffer_bytes = scenario->buffer_bytes > 0 ? scenario->buffer_bytes : 65536,
        .idle_timeout_ms = scenario->idle_timeout_s * 1000,
        .drain_timeout_ms =
            1000 * (scenario->drain_timeout_s > 0 ? scenario->drain_timeout_s : DRAIN_DEFAULT_S),
    };
    stream_init(&run.stream, scenario);
    oracle_init(&run.oracle, &run.stream, options.idle_timeout_ms, options.drain_timeout_ms);
    sim_init(&run.sim, &run.oracle, scenario, poller, trace);
    struct kernel kernel = sim_kernel(&run.sim);
    struct poller real = {.ops = poller == SIM_EPOLL ? &poller_epoll : &poller_kqueue,
                          .kernel = kernel,
                          .queue = SIM_QUEUE};
    run.log = (struct log){.kernel = kernel, .level = logs(scenario) ? LOG_EVENTS : LOG_QUIET};
    run.status = SERVER_RUNNING;
    run.frozen = false;
    memset(run.expected, 0, sizeof run.expected);
    struct result result =
        server_init(&run.server, real, &run.log, &options, SIM_LISTENER, SIM_STOP, memory);
    memset(run.server.connections, 0, options.connections_max * sizeof(struct connection));
    for (uint32_t i = 0; i < options.connections_max; i++)
        *run_guard(&run, i) = 0; /* earlier runs may have had larger areas */
    return result.fault == FAULT_NONE;
}

/* Steps go on after the server has stopped: its output may still be in flight. */
static void perform_all(const struct scenario *scenario) {
    for (uint32_t i = 0; i < scenario->step_count && !is_over(); i++) {
        const struct step *step = &scenario->steps[i];
        if (is_judge(step->kind))
            check_step(scenario, step, i + 1);
        else
            perform(scenario, step);
    }
    if (running() && !run.oracle.stopping) let_clients_leave();
    if (!is_over()) stop_server();
}

void run_scenario(const struct scenario *scenario, enum sim_poller poller, enum run_judge judge,
                  struct sim_trace *trace, struct run_result *result) {
    run.judge = judge;
    memset(result, 0, sizeof *result);
    /* A fault in the first calls may keep the server from starting. */
    if (start(scenario, poller, trace)) perform_all(scenario);
    result->failed = run.oracle.failed;
    result->cut = is_cut();
    if (run.oracle.failed)
        snprintf(result->failure, sizeof result->failure, "%s: %s",
                 poller == SIM_EPOLL ? "epoll" : "kqueue", run.oracle.failure);
    result->hash = run.sim.hash;
    result->events = run.sim.events;
    memcpy(result->calls, run.sim.calls, sizeof result->calls);
    for (uint32_t i = 0; i < scenario->client_count; i++)
        result->views[i] = (struct run_view){run.sim.links[i].got, run_close_of(&run, i)};
}

bool run_is_comparable(const struct scenario *scenario) {
    if (scenario->fault_count > 0 || scenario->idle_timeout_s > 0) return false;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        enum step_kind kind = scenario->steps[i].kind;
        if (kind == STEP_RESET || kind == STEP_CLOSE || kind == STEP_STOP) return false;
    }
    return true;
}

bool run_both(const struct scenario *scenario, enum run_judge judge, struct run_result results[2]) {
    for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
        run_scenario(scenario, (enum sim_poller)poller, judge, NULL, &results[poller]);
        if (results[poller].failed) return false;
    }
    if (!run_is_comparable(scenario) || results[0].cut || results[1].cut) return true;
    for (uint32_t i = 0; i < scenario->client_count; i++) {
        const struct run_view *a = &results[SIM_EPOLL].views[i];
        const struct run_view *b = &results[SIM_KQUEUE].views[i];
        if (a->got == b->got && a->close == b->close) continue;
        results[SIM_KQUEUE].failed = true;
        snprintf(results[SIM_KQUEUE].failure, sizeof results[SIM_KQUEUE].failure,
                 "client %s sees different results on epoll and kqueue", scenario_client_name(i));
        return false;
    }
    return true;
}
