#include "sim/faults.h"

/* splitmix64 */
uint64_t sim_random(struct sim_kernel *sim) {
    uint64_t z = sim->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void record_point(struct sim_kernel *sim, struct sim_point point) {
    struct sim_points *points = sim->points;
    if (points != NULL && points->count < SIM_POINTS_MAX) points->at[points->count++] = point;
}

uint32_t vary_listed(struct sim_kernel *sim, uint32_t vary, uint32_t count, bool free) {
    uint32_t kind = (uint32_t)__builtin_ctz(vary);
    uint32_t nth = ++sim->met[kind];
    const struct scenario *scenario = sim->stream->scenario;
    record_point(sim, (struct sim_point){.kind = (uint8_t)kind,
                                         .count = (uint8_t)count,
                                         .free = free,
                                         .nth = (uint16_t)nth});
    for (uint32_t i = 0; i < scenario->choice_count; i++) {
        const struct sim_choice *choice = &scenario->choices[i];
        if (choice->kind != kind || choice->nth != nth) continue;
        uint32_t taken = choice->taken < count ? choice->taken : count - 1;
        sim->deviations += taken > 0;
        return taken;
    }
    return 0;
}

uint64_t vary_below(struct sim_kernel *sim, uint32_t vary, uint64_t count) {
    if (vary_by_chance(sim, vary)) return sim_random(sim) % count;
    if (count <= VARY_FEW) return vary_listed(sim, vary, (uint32_t)count, true);
    return vary_listed(sim, vary, 2, true) * (count - 1);
}

uint64_t vary_bits(struct sim_kernel *sim, uint32_t vary, uint32_t bits) {
    if (vary_by_chance(sim, vary)) return sim_random(sim);
    return ~0ull << bits | vary_listed(sim, vary, 1u << bits, true);
}

uint64_t vary_drawn_part(struct sim_kernel *sim, uint32_t vary, uint64_t count) {
    if (!vary_by_chance(sim, vary)) {
        uint32_t taken = vary_listed(sim, vary, count > 2 ? 3 : 2, false);
        return taken == 0 ? count : taken == 1 ? 1 : count - 1;
    }
    if (!vary_one_in(sim, vary, 2)) return count;
    uint64_t part = sim_random(sim);
    return 1 + (vary_one_in(sim, vary, 2) ? part % 2 : part % count);
}

static const struct {
    enum fault fault;
    int32_t raw; /* Linux's errno, used by the log alone */
} errors[ERROR_KINDS] = {
    [ERROR_AGAIN] = {FAULT_WOULD_BLOCK, 11},
    [ERROR_INTR] = {FAULT_INTERRUPTED, 4},
    [ERROR_CONNRESET] = {FAULT_RESET, 104},
    [ERROR_PIPE] = {FAULT_PIPE, 32},
    [ERROR_CONNABORTED] = {FAULT_ABORTED, 103},
    [ERROR_MFILE] = {FAULT_DESCRIPTORS, 24},
    [ERROR_NFILE] = {FAULT_DESCRIPTORS, 23},
    [ERROR_NOMEM] = {FAULT_MEMORY, 12},
    [ERROR_NOBUFS] = {FAULT_MEMORY, 105},
    [ERROR_NOENT] = {FAULT_NOT_FOUND, 2},
    [ERROR_EXIST] = {FAULT_EXISTS, 17},
    [ERROR_NOSPC] = {FAULT_NO_SPACE, 28},
    [ERROR_PERM] = {FAULT_OTHER, 1},
    [ERROR_PROTO] = {FAULT_ABORTED, 71},
    [ERROR_TIMEDOUT] = {FAULT_OTHER, 110},
    [ERROR_HOSTUNREACH] = {FAULT_OTHER, 113},
    [ERROR_NETDOWN] = {FAULT_OTHER, 100},
    [ERROR_NOTCONN] = {FAULT_RESET, 107},
    [ERROR_IO] = {FAULT_OTHER, 5},
};

enum fault fault_of(enum sim_error error) { return errors[error].fault; }

/* The error that the scenario sets for the `nth` call of this kind. */
static struct result written_fault(const struct sim_kernel *sim, enum sim_call call, uint32_t nth) {
    struct result result = fault_result(FAULT_NONE, 0);
    for (uint32_t i = 0; i < sim->fault_count; i++) {
        const struct sim_fault *fault = &sim->faults[i];
        if (fault->call == call && fault->nth == nth)
            result = fault_result(errors[fault->error].fault, errors[fault->error].raw);
    }
    return result;
}

struct result fault_inject(struct sim_kernel *sim, enum sim_call call, int32_t descriptor) {
    struct result result = written_fault(sim, call, ++sim->calls[call]);
    if (call != CALL_WAIT) {
        sim->now_ms += sim->pass_ms;
        sim->pass_ms = 0;
    }
    record_point(sim, (struct sim_point){.kind = (uint8_t)(SIM_POINT_CALL + call),
                                         .nth = (uint16_t)sim->calls[call]});
    int32_t client = sim_client_of(sim, descriptor);
    if (client >= 0 && result.fault != FAULT_NONE && !fault_is_passing(result.fault))
        sim->oracle->clients[client].excused = true;
    bool transfers = call == CALL_RECEIVE || call == CALL_SEND;
    bool waits = call == CALL_ACCEPT || call == CALL_WAIT;
    if (result.fault != FAULT_NONE) return result;
    if ((transfers || waits) && vary_one_in(sim, VARY_EINTR, 16))
        return fault_result(FAULT_INTERRUPTED, 4);
    /* Not accept: no kernel returns EAGAIN while the backlog holds a connection, and the last
     * accept before the drain has no other way to know that the backlog is empty. */
    if (transfers && vary_one_in(sim, VARY_EAGAIN, 16)) return fault_result(FAULT_WOULD_BLOCK, 11);
    return result;
}
