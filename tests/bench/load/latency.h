#pragma once

#include <stdint.h>

/* How long answers took: a histogram whose classes are 1/32 of their value wide. */
void latency_reset(void);
void latency_add(uint64_t ns);

/* What `percent` of the answers took at most, in nanoseconds; 0 if there was none. */
uint64_t latency_at(double percent);
