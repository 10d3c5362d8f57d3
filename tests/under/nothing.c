/* Where the library is not built. */
#include "scenario/file.h"
#include "under/command.h"

const struct run_target *under_start(const char *command, bool shows_errors, bool never_stopped) {
    (void)command, (void)shows_errors;
    quit("--under", "needs a build for Linux on x86-64, without sanitizers");
}

int under_finish(int status) { return status; }
