#pragma once

#include <stdbool.h>

#include "core/token.h"

/* What to watch a descriptor for. Never both: a FIN could then be read while output is pending.
 * NONE means that the descriptor is not in the poller. */
enum interest { INTEREST_NONE, INTEREST_READ, INTEREST_WRITE };

/* One event of either poller. The token selects the connection; its state determines the action.
 * All four flags are hints that a kernel may set or omit: the next system call decides. They exist
 * for the tests of ports, which compare what the kernel reported. */
struct readiness {
    struct token token;
    bool readable;
    bool writable;
    bool hangup; /* the peer may have ended one direction or both */
    bool error;  /* a call on the descriptor may fail */
};
