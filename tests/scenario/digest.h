#pragma once

#include "scenario/judge.h"

/* A digest of all that the rest of a run depends on: server, simulated kernel, oracle, and how far
 * the scenario is. Two runs with the same one go on alike, whatever is chosen then. */
uint64_t digest_of(const struct run *run);

static inline uint64_t digest_mix(uint64_t digest, uint64_t word) {
    digest = (digest ^ word) * 0x9e3779b97f4a7c15u;
    return digest ^ digest >> 32;
}
