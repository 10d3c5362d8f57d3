#pragma once

#include <stdint.h>

/* Latencies: a histogram whose classes are 1/32 of their value wide. */
void latency_reset(void);
void latency_add(uint64_t ns);

/* The percentile in nanoseconds; 0 if there was no answer. */
uint64_t latency_at(double percent);
