#pragma once

#include "scenario/run.h"

/* Exploration: every scenario up to a bound, with every sequence of choices of the kernel up to a
 * number of deviations from what happens if nothing varies. Each is run from the start, and its run
 * records where other choices could be made: these are the next ones to run (depth first). */

struct explore_options {
    const struct run_target *target; /* of one that is foreign, no states are known */
    const char *const *files; /* each one's settings and steps are where an exploration starts */
    size_t file_count;
    bool pollers[2];
    uint32_t steps;      /* at most so many are added; a stop is not counted */
    uint32_t deviations; /* in a run */
    uint32_t kinds;      /* VARY bits: what the kernel may vary; its calls may fail besides */
    bool whole;          /* go on at states that are known: to show that nothing is lost by it */
    bool all;            /* go on after a failure, and list each kind of failure once */
    const char *name;    /* of the command, for the line that replays a failure */
    const char *out;     /* file for a scenario that fails */
};

/* Returns the exit status. */
int explore(const struct explore_options *options);

/* What an exploration and one of its runs tell each other. */
struct explore {
    uint32_t kinds;     /* VARY bits */
    uint32_t fixed;     /* steps of the file, which come before those that are explored */
    uint32_t first;     /* the choices at points before this one are settled */
    bool known;         /* all that follows from the state that was reached is explored elsewhere */
    bool ended;         /* all steps were performed: what follows is the end of every scenario */
    uint32_t steps_end; /* points until then */
    struct sim_points points;                                /* all so far */
    void (*visit)(struct explore *explore, uint64_t digest); /* of a state: sets `known` */
};
