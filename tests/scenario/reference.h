#pragma once

#include "scenario/run.h"

/* The reference server, in this process, on both pollers. */
extern const struct run_target reference_target;
