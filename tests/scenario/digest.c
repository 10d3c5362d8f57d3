#include "scenario/digest.h"

#define BIT(value, at) ((uint64_t)(value) << (at))

static uint64_t mix_flags(uint64_t digest, const struct sim_link *l,
                          const struct oracle_client *c) {
    return digest_mix(
        digest, BIT(l->connected, 0) | BIT(l->waiting, 1) | BIT(l->fin_sent, 2) |
                    BIT(l->fin_arrived, 3) | BIT(l->reset_sent, 4) | BIT(l->reset_arrived, 5) |
                    BIT(l->server_shut, 6) | BIT(l->server_closed, 7) | BIT(l->server_reset, 8) |
                    BIT(l->fin_delivered, 9) | BIT(l->fin_seen, 10) | BIT(l->reset_seen, 11) |
                    BIT(l->paused, 12) | BIT(l->gone, 13) | BIT(c->accepted, 14) |
                    BIT(c->excused, 15) | BIT(c->ended, 16) | BIT(l->error, 24));
}

/* A client that has left, and whose connection is closed: only what it was not answered still
 * counts, in the judgement of the drain. */
static bool is_over(const struct sim_link *l, const struct oracle_client *c) {
    return l->gone && c->ended && l->descriptor == 0 && l->sent == l->arrived &&
           l->fin_sent == l->fin_arrived && l->reset_sent == l->reset_arrived;
}

/* The first byte of all may as well be no urgent one: no read stops before it. */
static uint64_t before_urgent(const struct sim_link *l) {
    return l->urgent_end - (l->urgent_end > 0);
}

static uint64_t mix_client(uint64_t digest, const struct sim_link *l,
                           const struct oracle_client *c) {
    if (is_over(l, c)) return digest_mix(digest, c->written < l->arrived ? 2 : 1);
    digest = mix_flags(digest, l, c);
    digest = digest_mix(digest, BIT(l->sent, 32) + l->arrived);
    digest = digest_mix(digest, BIT(l->taken, 32) + before_urgent(l));
    digest = digest_mix(digest, BIT(l->written, 32) + l->delivered);
    digest = digest_mix(digest, BIT(l->got, 32) + l->window);
    digest = digest_mix(digest, BIT(c->written, 32) + c->at_stop);
    digest = digest_mix(digest, c->progress_ms);
    for (int i = 0; i < 2; i++)
        digest = digest_mix(digest, BIT(l->shorts[i].steps, 32) + l->shorts[i].used);
    return digest;
}

static uint64_t mix_descriptors(uint64_t digest, const struct sim_kernel *sim) {
    for (uint32_t i = SIM_LISTENER; i < sim->top; i++) {
        const struct sim_watch *w = &sim->watches[i];
        digest =
            digest_mix(digest, BIT((uint16_t)sim->owner[i], 32) | BIT(w->events, 3) |
                                   BIT(w->registered, 2) | BIT(w->filters[0], 1) | w->filters[1]);
        digest = digest_mix(digest, w->token);
    }
    for (uint32_t i = sim->backlog_taken; i < sim->backlog_end; i++)
        digest = digest_mix(digest, sim->backlog[i]);
    for (uint32_t i = 0; i < sim->stale_count && i < SIM_STALE_MAX; i++)
        digest = digest_mix(digest, sim->stale[i]);
    for (uint32_t i = 0; i < WHO_KINDS && sim->turn_count > 0; i++)
        digest = digest_mix(digest, sim->turns[i]);
    return digest;
}

static uint64_t mix_kernel(uint64_t digest, const struct sim_kernel *sim) {
    const struct sim_sink *sink = &sim->sink;
    digest = digest_mix(digest, sim->now_ms);
    digest = digest_mix(digest, sim->until_ms);
    digest = digest_mix(digest, sim->stop_told_ms);
    digest = digest_mix(digest, BIT(sim->next, 32) | BIT(sim->open, 16) | sim->open_max);
    digest =
        digest_mix(digest, BIT(sim->stop_pending, 0) | BIT(sim->listening, 1) |
                               BIT(sim->short_of_descriptors, 2) | BIT(sim->late, 3) |
                               BIT(sim->full, 4) | BIT(sink->kind, 5) | BIT(sink->blocks, 8) |
                               BIT(sink->shared, 9) | BIT(sink->asked, 10) | BIT(sink->gone, 11));
    digest = digest_mix(digest, sink->room);
    return digest_mix(digest, sink->size);
}

static uint64_t mix_oracle(uint64_t digest, const struct oracle *oracle) {
    for (int i = 0; i < DUE_KINDS; i++)
        digest = digest_mix(digest, oracle->due_ms[i]);
    digest = digest_mix(digest, oracle->swept_ms);
    digest = digest_mix(digest, oracle->drain_end_ms);
    return digest_mix(digest, BIT(oracle->log.lost, 8) | BIT(oracle->log.torn, 0) |
                                  BIT(oracle->stopping, 1) | BIT(oracle->turned_away, 2));
}

uint64_t digest_of(const struct run *run) {
    uint64_t digest = digest_mix(run->stop_ms, BIT(run->phase, 16) | BIT(run->status, 9) |
                                                   BIT(run->frozen, 8) | run->pass_left);
    digest = mix_kernel(digest, &run->sim);
    digest = mix_oracle(digest, &run->oracle);
    digest = mix_descriptors(digest, &run->sim);
    for (uint32_t i = 0; i < run->sim.link_count && run->phase <= SCENARIO_STEPS_MAX; i++)
        digest = digest_mix(digest, i < SCENARIO_CLIENTS_MAX ? run->expected[i] : 0);
    for (uint32_t i = 0; i < run->sim.link_count; i++)
        digest = mix_client(digest, &run->sim.links[i], &run->oracle.clients[i]);
    return run->server->digest(digest);
}
