#include "scenario/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario/file.h"
#include "scenario/shrink.h"

static struct scenario scenario;

static uint32_t number(struct sim_kernel *dice, uint32_t below) {
    return (uint32_t)(sim_random(dice) % below);
}

/* Each magnitude up to `bits` is equally likely. */
static uint32_t spread(struct sim_kernel *dice, uint32_t bits) {
    uint32_t kept = number(dice, bits + 1);
    return 1 + number(dice, 1u << kept);
}

/* A kind's share of the steps is how often it is listed. */
static const uint8_t likely[] = {
    STEP_CONNECT,       STEP_CONNECT,    STEP_SEND,        STEP_SEND,         STEP_SEND,
    STEP_SEND,          STEP_SEND,       STEP_SEND,        STEP_SEND,         STEP_URGENT,
    STEP_SHUTDOWN,      STEP_RESET,      STEP_CLOSE,       STEP_PAUSE,        STEP_RESUME,
    STEP_RESUME,        STEP_FREEZE,     STEP_THAW,        STEP_THAW,         STEP_SETTLE,
    STEP_WAIT,          STEP_WAIT,       STEP_DESCRIPTORS, STEP_EXPECT_CLOSE, STEP_REPORT,
    STEP_SHORT_RECEIVE, STEP_SHORT_SEND,
};

static void random_step(struct sim_kernel *dice, struct scenario_state *state) {
    struct step step = {.kind = (enum step_kind)likely[number(dice, sizeof likely)]};
    bool connects = step.kind == STEP_CONNECT;
    if (!connects && scenario.client_count > 0) step.client = number(dice, scenario.client_count);
    if (connects) step.client = scenario.client_count;
    if (connects && number(dice, 2) == 0) step.count = spread(dice, 12);
    if (step.kind == STEP_SEND || step.kind == STEP_WAIT) step.count = spread(dice, 11);
    if (scenario_is_short(step.kind)) step.count = spread(dice, 6);
    if (step.kind == STEP_REPORT && number(dice, 4) == 0)
        step.client = WHO_LISTENER + number(dice, 2);
    if (step.kind == STEP_DESCRIPTORS) step.count = number(dice, SCENARIO_CLIENTS_MAX);
    if (step.kind == STEP_EXPECT_CLOSE) step.closes = CLOSE_ANY;
    if (scenario.client_count + connects > SCENARIO_CLIENTS_MAX ||
        scenario_take(state, &step) != NULL)
        return;
    scenario.client_count += connects ? 1 : 0;
    scenario.steps[scenario.step_count++] = step;
}

static void append(struct scenario_state *state, enum step_kind kind, uint32_t count) {
    struct step step = {.kind = kind, .count = count};
    if (scenario_take(state, &step) == NULL) scenario.steps[scenario.step_count++] = step;
}

/* Rare, since its runs are long. Half of the crowds are larger than a wait, and half of the runs
 * have an idle timeout, which a crowd must not delay for the one client that came before it. */
static void random_crowd(struct sim_kernel *dice, struct scenario_state *state) {
    bool large = number(dice, 2) == 0;
    scenario.idle_timeout_s = number(dice, 2);
    append(state, STEP_CONNECT, 0);
    scenario.client_count = 1;
    append(state, STEP_CROWD,
           large ? SCENARIO_CROWD_MAX / 2 + number(dice, SCENARIO_CROWD_MAX / 2) : spread(dice, 9));
}

static void random_faults(struct sim_kernel *dice) {
    for (uint32_t left = number(dice, 4); left > 0; left--) {
        struct sim_fault fault = {.call = (enum sim_call)number(dice, CALL_KINDS)};
        fault.nth = spread(dice, 6);
        fault.error = (enum sim_error)number(dice, ERROR_KINDS);
        if (scenario_may_fail(fault.call, fault.error))
            scenario.faults[scenario.fault_count++] = fault;
    }
}

/* A foreign server has to start again after each stop: it has fewer. */
static void random_scenario(struct sim_kernel *dice, const struct run_target *target) {
    struct scenario_state state = {.frozen = false};
    memset(&scenario, 0, offsetof(struct scenario, steps));
    scenario.step_count = 0;
    scenario.simulated = true;
    scenario.seed = (uint32_t)sim_random(dice);
    scenario.vary = (uint32_t)sim_random(dice) & VARY_ALL;
    scenario.kernel_receive = spread(dice, 12);
    scenario.kernel_send = spread(dice, 12);
    scenario.buffer_bytes = spread(dice, 11);
    if (number(dice, 8) == 0) scenario.connections_max = spread(dice, 4);
    if (number(dice, 8) == 0) scenario.idle_timeout_s = 1;
    if (number(dice, 2) == 0) random_faults(dice);
    bool crowded = number(dice, 256) == 0;
    if (crowded) random_crowd(dice, &state);
    for (uint32_t left = spread(dice, crowded ? 4 : 7); left > 0; left--)
        random_step(dice, &state);
    if (crowded) append(&state, STEP_WAIT, number(dice, 4096));
    bool stops = number(dice, target->foreign ? 16 : 2) == 0;
    if (stops && !target->never_stopped) append(&state, STEP_STOP, 0);
}

static double seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *failure_of(const struct run_result results[2]) {
    return results[0].failed ? results[0].failure : results[1].failure;
}

/* The file's comment names its seed and the command that replays it. */
static void keep_failure(const struct soak_options *options, struct run_result results[2],
                         uint64_t runs) {
    const char *server = options->target->command;
    printf("run %" PRIu64 ": %s; shrinking it\n", runs, failure_of(results));
    fflush(stdout);
    shrink(options->target, &scenario);
    struct run_result shrunk[2];
    if (!run_all(options->target, &scenario, RUN_ORACLE, shrunk))
        memcpy(results, shrunk, sizeof shrunk);
    printf("FAILED in run %" PRIu64 ", %s\n", runs, failure_of(results));
    file_print(&scenario, stdout);
    FILE *file = fopen(options->out, "w");
    if (file == NULL) quit(options->out, "cannot be written");
    fprintf(file, "# %s\n", failure_of(results));
    fprintf(file, "# soak --seed %" PRIu64 ", after run %" PRIu64 "; replay it with\n# ",
            options->seed, runs);
    file_print_replay(options->out, options->name, "both", server, file);
    file_print(&scenario, file);
    if (fclose(file) != 0) quit(options->out, "cannot be written");
    printf("seed %" PRIu64 "; replay it with: ", options->seed);
    file_print_replay(options->out, options->name, "both", server, stdout);
}

int soak(const struct soak_options *options) {
    struct sim_kernel dice = {.random = options->seed};
    uint64_t events = 0;
    uint64_t runs = 0;
    uint64_t next = 0;
    double begin = seconds();
    while (events < options->events) {
        struct run_result results[2];
        random_scenario(&dice, options->target);
        if (options->target->foreign) run_make_random_foreign(&scenario);
        if (!run_all(options->target, &scenario, RUN_ORACLE, results)) {
            keep_failure(options, results, runs);
            return STATUS_FAILED;
        }
        events += results[0].events + results[1].events;
        runs += options->target->pollers;
        if (events >= next) {
            fprintf(stderr, "\r%" PRIu64 " M events, %" PRIu64 " runs", events / 1000000, runs);
            next = events + 50000000;
        }
    }
    double taken = seconds() - begin;
    printf("\nevents=%" PRIu64 " runs=%" PRIu64 " seed=%" PRIu64
           " events/s=%.0f runs/s=%.0f events/run=%.1f\n",
           events, runs, options->seed, (double)events / taken, (double)runs / taken,
           (double)events / (double)runs);
    return EXIT_SUCCESS;
}
