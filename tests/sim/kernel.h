#pragma once

#include "scenario/scenario.h"
#include "shell/kernel.h"
#include "sim/oracle.h"

/* A kernel in memory, deterministic to the bit: sockets with bounded buffers both ways, an epoll
 * and a kqueue, a backlog, a descriptor limit, a clock. It holds no bytes, only positions in what
 * each client sends; what the server sends is checked on the fly.
 *
 * Its parts: tcp (connections), socket (the calls on them), epoll, kqueue, queue (what both pollers
 * share), faults (what varies and fails), trace.
 *
 * The environment (clients, time, the stop signal) is driven by the functions below. A wait with
 * nothing to report and nothing left to deliver means that the server is idle: the wait returns
 * EINTR and sets `idle`. */

/* A run has as many descriptors as its scenario needs: the least, one for each client of a crowd,
 * and with VARY_INHERITED at most so many that the parent process left open. */
#define SIM_DESCRIPTORS_MIN 32
#define SIM_INHERITED_MAX 40
#define SIM_DESCRIPTORS (SIM_DESCRIPTORS_MIN + SCENARIO_CROWD_MAX + SIM_INHERITED_MAX)
#define SIM_LISTENER 3
#define SIM_QUEUE 4
#define SIM_STOP 5
#define SIM_CLIENT_FIRST 6

/* What a client of a crowd sends ahead, and what the service of its waits takes. */
#define SIM_CROWD_BYTES 256
#define SIM_CROWD_PASS_MS 100

/* With VARY_DELAY, a wait ends at most this much later than requested. */
#define SIM_LATE_MAX_MS 50

/* By number: those with a name, then the crowd. */
#define SIM_CLIENTS ORACLE_CLIENTS

enum sim_poller { SIM_EPOLL, SIM_KQUEUE };

/* The system whose TCP a run has: Linux with epoll; with kqueue FreeBSD if the seed is even, else
 * NetBSD. What differs was observed on the network stacks of FreeBSD 13 and NetBSD 7.99.34. */
enum sim_system { SIM_LINUX, SIM_FREEBSD, SIM_NETBSD };

/* Where the log goes. */
enum sim_sink_kind { SINK_DISK, SINK_PIPE, SINK_TERMINAL, SINK_KINDS };

struct sim_sink {
    enum sim_sink_kind kind;
    bool blocks; /* it could not be reopened: a write waits for room */
    bool shared; /* another process writes to it, too */
    bool asked;  /* it was ready when last polled, and not written to since */
    bool gone;   /* the reader has left */
    uint64_t room, size;
};

/* One connection, seen from both ends. */
struct sim_link {
    /* client to server: positions in the stream */
    uint64_t sent, arrived, taken;
    uint64_t urgent_end; /* one above the position of the last urgent byte; 0: there is none */
    bool out_of_band;    /* the server's end is without SO_OOBINLINE */
    /* server to client */
    uint64_t written, delivered, got;
    uint32_t window;         /* the client's receive buffer */
    int32_t descriptor;      /* 0: not accepted, or closed */
    bool connected, waiting; /* in the backlog */
    bool fin_sent, fin_arrived, reset_sent, reset_arrived;
    bool server_shut, server_closed, server_reset;
    bool fin_delivered;        /* to the client, which may still have to read up to it */
    bool fin_seen, reset_seen; /* by the client */
    bool paused, gone;         /* the client */
    enum fault error;          /* latched, reported once */
    uint32_t edges[3];         /* wake-ups: EDGE_READ, EDGE_WRITE, EDGE_ALL */
    bool full;                 /* a watch found no room to write: once there is, an edge */
    struct {
        uint32_t steps, used;
    } shorts[2]; /* short-receive and short-send steps so far; calls shortened so far */
};

/* What a descriptor is registered for. */
struct sim_watch {
    bool registered; /* epoll */
    bool disarmed;   /* EPOLLONESHOT has reported */
    uint32_t events;
    uint32_t edges;  /* as of its last report, for EPOLLET */
    bool filters[3]; /* kqueue, by enum kqueue_filter */
    uint64_t token;
};

#define SIM_STALE_MAX 8

/* One kernel call, or one event of the environment. */
struct sim_event {
    uint8_t call; /* enum sim_call, or SIM_ENVIRONMENT + ... */
    uint8_t fault;
    int16_t client; /* -1: none */
    int32_t descriptor;
    uint64_t argument;
    int64_t value;
};

#define SIM_ENVIRONMENT 32                         /* + enum step_kind: a step */
#define SIM_ARRIVES (SIM_ENVIRONMENT + STEP_KINDS) /* events that follow from steps */
#define SIM_READS (SIM_ARRIVES + 1)
#define SIM_SEES_FIN (SIM_ARRIVES + 2)
#define SIM_SEES_RST (SIM_ARRIVES + 3)
#define SIM_PASSES_URGENT (SIM_ARRIVES + 4)

struct sim_trace {
    struct sim_event *events;
    size_t count, max;
};

/* A place where the kernel may choose: the nth of its kind, which is the number of a VARY bit, or
 * SIM_POINT_CALL + enum sim_call, which may fail. */
struct sim_point {
    uint8_t kind;
    uint8_t count; /* alternatives, 0 included; of a call: 0, its errors are another matter */
    bool free;     /* it refines an earlier choice, and is no deviation by itself */
    uint16_t nth;
};

#define SIM_POINT_CALL 16
#define SIM_POINTS_MAX 4096

struct sim_points {
    struct sim_point at[SIM_POINTS_MAX];
    uint32_t count;
};

struct sim_kernel {
    struct oracle *oracle;
    const struct stream *stream;
    enum sim_poller poller;
    enum sim_system system;
    bool out_of_band; /* so are the ends of new connections, by the listener's option */
    bool foreign;     /* not the reference: the rules of its calls, besides SPEC.md, do not hold */
    uint64_t random;
    uint32_t vary, chance;              /* kinds that vary; of these, kinds that do so by chance */
    uint32_t met[VARY_KINDS];           /* points so far */
    uint32_t deviations;                /* from alternative 0, so far */
    struct sim_points *points;          /* null: not recorded */
    bool late;                          /* what is in flight stays so for the next wait */
    uint32_t receive_bytes, send_bytes; /* of each socket's buffers */
    uint32_t poison_bytes;
    const struct sim_fault *faults;
    uint32_t fault_count;

    uint32_t slot_count; /* descriptors, those of the server's own included */
    struct sim_sink sink;
    uint32_t ready; /* how many were ready when the last wait began; where choices are listed */
    uint32_t next;  /* the descriptor whose record comes first in the next wait */
    uint32_t crowd; /* clients without a name */
    uint32_t backlog_taken, backlog_end; /* indices into `backlog` */
    struct oracle_pass pass;             /* since the last wait */
    uint64_t pass_ms;                    /* passes at the next call that may fail, but a wait */
    bool full;                           /* the last wait had room for no further record */
    uint32_t listener_edges;             /* listener wake-ups */
    uint32_t open, open_max;             /* clients' descriptors */
    bool short_of_descriptors;           /* accept failed for it, and has not emptied the backlog */
    uint32_t turns[WHO_KINDS];           /* order of records by report steps, from 1; 0: none */
    uint32_t turn_count;
    uint64_t stale[SIM_STALE_MAX]; /* tokens of closed connections */
    uint32_t stale_count;
    bool stop_pending, listening;
    bool idle;                 /* the last wait found nothing, and nothing is in flight */
    uint64_t now_ms, until_ms; /* time may pass up to until_ms */
    uint64_t stop_told_ms;     /* when a wait last reported the stop */

    uint32_t calls[CALL_KINDS];
    uint64_t events;         /* calls and steps */
    uint64_t moved;          /* bytes that the server received and sent */
    uint64_t progress;       /* increases whenever anything changes */
    uint64_t hash;           /* of the trace */
    struct sim_trace *trace; /* null: not kept */

    /* From here on sim_init clears only what the run before it used. */
    uint32_t top; /* one above the highest descriptor used */
    uint32_t link_count;
    struct sim_link links[SIM_CLIENTS]; /* by client */
    uint16_t backlog[SIM_CLIENTS];      /* clients in the order in which they connected */
    int16_t owner[SIM_DESCRIPTORS];     /* descriptor: 1 + client; 0: free; -1: inherited */
    bool reported[SIM_DESCRIPTORS];     /* by a record of the last wait, or by accept since */
    uint32_t received[SIM_DESCRIPTORS]; /* calls since the last wait, of one connection */
    struct sim_watch watches[SIM_DESCRIPTORS];
};

/* The client whose connection has the descriptor; -1: none. */
static inline int32_t sim_client_of(const struct sim_kernel *sim, int32_t descriptor) {
    if (descriptor < SIM_CLIENT_FIRST || descriptor >= SIM_DESCRIPTORS) return -1;
    return sim->owner[descriptor] > 0 ? sim->owner[descriptor] - 1 : -1;
}

/* `sim` is zero, or was initialised before. */
void sim_init(struct sim_kernel *sim, struct oracle *oracle, const struct scenario *scenario,
              enum sim_poller poller, struct sim_trace *trace);

/* As sim_init, and records where the kernel may choose, also of the kinds in `vary`. */
void sim_init_explored(struct sim_kernel *sim, struct oracle *oracle,
                       const struct scenario *scenario, enum sim_poller poller, uint32_t vary,
                       struct sim_points *points);

/* The kernel table for the server. */
struct kernel sim_kernel(struct sim_kernel *sim);

/* Performs a step of a client or of the environment, not one that only expects. */
void sim_act(struct sim_kernel *sim, const struct step *step);

/* Delivers everything in flight; clients that are not paused read. */
void sim_deliver(struct sim_kernel *sim);

/* As sim_deliver; the kernel may choose that something stays in flight beyond the next wait. */
void sim_deliver_after_step(struct sim_kernel *sim);

/* True if a poller that watches the client's connection for writing would report it. */
bool sim_writable(const struct sim_kernel *sim, uint32_t client);

/* The next random number; each is drawn in a statement of its own. */
uint64_t sim_random(struct sim_kernel *sim);
