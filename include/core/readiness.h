#pragma once

#include <stdbool.h>

#include "core/token.h"

/* What a descriptor waits for. One at a time: a set of bits could wait for both, and then a FIN
 * could arrive with output pending. NONE means that the poller does not know the descriptor. */
enum interest { INTEREST_NONE, INTEREST_READ, INTEREST_WRITE };

/* One event, whatever the poller. The token selects the connection; what is then done follows from
 * its state. All four flags are hints, which a kernel may give too often or leave out: they tell a
 * port's own tests what the kernel said, and the system call that follows decides. */
struct readiness {
    struct token token;
    bool readable;
    bool writable;
    bool hangup; /* the peer may have ended one direction or both */
    bool error;  /* a call on the descriptor may fail */
};
