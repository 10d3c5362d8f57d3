#pragma once

#include "sim/kernel.h"

/* Prints a trace as a timeline: a line an event, the clients in lanes, and right of them what the
 * server called and what it was answered. */
void timeline_print(const struct sim_trace *trace, uint32_t client_count);
