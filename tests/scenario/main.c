/* scenario: runs, converts and shrinks scenarios, and looks for new ones that fail. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario/run.h"
#include "scenario/shrink.h"
#include "scenario/timeline.h"

#define FILES_MAX 4096
#define FILE_BYTES_MAX (1u << 20)
#define TRACE_EVENTS_MAX (1u << 20)

#define STATUS_FAILED 1
#define STATUS_USAGE 2

static const char usage[] =
    "usage: scenario run FILE... [--poller epoll|kqueue|both] [--seed N] [--seeds N]\n"
    "                            [--faults WORD[,WORD...]] [--trace] [--hash] [--oracle-only]\n"
    "       scenario text FILE       prints any scenario as canonical text\n"
    "       scenario binary FILE     prints it as bytes\n"
    "       scenario shrink FILE     prints the smallest that still fails\n"
    "       scenario sweep FILE... [--sample N]   every documented error of every call, once\n"
    "       scenario soak --events N [--seed N] [--out FILE]   random scenarios\n"
    "       scenario --help\n"
    "shrink takes --seed and --faults, too. With --oracle-only run judges, as shrink, sweep and\n"
    "soak do, what all are owed, and not what a file's own steps expect.\n"
    "A FILE is text if its name ends in .scenario or its first word is scenario; else bytes.\n"
    "--faults: short delay order hints stale eagain eintr, all or none. Status 0: nothing failed; "
    "1: something did; 2: usage.\n";

/* The command line. */
static struct {
    const char *files[FILES_MAX];
    size_t file_count;
    bool pollers[2];
    uint64_t seed, seeds, events, sample;
    bool has_seed, has_faults, trace, hash, oracle_only;
    uint32_t faults;
    const char *name, *out;
} command = {
    .pollers = {true, true}, .seeds = 1, .seed = 1, .sample = 1, .out = "failing.scenario"};

static _Noreturn void quit(const char *what, const char *why) {
    fprintf(stderr, "scenario: %s%s%s\n", what, why[0] == '\0' ? "" : ": ", why);
    exit(STATUS_USAGE);
}

static struct scenario scenario;
static struct sim_event trace_events[TRACE_EVENTS_MAX];

/* Files */

static size_t read_file(const char *path, char *bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) quit(path, "cannot be opened");
    size_t length = fread(bytes, 1, FILE_BYTES_MAX, file);
    if (ferror(file)) quit(path, "cannot be read");
    if (length == FILE_BYTES_MAX) quit(path, "is larger than a scenario can be");
    fclose(file);
    return length;
}

/* A text that lacks its first line is still told so, if its name says what it is. All else is
 * bytes, whatever they look like: any string of them is a scenario. */
static bool is_text(const char *path, const char *bytes, size_t length) {
    const char *extension = strrchr(path, '.');
    if (extension != NULL && strcmp(extension, ".scenario") == 0) return true;
    return scenario_is_text(bytes, length);
}

static void load(const char *path) {
    static char bytes[FILE_BYTES_MAX];
    struct scenario_error error;
    size_t length = read_file(path, bytes);
    if (!is_text(path, bytes, length)) {
        scenario_decode(&scenario, (const uint8_t *)bytes, length);
    } else if (!scenario_parse(&scenario, bytes, length, &error)) {
        fprintf(stderr, "%s:%u:%u: %s\n", path, error.line, error.column, error.text);
        exit(STATUS_USAGE);
    }
}

static void print_text(FILE *file) {
    static char text[FILE_BYTES_MAX];
    fwrite(text, 1, scenario_print(&scenario, text, sizeof text), file);
}

/* run */

static void vary(uint64_t seed) {
    if (seed > UINT32_MAX) quit("--seed", "is at most 4294967295 in a scenario");
    if (command.has_faults) scenario.vary = command.faults;
    if (command.has_seed || command.seeds > 1) scenario.seed = (uint32_t)seed;
}

static bool both_pollers(void) { return command.pollers[0] && command.pollers[1]; }

static bool run_once(const char *path, enum sim_poller poller, struct run_result *result) {
    struct sim_trace trace = {.events = trace_events, .max = TRACE_EVENTS_MAX};
    run_scenario(&scenario, poller, command.oracle_only ? RUN_ORACLE : RUN_EXPECTATIONS,
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
        printf("%s: FAILED, seed %u, client %c sees another thing on kqueue than on epoll\n", path,
               scenario.seed, 'a' + i);
        return false;
    }
    return true;
}

/* Runs a file with each seed; false after the first failure. */
static bool run_file(const char *path, uint64_t *runs) {
    load(path);
    for (uint64_t i = 0; i < command.seeds; i++) {
        struct run_result results[2];
        vary(command.seed + i);
        for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
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
        printf("%zu scenarios, %" PRIu64 " runs, %zu failed\n", command.file_count, runs, failures);
    return failures > 0 ? STATUS_FAILED : EXIT_SUCCESS;
}

/* sweep: every call that a scenario makes fails once with every error that it may fail with. */

static uint64_t injected[CALL_KINDS][ERROR_KINDS];

static bool inject(const char *path, enum sim_poller poller, struct sim_fault fault) {
    struct run_result result;
    scenario.faults[scenario.fault_count++] = fault;
    run_scenario(&scenario, poller, RUN_ORACLE, NULL, &result);
    scenario.fault_count--;
    injected[fault.call][fault.error]++;
    if (result.failed)
        printf("%s: FAILED, fault %s %u %s, %s\n", path, scenario_call_words[fault.call], fault.nth,
               scenario_error_words[fault.error], result.failure);
    return !result.failed;
}

static bool sweep_call(const char *path, enum sim_poller poller, enum sim_call call,
                       uint32_t made) {
    static uint64_t turn;
    bool good = true;
    for (uint32_t nth = 1; nth <= made; nth++) {
        for (int error = 0; error < ERROR_KINDS; error++) {
            if (!scenario_may_fail(call, (enum sim_error)error) || turn++ % command.sample != 0)
                continue;
            good &= inject(path, poller, (struct sim_fault){call, nth, (enum sim_error)error});
        }
    }
    return good;
}

static bool sweep_file(const char *path) {
    bool good = true;
    load(path);
    if (scenario.fault_count == SCENARIO_FAULTS_MAX) return true;
    for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
        struct run_result plain;
        run_scenario(&scenario, (enum sim_poller)poller, RUN_ORACLE, NULL, &plain);
        for (int call = 0; call < CALL_KINDS; call++)
            good &=
                sweep_call(path, (enum sim_poller)poller, (enum sim_call)call, plain.calls[call]);
    }
    return good;
}

static int sweep_command(void) {
    uint64_t total = 0;
    bool good = true;
    for (size_t i = 0; i < command.file_count; i++)
        good &= sweep_file(command.files[i]);
    for (int call = 0; call < CALL_KINDS; call++) {
        printf("%-9s", scenario_call_words[call]);
        for (int error = 0; error < ERROR_KINDS; error++) {
            if (injected[call][error] > 0)
                printf(" %s %" PRIu64, scenario_error_words[error], injected[call][error]);
            total += injected[call][error];
        }
        printf("\n");
    }
    printf("%" PRIu64 " faults injected into %zu scenarios\n", total, command.file_count);
    return good ? EXIT_SUCCESS : STATUS_FAILED;
}

/* soak: random scenarios, of steps that make sense and counts that are mostly small. */

static uint32_t number(struct sim_kernel *dice, uint32_t below) {
    return (uint32_t)(sim_random(dice) % below);
}

/* Small numbers as often as large ones. */
static uint32_t spread(struct sim_kernel *dice, uint32_t bits) {
    uint32_t kept = number(dice, bits + 1);
    return 1 + number(dice, 1u << kept);
}

/* What clients do most stands here most often. */
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

static void random_faults(struct sim_kernel *dice) {
    for (uint32_t left = number(dice, 4); left > 0; left--) {
        struct sim_fault fault = {.call = (enum sim_call)number(dice, CALL_KINDS)};
        fault.nth = spread(dice, 6);
        fault.error = (enum sim_error)number(dice, ERROR_KINDS);
        if (scenario_may_fail(fault.call, fault.error))
            scenario.faults[scenario.fault_count++] = fault;
    }
}

static void random_scenario(struct sim_kernel *dice) {
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
    for (uint32_t left = spread(dice, 7); left > 0; left--)
        random_step(dice, &state);
    struct step stop = {.kind = STEP_STOP};
    if (number(dice, 2) == 0) scenario.steps[scenario.step_count++] = stop;
}

static double seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The file says itself where it comes from, and how it is replayed. */
static void keep_failure(struct run_result results[2], uint64_t runs) {
    FILE *file = fopen(command.out, "w");
    printf("FAILED, %s\n", results[0].failed ? results[0].failure : results[1].failure);
    shrink(&scenario);
    run_both(&scenario, RUN_ORACLE, results);
    printf("shrunk, %s\n", results[0].failed ? results[0].failure : results[1].failure);
    print_text(stdout);
    if (file == NULL) quit(command.out, "cannot be written");
    fprintf(file, "# %s\n", results[0].failed ? results[0].failure : results[1].failure);
    fprintf(file, "# soak --seed %" PRIu64 ", behind run %" PRIu64 "; replay it with\n",
            command.seed, runs);
    fprintf(file, "# %s run --oracle-only --trace %s\n", command.name, command.out);
    print_text(file);
    if (fclose(file) != 0) quit(command.out, "cannot be written");
    printf("seed %" PRIu64 "; replay it with: %s run --oracle-only --trace %s\n", command.seed,
           command.name, command.out);
}

static int soak_command(void) {
    struct sim_kernel dice = {.random = command.seed};
    uint64_t events = 0;
    uint64_t runs = 0;
    uint64_t next = 0;
    double begin = seconds();
    if (command.events == 0) quit("soak", "needs --events N, at least 1");
    while (events < command.events) {
        struct run_result results[2];
        random_scenario(&dice);
        if (!run_both(&scenario, RUN_ORACLE, results)) {
            keep_failure(results, runs);
            return STATUS_FAILED;
        }
        events += results[0].events + results[1].events;
        runs += 2;
        if (events >= next) {
            fprintf(stderr, "\r%" PRIu64 " M events, %" PRIu64 " runs", events / 1000000, runs);
            next = events + 50000000;
        }
    }
    double taken = seconds() - begin;
    printf("\n%" PRIu64 " events in %" PRIu64 " runs, seed %" PRIu64
           ": %.1f M events and %.0f runs a second, %.1f events a run\n",
           events, runs, command.seed, (double)events / taken / 1e6, (double)runs / taken,
           (double)events / (double)runs);
    return EXIT_SUCCESS;
}

/* The rest */

static int text_command(void) {
    load(command.files[0]);
    print_text(stdout);
    return EXIT_SUCCESS;
}

static int binary_command(void) {
    static uint8_t bytes[SCENARIO_ENCODED_MAX];
    load(command.files[0]);
    fwrite(bytes, 1, scenario_encode(&scenario, bytes), stdout);
    return EXIT_SUCCESS;
}

static int shrink_command(void) {
    struct run_result results[2];
    load(command.files[0]);
    vary(command.seed);
    if (run_both(&scenario, RUN_ORACLE, results))
        quit(command.files[0], "does not fail, but for what its own steps may expect");
    shrink(&scenario);
    print_text(stdout);
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
    if (value == NULL) quit("--faults", "needs words");
    for (char *word = strtok(value, ","); word != NULL; word = strtok(NULL, ",")) {
        uint32_t i = 0;
        while (scenario_vary_words[i] != NULL && strcmp(scenario_vary_words[i], word) != 0)
            i++;
        if (scenario_vary_words[i] != NULL)
            faults |= 1u << i;
        else if (strcmp(word, "all") == 0)
            faults = VARY_ALL;
        else if (strcmp(word, "none") != 0)
            quit(word, "is no word of --faults");
    }
    return faults;
}

static void take_poller(const char *value) {
    if (value == NULL) quit("--poller", "needs epoll, kqueue or both");
    command.pollers[SIM_EPOLL] = strcmp(value, "kqueue") != 0;
    command.pollers[SIM_KQUEUE] = strcmp(value, "epoll") != 0;
    if (strcmp(value, "both") != 0 && both_pollers())
        quit(value, "is no poller: epoll, kqueue or both");
}

/* Takes an option; the result is how many arguments it took. */
static int take_option(char *option, char *value) {
    if (strcmp(option, "--trace") == 0) return command.trace = true, 1;
    if (strcmp(option, "--hash") == 0) return command.hash = true, 1;
    if (strcmp(option, "--oracle-only") == 0) return command.oracle_only = true, 1;
    if (strcmp(option, "--poller") == 0)
        take_poller(value);
    else if (strcmp(option, "--seeds") == 0)
        command.seeds = number_of(option, value);
    else if (strcmp(option, "--events") == 0)
        command.events = number_of(option, value);
    else if (strcmp(option, "--sample") == 0)
        command.sample = number_of(option, value);
    else if (strcmp(option, "--out") == 0 && value != NULL)
        command.out = value;
    else if (strcmp(option, "--faults") == 0)
        command.faults = faults_of(value), command.has_faults = true;
    else if (strcmp(option, "--seed") == 0)
        command.seed = number_of(option, value), command.has_seed = true;
    else
        quit(option, "is no option");
    return 2;
}

int main(int argc, char *argv[]) {
    static const struct {
        const char *name;
        int (*run)(void);
        size_t files_min, files_max;
    } verbs[] = {{"run", run_command, 1, FILES_MAX},     {"text", text_command, 1, 1},
                 {"binary", binary_command, 1, 1},       {"shrink", shrink_command, 1, 1},
                 {"sweep", sweep_command, 1, FILES_MAX}, {"soak", soak_command, 0, 0}};
    command.name = argv[0];
    if (argc > 1 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout), EXIT_SUCCESS;
    for (int i = 2; i < argc;) {
        if (argv[i][0] == '-')
            i += take_option(argv[i], argv[i + 1]);
        else if (command.file_count < FILES_MAX)
            command.files[command.file_count++] = argv[i++];
        else
            quit(argv[i], "is one file too many");
    }
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        if (command.file_count < verbs[i].files_min) quit(argv[1], "needs a file");
        if (command.file_count > verbs[i].files_max) quit(argv[1], "takes fewer files");
        if (command.sample == 0) quit("--sample", "needs at least 1");
        if (command.seeds == 0) quit("--seeds", "needs at least 1");
        int status = verbs[i].run();
        if (fflush(stdout) != 0 || ferror(stdout)) quit("its output", "cannot be written");
        return status;
    }
    fputs(usage, stderr);
    return STATUS_USAGE;
}
