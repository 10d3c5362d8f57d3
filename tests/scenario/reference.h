#pragma once

#include "scenario/explore.h"
#include "scenario/run.h"

/* The reference server, in this process, on both pollers. */
extern const struct run_target reference_target;

/* A run of an exploration. */
void reference_explore(const struct scenario *scenario, enum sim_poller poller,
                       struct explore *explore, struct run_result *result);
