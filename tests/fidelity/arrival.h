#pragma once

#include "fidelity/environment.h"

/* Whether what one side did has arrived at the other. How to query that depends on the system; the
 * functions are polled until they return true. */

/* The clients' sockets. */
struct sockets {
    int clients[CLIENTS]; /* -1: gone */
    bool shut[CLIENTS];   /* it has sent its FIN */
    uint16_t port;        /* the listener's */
};
extern struct sockets sockets;

/* Connections that wait to be accepted. */
uint32_t arrival_backlog(const struct environment *env);

/* What the client sent, including FIN, as far as the server's receive buffer has room. */
bool arrival_at_server(struct environment *env, enum client client);

/* What the server sent, as far as the client's receive buffer has room. */
bool arrival_at_client(struct environment *env, enum client client);

/* Called before a client closes its socket: whether the server's kernel will see it; then whether
 * it has. */
bool arrival_expects_end(struct environment *env, enum client client);
bool arrival_of_end(struct environment *env, enum client client);

/* Bytes that were sent into a socket and have not arrived. */
uint64_t arrival_outstanding(int descriptor);
