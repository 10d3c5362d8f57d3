#pragma once

#include "sim/kernel.h"

/* Where the log goes: a peer of its own. It takes every line, unless VARY_LOG: then by the seed it
 * is a pipe, a terminal, or a disk, slow or full; another process may write to it, too, also
 * between poll and write; its reader may leave; and a write to it may block. */
void sink_open(struct sim_kernel *sim);

/* Time passes: the reader reads, or leaves. */
void sink_drain(struct sim_kernel *sim);

/* Entries of the kernel table. */
struct result sim_log_poll(void *self);
struct result sim_log_write(void *self, const char *line, size_t length, int32_t limit_us);
