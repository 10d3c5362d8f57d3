#pragma once

#include "sim/kernel.h"

/* What both pollers have in common: the order of records, faults of registrations, and waiting. */

/* Fills in at most `max` records of what is ready; returns their number. */
typedef uint32_t queue_gather(struct sim_kernel *sim, void *records, size_t max);

/* A wait: until something is ready or time is over. */
struct result queue_wait(struct sim_kernel *sim, queue_gather *gather, void *records, size_t max,
                         int32_t timeout_ms);

bool queue_is_open(const struct sim_kernel *sim, int32_t descriptor);

/* The fault of one registration, as fault_inject. */
struct result queue_inject(struct sim_kernel *sim, int32_t descriptor, bool deletes);

/* The open descriptors in the order in which this wait reports them; returns their number. Kernels
 * report them in the order of activation, which is one of the orders that are tried here. Where
 * choices are listed, those that are ready come first: the order of the others makes no
 * difference. */
uint32_t queue_order(struct sim_kernel *sim,
                     bool (*is_ready)(const struct sim_kernel *sim, int32_t descriptor),
                     int32_t order[SIM_DESCRIPTORS]);

/* True if the wait ends behind the record of order[i] though more may be ready. */
bool queue_ends_early(struct sim_kernel *sim, uint32_t i);

/* The wait ends behind this descriptor, though more may be ready: the next wait goes on there
 * (Linux, ep_send_events, and FreeBSD, kqueue_scan: what was reported goes to the end of the list
 * of what is ready). */
void queue_ends_behind(struct sim_kernel *sim, int32_t descriptor);

/* True if there may be a record though nothing is ready. Not for a crowd: then some record would be
 * in every wait, and the server never idle. */
bool queue_may_be_spurious(const struct sim_kernel *sim, int32_t descriptor);

/* Notes that a record names the descriptor: calls on it are now expected. */
void queue_report(struct sim_kernel *sim, int32_t descriptor);

/* True if this wait also reports a connection that is closed; `token` is its token. */
bool queue_adds_stale(struct sim_kernel *sim, uint32_t found, size_t max, uint64_t *token);
