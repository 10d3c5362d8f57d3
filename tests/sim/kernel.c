#include "sim/kernel.h"

#include <stddef.h>
#include <string.h>

#include "sim/epoll.h"
#include "sim/faults.h"
#include "sim/kqueue.h"
#include "sim/sink.h"
#include "sim/socket.h"
#include "sim/tcp.h"
#include "sim/trace.h"

/* At most this much of released memory is overwritten. */
#define POISON_MAX 64

/* A clock kept in 32 bits wraps while a scenario runs. */
#define CLOCK_FIRST_MS ((1ull << 32) - 500)

static void release(void *self, uint8_t *memory, size_t length) {
    struct sim_kernel *sim = self;
    sim->events++;
    trace_hash(sim, length);
    memset(memory, 0xdb, sim->poison_bytes); /* a later read of it yields wrong bytes */
}

static uint64_t clock_ms(void *self) {
    struct sim_kernel *sim = self;
    sim->events++;
    trace_hash(sim, sim->now_ms);
    return sim->now_ms;
}

static void act_on_server(struct sim_kernel *sim, const struct step *step) {
    if (step->kind == STEP_DESCRIPTORS) {
        sim->open_max = step->count < sim->slot_count ? step->count : sim->slot_count;
        /* One that another server keeps in reserve is a place when it closes it. */
        if (sim->foreign && sim->open_max < sim->open) sim->open_max = sim->open;
    } else if (step->kind == STEP_CROWD) {
        for (uint32_t i = 0; i < step->count; i++)
            tcp_connect(sim, SCENARIO_CLIENTS_MAX + sim->crowd++, 0);
    } else if (step->kind == STEP_THAW) {
        tcp_crowd_sends(sim);
    } else if (step->kind == STEP_WAIT) {
        sim->until_ms += step->count;
    } else if (step->kind == STEP_STOP) {
        sim->stop_pending = true;
        oracle_stops(sim->oracle, sim->now_ms);
        for (uint32_t i = 0; i < sim->link_count; i++) {
            struct oracle_client *c = &sim->oracle->clients[i];
            c->at_stop = c->ended ? 0 : sim->links[i].arrived;
        }
    }
}

void sim_act(struct sim_kernel *sim, const struct step *step) {
    trace_environment(sim, SIM_ENVIRONMENT + step->kind,
                      step->kind <= STEP_EXPECT_CLOSE ? step->client : UINT16_MAX, step->count);
    if (step->kind == STEP_REPORT)
        sim->turns[step->client] = ++sim->turn_count;
    else if (step->kind <= STEP_EXPECT_CLOSE)
        tcp_act(sim, step);
    else
        act_on_server(sim, step);
    sim->progress++;
}

static const struct kernel_ops table = {
    .accept = sim_accept,
    .receive = sim_receive,
    .send = sim_send,
    .shutdown = sim_shutdown,
    .close = sim_close,
    .unread = sim_unread,
    .release = release,
    .epoll_control = sim_epoll_control,
    .epoll_wait = sim_epoll_wait,
    .kevent = sim_kevent,
    .clock_ms = clock_ms,
    .log_poll = sim_log_poll,
    .log_write = sim_log_write,
};

struct kernel sim_kernel(struct sim_kernel *sim) {
    return (struct kernel){.ops = &table, .self = sim};
}

/* Large runs are rare: the arrays are cleared only as far as they were used. */
static void clear(struct sim_kernel *sim) {
    memset(sim->links, 0, sim->link_count * sizeof sim->links[0]);
    memset(sim->owner, 0, sim->top * sizeof sim->owner[0]);
    memset(sim->reported, 0, sim->top * sizeof sim->reported[0]);
    memset(sim->received, 0, sim->top * sizeof sim->received[0]);
    memset(sim->watches, 0, sim->top * sizeof sim->watches[0]);
    memset(sim, 0, offsetof(struct sim_kernel, top));
    sim->link_count = 0;
}

/* One range of numbers that the kernel gives to no client. */
static void inherit(struct sim_kernel *sim) {
    if ((sim->vary & VARY_INHERITED) == 0) return;
    uint32_t first = SIM_CLIENT_FIRST + (uint32_t)vary_below(sim, VARY_INHERITED, 8);
    uint32_t count = (uint32_t)vary_below(sim, VARY_INHERITED, SIM_INHERITED_MAX + 1);
    for (uint32_t i = first; i < first + count; i++)
        sim->owner[i] = -1;
    sim->slot_count += count;
    if (count > 0) sim->top = first + count;
}

static void init_all(struct sim_kernel *sim, struct oracle *oracle, const struct scenario *scenario,
                     enum sim_poller poller, uint32_t vary, struct sim_points *points) {
    clear(sim);
    sim->oracle = oracle;
    sim->stream = oracle->stream;
    sim->poller = poller;
    sim->system = poller == SIM_EPOLL       ? SIM_LINUX
                  : scenario->seed % 2 == 0 ? SIM_FREEBSD
                                            : SIM_NETBSD;
    sim->random = scenario->seed;
    sim->points = points;
    sim->vary = scenario->vary | vary;
    sim->chance = scenario->vary;
    for (uint32_t i = 0; i < scenario->choice_count; i++) {
        sim->vary |= 1u << scenario->choices[i].kind;
        sim->chance &= ~(1u << scenario->choices[i].kind);
    }
    sim->receive_bytes = scenario->kernel_receive > 0 ? scenario->kernel_receive : 1u << 18;
    sim->send_bytes = scenario->kernel_send > 0 ? scenario->kernel_send : 1u << 18;
    uint32_t buffer = scenario->buffer_bytes;
    sim->poison_bytes = buffer > 0 && buffer < POISON_MAX ? buffer : POISON_MAX;
    sim->faults = scenario->faults;
    sim->fault_count = scenario->fault_count;
    sim->open_max = sim->slot_count = SIM_DESCRIPTORS_MIN + scenario_crowd(scenario);
    sim->top = SIM_CLIENT_FIRST;
    sim->now_ms = sim->until_ms = CLOCK_FIRST_MS;
    sim->listening = true;
    inherit(sim);
    sink_open(sim);
}

void sim_init(struct sim_kernel *sim, struct oracle *oracle, const struct scenario *scenario,
              enum sim_poller poller, struct sim_trace *trace) {
    init_all(sim, oracle, scenario, poller, 0, NULL);
    sim->trace = trace;
}

void sim_init_explored(struct sim_kernel *sim, struct oracle *oracle,
                       const struct scenario *scenario, enum sim_poller poller, uint32_t vary,
                       struct sim_points *points) {
    init_all(sim, oracle, scenario, poller, vary, points);
}
