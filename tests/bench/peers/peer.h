#pragma once

/* Shared by the loops for comparison, which are as small as possible. All use core/upper.h for the
 * service, so that only the loops differ. */

/* The largest read, or the equivalent setting of a library. */
#define PEER_BUFFER_BYTES 65536u

/* A non-blocking socket that listens on a port of 127.0.0.1; accepted sockets inherit TCP_NODELAY,
 * as the server's. On failure prints an error and exits. */
int peer_listen(int count, char *arguments[]);
