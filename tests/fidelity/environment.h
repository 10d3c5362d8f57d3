#pragma once

#include "shell/kernel.h"

/* An environment for tests of kernel calls: clients that the test controls, and a kernel table that
 * serves them, the simulated one or the system's. So the same tests run on both.
 *
 * Each function below does one thing. Those with an argument `expected` compare the result with it;
 * where a kernel may choose, `expected` has several alternatives separated by bars. */

#define CLIENTS 3
enum client { A, B, C };

/* The default size of a client's receive buffer. */
#define PLENTY 0

struct environment;

/* The clients' side, which differs between environments. When an action returns, everything that
 * can arrive has arrived. */
struct environment_ops {
    void (*start)(struct environment *env);
    void (*finish)(struct environment *env);
    void (*connect)(struct environment *env, enum client client, uint32_t window);
    void (*send)(struct environment *env, enum client client, uint64_t count);
    void (*send_until_full)(struct environment *env, enum client client);
    void (*send_urgent)(struct environment *env, enum client client);
    /* New connections from here on find a server without SO_OOBINLINE. */
    void (*listen_out_of_band)(struct environment *env);
    void (*shutdown)(struct environment *env, enum client client);
    void (*reset)(struct environment *env, enum client client);
    void (*close)(struct environment *env, enum client client);
    void (*read)(struct environment *env, enum client client, uint64_t most);
    /* Waits a moment; false if nothing more will arrive. */
    bool (*rest)(uint32_t turn);
    /* Makes accept fail for lack of descriptors, or succeed again. */
    void (*exhaust)(struct environment *env, bool exhausted);
    /* Waits until what the server sent has arrived, as far as the client has room. */
    void (*settle)(struct environment *env, enum client client);
    /* Bytes that the server sent and that have not arrived. */
    uint64_t (*outstanding)(struct environment *env, enum client client);
};

/* How a client saw its connection end. */
enum seen { SEEN_OPEN, SEEN_FIN, SEEN_RST };

struct environment {
    const struct environment_ops *ops;
    const char *name;
    struct kernel kernel;
    int32_t listener, queue;
    struct {
        uint16_t port;
        int32_t descriptor;      /* the server's; 0: none */
        uint64_t sent, received; /* by the client; by the server */
        uint64_t answered, got;  /* by the server; read by the client */
        enum seen seen;
    } clients[CLIENTS];
    uint32_t calls, mismatches;
};

/* Reports and counts a mismatch. */
__attribute__((format(printf, 2, 3))) void environment_fail(struct environment *env,
                                                            const char *format, ...);

/* What a client sends, by position. */
uint8_t environment_byte(enum client client, uint64_t position);

/* A client connects and is accepted. */
void serves(struct environment *env, enum client client);

/* What a client has read, and how the connection ended for it: "5", "5 FIN"; or "all FIN" if it is
 * everything that the server sent, "less RST" if not. The client reads until that matches. */
void client_sees(struct environment *env, enum client client, const char *expected);
void client_sees_all(struct environment *env, enum client client, const char *expected);

/* The server's calls. Expected is a number of bytes, a client's letter, or the name of an error. */
void accepts(struct environment *env, const char *expected);
void receives(struct environment *env, enum client client, size_t length, const char *expected);
void sends(struct environment *env, enum client client, size_t length, const char *expected);
void shuts(struct environment *env, enum client client, const char *expected);
void closes(struct environment *env, enum client client, const char *expected);
void counts_unread(struct environment *env, enum client client, const char *expected);

/* Sends until the kernel accepts no more. */
void fills(struct environment *env, enum client client);

/* Receives until nothing more comes; `expected` is the result of the last call. */
void empties(struct environment *env, enum client client, const char *expected);

#define NOTHING 0u
#define IN EPOLL_CODEC_IN
#define OUT EPOLL_CODEC_OUT
#define RDHUP EPOLL_CODEC_RDHUP

void controls(struct environment *env, enum client client, enum epoll_operation operation,
              uint32_t events, const char *expected);
void watches_listener(struct environment *env, uint32_t events);

/* A wait with timeout 0 for at most `max` records: "A:IN OUT, B:HUP", L for the listener. Sorted by
 * client, since the kernel chooses the order. */
void waits(struct environment *env, size_t max, const char *expected);

/* All events of one connection that epoll can report: "IN OUT". */
void hints(struct environment *env, enum client client, const char *expected);
bool is_writable(struct environment *env, enum client client);

/* True if `found` is one of the alternatives in `expected`. */
bool matches(const char *found, const char *expected);

/* Compares any other finding with what is expected. */
void finds(struct environment *env, const char *what, const char *found, const char *expected);

/* The simulated kernel with epoll, or with a system's kqueue; sockets with the system's poller. */
extern const struct environment_ops simulated_environment, simulated_freebsd_environment,
    simulated_netbsd_environment, sockets_environment;
