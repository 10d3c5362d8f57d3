#pragma once

#include "sim/kernel.h"

/* The trace. Its hash covers every call with its arguments and its result, including those that no
 * timeline shows. It covers neither addresses nor client bytes, which follow from positions. */

static inline void trace_hash(struct sim_kernel *sim, uint64_t word) {
    sim->hash = (sim->hash ^ word) * 0x9e3779b97f4a7c15u;
    sim->hash ^= sim->hash >> 32;
}

/* Records a call; returns its result, so that a call can end with it. */
struct result trace_call(struct sim_kernel *sim, enum sim_call call, int32_t descriptor,
                         uint64_t argument, struct result result);

/* Records a step of the environment, or what a client observed: SIM_ENVIRONMENT + ... */
void trace_environment(struct sim_kernel *sim, uint32_t what, uint32_t client, uint64_t value);
