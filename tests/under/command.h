#pragma once

#include "scenario/run.h"

/* Any server under the simulated kernel: the command starts it with a library that answers its
 * calls, and runs scenario after scenario in its process.
 *
 * A failure counts if it repeats in three fresh processes of the server; otherwise its run is
 * reported as unstable. Where the server makes a call that is not modelled, the run is not judged
 * either. */

/* Starts `command` by the shell, {port} in it replaced by a free port; what it prints is dropped,
 * but for its stderr if `shows_errors`. With `never_stopped` no scenario is for it that stops it.
 * Quits if it does not come to wait for clients. */
const struct run_target *under_start(const char *command, bool shows_errors, bool never_stopped);

/* Ends the server, and prints what was not judged, and why. The result is the exit status of the
 * command: `status`, or STATUS_NOT_JUDGED if nothing failed and something was not judged. */
int under_finish(int status);
