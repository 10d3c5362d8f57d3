#pragma once

#include "scenario/run.h"

struct soak_options {
    const struct run_target *target;
    uint64_t events, seed;
    const char *name; /* of the command, for the line that replays a failure */
    const char *out;  /* file for a scenario that fails */
};

/* Runs random scenarios on both pollers until so many events have happened or one fails, which is
 * then shrunk, written to `out` and printed with the command that replays it. Returns the exit
 * status. */
int soak(const struct soak_options *options);
