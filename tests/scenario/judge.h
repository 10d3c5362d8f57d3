#pragma once

#include "scenario/explore.h"
#include "scenario/run.h"
#include "shell/server.h"
#include "sim/oracle.h"
#include "sim/stream.h"

/* A run, and what is judged in it besides what the oracle sees of each call. */

struct run {
    struct stream stream;
    struct oracle oracle;
    struct sim_kernel sim;
    const struct run_server *server;
    enum server_status status;
    enum run_judge judge;
    struct explore *explore; /* null: the run is no part of an exploration */
    uint32_t phase;     /* 0: a step of the exploration's; else the step before or after those */
    uint32_t pass_left; /* of the passes that the server has before the next step */
    bool frozen;
    int64_t wait_ms;     /* of another server's wait that found nothing; -1: for ever */
    int32_t exit_status; /* of another server that has stopped */
    uint64_t expected[SCENARIO_CLIENTS_MAX];
    uint32_t drain_timeout_ms;
    uint64_t stop_ms; /* when the drain timeout expires */
};

/* The server of a run: the reference, or another one under the simulated kernel (tests/under). */
struct run_server {
    /* Before the first step; false: it cannot start, and nothing is judged. */
    bool (*start)(struct run *run, const struct scenario *scenario);
    /* Lets it run up to its next wait, and sets run->status. */
    void (*step)(struct run *run);
    /* The stop signal. */
    void (*stop)(struct run *run);
    /* It keeps SPEC.md, but not the rules of the reference's own calls; unless a scenario stops it,
     * it goes on with the next one. */
    bool foreign;
    /* Of an exploration: what the server's future depends on, mixed into `digest`. */
    uint64_t (*digest)(uint64_t digest);
};

/* Runs a scenario with a server on the simulated kernel. */
void run_server(const struct run_server *server, const struct scenario *scenario,
                enum sim_poller poller, enum run_judge judge, struct sim_trace *trace,
                struct explore *explore, struct run_result *result);

/* How a client saw its connection end: CLOSE_FIN, CLOSE_RST or CLOSE_OPEN. */
uint32_t run_close_of(const struct run *run, uint32_t client);

/* The code of a client that got so many bytes, and is owed more. */
const char *judge_code_owed(uint64_t got);

/* The server is idle and nothing is in flight: whatever a client is owed now, it never gets.
 * `all_accepted`: also those that wait to be accepted. */
void judge_idle(struct run *run, bool all_accepted);

/* All clients have left a server that goes on. */
void judge_left_open(struct run *run);

/* The server has stopped. */
void judge_drain(struct run *run);
