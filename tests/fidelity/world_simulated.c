#include <string.h>

#include "fidelity/world.h"
#include "sim/kernel.h"

/* The simulated world. It is not judged here: calls that no event led to are what is tried. */
static struct sim_kernel sim;
static struct oracle oracle;
static struct stream stream;
static struct scenario scenario;

static void act(struct world *w, enum step_kind kind, enum client client, uint64_t count) {
    const struct step step = {.kind = kind, .client = client, .count = (uint32_t)count};
    sim_act(&sim, &step);
    sim_deliver(&sim);
    w->clients[client].sent = sim.links[client].sent;
}

static void start_with(struct world *w, enum sim_poller kind) {
    memset(&scenario, 0, sizeof scenario);
    stream_init(&stream, &scenario);
    oracle_init(&oracle, &stream, 0, 0);
    sim_init(&sim, &oracle, &scenario, kind, NULL);
    w->kernel = sim_kernel(&sim);
    w->listener = SIM_LISTENER;
    w->queue = SIM_QUEUE;
}

static void start(struct world *w) { start_with(w, SIM_EPOLL); }

static void start_kqueue(struct world *w) { start_with(w, SIM_KQUEUE); }

static void finish(struct world *w) { (void)w; }

/* The client reads only when it is told to. */
static void let_connect(struct world *w, enum client client, uint32_t window) {
    act(w, STEP_CONNECT, client, window);
    act(w, STEP_PAUSE, client, 0);
    w->clients[client].port = (uint16_t)(10000 + client);
}

static void let_send(struct world *w, enum client client, uint64_t count) {
    act(w, STEP_SEND, client, count);
}

static void let_send_until_full(struct world *w, enum client client) {
    act(w, STEP_SEND, client, 2ull * sim.receive_bytes);
}

static void let_send_urgent(struct world *w, enum client client) { act(w, STEP_URGENT, client, 0); }
static void let_shutdown(struct world *w, enum client client) { act(w, STEP_SHUTDOWN, client, 0); }
static void let_reset(struct world *w, enum client client) { act(w, STEP_RESET, client, 0); }
static void let_close(struct world *w, enum client client) { act(w, STEP_CLOSE, client, 0); }

static void let_read(struct world *w, enum client client, uint64_t most) {
    struct sim_link *link = &sim.links[client];
    uint64_t before;
    do {
        before = link->got;
        uint64_t count = link->delivered - link->got;
        if (count > most) count = most;
        most -= count;
        link->got += count;
        sim_deliver(&sim);
    } while (link->got != before);
    w->clients[client].got = link->got;
    if (link->fin_seen || link->reset_seen)
        w->clients[client].seen = link->fin_seen ? SEEN_FIN : SEEN_RST;
}

static bool rest(uint32_t turn) { return false; }

static void exhaust(struct world *w, bool exhausted) {
    act(w, STEP_DESCRIPTORS, A, exhausted ? 0 : SIM_DESCRIPTORS);
}

static void settle(struct world *w, enum client client) { sim_deliver(&sim); }

static uint64_t outstanding(struct world *w, enum client client) {
    return sim.links[client].written - sim.links[client].delivered;
}

const struct world_ops simulated_world = {
    .start = start,
    .finish = finish,
    .connect = let_connect,
    .send = let_send,
    .send_until_full = let_send_until_full,
    .send_urgent = let_send_urgent,
    .shutdown = let_shutdown,
    .reset = let_reset,
    .close = let_close,
    .read = let_read,
    .rest = rest,
    .exhaust = exhaust,
    .settle = settle,
    .outstanding = outstanding,
};

const struct world_ops simulated_kqueue_world = {
    .start = start_kqueue,
    .finish = finish,
    .connect = let_connect,
    .send = let_send,
    .send_until_full = let_send_until_full,
    .send_urgent = let_send_urgent,
    .shutdown = let_shutdown,
    .reset = let_reset,
    .close = let_close,
    .read = let_read,
    .rest = rest,
    .exhaust = exhaust,
    .settle = settle,
    .outstanding = outstanding,
};
