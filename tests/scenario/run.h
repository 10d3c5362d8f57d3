#pragma once

#include "sim/kernel.h"

/* Runs a scenario against the real server on the simulated kernel, and judges it. */

struct run_view {
    uint64_t got;
    uint32_t close; /* CLOSE_FIN, CLOSE_RST or CLOSE_OPEN */
};

struct run_result {
    bool failed;
    bool cut; /* RUN_BRIEFLY: before its end */
    char failure[256];
    uint64_t hash;   /* of the trace */
    uint64_t events; /* kernel calls and steps of the world */
    uint32_t calls[CALL_KINDS];
    struct run_view views[SCENARIO_CLIENTS_MAX]; /* what each client saw in the end */
};

/* How a run is judged. Expectations of a scenario that nobody wrote may be wrong.
 *
 * RUN_BRIEFLY is for fuzzers. What remains after so many events is neither run nor judged, and the
 * server logs only if a fault is to strike the log: to write lines takes longer than all else. Up
 * to there it is the same run as by RUN_ORACLE. */
enum run_judge {
    RUN_ORACLE,       /* by the oracle alone */
    RUN_EXPECTATIONS, /* also by what the scenario itself expects */
    RUN_BRIEFLY       /* by the oracle, up to a limit */
};

/* `trace` may be null. */
void run_scenario(const struct scenario *scenario, enum sim_poller poller, enum run_judge judge,
                  struct sim_trace *trace, struct run_result *result);

/* True if what the clients see cannot depend on how events happen to interleave, so that it must be
 * the same on both pollers. */
bool run_is_comparable(const struct scenario *scenario);

/* Runs it on both pollers, compares what the clients saw where that must be the same, and gives the
 * first failure. `results` are those of epoll and kqueue. */
bool run_both(const struct scenario *scenario, enum run_judge judge, struct run_result results[2]);
