#pragma once

#include "scenario/run.h"

/* Fails every call of every scenario once with every error that is documented for it, unless the
 * scenario fails without; with `sample`, only every sample-th combination. Prints how often each
 * error was injected. Returns the exit status. */
int sweep(const struct run_target *target, const char *const files[], size_t file_count,
          uint64_t sample);
