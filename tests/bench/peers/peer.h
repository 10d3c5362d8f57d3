#pragma once

/* What the peers share: they are loops to be compared with, and as small as each can be. The
 * service itself is core/upper.h's, so that a comparison is one of loops. */

/* What one read takes at most, and what stands in for it in loops that have a say in it. */
#define PEER_BUFFER_BYTES 65536u

/* A non-blocking socket that listens on a port of 127.0.0.1; the sockets accepted from it have no
 * Nagle delay, as the server's. Says what is wrong and ends the process if that fails. */
int peer_listen(int count, char *arguments[]);
