#include "scenario/run.h"

#include <stdio.h>
#include <string.h>

#include "scenario/digest.h"
#include "scenario/judge.h"
#include "sim/faults.h"
#include "sim/tcp.h"

/* This many steps of the server in a row without progress are a spin. */
#define STILL_MAX 256

/* After the last step this much time passes, in which the server retries to accept. */
#define REST_MS 1000

#define DRAIN_DEFAULT_S 5

/* Another server's drain timeout is its own: until the first of these it has to lose nothing, and
 * until the second, and REST_MS, to end, as over real sockets. */
#define FOREIGN_DRAIN_MIN_MS 1000
#define FOREIGN_DRAIN_MAX_MS 10000
#define FOREIGN_PASSES_A_CLIENT 8

/* What another server owes may come by a timer of its own: it has this much time, as it has over
 * real sockets. */
#define TIMERS_MS 5000

/* RUN_BRIEFLY: at most this many events; this many transferred bytes count as one. */
#define BRIEF_EVENTS_MAX 2048
#define BRIEF_BYTES 64

static struct run run;

/* Over its limit of events: what happens from here on is not judged. */
static bool is_cut(void) {
    return run.judge == RUN_BRIEFLY &&
           run.sim.events + run.sim.moved / BRIEF_BYTES > BRIEF_EVENTS_MAX;
}

/* An exploration needs no more of the run: it has reached a state that is known. */
static bool is_known(void) { return run.explore != NULL && run.explore->known; }

static bool is_over(void) { return run.oracle.failed || is_cut() || is_known(); }

static bool running(void) { return run.status == SERVER_RUNNING && !is_over(); }

/* Tells an exploration the state before the pass. The pass before it has been judged by then. The
 * state of another server is not known. */
static void visit(void) {
    if (run.server->digest == NULL || run.sim.points->count < run.explore->first) return;
    oracle_passed(&run.oracle, &run.sim.pass);
    run.sim.pass = (struct oracle_pass){.records = 0};
    run.explore->visit(run.explore, digest_of(&run));
}

static void step_server(void) {
    if (run.explore != NULL) visit();
    if (is_over()) return;
    run.sim.idle = false;
    run.server->step(&run);
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
        if (still == STILL_MAX) oracle_fail(&run.oracle, "cpu", "%u steps without progress", still);
    }
    sim_deliver(&run.sim); /* output in flight still reaches the clients */
}

static void run_until_idle(void) { run_until(NULL, NULL); }

/* Lets a wait of another server time out; false if it would take more than what is left of
 * TIMERS_MS. */
static bool let_timer_expire(uint64_t begin_ms) {
    bool timed = run.sim.foreign && running() && run.wait_ms > 0;
    if (!timed || run.sim.now_ms + (uint64_t)run.wait_ms > begin_ms + TIMERS_MS) return false;
    run.sim.until_ms = run.sim.now_ms + (uint64_t)run.wait_ms;
    return true;
}

/* As run_until; what another server does by a timer of its own counts, too. */
static void run_until_expected(bool (*until)(const struct step *), const struct step *step) {
    uint64_t begin_ms = run.sim.now_ms;
    run_until(until, step);
    bool due = until != NULL && !run.oracle.clients[step->client].excused;
    while (due && !until(step) && let_timer_expire(begin_ms))
        run_until(until, step);
}

static void check_idle(bool all_accepted) {
    uint64_t begin_ms = run.sim.now_ms;
    bool judged = false;
    while (!judged) {
        judge_idle(&run, all_accepted);
        bool owes = run.oracle.failed;
        run.oracle.failed = false; /* until its timers have expired */
        judged = !owes || !let_timer_expire(begin_ms);
        run.oracle.failed = owes && judged;
        if (!judged) run_until_idle();
        judged |= is_over();
    }
}

/* An urgent byte that was passed over is no part of what was sent any more, but expected here. */
static bool has_expected(const struct step *step) {
    const struct sim_link *link = &run.sim.links[step->client];
    uint64_t left_out = run.oracle.clients[step->client].left_out;
    left_out += link->sent - tcp_due(link, link->sent);
    return link->got + left_out >= run.expected[step->client];
}

/* After the stop only what had arrived by then is owed. With VARY_DELAY that may be less than what
 * was sent. */
static bool has_owed(const struct step *step) {
    const struct sim_link *link = &run.sim.links[step->client];
    uint64_t at_stop = run.oracle.clients[step->client].at_stop;
    return run.oracle.stopping && link->got >= tcp_due(link, at_stop);
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
            oracle_fail(&run.oracle, "wrong-byte",
                        "step %u, expect %s: byte %u is 0x%02x, but the input gives 0x%02x", number,
                        scenario_client_name(step->client), i, scenario->bytes[step->offset + i],
                        oracle_mapped(byte));
    }
}

/* Of a step that expects something else than came. */
static const char *code_of(const struct step *step) {
    if (step->kind == STEP_EXPECT) return judge_code_owed(run.sim.links[step->client].got);
    uint32_t expected = step->kind == STEP_EXPECT_END ? CLOSE_FIN : step->closes;
    uint32_t seen = run_close_of(&run, step->client);
    if (seen == CLOSE_OPEN) return "still-open";
    if (seen == CLOSE_FIN) return (expected & CLOSE_RST) != 0 ? "fin-for-rst" : "closed-early";
    return (expected & CLOSE_FIN) != 0 ? "rst-for-fin" : "closed-early";
}

static void check_step(const struct scenario *scenario, const struct step *step, uint32_t number) {
    const char *word = scenario_step_words[step->kind];
    bool good = true;
    uint64_t due = run.sim.links[step->client].sent;
    if (step->kind == STEP_EXPECT) {
        bool whole = run.oracle.clients[step->client].left_out == 0;
        if (step->literal && run.judge == RUN_EXPECTATIONS && whole)
            check_literal(scenario, step, number);
        due = run.expected[step->client] += step->count;
        run_until_expected(has_expected, step);
        good = has_expected(step) || has_owed(step);
    } else if (step->kind == STEP_EXPECT_END) {
        run_until_expected(has_ended, step);
        good = run_close_of(&run, step->client) == CLOSE_FIN;
    } else if (step->kind == STEP_EXPECT_CLOSE) {
        run_until_expected((step->closes & CLOSE_OPEN) ? NULL : has_ended, step);
        good = (run_close_of(&run, step->client) & step->closes) != 0;
    } else {
        run_until_idle();
    }
    const struct oracle_client *c = &run.oracle.clients[step->client];
    /* Another server may refuse clients that it cannot accept (SPEC.md, FAULT-3). */
    bool refused = run.sim.foreign && run.oracle.turned_away && !c->accepted;
    if (!good && run.judge == RUN_EXPECTATIONS && !(c->excused && c->ended) && !refused)
        oracle_fail(&run.oracle, code_of(step), "step %u, %s %s: got %llu of %llu bytes, %s",
                    number, word, scenario_client_name(step->client),
                    (unsigned long long)run.sim.links[step->client].got, (unsigned long long)due,
                    run_close_of(&run, step->client) == CLOSE_FIN   ? "FIN"
                    : run_close_of(&run, step->client) == CLOSE_RST ? "RST"
                                                                    : "still open");
    if (run.sim.idle) check_idle(false);
}

static bool is_judge(enum step_kind kind) {
    return kind == STEP_EXPECT || kind == STEP_EXPECT_END || kind == STEP_EXPECT_CLOSE ||
           kind == STEP_SETTLE;
}

static void act(enum step_kind kind, uint32_t client, uint32_t count) {
    const struct step step = {.kind = kind, .client = client, .count = count};
    run.phase += run.phase > SCENARIO_STEPS_MAX;
    sim_act(&run.sim, &step);
    if (kind != STEP_STOP) return;
    run.stop_ms = run.sim.now_ms + run.drain_timeout_ms;
    run.server->stop(&run);
}

/* How many passes the server has before the next step; PASSES_ALL: it runs until it is idle. Left
 * to chance, few; if choices are listed, all but by choice. */
#define PASSES_ALL 4
#define PASSES_FEW 4

static uint32_t draw_passes(const struct step *step) {
    struct sim_kernel *sim = &run.sim;
    if ((sim->vary & VARY_DELAY) == 0 || step->kind == STEP_WAIT) return PASSES_ALL;
    if (vary_by_chance(sim, VARY_DELAY)) return (uint32_t)vary_below(sim, VARY_DELAY, PASSES_FEW);
    return (PASSES_ALL + vary_listed(sim, VARY_DELAY, PASSES_FEW, false)) % (PASSES_ALL + 1);
}

/* Performs a step, and then runs the server, as long as draw_passes says. */
static void perform(const struct step *step) {
    if (step->kind == STEP_FREEZE || step->kind == STEP_THAW)
        run.frozen = step->kind == STEP_FREEZE;
    act(step->kind, step->client, step->count);
    /* What is sent arrives at once, as on loopback, even while the server is stopped. */
    if (!vary_by_chance(&run.sim, VARY_DELAY)) sim_deliver_after_step(&run.sim);
    if (run.frozen || scenario_is_choice(step->kind)) return;
    uint32_t passes = draw_passes(step);
    if (passes == PASSES_ALL) {
        run_until_idle();
        if (running()) check_idle(false);
        return;
    }
    for (run.pass_left = passes; run.pass_left > 0 && running(); run.pass_left--)
        step_server();
}

/* The end of every scenario: clients that are left read everything and leave; the server stops. */

static void let_clients_leave(const struct scenario *scenario) {
    run.frozen = false;
    act(STEP_DESCRIPTORS, 0, run.sim.slot_count);
    for (uint32_t i = 0; i < run.sim.link_count; i++) {
        const struct sim_link *link = &run.sim.links[i];
        if (!link->connected || link->gone) continue;
        if (link->paused) act(STEP_RESUME, i, 0);
        if (!link->fin_sent) act(STEP_SHUTDOWN, i, 0);
    }
    run_until_idle();
    /* A failed accept is retried. Beside a crowd each pass takes time, and there are many. */
    uint32_t retries_ms = run.sim.crowd > 0 ? 2 * SIM_CROWD_PASS_MS * scenario->fault_count : 0;
    uint64_t before;
    do {
        act(STEP_WAIT, 0, REST_MS + retries_ms);
        before = run.sim.progress;
        run_until_idle();
    } while (run.sim.crowd > 0 && run.sim.progress != before && !is_over());
    if (!is_over()) check_idle(true);
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
    /* Where the order varies, many waits may pass before one reports the stop, and another server
     * may accept the backlog one by one, with several waits for each. */
    uint32_t passes = run.sim.crowd * (run.sim.foreign ? FOREIGN_PASSES_A_CLIENT : 1);
    uint32_t waits_ms = passes * SIM_CROWD_PASS_MS;
    uint32_t drain_ms = run.sim.foreign ? FOREIGN_DRAIN_MAX_MS : run.drain_timeout_ms;
    act(STEP_WAIT, 0, drain_ms + REST_MS + waits_ms);
    run_until_idle();
    let_clients_read();
    if (is_over()) return;
    if (run.status == SERVER_RUNNING)
        oracle_fail(&run.oracle, "server-stuck", "the server does not stop within %u ms", drain_ms);
    else
        judge_drain(&run);
}

static bool start(const struct run_server *server, const struct scenario *scenario,
                  enum sim_poller poller, struct sim_trace *trace) {
    uint32_t drain_s = scenario->drain_timeout_s > 0 ? scenario->drain_timeout_s : DRAIN_DEFAULT_S;
    run.server = server;
    run.drain_timeout_ms = server->foreign ? FOREIGN_DRAIN_MIN_MS : 1000 * drain_s;
    stream_init(&run.stream, scenario);
    oracle_init(&run.oracle, &run.stream, scenario->idle_timeout_s * 1000ull, run.drain_timeout_ms);
    if (run.explore == NULL)
        sim_init(&run.sim, &run.oracle, scenario, poller, trace);
    else
        sim_init_explored(&run.sim, &run.oracle, scenario, poller, run.explore->kinds,
                          &run.explore->points);
    run.sim.foreign = server->foreign;
    run.status = SERVER_RUNNING;
    run.wait_ms = -1;
    run.frozen = false;
    run.phase = run.pass_left = 0;
    run.stop_ms = 0;
    memset(run.expected, 0, sizeof run.expected);
    return server->start(&run, scenario);
}

/* Steps go on after the server has stopped: its output may still be in flight. */
static void perform_all(const struct scenario *scenario) {
    for (uint32_t i = 0; i < scenario->step_count && !is_over(); i++) {
        const struct step *step = &scenario->steps[i];
        run.phase = run.explore != NULL && i >= run.explore->fixed ? 0 : i + 1;
        if (is_judge(step->kind))
            check_step(scenario, step, i + 1);
        else
            perform(step);
    }
    run.phase = SCENARIO_STEPS_MAX + 1;
    if (run.explore != NULL && !is_over()) {
        run.explore->ended = true;
        run.explore->steps_end = run.sim.points->count;
    }
    if (running() && !run.oracle.stopping) let_clients_leave(scenario);
    bool goes_on = run.sim.foreign && !run.oracle.stopping; /* with the next scenario */
    if (!is_over() && goes_on)
        judge_left_open(&run);
    else if (!is_over())
        stop_server();
}

void run_server(const struct run_server *server, const struct scenario *scenario,
                enum sim_poller poller, enum run_judge judge, struct sim_trace *trace,
                struct explore *explore, struct run_result *result) {
    run.judge = judge;
    run.explore = explore;
    memset(result, 0, sizeof *result);
    /* A fault in the first calls may keep the server from starting. */
    if (start(server, scenario, poller, trace)) perform_all(scenario);
    result->failed = run.oracle.failed;
    result->cut = is_cut();
    if (run.oracle.failed)
        snprintf(result->failure, sizeof result->failure, "%s%s",
                 server->foreign       ? ""
                 : poller == SIM_EPOLL ? "epoll: "
                                       : "kqueue: ",
                 run.oracle.failure);
    result->hash = run.sim.hash;
    result->events = run.sim.events;
    memcpy(result->calls, run.sim.calls, sizeof result->calls);
    for (uint32_t i = 0; i < scenario->client_count; i++)
        result->views[i] = (struct run_view){run.sim.links[i].got, run_close_of(&run, i)};
}

static bool stops(const struct scenario *scenario) {
    for (uint32_t i = 0; i < scenario->step_count; i++)
        if (scenario->steps[i].kind == STEP_STOP) return true;
    return false;
}

const char *run_not_for(const struct run_target *target) {
    return target->never_stopped ? "for the reference alone, or stop the server"
                                 : "for the reference alone";
}

bool run_is_for(const struct run_target *target, const struct scenario *scenario) {
    if (!target->foreign) return true;
    if (target->never_stopped && stops(scenario)) return false;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        if (scenario->faults[i].call == CALL_LOG) return false;
    return scenario->buffer_bytes == 0 && scenario->connections_max == 0 &&
           scenario->idle_timeout_s == 0 && scenario->drain_timeout_s == 0;
}

bool run_may_fail_foreign(enum sim_call call, enum sim_error error) {
    if (call == CALL_CONTROL) return error == ERROR_NOMEM || error == ERROR_NOSPC;
    return call != CALL_LOG && scenario_may_fail(call, error);
}

void run_make_foreign(struct scenario *scenario) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        if (run_may_fail_foreign(scenario->faults[i].call, scenario->faults[i].error))
            scenario->faults[kept++] = scenario->faults[i];
    scenario->fault_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < scenario->choice_count; i++)
        if (RUN_FOREIGN_VARY >> scenario->choices[i].kind & 1)
            scenario->choices[kept++] = scenario->choices[i];
    scenario->choice_count = kept;
    scenario->buffer_bytes = scenario->connections_max = 0;
    scenario->idle_timeout_s = scenario->drain_timeout_s = 0;
    scenario->vary &= RUN_FOREIGN_VARY;
}

void run_make_random_foreign(struct scenario *scenario) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < scenario->fault_count; i++)
        if (scenario->faults[i].call != CALL_CONTROL)
            scenario->faults[kept++] = scenario->faults[i];
    scenario->fault_count = kept;
    run_make_foreign(scenario);
}

bool run_is_comparable(const struct scenario *scenario) {
    if (scenario->fault_count > 0 || scenario->idle_timeout_s > 0) return false;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        enum step_kind kind = scenario->steps[i].kind;
        if (kind == STEP_RESET || kind == STEP_CLOSE || kind == STEP_STOP) return false;
    }
    return true;
}

bool run_all(const struct run_target *target, const struct scenario *scenario, enum run_judge judge,
             struct run_result results[2]) {
    memset(results, 0, 2 * sizeof results[0]);
    for (uint32_t poller = 0; poller < target->pollers; poller++) {
        target->run(target->self, scenario, (enum sim_poller)poller, judge, NULL, &results[poller]);
        if (results[poller].failed) return false;
    }
    if (target->pollers < 2 || !run_is_comparable(scenario) || results[0].cut || results[1].cut)
        return true;
    for (uint32_t i = 0; i < scenario->client_count; i++) {
        const struct run_view *a = &results[SIM_EPOLL].views[i];
        const struct run_view *b = &results[SIM_KQUEUE].views[i];
        if (a->got == b->got && a->close == b->close) continue;
        results[SIM_KQUEUE].failed = true;
        snprintf(results[SIM_KQUEUE].failure, sizeof results[SIM_KQUEUE].failure,
                 "client %s sees different results on epoll and kqueue [pollers-differ]",
                 scenario_client_name(i));
        return false;
    }
    return true;
}
