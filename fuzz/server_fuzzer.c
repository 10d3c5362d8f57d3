/* Targets the whole server: server.c, both pollers, and through them all of the core.
 *
 * Any bytes decode to a scenario with its kernel's choices; the server runs it on the simulated
 * epoll and on the simulated kqueue. The oracle judges every step, and what the clients see must be
 * the same on both where it cannot depend on chance. */

#include "check.h"
#include "scenario/run.h"

/* So many bytes are sent in all: they may move one by one, and an execution should stay short. */
#define BYTES_MAX 8192

static void shorten(struct scenario *scenario) {
    uint32_t left = BYTES_MAX;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        struct step *step = &scenario->steps[i];
        if (step->kind != STEP_SEND) continue;
        if (step->count > left) step->count = left;
        left -= step->count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct scenario scenario;
    static struct run_result results[2];
    scenario_decode(&scenario, data, size);
    shorten(&scenario);
    if (run_both(&scenario, RUN_ORACLE, results)) return 0;
    fprintf(stderr, "%s%s\n", results[0].failure, results[1].failure);
    abort();
}
