#pragma once

#include "shell/kernel.h"

/* A world in which a few calls are tried: clients that we move, and a kernel table that serves
 * them, the simulated one or the system's. Each function below does one thing. Those that end in
 * `expected` hold what came of it against these words, or against each of several between bars
 * where a kernel is free to choose. So one description of what a kernel does is held against
 * both. */

#define CLIENTS 3
enum client { A, B, C };

/* Any room that a client's receive buffer has by itself. */
#define PLENTY 0

struct world;

/* The clients' side, which is another in each world. After each action all has arrived that can. */
struct world_ops {
    void (*start)(struct world *w);
    void (*finish)(struct world *w);
    void (*connect)(struct world *w, enum client client, uint32_t window);
    void (*send)(struct world *w, enum client client, uint64_t count);
    void (*send_until_full)(struct world *w, enum client client);
    void (*send_urgent)(struct world *w, enum client client);
    void (*shutdown)(struct world *w, enum client client);
    void (*reset)(struct world *w, enum client client);
    void (*close)(struct world *w, enum client client);
    void (*read)(struct world *w, enum client client, uint64_t most);
    /* Lets a moment pass; false if nothing more will come by itself. */
    bool (*rest)(uint32_t turn);
    /* Whoever accepts gets no descriptor; or does again. */
    void (*exhaust)(struct world *w, bool exhausted);
    /* Waits until what the server sent has arrived, so far as there is room for it. */
    void (*settle)(struct world *w, enum client client);
    /* Bytes that the server sent and that have not arrived. */
    uint64_t (*outstanding)(struct world *w, enum client client);
};

/* How a client saw its connection end. */
enum seen { SEEN_OPEN, SEEN_FIN, SEEN_RST };

struct world {
    const struct world_ops *ops;
    const char *name;
    struct kernel kernel;
    int32_t listener, queue;
    struct {
        uint16_t port;
        int32_t descriptor;      /* the server's; 0: none */
        uint64_t sent, received; /* by the client, and of that by the server */
        uint64_t answered, got;  /* by the server, and of that read by the client */
        enum seen seen;
    } clients[CLIENTS];
    uint32_t calls, mismatches;
};

/* Counts what the world itself could not do. */
__attribute__((format(printf, 2, 3))) void world_fail(struct world *w, const char *format, ...);

/* What a client sends, and what it is sent, by position. */
uint8_t world_byte(enum client client, uint64_t position);

/* A client connects and is accepted. */
void serves(struct world *w, enum client client);

/* What a client read so far, and how it ended: "5", "5 FIN", "all FIN" where it is all that the
 * server sent, "less RST" where it is not. The client reads on until it is so. */
void client_sees(struct world *w, enum client client, const char *expected);
void client_sees_all(struct world *w, enum client client, const char *expected);

/* The server's calls. A count of bytes, a descriptor's letter, or the name of an error. */
void accepts(struct world *w, const char *expected);
void receives(struct world *w, enum client client, size_t length, const char *expected);
void sends(struct world *w, enum client client, size_t length, const char *expected);
void shuts(struct world *w, enum client client, const char *expected);
void closes(struct world *w, enum client client, const char *expected);
void counts_unread(struct world *w, enum client client, const char *expected);

/* Sends until nothing more is taken, and nothing moves. */
void fills(struct world *w, enum client client);

/* Receives until nothing more comes; `expected` is what the last call said. */
void empties(struct world *w, enum client client, const char *expected);

#define NOTHING 0u
#define IN EPOLL_CODEC_IN
#define OUT EPOLL_CODEC_OUT
#define RDHUP EPOLL_CODEC_RDHUP

void controls(struct world *w, enum client client, enum epoll_operation operation, uint32_t events,
              const char *expected);
void watches_listener(struct world *w);

/* A wait of no time for at most `max` records: "A:IN OUT, B:HUP", the listener as L. In the order
 * of clients: that of the records is the kernel's. */
void waits(struct world *w, size_t max, const char *expected);

/* All that epoll would say of one connection, were it asked for everything: "IN OUT". */
void hints(struct world *w, enum client client, const char *expected);
bool is_writable(struct world *w, enum client client);

/* True if it is one of the alternatives between bars. */
bool matches(const char *said, const char *expected);

/* Holds any other finding against what is expected. */
void finds(struct world *w, const char *what, const char *found, const char *expected);

/* What is simulated has an epoll or a kqueue; sockets have what the system has. */
extern const struct world_ops simulated_world, simulated_kqueue_world, sockets_world;
