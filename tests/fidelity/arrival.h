#pragma once

#include "fidelity/world.h"

/* Whether what one side did has arrived at the other: each system has its own ways to tell. Asked
 * again and again, until it is so. */

/* The clients of the world of sockets. */
struct sockets {
    int clients[CLIENTS]; /* -1: gone */
    bool shut[CLIENTS];   /* it has sent its FIN */
    uint16_t port;        /* the listener's */
};
extern struct sockets sockets;

/* How many wait to be accepted. */
uint32_t arrival_backlog(const struct world *w);

/* What the client sent, its FIN too, so far as the server's kernel has room for it. */
bool arrival_at_server(struct world *w, enum client client);

/* What the server sent, so far as the client's kernel has room for it. */
bool arrival_at_client(struct world *w, enum client client);

/* Before a client closes its socket: whether the server's kernel can notice; and whether it has. */
bool arrival_expects_end(struct world *w, enum client client);
bool arrival_of_end(struct world *w, enum client client);

/* Bytes that were sent into a socket and have not arrived. */
uint64_t arrival_outstanding(int descriptor);
