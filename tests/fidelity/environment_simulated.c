#include <string.h>

#include "fidelity/environment.h"
#include "sim/kernel.h"

/* The simulated kernel. Its oracle is ignored here: the tests make calls that no event led to. */
static struct sim_kernel sim;
static struct oracle oracle;
static struct stream stream;
static struct scenario scenario;

static void act(struct environment *env, enum step_kind kind, enum client client, uint64_t count) {
    const struct step step = {.kind = kind, .client = client, .count = (uint32_t)count};
    sim_act(&sim, &step);
    sim_deliver(&sim);
    env->clients[client].sent = sim.links[client].sent;
}

static void start_with(struct environment *env, enum sim_poller kind, uint32_t seed) {
    memset(&scenario, 0, sizeof scenario);
    scenario.seed = seed; /* selects the system */
    stream_init(&stream, &scenario);
    oracle_init(&oracle, &stream, 0, 0);
    sim_init(&sim, &oracle, &scenario, kind, NULL);
    env->kernel = sim_kernel(&sim);
    env->listener = SIM_LISTENER;
    env->queue = SIM_QUEUE;
}

static void start(struct environment *env) { start_with(env, SIM_EPOLL, 0); }

static void start_freebsd(struct environment *env) { start_with(env, SIM_KQUEUE, 0); }

static void start_netbsd(struct environment *env) { start_with(env, SIM_KQUEUE, 1); }

static void finish(struct environment *env) { (void)env; }

/* The client reads only when the test makes it. */
static void let_connect(struct environment *env, enum client client, uint32_t window) {
    act(env, STEP_CONNECT, client, window);
    act(env, STEP_PAUSE, client, 0);
    env->clients[client].port = (uint16_t)(10000 + client);
}

static void let_send(struct environment *env, enum client client, uint64_t count) {
    act(env, STEP_SEND, client, count);
}

static void let_send_until_full(struct environment *env, enum client client) {
    act(env, STEP_SEND, client, 2ull * sim.receive_bytes);
}

static void let_send_urgent(struct environment *env, enum client client) {
    act(env, STEP_URGENT, client, 0);
}
static void listen_out_of_band(struct environment *env) { sim.out_of_band = true; }
static void let_shutdown(struct environment *env, enum client client) {
    act(env, STEP_SHUTDOWN, client, 0);
}
static void let_reset(struct environment *env, enum client client) {
    act(env, STEP_RESET, client, 0);
}
static void let_close(struct environment *env, enum client client) {
    act(env, STEP_CLOSE, client, 0);
}

static void let_read(struct environment *env, enum client client, uint64_t most) {
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
    env->clients[client].got = link->got;
    if (link->fin_seen || link->reset_seen)
        env->clients[client].seen = link->fin_seen ? SEEN_FIN : SEEN_RST;
}

static bool rest(uint32_t turn) { return false; }

static void exhaust(struct environment *env, bool exhausted) {
    act(env, STEP_DESCRIPTORS, A, exhausted ? 0 : SIM_DESCRIPTORS);
}

static void settle(struct environment *env, enum client client) { sim_deliver(&sim); }

static uint64_t outstanding(struct environment *env, enum client client) {
    return sim.links[client].written - sim.links[client].delivered;
}

#define OPS(starts)                                                                                \
    {                                                                                              \
        .start = (starts), .finish = finish, .connect = let_connect, .send = let_send,             \
        .send_until_full = let_send_until_full, .send_urgent = let_send_urgent,                    \
        .listen_out_of_band = listen_out_of_band, .shutdown = let_shutdown, .reset = let_reset,    \
        .close = let_close, .read = let_read, .rest = rest, .exhaust = exhaust, .settle = settle,  \
        .outstanding = outstanding,                                                                \
    }

const struct environment_ops simulated_environment = OPS(start);
const struct environment_ops simulated_freebsd_environment = OPS(start_freebsd);
const struct environment_ops simulated_netbsd_environment = OPS(start_netbsd);
