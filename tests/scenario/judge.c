#include "scenario/judge.h"

#include "sim/tcp.h"

/* The drain timeout is rounded up to milliseconds, and one more passes before it is seen. */
#define DRAIN_LATE_MS 2

const char *judge_code_owed(uint64_t got) { return got == 0 ? "no-answer" : "short-answer"; }

static void judge_leaver(struct run *run, uint32_t i) {
    const struct sim_link *link = &run->sim.links[i];
    if (link->descriptor != 0 && (link->reset_arrived || link->fin_arrived))
        oracle_fail(&run->oracle, "descriptors",
                    "client %s has left, but its connection is still open",
                    scenario_client_name(i));
}

static void judge_reader(struct run *run, uint32_t i) {
    const struct sim_link *link = &run->sim.links[i];
    unsigned long long due = tcp_due(link, link->sent);
    if (link->got < due)
        oracle_fail(&run->oracle, judge_code_owed(link->got),
                    "client %s is owed %llu of %llu bytes", scenario_client_name(i),
                    due - link->got, due);
    if (link->fin_sent && !link->fin_seen)
        oracle_fail(&run->oracle, "still-open", "client %s is owed the answer to its FIN",
                    scenario_client_name(i));
}

static void judge_owed(struct run *run, bool all_accepted) {
    for (uint32_t i = 0; i < run->sim.link_count && run->status == SERVER_RUNNING; i++) {
        const struct sim_link *link = &run->sim.links[i];
        bool judged = link->connected && !run->oracle.stopping && (!link->waiting || all_accepted);
        if (!judged || run->oracle.clients[i].ended) continue;
        oracle_is_overdue(&run->oracle, i, run->sim.now_ms);
        if (link->gone)
            judge_leaver(run, i);
        else if (!link->paused)
            judge_reader(run, i);
        else if (link->written < tcp_due(link, link->sent) && sim_writable(&run->sim, i))
            oracle_fail(&run->oracle, "short-answer",
                        "client %s is owed output, and there is room to send",
                        scenario_client_name(i));
    }
}

/* The drain does not wait for clients that have left, or that have read all and shut down. */
static void judge_stopping(struct run *run) {
    for (uint32_t i = 0; i < run->sim.link_count; i++) {
        const struct sim_link *link = &run->sim.links[i];
        bool done = link->fin_arrived && !link->paused;
        if (link->descriptor != 0 && !done && !link->reset_arrived) return;
    }
    if (run->oracle.stopping && run->status == SERVER_RUNNING)
        oracle_fail(&run->oracle, "server-stuck",
                    "all clients have left, but the server still runs");
}

void judge_idle(struct run *run, bool all_accepted) {
    judge_owed(run, all_accepted);
    judge_stopping(run);
}

uint32_t run_close_of(const struct run *run, uint32_t client) {
    const struct sim_link *link = &run->sim.links[client];
    if (link->fin_seen) return CLOSE_FIN;
    return link->reset_seen ? CLOSE_RST : CLOSE_OPEN;
}

/* True if bytes arrived that were not answered. */
static bool has_unanswered(const struct run *run) {
    for (uint32_t i = 0; i < run->sim.link_count; i++) {
        if (run->oracle.clients[i].written < run->sim.links[i].arrived) return true;
    }
    return false;
}

/* Clients in the backlog at the stop are served like all others, unless the connection limit or a
 * failing accept prevents it. */
static bool had_its_turn(const struct run *run, uint32_t client) {
    return run->oracle.clients[client].accepted || !run->oracle.turned_away;
}

/* Another server: its drain timeout is its own, and what it left open its exit has closed. */
static void judge_exit(struct run *run, bool in_time) {
    if (run->status == SERVER_STOPPED_SHORT && in_time)
        oracle_fail(&run->oracle, "exit-status", "the server exited with status %d, expected 0",
                    run->exit_status);
}

void judge_left_open(struct run *run) {
    if (run->sim.open > 0)
        oracle_fail(&run->oracle, "descriptors",
                    "all clients have left, but %u of their descriptors are open", run->sim.open);
}

/* What had arrived at the stop was answered. The drain timeout of another server is its own, but no
 * excuse for what it owed a connection that it ended before. */
static void judge_drained(struct run *run, uint32_t client, bool in_time) {
    const struct sim_link *link = &run->sim.links[client];
    const struct oracle_client *c = &run->oracle.clients[client];
    bool judged = link->connected && !link->gone && !c->excused && had_its_turn(run, client) &&
                  run->status == SERVER_STOPPED;
    bool timely = in_time || (c->ended && c->ended_ms < run->stop_ms);
    uint64_t due = tcp_due(link, c->at_stop);
    /* After the timeout a client that goes on sending can still lose bytes that were sent. */
    bool owed = link->got < due && (in_time || c->written < due);
    if (judged && owed && (timely || !run->sim.foreign))
        oracle_fail(&run->oracle, "short-answer", "client %s lost %llu bytes in the drain",
                    scenario_client_name(client), (unsigned long long)(due - link->got));
}

void judge_drain(struct run *run) {
    bool in_time = run->sim.now_ms < run->stop_ms;
    uint64_t late_ms = DRAIN_LATE_MS + ((run->sim.vary & VARY_DELAY) ? SIM_LATE_MAX_MS : 0);
    /* The passes in which the drain begins, its timeout comes, and that is noticed. */
    if (run->sim.crowd > 0) late_ms += 3 * (uint64_t)SIM_CROWD_PASS_MS;
    uint64_t told_ms = run->sim.stop_told_ms + run->drain_timeout_ms;
    uint64_t end_ms = told_ms > run->stop_ms ? told_ms : run->stop_ms;
    for (uint32_t i = 0; i < run->sim.link_count; i++)
        judge_drained(run, i, in_time);
    if (run->sim.foreign) {
        judge_exit(run, in_time);
        return;
    }
    if (run->status == SERVER_STOPPED_SHORT && !has_unanswered(run))
        oracle_fail(&run->oracle, "exit-status",
                    "the server reports that the drain lost bytes, but it lost none");
    if (run->status == SERVER_STOPPED_SHORT && in_time)
        oracle_fail(&run->oracle, "closed-early", "the server ended the drain before its timeout");
    if (run->sim.now_ms > end_ms + late_ms)
        oracle_fail(&run->oracle, "server-stuck", "the drain took longer than its timeout");
    if (run->sim.open > 0 || run->sim.listening)
        oracle_fail(&run->oracle, "descriptors", "%u descriptors are left open", run->sim.open);
}
