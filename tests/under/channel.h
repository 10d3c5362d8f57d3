#pragma once

#include <stdatomic.h>

#include "scenario/explore.h"
#include "scenario/run.h"

/* The memory that the command (`scenario --under`) shares with the library in the server's process.
 * Each has its turn: the command writes a scenario, the library runs it and writes the result. */

#define CHANNEL_VARIABLE "TOUCHSTONE_UNDER" /* the environment names the memory: a path to open */
#define FUZZ_VARIABLE "TOUCHSTONE_FUZZ"     /* or, for a fuzzer (fuzz.h), the port */
#define CHANNEL_TRACE_MAX (1u << 18)

enum channel_turn {
    TURN_NOBODY, /* the server has not come to wait for clients */
    TURN_COMMAND,
    TURN_LIBRARY
};

struct channel {
    _Atomic uint32_t turn;   /* enum channel_turn; a futex */
    _Atomic uint32_t loaded; /* how many processes have the library */
    _Atomic int32_t pid;     /* of the one that serves */
    uint16_t port;           /* whose listener is simulated; 0: the first one */
    _Atomic uint64_t waits;  /* of the server: it does not hang */
    char seen[256];          /* the calls that were answered, in the order in which they came */
    char unsupported[128];   /* a call that is not modelled: its run is not judged */

    struct scenario scenario;
    enum run_judge judge;
    bool traced;
    bool explores;          /* the run is one of an exploration */
    struct explore explore; /* but for `visit` */
    uint64_t seeds;         /* so many from the scenario's own on, until one is not judged good */

    struct run_result result;
    uint64_t passed; /* of the seeds: those before the one that has the result */
    bool ended;      /* the server's process is over with this run */
    /* It grows while a run goes on, and so has what came before a crash. */
    struct sim_trace trace;
    struct sim_event events[CHANNEL_TRACE_MAX];
};
