#include "scenario/explore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario/digest.h"
#include "scenario/file.h"
#include "scenario/shrink.h"
#include "scenario/states.h"
#include "sim/faults.h"

#define CLIENTS 2

/* What a client sends: with a buffer of 2 bytes two receives, the second one partial. */
#define SEND_BYTES 3

/* One is less than the least idle timeout, two are more; each is more than the time after which
 * accept is retried. Where clients can be idle there is a longer one, after which none may be. */
#define WAIT_MS 600
#define WAIT_LONG_MS 2000
#define WAITS_MAX 2

/* Points of all runs from the first one to the current one. */
#define POINTS_KEPT_MAX (64ull * SIM_POINTS_MAX)

/* A system of the simulated kernel. */
static const struct {
    const char *name;
    enum sim_poller poller;
    uint32_t seed;
} systems[] = {{"epoll", SIM_EPOLL, 0}, {"FreeBSD", SIM_KQUEUE, 0}, {"NetBSD", SIM_KQUEUE, 1}};

static const struct explore_options *asked;
static enum sim_poller poller;
static struct scenario scenario; /* of the current run */
static struct explore current;
static uint32_t added;     /* steps, other than the stop */
static uint32_t waits;     /* of the current scenario */
static uint32_t left_over; /* deviations that the current run may still have */
static bool over;          /* there was a failure */

static struct sim_point kept[POINTS_KEPT_MAX];
static size_t kept_count;

static struct { uint64_t scenarios, runs, choices; } counts;

/* Errors of a call that the server can tell apart, other than those that vary by themselves. */
static enum sim_error errors[CALL_KINDS][ERROR_KINDS];
static uint32_t error_counts[CALL_KINDS];

/* Another server may fall over a registration that fails (see run_make_random_foreign). */
static bool may_fail(enum sim_call call, enum sim_error error) {
    if (!scenario_may_fail(call, error)) return false;
    return !asked->target->foreign || (call != CALL_CONTROL && run_may_fail_foreign(call, error));
}

static void list_errors(void) {
    memset(error_counts, 0, sizeof error_counts);
    for (int call = 0; call < CALL_KINDS; call++) {
        uint32_t seen = 0;
        if (call <= CALL_SEND || call == CALL_WAIT)
            seen |= 1u << FAULT_WOULD_BLOCK | 1u << FAULT_INTERRUPTED;
        if (call == CALL_LOG && (asked->kinds & VARY_LOG) == 0) continue;
        for (int error = 0; error < ERROR_KINDS; error++) {
            uint32_t fault = 1u << fault_of((enum sim_error)error);
            if (!may_fail((enum sim_call)call, (enum sim_error)error) || (seen & fault)) continue;
            seen |= fault;
            errors[call][error_counts[call]++] = (enum sim_error)error;
        }
    }
}

/* The run */

static void visit(struct explore *explore, uint64_t digest) {
    bool stepping = !explore->ended;
    uint32_t steps_left = stepping ? asked->steps - added : 0;
    bool covered = states_visit(digest_mix(digest, stepping ? waits : 0), steps_left, left_over);
    explore->known = covered && !asked->whole;
}

/* Writes what failed, as small as it can be made. */
static void print_failure(const struct run_result *result) {
    static const char *const words[] = {"epoll", "kqueue"};
    static struct scenario smaller;
    smaller = scenario;
    shrink(asked->target, &smaller);
    FILE *file = fopen(asked->out, "w");
    if (file == NULL) quit(asked->out, "cannot be written");
    fprintf(file, "# %s\n", result->failure);
    file_print(&smaller, file);
    if (fclose(file) != 0) quit(asked->out, "cannot be written");
    printf("FAILED in run %" PRIu64 ", %s\n", counts.runs, result->failure);
    file_print(&smaller, stdout);
    printf("replay it with: ");
    file_print_replay(asked->out, asked->name, words[poller], asked->target->command, stdout);
    fflush(stdout);
}

/* What was found must be found again by the scenario alone. */
static void keep_failure(const struct run_result *found) {
    struct run_result again;
    if (asked->all && !states_failure(found->failure)) return;
    asked->target->run(asked->target->self, &scenario, poller, RUN_ORACLE, NULL, &again);
    if (!again.failed) {
        file_print(&scenario, stdout);
        quit(found->failure, "but the scenario alone does not fail: the exploration is wrong");
    }
    print_failure(found);
    over = true;
}

static void run_once(uint32_t first, uint32_t left) {
    struct run_result result;
    current.first = first;
    current.known = current.ended = false;
    current.points.count = 0;
    left_over = left;
    states_begin_run();
    asked->target->explore(asked->target->self, &scenario, poller, &current, &result);
    counts.runs++;
    if (current.points.count == SIM_POINTS_MAX) quit("explore", "a run has too many choices");
    if (result.failed) keep_failure(&result);
}

/* The search */

static bool is_over(void) { return over && !asked->all; }

static void explore_from(uint32_t first, uint32_t left);

static void fail_call(const struct sim_point *point, uint32_t first, uint32_t left) {
    enum sim_call call = (enum sim_call)(point->kind - SIM_POINT_CALL);
    if (left == 0 || scenario.fault_count == SCENARIO_FAULTS_MAX) return;
    for (uint32_t i = 0; i < error_counts[call] && !is_over(); i++) {
        scenario.faults[scenario.fault_count++] =
            (struct sim_fault){call, point->nth, errors[call][i]};
        explore_from(first, left - 1);
        scenario.fault_count--;
    }
}

static void choose_others(const struct sim_point *point, uint32_t first, uint32_t left) {
    if (left == 0 && !point->free) return;
    if (scenario.choice_count == SCENARIO_CHOICES_MAX) return;
    for (uint32_t taken = 1; taken < point->count && !is_over(); taken++) {
        scenario.choices[scenario.choice_count++] =
            (struct sim_choice){point->kind, point->nth, taken};
        explore_from(first, left - !point->free);
        scenario.choice_count--;
    }
}

/* How many steps of a kind differ in their count alone. */
static uint32_t counts_of(enum step_kind kind) {
    return kind == STEP_WAIT && scenario.idle_timeout_s > 0 ? 2 : 1;
}

static uint32_t count_of(enum step_kind kind, uint32_t which) {
    switch (kind) {
    case STEP_CONNECT: return scenario.kernel_send; /* its window; 0: the default */
    case STEP_SEND: return SEND_BYTES;
    case STEP_WAIT: return which == 0 ? WAIT_MS : WAIT_LONG_MS;
    case STEP_DESCRIPTORS: return 1;
    default: return 0;
    }
}

/* False for steps of a judge and of chance, and for those that the bound leaves out. */
static bool is_explored(enum step_kind kind) {
    if (kind == STEP_WAIT) return waits < WAITS_MAX;
    if (kind == STEP_STOP) return !asked->target->never_stopped;
    return kind != STEP_CROWD && kind != STEP_SETTLE && !scenario_is_choice(kind) &&
           (kind < STEP_EXPECT || kind > STEP_EXPECT_CLOSE);
}

static void begin_state(struct scenario_state *state) {
    memset(state, 0, sizeof *state);
    for (uint32_t i = 0; i < scenario.step_count; i++)
        scenario_take(state, &scenario.steps[i]);
}

/* Adds a step, if it is valid and within the bound. */
static bool push_step(struct step step) {
    struct scenario_state state;
    bool connects = step.kind == STEP_CONNECT;
    bool of_client = step.kind <= STEP_EXPECT_CLOSE;
    if (of_client && (step.client < scenario.client_count) == connects) return false;
    if (of_client && step.client > scenario.client_count) return false;
    begin_state(&state);
    if (added + (step.kind != STEP_STOP) > asked->steps) return false;
    if (!is_explored(step.kind) || scenario_take(&state, &step) != NULL) return false;
    scenario.steps[scenario.step_count++] = step;
    scenario.client_count += connects;
    waits += step.kind == STEP_WAIT;
    added += step.kind != STEP_STOP;
    return true;
}

static void pop_step(void) {
    enum step_kind kind = scenario.steps[--scenario.step_count].kind;
    scenario.client_count -= kind == STEP_CONNECT;
    waits -= kind == STEP_WAIT;
    added -= kind != STEP_STOP;
}

static void add_step(struct step step, uint32_t first, uint32_t left) {
    if (is_over() || !push_step(step)) return;
    counts.scenarios += scenario.fault_count + scenario.choice_count == 0;
    explore_from(first, left);
    pop_step();
}

static void add_steps(uint32_t first, uint32_t left) {
    for (int kind = 0; kind < STEP_KINDS; kind++) {
        uint32_t clients = kind <= STEP_EXPECT_CLOSE ? CLIENTS : 1;
        for (uint32_t i = 0; i < clients * counts_of((enum step_kind)kind); i++) {
            struct step step = {.kind = (enum step_kind)kind, .client = i % clients};
            step.count = count_of(step.kind, i / clients);
            add_step(step, first, left);
        }
    }
}

/* Runs the current scenario, and all that differ from it in choices at points from `first` on, or
 * by further steps; `left`: so many deviations may be added. */
static void explore_from(uint32_t first, uint32_t left) {
    run_once(first, left);
    uint32_t count = current.points.count;
    uint32_t steps_end = current.steps_end;
    bool goes_on = current.ended && first <= steps_end;
    size_t begin = kept_count;
    if (begin + count > POINTS_KEPT_MAX) quit("explore", "too many choices at once");
    memcpy(&kept[begin], current.points.at, count * sizeof kept[0]);
    kept_count += count;
    counts.choices += count > first ? count - first : 0;
    if (goes_on) add_steps(steps_end, left);
    for (uint32_t i = first; i < count && !is_over(); i++) {
        const struct sim_point *point = &kept[begin + i];
        if (point->kind >= SIM_POINT_CALL)
            fail_call(point, i + 1, left);
        else
            choose_others(point, i + 1, left);
    }
    kept_count = begin;
}

/* Of CPU time; another server has its own, which is not known. */
static double seconds(void) {
    struct timespec now;
    if (!asked->target->foreign) return (double)clock() / CLOCKS_PER_SEC;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One start on one system. */
static void explore_start(const char *path, size_t system) {
    double begin = seconds();
    file_load(&scenario, path);
    if (scenario.vary != 0) quit(path, "leaves choices to chance, expected no vary line");
    if (!run_is_for(asked->target, &scenario)) quit(path, run_not_for(asked->target));
    poller = systems[system].poller;
    scenario.seed = systems[system].seed;
    scenario.simulated = true;
    memset(&counts, 0, sizeof counts);
    memset(&current, 0, sizeof current);
    current.kinds = asked->kinds & (asked->target->foreign ? RUN_FOREIGN_VARY : VARY_ALL);
    current.visit = visit;
    current.fixed = scenario.step_count;
    states_clear();
    counts.scenarios = 1;
    explore_from(0, asked->deviations);
    double taken = seconds() - begin;
    printf("%s system=%s scenarios=%" PRIu64 " runs=%" PRIu64 " choices=%" PRIu64 " states=%" PRIu64
           " sum=%016" PRIx64 " seconds=%.2f runs/s=%.0f\n",
           path, systems[system].name, counts.scenarios, counts.runs, counts.choices,
           states_count(), states_sum(), taken, (double)counts.runs / taken);
    fflush(stdout);
}

int explore(const struct explore_options *options) {
    asked = options;
    list_errors();
    for (size_t i = 0; i < asked->file_count; i++) {
        for (size_t system = 0; system < sizeof systems / sizeof systems[0]; system++) {
            bool has = systems[system].poller < asked->target->pollers;
            if (has && asked->pollers[systems[system].poller] && !is_over())
                explore_start(asked->files[i], system);
        }
    }
    return over ? STATUS_FAILED : EXIT_SUCCESS;
}
