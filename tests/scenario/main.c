/* scenario: runs, converts and shrinks scenarios, sweeps faults, and makes up random scenarios. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/explore.h"
#include "scenario/file.h"
#include "scenario/reference.h"
#include "scenario/shrink.h"
#include "scenario/soak.h"
#include "scenario/sweep.h"
#include "scenario/timeline.h"
#include "under/command.h"

#define FILES_MAX 4096
#define TRACE_EVENTS_MAX (1u << 20)

static const char usage[] =
    "usage: scenario run FILE... [--poller epoll|kqueue|both] [--seed N] [--seeds N]\n"
    "                            [--faults KIND[,KIND...]] [--fault 'CALL N ERROR'] [--trace]\n"
    "                            [--hash] [--oracle-only]\n"
    "       scenario text FILE       prints a scenario as canonical text\n"
    "       scenario binary FILE     prints a scenario as bytes\n"
    "       scenario shrink FILE [--seed N] [--faults KIND[,KIND...]]\n"
    "                                prints the smallest scenario that still fails\n"
    "       scenario sweep FILE... [--sample N]\n"
    "                                injects every documented error of every call, once\n"
    "       scenario soak --events N [--seed N] [--out FILE]\n"
    "                                runs random scenarios; writes one that fails to FILE\n"
    "       scenario explore FILE... [--steps N] [--deviations N] [--poller epoll|kqueue|both]\n"
    "                            [--faults KIND[,KIND...]] [--out FILE] [--whole] [--all]\n"
    "                                runs every scenario of two clients that begins as a FILE "
    "does\n"
    "                                and has up to N further steps (3), each with every sequence\n"
    "                                of the kernel's choices with up to N deviations (1); writes\n"
    "                                one that fails to FILE; --whole does not leave out states\n"
    "                                that are known; --all continues after a failure\n"
    "       scenario run|shrink|sweep|soak|explore --under COMMAND ...\n"
    "                                the same with any server instead of the reference; with\n"
    "                                --without-stop no scenario stops it\n"
    "       scenario --help\n"
    "\n"
    "A FILE is text if its name ends in .scenario or its first word is scenario, else bytes.\n"
    "KIND is short, delay, order, hints, stale, eagain, eintr, inherited, log, all or none.\n"
    "run also checks what the scenario's own steps expect, unless --oracle-only is given; shrink,\n"
    "sweep and soak do not.\n"
    "COMMAND starts a server; {port} in it is replaced by a free port. Its calls are answered by "
    "the\n"
    "simulated kernel: see tests/README.md.\n"
    "Exit status: 0 nothing failed, 1 a run failed, 2 bad usage, 3 nothing failed, but some runs\n"
    "could not be judged: the server makes a call that is not modelled, or it is unstable.\n";

/* The command line. */
static struct {
    const char *files[FILES_MAX];
    size_t file_count, skipped;
    bool pollers[2];
    uint64_t seed, seeds, events, sample, steps, deviations;
    bool has_seed, has_faults, has_fault, trace, hash, oracle_only, whole, all, without_stop;
    uint32_t faults;
    struct sim_fault fault;
    const char *name, *out, *under;
    const struct run_target *target;
} command = {.target = &reference_target,
             .pollers = {true, true},
             .seeds = 1,
             .seed = 1,
             .sample = 1,
             .steps = 3,
             .deviations = 1,
             .out = "failing.scenario"};

static struct scenario scenario;
static struct sim_event trace_events[TRACE_EVENTS_MAX];

/* Bytes are what a fuzzer has made up: it ran another server on them so. */
static void load(const char *path) {
    bool text = file_load(&scenario, path);
    if (!text && command.target->foreign) run_make_random_foreign(&scenario);
    if (!command.has_fault) return;
    if (scenario.fault_count == SCENARIO_FAULTS_MAX)
        quit("--fault", "expected at most 8 faults in a scenario");
    scenario.faults[scenario.fault_count++] = command.fault;
}

static void vary(uint64_t seed) {
    if (seed > UINT32_MAX) quit("--seed", "is too large, expected at most 4294967295");
    if (command.has_faults) scenario.vary = command.faults;
    if (command.has_seed || command.seeds > 1) scenario.seed = (uint32_t)seed;
}

static bool both_pollers(void) {
    return command.target->pollers == 2 && command.pollers[0] && command.pollers[1];
}

static enum run_judge judge(void) { return command.oracle_only ? RUN_ORACLE : RUN_EXPECTATIONS; }

static bool run_once(const char *path, enum sim_poller poller, struct run_result *result) {
    struct sim_trace trace = {.events = trace_events, .max = TRACE_EVENTS_MAX};
    command.target->run(command.target->self, &scenario, poller, judge(),
                        command.trace ? &trace : NULL, result);
    if (command.trace && (command.seeds > 1 || command.file_count > 1 || both_pollers()))
        printf("%s, seed %u, %s:\n", path, scenario.seed, poller == SIM_EPOLL ? "epoll" : "kqueue");
    if (command.trace) timeline_print(&trace, scenario.client_count);
    if (command.hash)
        printf("%s %s %u %016" PRIx64 " %" PRIu64 "\n", path,
               poller == SIM_EPOLL ? "epoll" : "kqueue", scenario.seed, result->hash,
               result->events);
    if (result->failed) printf("%s: FAILED, seed %u, %s\n", path, scenario.seed, result->failure);
    return !result->failed;
}

static bool same_views(const char *path, const struct run_result results[2]) {
    if (!both_pollers() || !run_is_comparable(&scenario)) return true;
    for (uint32_t i = 0; i < scenario.client_count; i++) {
        if (results[0].views[i].got == results[1].views[i].got &&
            results[0].views[i].close == results[1].views[i].close)
            continue;
        printf("%s: FAILED, seed %u, client %c sees different results on epoll and kqueue"
               " [pollers-differ]\n",
               path, scenario.seed, 'a' + i);
        return false;
    }
    return true;
}

/* How many of the seeds need not be run one by one. */
static uint64_t run_ahead(uint64_t *runs) {
    const struct run_target *target = command.target;
    if (target->run_seeds == NULL || command.trace || command.hash || command.seeds == 1) return 0;
    vary(command.seed + command.seeds - 1); /* none is too large */
    vary(command.seed);
    uint64_t passed = target->run_seeds(target->self, &scenario, judge(), command.seeds);
    *runs += passed;
    return passed;
}

/* Runs a file with each seed; false after the first failure. */
static bool run_file(const char *path, uint64_t *runs) {
    load(path);
    if (!run_is_for(command.target, &scenario)) return command.skipped++, true;
    for (uint64_t i = run_ahead(runs); i < command.seeds; i++) {
        struct run_result results[2];
        vary(command.seed + i);
        for (uint32_t poller = 0; poller < command.target->pollers; poller++) {
            if (!command.pollers[poller]) continue;
            ++*runs;
            if (!run_once(path, (enum sim_poller)poller, &results[poller])) return false;
        }
        if (!same_views(path, results)) return false;
    }
    return true;
}

static int run_command(void) {
    uint64_t runs = 0;
    size_t failures = 0;
    for (size_t i = 0; i < command.file_count; i++)
        failures += run_file(command.files[i], &runs) ? 0 : 1;
    if (!command.hash && !command.trace)
        printf("scenarios=%zu runs=%" PRIu64 " failed=%zu\n", command.file_count - command.skipped,
               runs, failures);
    if (command.skipped > 0)
        printf("%zu scenarios are %s\n", command.skipped, run_not_for(command.target));
    return failures > 0 ? STATUS_FAILED : EXIT_SUCCESS;
}

static int sweep_command(void) {
    return sweep(command.target, command.files, command.file_count, command.sample);
}

static int soak_command(void) {
    if (command.events == 0) quit("soak", "needs --events N, at least 1");
    const struct soak_options options = {.target = command.target,
                                         .events = command.events,
                                         .seed = command.seed,
                                         .name = command.name,
                                         .out = command.out};
    return soak(&options);
}

/* Kinds that are explored unless others are named. */
#define EXPLORED                                                                                   \
    (VARY_SHORT | VARY_DELAY | VARY_ORDER | VARY_HINTS | VARY_STALE | VARY_EAGAIN | VARY_EINTR)

static int explore_command(void) {
    const struct explore_options options = {.target = command.target,
                                            .files = command.files,
                                            .file_count = command.file_count,
                                            .pollers = {command.pollers[0], command.pollers[1]},
                                            .steps = (uint32_t)command.steps,
                                            .deviations = (uint32_t)command.deviations,
                                            .kinds = command.has_faults ? command.faults : EXPLORED,
                                            .whole = command.whole,
                                            .all = command.all,
                                            .name = command.name,
                                            .out = command.out};
    if (command.steps > 15) quit("--steps", "is too large, expected at most 15");
    if (command.deviations > 7) quit("--deviations", "is too large, expected at most 7");
    return explore(&options);
}

static int text_command(void) {
    file_load(&scenario, command.files[0]);
    file_print(&scenario, stdout);
    return EXIT_SUCCESS;
}

static int binary_command(void) {
    static uint8_t bytes[SCENARIO_ENCODED_MAX];
    file_load(&scenario, command.files[0]);
    fwrite(bytes, 1, scenario_encode(&scenario, bytes), stdout);
    return EXIT_SUCCESS;
}

static int shrink_command(void) {
    struct run_result results[2];
    load(command.files[0]);
    if (!run_is_for(command.target, &scenario)) quit(command.files[0], run_not_for(command.target));
    vary(command.seed);
    if (run_all(command.target, &scenario, RUN_ORACLE, results))
        quit(command.files[0], "does not fail (the expectations of its own steps are not judged)");
    shrink(command.target, &scenario);
    file_print(&scenario, stdout);
    return EXIT_SUCCESS;
}

static uint64_t number_of(const char *option, const char *value) {
    char *end;
    unsigned long long number = value == NULL ? 0 : strtoull(value, &end, 10);
    if (value == NULL || *value == '\0' || *value == '-' || *end != '\0')
        quit(option, "needs a number");
    return number;
}

static uint32_t faults_of(char *value) {
    uint32_t faults = 0;
    if (value == NULL) quit("--faults", "needs a list of kinds");
    for (char *word = strtok(value, ","); word != NULL; word = strtok(NULL, ",")) {
        uint32_t i = 0;
        while (scenario_vary_words[i] != NULL && strcmp(scenario_vary_words[i], word) != 0)
            i++;
        if (scenario_vary_words[i] != NULL)
            faults |= 1u << i;
        else if (strcmp(word, "all") == 0)
            faults = VARY_ALL;
        else if (strcmp(word, "none") != 0)
            quit(word, "unknown kind of fault, expected short, delay, order, hints, stale, eagain, "
                       "eintr, inherited, log, all or none");
    }
    return faults;
}

/* As in the line `fault CALL N ERROR` of a scenario. */
static struct sim_fault fault_of(const char *value) {
    static struct scenario one;
    char text[128];
    struct scenario_error error;
    if (value == NULL) quit("--fault", "needs 'CALL N ERROR'");
    int length = snprintf(text, sizeof text, "scenario 1\nsimulated\nfault %.64s\n", value);
    if (!scenario_parse(&one, text, (size_t)length, &error)) quit("--fault", error.text);
    return one.faults[0];
}

static void take_poller(const char *value) {
    if (value == NULL) quit("--poller", "needs epoll, kqueue or both");
    command.pollers[SIM_EPOLL] = strcmp(value, "kqueue") != 0;
    command.pollers[SIM_KQUEUE] = strcmp(value, "epoll") != 0;
    if (strcmp(value, "both") != 0 && both_pollers())
        quit(value, "unknown poller, expected epoll, kqueue or both");
}

/* Takes an option; the result is how many arguments it took. */
static int take_option(char *option, char *value) {
    if (strcmp(option, "--trace") == 0) return command.trace = true, 1;
    if (strcmp(option, "--hash") == 0) return command.hash = true, 1;
    if (strcmp(option, "--whole") == 0) return command.whole = true, 1;
    if (strcmp(option, "--all") == 0) return command.all = true, 1;
    if (strcmp(option, "--oracle-only") == 0) return command.oracle_only = true, 1;
    if (strcmp(option, "--without-stop") == 0) return command.without_stop = true, 1;
    if (strcmp(option, "--poller") == 0)
        take_poller(value);
    else if (strcmp(option, "--seeds") == 0)
        command.seeds = number_of(option, value);
    else if (strcmp(option, "--events") == 0)
        command.events = number_of(option, value);
    else if (strcmp(option, "--steps") == 0)
        command.steps = number_of(option, value);
    else if (strcmp(option, "--deviations") == 0)
        command.deviations = number_of(option, value);
    else if (strcmp(option, "--sample") == 0)
        command.sample = number_of(option, value);
    else if (strcmp(option, "--under") == 0 && value != NULL)
        command.under = value;
    else if (strcmp(option, "--out") == 0 && value != NULL)
        command.out = value;
    else if (strcmp(option, "--faults") == 0)
        command.faults = faults_of(value), command.has_faults = true;
    else if (strcmp(option, "--fault") == 0)
        command.fault = fault_of(value), command.has_fault = true;
    else if (strcmp(option, "--seed") == 0)
        command.seed = number_of(option, value), command.has_seed = true;
    else
        quit(option, "unknown option, or its value is missing");
    return 2;
}

int main(int argc, char *argv[]) {
    static const struct {
        const char *name;
        int (*run)(void);
        size_t files_min, files_max;
    } verbs[] = {{"run", run_command, 1, FILES_MAX},        {"text", text_command, 1, 1},
                 {"binary", binary_command, 1, 1},          {"shrink", shrink_command, 1, 1},
                 {"sweep", sweep_command, 1, FILES_MAX},    {"soak", soak_command, 0, 0},
                 {"explore", explore_command, 1, FILES_MAX}};
    command.name = argv[0];
    if (argc > 1 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout), EXIT_SUCCESS;
    for (int i = 2; i < argc;) {
        if (argv[i][0] == '-')
            i += take_option(argv[i], argv[i + 1]);
        else if (command.file_count < FILES_MAX)
            command.files[command.file_count++] = argv[i++];
        else
            quit(argv[i], "too many files, expected at most 4096");
    }
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        if (command.file_count < verbs[i].files_min) quit(argv[1], "needs a file");
        if (command.file_count > verbs[i].files_max) quit(argv[1], "too many files");
        if (command.sample == 0) quit("--sample", "needs at least 1");
        if (command.seeds == 0) quit("--seeds", "needs at least 1");
        if (command.has_fault && verbs[i].run != run_command)
            quit("--fault", "is for run: add the line to the file");
        if (command.without_stop && command.under == NULL) quit("--without-stop", "needs --under");
        if (command.under != NULL)
            command.target = under_start(command.under, command.trace, command.without_stop);
        int status = verbs[i].run();
        if (command.under != NULL) status = under_finish(status);
        if (fflush(stdout) != 0 || ferror(stdout)) quit("stdout", "cannot be written");
        return status;
    }
    quit(argc > 1 ? argv[1] : "no verb",
         "expected run, text, binary, shrink, sweep, soak, explore or --help");
}
