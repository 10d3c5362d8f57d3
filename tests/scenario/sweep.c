#include "scenario/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "scenario/file.h"

/* Runs with a crowd are long, and their calls are alike. */
#define CROWD_CALLS_MAX 3

static struct scenario scenario;
static const struct run_target *swept;
static uint64_t injected[CALL_KINDS][ERROR_KINDS];

static bool inject(const char *path, enum sim_poller poller, struct sim_fault fault) {
    struct run_result result;
    scenario.faults[scenario.fault_count++] = fault;
    swept->run(swept->self, &scenario, poller, RUN_ORACLE, NULL, &result);
    scenario.fault_count--;
    injected[fault.call][fault.error]++;
    if (result.failed)
        printf("%s: FAILED, fault %s %u %s, %s\n", path, scenario_call_words[fault.call], fault.nth,
               scenario_error_words[fault.error], result.failure);
    return !result.failed;
}

static bool may_fail(enum sim_call call, enum sim_error error) {
    return swept->foreign ? run_may_fail_foreign(call, error) : scenario_may_fail(call, error);
}

static bool sweep_call(const char *path, enum sim_poller poller, enum sim_call call, uint32_t made,
                       uint64_t sample) {
    static uint64_t turn;
    bool good = true;
    for (uint32_t nth = 1; nth <= made; nth++) {
        for (int error = 0; error < ERROR_KINDS; error++) {
            if (!may_fail(call, (enum sim_error)error) || turn++ % sample != 0) continue;
            good &= inject(path, poller, (struct sim_fault){call, nth, (enum sim_error)error});
        }
    }
    return good;
}

static bool sweep_file(const char *path, uint64_t sample) {
    bool good = true;
    file_load(&scenario, path);
    if (scenario.fault_count == SCENARIO_FAULTS_MAX) return true;
    uint32_t most = scenario_crowd(&scenario) > 0 ? CROWD_CALLS_MAX : UINT32_MAX;
    if (!run_is_for(swept, &scenario)) return true;
    for (uint32_t poller = 0; poller < swept->pollers; poller++) {
        struct run_result plain;
        swept->run(swept->self, &scenario, (enum sim_poller)poller, RUN_ORACLE, NULL, &plain);
        if (plain.failed) {
            printf("%s: FAILED, %s\n", path, plain.failure);
            return false;
        }
        for (int call = 0; call < CALL_KINDS; call++)
            good &= sweep_call(path, (enum sim_poller)poller, (enum sim_call)call,
                               plain.calls[call] < most ? plain.calls[call] : most, sample);
    }
    return good;
}

int sweep(const struct run_target *target, const char *const files[], size_t file_count,
          uint64_t sample) {
    swept = target;
    uint64_t total = 0;
    bool good = true;
    for (size_t i = 0; i < file_count; i++)
        good &= sweep_file(files[i], sample);
    for (int call = 0; call < CALL_KINDS; call++) {
        printf("%-9s", scenario_call_words[call]);
        for (int error = 0; error < ERROR_KINDS; error++) {
            if (injected[call][error] > 0)
                printf(" %s %" PRIu64, scenario_error_words[error], injected[call][error]);
            total += injected[call][error];
        }
        printf("\n");
    }
    printf("faults=%" PRIu64 " scenarios=%zu\n", total, file_count);
    return good ? EXIT_SUCCESS : STATUS_FAILED;
}
