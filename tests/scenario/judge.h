#pragma once

#include "scenario/run.h"
#include "shell/server.h"
#include "sim/oracle.h"
#include "sim/stream.h"

/* A run, and what is judged in it besides what the oracle sees of each call. */

struct run {
    struct stream stream;
    struct oracle oracle;
    struct sim_kernel sim;
    struct server server;
    struct log log;
    enum server_status status;
    enum run_judge judge;
    bool frozen;
    uint64_t expected[SCENARIO_CLIENTS_MAX];
    uint64_t stop_ms; /* when the drain timeout expires */
};

/* The first byte behind a slot's area, which stays 0. */
uint8_t *run_guard(struct run *run, uint32_t slot);

/* How a client saw its connection end: CLOSE_FIN, CLOSE_RST or CLOSE_OPEN. */
uint32_t run_close_of(const struct run *run, uint32_t client);

/* After a step of the server: its connections are valid, no area was overrun, and the connection
 * limit holds. */
void judge_step(struct run *run);

/* The server is idle and nothing is in flight: whatever a client is owed now, it never gets.
 * `all_accepted`: also those that wait to be accepted. */
void judge_idle(struct run *run, bool all_accepted);

/* The server has stopped. */
void judge_drain(struct run *run);
