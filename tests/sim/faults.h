#pragma once

#include "sim/kernel.h"

/* What may vary from run to run, and which calls fail. */

uint64_t vary_drawn_part(struct sim_kernel *sim, uint32_t vary, uint64_t count);

/* True once in `chance` draws, if this may vary. `chance` is a power of two. */
static inline bool vary_one_in(struct sim_kernel *sim, uint32_t vary, uint32_t chance) {
    if ((sim->vary & vary) == 0) return false;
    return (sim_random(sim) & (chance - 1)) == 0;
}

/* `count`, or sometimes a part of it, at least 1, if this may vary. */
static inline uint64_t vary_part_of(struct sim_kernel *sim, uint32_t vary, uint64_t count) {
    if (count < 2 || !vary_one_in(sim, vary, 2)) return count;
    return vary_drawn_part(sim, vary, count);
}

static inline struct result fault_result(enum fault fault, int32_t raw) {
    return (struct result){.fault = fault, .raw = raw};
}

/* The call may be repeated at once: EAGAIN or EINTR. */
static inline bool fault_is_passing(enum fault fault) {
    return fault == FAULT_WOULD_BLOCK || fault == FAULT_INTERRUPTED;
}

/* Counts the call. Returns the fault that the scenario or chance injects, or FAULT_NONE. A fault
 * from the scenario excuses the call's connection: the server may close that one, and no other. */
struct result fault_inject(struct sim_kernel *sim, enum sim_call call, int32_t descriptor);
