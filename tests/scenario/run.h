#pragma once

#include "sim/kernel.h"

/* Runs a scenario with a server on the simulated kernel, and judges it. */

struct run_view {
    uint64_t got;
    uint32_t close; /* CLOSE_FIN, CLOSE_RST or CLOSE_OPEN */
};

struct run_result {
    bool failed;
    bool cut; /* RUN_BRIEFLY: the limit was reached */
    char failure[256];
    uint64_t hash;   /* of the trace */
    uint64_t events; /* kernel calls and steps */
    uint32_t calls[CALL_KINDS];
    struct run_view views[SCENARIO_CLIENTS_MAX]; /* what each client with a name saw */
};

/* How a run is judged. The expectations in a generated scenario may be wrong, so only the oracle
 * judges those.
 *
 * RUN_BRIEFLY is for fuzzers. A run ends after a limited number of events, and the server logs only
 * if a fault is injected into the log, since formatting lines takes longer than everything else. Up
 * to the limit it is the same run as with RUN_ORACLE. */
enum run_judge {
    RUN_ORACLE,       /* by the oracle alone */
    RUN_EXPECTATIONS, /* and by the scenario's own expectations */
    RUN_BRIEFLY       /* by the oracle, up to a limit of events */
};

struct explore;

/* What runs scenarios: the reference in this process, or a command under the simulated kernel. */
struct run_target {
    void *self;
    /* `trace` may be null. */
    void (*run)(void *self, const struct scenario *scenario, enum sim_poller poller,
                enum run_judge judge, struct sim_trace *trace, struct run_result *result);
    /* Runs a scenario with the seeds from its own on until one fails, at most `count`: how many did
     * not. Null: it is no faster than one by one. */
    uint64_t (*run_seeds)(void *self, const struct scenario *scenario, enum run_judge judge,
                          uint64_t count);
    /* A run of an exploration. */
    void (*explore)(void *self, const struct scenario *scenario, enum sim_poller poller,
                    struct explore *explore, struct run_result *result);
    uint32_t pollers; /* 1: epoll alone */
    /* Not the reference: its options and log cannot be set, and hints that lie are not for it. */
    bool foreign;
    bool never_stopped;  /* foreign: it does not promise how it stops */
    const char *command; /* foreign: what started it, for the line that replays a failure */
};

/* What may vary under a server other than the reference: it is not asked to bear hints that lie,
 * and its log and what it inherits are its own. */
#define RUN_FOREIGN_VARY (VARY_ALL & ~(VARY_HINTS | VARY_STALE | VARY_INHERITED | VARY_LOG))

/* True if a scenario says nothing that holds for the reference alone (its options, its log), nor
 * stops a server that is never stopped. */
bool run_is_for(const struct run_target *target, const struct scenario *scenario);

/* What is said of a scenario for which it is false. */
const char *run_not_for(const struct run_target *target);

/* As scenario_may_fail, for a server other than the reference: Linux fails no registration of a
 * socket but for lack of memory or of watches. */
bool run_may_fail_foreign(enum sim_call call, enum sim_error error);

/* Takes out of a scenario what holds for the reference alone, among it hints that lie: others may
 * believe them. */
void run_make_foreign(struct scenario *scenario);

/* The same for one that is drawn at random, and without failures of registrations: a server that
 * falls over one would never get further. */
void run_make_random_foreign(struct scenario *scenario);

/* True if what the clients see cannot depend on how events interleave, so that it must be the same
 * on both pollers. */
bool run_is_comparable(const struct scenario *scenario);

/* Runs a scenario on each poller and, if it is comparable, compares what the clients saw. False:
 * one of `results`, first epoll's, then kqueue's, has the failure. */
bool run_all(const struct run_target *target, const struct scenario *scenario, enum run_judge judge,
             struct run_result results[2]);
