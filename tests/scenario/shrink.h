#pragma once

#include "scenario/run.h"

/* Makes a failing scenario smaller while it still fails on one of the pollers: fewer steps and
 * faults, smaller counts, less variation; and no seed, if one step can state the kernel's choice.
 *
 * requires  it fails
 * ensures   it still fails
 */
void shrink(const struct run_target *target, struct scenario *scenario);
