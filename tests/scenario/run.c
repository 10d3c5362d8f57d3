#include "scenario/run.h"

#include <stdio.h>
#include <string.h>

#include "shell/server.h"
#include "sim/oracle.h"
#include "sim/stream.h"

/* So many steps of the server without anything moving are a spin. */
#define STILL_MAX 256

/* After the last step time passes, for what the server does in time: accept again. */
#define REST_MS 1000

#define DRAIN_DEFAULT_S 5

/* RUN_BRIEFLY: so many events at most, and so many bytes that the server moves count as one. */
#define BRIEF_EVENTS_MAX 2048
#define BRIEF_BYTES 64

/* A drain's time is rounded up, and so much longer than it says. */
#define DRAIN_LATE_MS 2

struct run {
    struct stream stream;
    struct oracle oracle;
    struct sim_kernel sim;
    struct server server;
    struct log log;
    enum server_status status;
    enum run_judge judge;
    bool frozen;
    uint64_t expected[SCENARIO_CLIENTS_MAX];
    uint64_t stop_ms; /* when the drain's time is over */
};

static struct run run;

/* The server's memory: areas, scratch, connections. Only what a run touched is cleaned. */
#define MEMORY_BYTES ((SIM_DESCRIPTORS + 2) * KERNEL_MEMORY_UNIT)
static _Alignas(KERNEL_MEMORY_UNIT) uint8_t memory[MEMORY_BYTES];

static uint8_t *behind_area(uint32_t slot) {
    return run.server.areas + slot * run.server.area_bytes + run.server.options.buffer_bytes;
}

/* After a step of the server: its connections are in order, and nothing was written behind an
 * area's bound. */
static void check_server(void) {
    uint32_t capacity = run.server.options.buffer_bytes;
    for (uint32_t i = SIM_CLIENT_FIRST; i < run.sim.top; i++) {
        const struct connection *c = &run.server.connections[i];
        if (!connection_is_valid(c, capacity)) oracle_fail(&run.oracle, "slot %u is not valid", i);
        if (capacity < KERNEL_MEMORY_UNIT && *behind_area(i) != 0)
            oracle_fail(&run.oracle, "slot %u wrote beyond its area", i);
    }
    if (run.sim.open > run.server.options.connections_max)
        oracle_fail(&run.oracle, "%u clients were accepted, more than the limit", run.sim.open);
}

/* Had its time: what happened since is not judged any more. */
static bool is_cut(void) {
    return run.judge == RUN_BRIEFLY &&
           run.sim.events + run.sim.moved / BRIEF_BYTES > BRIEF_EVENTS_MAX;
}

static bool is_over(void) { return run.oracle.failed || is_cut(); }

static bool running(void) { return run.status == SERVER_RUNNING && !is_over(); }

static void step_server(void) {
    run.sim.idle = false;
    run.status = server_step(&run.server);
    check_server();
    if (run.status == SERVER_FAILED) oracle_fail(&run.oracle, "the server gave up");
}

/* Lets the server run until it has nothing more to do, or `until` says that it is enough. */
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
    sim_deliver(&run.sim); /* what is written still reaches the clients */
}

static void run_until_idle(void) { run_until(NULL, NULL); }

/* Who is owed something now that nothing more will come by itself. */

static void check_leaver(uint32_t i) {
    const struct sim_link *link = &run.sim.links[i];
    if (link->descriptor != 0 && (link->reset_arrived || link->fin_arrived))
        oracle_fail(&run.oracle, "client %c left, and the server has not noticed", 'a' + i);
}

static void check_reader(uint32_t i) {
    const struct sim_link *link = &run.sim.links[i];
    if (link->got < link->sent)
        oracle_fail(&run.oracle, "client %c waits for %llu of %llu bytes", 'a' + i,
                    (unsigned long long)(link->sent - link->got), (unsigned long long)link->sent);
    if (link->fin_sent && !link->fin_seen)
        oracle_fail(&run.oracle, "client %c waits for the answer to its FIN", 'a' + i);
}

static void check_owed(bool all_accepted) {
    for (uint32_t i = 0; i < run.sim.link_count && run.status == SERVER_RUNNING; i++) {
        const struct sim_link *link = &run.sim.links[i];
        bool judged = link->connected && !run.oracle.clients[i].excused && !run.oracle.stopping &&
                      (!link->waiting || all_accepted);
        if (!judged || run.oracle.clients[i].ended) continue;
        if (link->gone)
            check_leaver(i);
        else if (!link->paused)
            check_reader(i);
        else if (link->written < link->sent && sim_writable(&run.sim, i))
            oracle_fail(&run.oracle, "client %c stalls, though there is room to send", 'a' + i);
    }
}

/* The drain waits for nobody who has left, or who has read all and shut down. */
static void check_stopping(void) {
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        const struct sim_link *link = &run.sim.links[i];
        bool done = link->fin_arrived && !link->paused;
        if (link->descriptor != 0 && !done && !link->reset_arrived) return;
    }
    if (run.oracle.stopping && run.status == SERVER_RUNNING)
        oracle_fail(&run.oracle, "all clients have left, and the server has not stopped");
}

static void check_idle(bool all_accepted) {
    check_owed(all_accepted);
    check_stopping();
}

/* Steps that judge */

static bool has_expected(const struct step *step) {
    return run.sim.links[step->client].got >= run.expected[step->client];
}

/* After the stop only what had arrived by then is owed: with delay, that may be less than what was
 * sent. */
static bool has_owed(const struct step *step) {
    return run.oracle.stopping &&
           run.sim.links[step->client].got >= run.oracle.clients[step->client].at_stop;
}

static bool has_ended(const struct step *step) {
    const struct sim_link *link = &run.sim.links[step->client];
    return link->fin_seen || link->reset_seen;
}

static uint32_t close_of(uint32_t client) {
    const struct sim_link *link = &run.sim.links[client];
    if (link->fin_seen) return CLOSE_FIN;
    return link->reset_seen ? CLOSE_RST : CLOSE_OPEN;
}

static void check_literal(const struct scenario *scenario, const struct step *step,
                          uint32_t number) {
    for (uint32_t i = 0; i < step->count; i++) {
        uint8_t byte;
        stream_fill(&run.stream, step->client, run.expected[step->client] + i, &byte, 1);
        if (oracle_mapped(byte) != scenario->bytes[step->offset + i])
            oracle_fail(&run.oracle, "step %u, expect %c: byte %u is 0x%02x, and due is 0x%02x",
                        number, 'a' + step->client, i, scenario->bytes[step->offset + i],
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
        good = close_of(step->client) == CLOSE_FIN;
    } else if (step->kind == STEP_EXPECT_CLOSE) {
        run_until((step->closes & CLOSE_OPEN) ? NULL : has_ended, step);
        good = (close_of(step->client) & step->closes) != 0;
    } else {
        run_until_idle();
    }
    if (!good && run.judge == RUN_EXPECTATIONS && !run.oracle.clients[step->client].excused)
        oracle_fail(&run.oracle, "step %u, %s %c: got %llu of %llu bytes, %s", number, word,
                    'a' + step->client, (unsigned long long)run.sim.links[step->client].got,
                    (unsigned long long)due,
                    close_of(step->client) == CLOSE_FIN   ? "FIN"
                    : close_of(step->client) == CLOSE_RST ? "RST"
                                                          : "still open");
    if (run.sim.idle) check_idle(false);
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

/* Between the steps of the world the server runs: to the end, or, where that may vary, less. */
static void perform(const struct scenario *scenario, const struct step *step) {
    if (step->kind == STEP_FREEZE || step->kind == STEP_THAW)
        run.frozen = step->kind == STEP_FREEZE;
    act(step->kind, step->client, step->count);
    /* What is sent has arrived, as on loopback, also at a server that does not run. */
    if ((scenario->vary & VARY_DELAY) == 0) sim_deliver(&run.sim);
    if (run.frozen || scenario_is_choice(step->kind)) return;
    if ((scenario->vary & VARY_DELAY) == 0 || step->kind == STEP_WAIT) {
        run_until_idle();
        if (running()) check_idle(false);
        return;
    }
    for (uint64_t left = sim_random(&run.sim) % 4; left > 0 && running(); left--)
        step_server();
}

/* The end of every scenario: whoever is left reads to the end and leaves, and the server stops. */

static void let_clients_leave(void) {
    run.frozen = false;
    act(STEP_DESCRIPTORS, 0, SIM_DESCRIPTORS);
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        const struct sim_link *link = &run.sim.links[i];
        if (!link->connected || link->gone) continue;
        if (link->paused) act(STEP_RESUME, i, 0);
        if (!link->fin_sent) act(STEP_SHUTDOWN, i, 0);
    }
    run_until_idle();
    act(STEP_WAIT, 0, REST_MS);
    run_until_idle();
    if (!is_over()) check_idle(true);
}

/* True if bytes of anybody arrived that were not answered. */
static bool anybody_unanswered(void) {
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        if (run.oracle.clients[i].written < run.sim.links[i].arrived) return true;
    }
    return false;
}

/* Whoever waited in the backlog when the server was told to stop is served like all others, but for
 * the limit of clients, and for accept that fails. */
static bool had_its_turn(uint32_t client) {
    bool limited = run.server.options.connections_max < run.sim.link_count;
    return run.oracle.clients[client].accepted || !(limited || run.oracle.turned_away);
}

static void check_drain(void) {
    bool in_time = run.sim.now_ms < run.stop_ms;
    uint64_t late_ms = DRAIN_LATE_MS + ((run.sim.vary & VARY_DELAY) ? SIM_LATE_MAX_MS : 0);
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        const struct sim_link *link = &run.sim.links[i];
        const struct oracle_client *c = &run.oracle.clients[i];
        bool judged = link->connected && !link->gone && !c->excused && had_its_turn(i) &&
                      run.status == SERVER_STOPPED;
        /* What was sent can still be lost once time is over, by a client that speaks on. */
        bool owed = link->got < c->at_stop && (in_time || c->written < c->at_stop);
        if (judged && owed)
            oracle_fail(&run.oracle, "client %c lost %llu bytes in the drain", 'a' + i,
                        (unsigned long long)(c->at_stop - link->got));
    }
    if (run.status == SERVER_STOPPED_SHORT && !anybody_unanswered())
        oracle_fail(&run.oracle, "the server says that the drain lost bytes, and it lost none");
    if (run.status == SERVER_STOPPED_SHORT && in_time)
        oracle_fail(&run.oracle, "the server gave the drain up before its time");
    if (run.sim.now_ms > run.stop_ms + late_ms) oracle_fail(&run.oracle, "the drain took too long");
    if (run.sim.open > 0 || run.sim.listening)
        oracle_fail(&run.oracle, "%u descriptors are left open", run.sim.open);
}

/* What the server wrote reaches the clients even after it is gone. */
static void let_clients_read(void) {
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        if (run.sim.links[i].paused) act(STEP_RESUME, i, 0);
    }
    sim_deliver(&run.sim);
}

static void stop_server(void) {
    if (!run.oracle.stopping) act(STEP_STOP, 0, 0);
    act(STEP_WAIT, 0, run.server.options.drain_timeout_ms + REST_MS);
    run_until_idle();
    let_clients_read();
    if (is_over()) return;
    if (run.status == SERVER_RUNNING)
        oracle_fail(&run.oracle, "the server does not stop");
    else
        check_drain();
}

static bool logs(const struct scenario *scenario) {
    bool struck = false;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        struck |= scenario->faults[i].call == CALL_LOG;
    return struck || run.judge != RUN_BRIEFLY;
}

static bool start(const struct scenario *scenario, enum sim_poller poller,
                  struct sim_trace *trace) {
    struct server_options options = {
        .slot_count = SIM_DESCRIPTORS,
        .connections_max = scenario->connections_max > 0 ? scenario->connections_max
                                                         : SIM_DESCRIPTORS - SIM_CLIENT_FIRST,
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
    memset(run.server.connections, 0, options.slot_count * sizeof(struct connection));
    for (uint32_t i = SIM_CLIENT_FIRST; i < SIM_DESCRIPTORS; i++)
        *behind_area(i) = 0; /* an earlier run may have had larger areas */
    return result.fault == FAULT_NONE;
}

/* Also once the server has stopped: what it sent is still to come. */
static void play(const struct scenario *scenario) {
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
    /* A fault of the very first calls keeps the server from starting: that is its right. */
    if (start(scenario, poller, trace)) play(scenario);
    result->failed = run.oracle.failed;
    result->cut = is_cut();
    if (run.oracle.failed)
        snprintf(result->failure, sizeof result->failure, "%s: %s",
                 poller == SIM_EPOLL ? "epoll" : "kqueue", run.oracle.failure);
    result->hash = run.sim.hash;
    result->events = run.sim.events;
    memcpy(result->calls, run.sim.calls, sizeof result->calls);
    for (uint32_t i = 0; i < run.sim.link_count; i++)
        result->views[i] = (struct run_view){run.sim.links[i].got, close_of(i)};
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
                 "client %c saw another thing on kqueue than on epoll", 'a' + i);
        return false;
    }
    return true;
}
