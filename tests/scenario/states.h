#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The states that an exploration has reached, by their digests. */

/* Forgets all. */
void states_clear(void);

/* The next run begins. */
void states_begin_run(void);

/* Notes the state, and that all that can follow from it with so many more steps and deviations is
 * explored. True if it was so before this run: a run that comes back to one of its own states must
 * go on, or nobody would see that it never ends. */
bool states_visit(uint64_t digest, uint32_t steps, uint32_t deviations);

uint64_t states_count(void);

/* The same whatever the order in which they were reached. */
uint64_t states_sum(void);

/* True the first time for each text of a failure. */
bool states_failure(const char *text);
