#pragma once

#include "sim/stream.h"

/* What a conforming server owes its clients, judged at every step. Written from SPEC.md; it
 * includes no code of the server, so that server and oracle cannot share a mistake.
 *
 * A client's output is always a prefix of upper(its input), and all of it once its FIN was
 * answered. The server never closes a healthy connection first. When the kernel has nothing more
 * to deliver, no client is owed anything. No wait times out with nothing due. A drain loses
 * nothing that had arrived before the stop, including connections in the backlog. At the end
 * nothing is left open. An injected fault excuses only the connection of the call that fails. */

#define ORACLE_TEXT_BYTES 200

/* By number: those with a name, then the crowd. */
#define ORACLE_CLIENTS (SCENARIO_CLIENTS_MAX + SCENARIO_CROWD_MAX)

struct oracle_client {
    uint64_t sent;    /* by the client */
    uint64_t taken;   /* of that, received by the server */
    uint64_t written; /* sent by the server */
    uint64_t got;     /* of that, read by the client */
    bool connected, accepted, shut, gone;
    bool left;         /* its FIN or RST has arrived at the server */
    bool excused;      /* a call on it was made to fail: the server may close it */
    uint32_t left_out; /* urgent bytes that were passed over */
    bool ended;        /* the server closed or shut its side, at: */
    uint64_t ended_ms;
    uint64_t progress_ms;
    uint64_t at_stop; /* bytes that had arrived at the stop */
};

/* Reasons for a timeout. */
enum oracle_due {
    DUE_ACCEPT, /* accept failed and is retried: no event reports when it can succeed */
    DUE_DRAIN,
    DUE_IDLE, /* the next sweep for idle connections */
    DUE_KINDS
};

/* The lines of the log, as its sink takes them. */
struct oracle_log {
    uint64_t lost; /* lines, since the last that said how many were */
    bool torn;     /* the last write was partial */
};

struct oracle {
    struct stream *stream;
    bool stopping;
    bool turned_away;         /* after the stop the rest of the backlog could not be accepted */
    uint64_t idle_timeout_ms; /* 0: never */
    uint64_t drain_timeout_ms;
    uint64_t drain_end_ms;
    uint64_t due_ms[DUE_KINDS]; /* UINT64_MAX: not due */
    uint64_t swept_ms; /* when the sweep that is due may have taken place, else UINT64_MAX */
    struct oracle_log log;
    bool failed;
    char failure[ORACLE_TEXT_BYTES + 32]; /* a sentence and, in brackets, its code */
    /* oracle_init clears the clients of the run before. */
    uint32_t client_count;
    struct oracle_client clients[ORACLE_CLIENTS];
};

/* The answer to a byte. */
uint8_t oracle_mapped(uint8_t byte);

/* `oracle` is zero, or was initialised before. */
void oracle_init(struct oracle *oracle, struct stream *stream, uint64_t idle_timeout_ms,
                 uint64_t drain_timeout_ms);

/* Records the first failure; later ones follow from it and are ignored. The code is one of those
 * that the conformance kit has (integration/PORTING.md). */
__attribute__((format(printf, 3, 4))) void oracle_fail(struct oracle *oracle, const char *code,
                                                       const char *format, ...);

void oracle_connected(struct oracle *oracle, uint32_t client);
void oracle_accepted(struct oracle *oracle, uint32_t client, uint64_t now_ms);
void oracle_taken(struct oracle *oracle, uint32_t client, uint64_t count, uint64_t now_ms);
void oracle_written(struct oracle *oracle, uint32_t client, const uint8_t *bytes, size_t count,
                    uint64_t now_ms);

/* The next byte that the server would receive is urgent and passed over: it is as if the client had
 * not sent it (SPEC.md, FLOW-6, asks for no answer to it). */
void oracle_left_out(struct oracle *oracle, uint32_t client);

/* True if the client has made no progress for the idle timeout. */
bool oracle_is_idle(const struct oracle *oracle, uint32_t client, uint64_t now_ms);

/* The client has been idle for so long that the server must have closed it: fails if not. */
void oracle_is_overdue(struct oracle *oracle, uint32_t client, uint64_t now_ms);

/* What the server did between two waits. */
struct oracle_pass {
    uint32_t records;  /* of the wait */
    uint32_t receives; /* calls */
    uint32_t accepts;  /* that returned a connection */
    uint32_t waiting;  /* connections to accept, which the wait reported; 0 where none can be */
};

/* A pass is short, so that nobody waits long: a connection is served the less the more are ready,
 * and the pass accepts the more the longer it is. */
void oracle_passed(struct oracle *oracle, const struct oracle_pass *pass);

/* The server shut down or closed the connection; `reset`: with RST. Of all that the client has sent
 * `due` bytes had to be answered. */
void oracle_ended(struct oracle *oracle, uint32_t client, uint64_t due, bool reset,
                  uint64_t now_ms);

/* The client received the server's FIN. */
void oracle_end_seen(struct oracle *oracle, uint32_t client);

/* Accepting, or watching the listener, failed. */
void oracle_refused(struct oracle *oracle, uint64_t now_ms);

/* The server wrote to the log, and the sink took so many bytes; `failed`: none. Lines are whole,
 * and those that were lost are counted before the next one. */
void oracle_logged(struct oracle *oracle, const char *line, size_t length, bool failed,
                   size_t taken);

/* A line is lost: the sink had no room. */
void oracle_unlogged(struct oracle *oracle);

/* The stop signal. */
void oracle_stops(struct oracle *oracle, uint64_t now_ms);

/* A wait timed out: something must be due by `due_ms`, the end that was requested. Each thing that
 * is due is the reason of one such wait only, so that repeated waits of a millisecond are detected
 * as a spin. */
void oracle_timed_out(struct oracle *oracle, uint64_t began_ms, uint64_t due_ms);
