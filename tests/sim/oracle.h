#pragma once

#include "sim/stream.h"

/* What a conforming server owes its clients, judged at every step. Written from the requirements;
 * it includes nothing of the server, so that a shared mistake cannot agree with itself.
 *
 * A client's output is always a prefix of upper(its input), and all of it once its FIN was
 * answered; no byte comes without cause; the server never closes a healthy client first; when the
 * kernel has nothing more to deliver nobody is owed anything; no wait times out with nothing due; a
 * drain loses nothing that had arrived before the stop, not even of who was in the backlog; at the
 * end nothing is left open. A call that is made to fail excuses its own client alone. */

struct oracle_client {
    uint64_t sent;    /* by the client */
    uint64_t taken;   /* of that, received by the server */
    uint64_t written; /* sent by the server */
    uint64_t got;     /* of that, read by the client */
    bool connected, accepted, shut, gone;
    bool excused; /* a call for it was made to fail: the server may give it up, and no other */
    bool ended;   /* the server closed or shut its side */
    uint64_t progress_ms;
    uint64_t at_stop; /* what the kernel had received of it when the server was told to stop */
};

/* What a server may set the clock for. */
enum oracle_due {
    DUE_ACCEPT, /* accepting failed: it is tried again in time, for no event tells when to */
    DUE_DRAIN,
    DUE_IDLE, /* looking for idle clients */
    DUE_KINDS
};

struct oracle {
    const struct stream *stream;
    struct oracle_client clients[SCENARIO_CLIENTS_MAX];
    bool stopping;
    bool turned_away;         /* accept failed after the stop while somebody waited */
    uint64_t idle_timeout_ms; /* 0: never */
    uint64_t drain_timeout_ms;
    uint64_t due_ms[DUE_KINDS]; /* UINT64_MAX: nothing is */
    bool failed;
    char failure[200];
};

/* What a byte comes back as. */
uint8_t oracle_mapped(uint8_t byte);

void oracle_init(struct oracle *oracle, const struct stream *stream, uint64_t idle_timeout_ms,
                 uint64_t drain_timeout_ms);

/* Notes the first failure; later ones follow from it. */
__attribute__((format(printf, 2, 3))) void oracle_fail(struct oracle *oracle, const char *format,
                                                       ...);

void oracle_accepted(struct oracle *oracle, uint32_t client, uint64_t now_ms);
void oracle_taken(struct oracle *oracle, uint32_t client, uint64_t count, uint64_t now_ms);
void oracle_written(struct oracle *oracle, uint32_t client, const uint8_t *bytes, size_t count,
                    uint64_t now_ms);

/* The server shut or closed the client's connection, or told it a reset. */
void oracle_ended(struct oracle *oracle, uint32_t client, bool reset, uint64_t now_ms);

/* The client saw the server's FIN. */
void oracle_end_seen(struct oracle *oracle, uint32_t client);

/* The listener could not accept, or not be watched. */
void oracle_refused(struct oracle *oracle, uint64_t now_ms);

/* The server is told to stop. */
void oracle_stops(struct oracle *oracle, uint64_t now_ms);

/* A wait timed out: something must be due. Each thing that is due is the
 * reason of one such wait, so that waits of a millisecond are a spin, too. */
void oracle_timed_out(struct oracle *oracle, uint64_t began_ms, uint64_t now_ms);
