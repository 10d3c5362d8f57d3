#pragma once

#include "sim/kernel.h"

/* What may vary from run to run, and which calls fail.
 *
 * The kernel asks a chooser wherever it may vary. For kinds that the scenario leaves to chance that
 * is its seed. For all others it is the list of the scenario's choices: where none is listed, the
 * kernel takes alternative 0, and nothing varies. An exploration lists choices, and has the points
 * recorded at which others could be made. */

/* `vary` is one kind. Alternative `listed` of `count`, recorded; `free` as in struct sim_point. */
uint32_t vary_listed(struct sim_kernel *sim, uint32_t vary, uint32_t count, bool free);

/* True if this is left to chance. */
static inline bool vary_by_chance(const struct sim_kernel *sim, uint32_t vary) {
    return (sim->chance & vary) != 0;
}

/* True once in `chance` draws, if this may vary. `chance` is a power of two. */
static inline bool vary_one_in(struct sim_kernel *sim, uint32_t vary, uint32_t chance) {
    if ((sim->vary & vary) == 0) return false;
    if (!vary_by_chance(sim, vary)) return vary_listed(sim, vary, 2, false) != 0;
    return (sim_random(sim) & (chance - 1)) == 0;
}

/* Of what varies: a number below `count`; if listed, the least or the greatest one, unless there
 * are only VARY_FEW. */
#define VARY_FEW 8
uint64_t vary_below(struct sim_kernel *sim, uint32_t vary, uint64_t count);

/* Of what varies: any 64 bits; if listed, with all but the lowest `bits` set. */
uint64_t vary_bits(struct sim_kernel *sim, uint32_t vary, uint32_t bits);

uint64_t vary_drawn_part(struct sim_kernel *sim, uint32_t vary, uint64_t count);

/* `count`, or sometimes a part of it, at least 1, if this may vary; if listed, one byte, or all but
 * one. */
static inline uint64_t vary_part_of(struct sim_kernel *sim, uint32_t vary, uint64_t count) {
    if (count < 2 || (sim->vary & vary) == 0) return count;
    return vary_drawn_part(sim, vary, count);
}

/* The error as the server sees it. */
enum fault fault_of(enum sim_error error);

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
