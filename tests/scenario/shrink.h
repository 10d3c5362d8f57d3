#pragma once

#include "scenario/scenario.h"

/* Makes a failing scenario as small as it gets while it still fails on one of the pollers: fewer
 * steps and faults, smaller counts, less variation; and without a seed, if what the kernel has to
 * choose can be said in one line.
 *
 * requires  it fails
 * ensures   it still fails
 */
void shrink(struct scenario *scenario);
