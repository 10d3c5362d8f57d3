#pragma once

#include "sim/kernel.h"

/* Prints a trace as a timeline, one line per event: the clients in lanes, and on the right the
 * server's calls with their results. */
void timeline_print(const struct sim_trace *trace, uint32_t client_count);
