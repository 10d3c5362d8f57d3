#pragma once

#include "under/channel.h"

/* A fuzzer in place of the command: AFL++ runs the server, which its compiler has built, and gives
 * bytes, which are decoded to scenarios. */

/* If AFL++ runs this process: a channel of its own, in place of the shared one; else null. It is
 * called before AFL++'s runtime starts. */
struct channel *fuzz_channel(void);

/* Takes the next scenario; ends the process after many. */
void fuzz_take(struct channel *channel);

/* Has AFL++ keep the bytes of this run. */
_Noreturn void fuzz_failed(void);
