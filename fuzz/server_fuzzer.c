/* Targets the whole server: server.c, both pollers, and through them all of the core.
 *
 * Any bytes decode to a scenario with the choices of its kernel; the server runs it on the
 * simulated epoll and on the simulated kqueue. The oracle judges every step, and where the result
 * does not depend on chance the clients must see the same on both.
 *
 * There is no custom mutator. One that inserts, moves and changes steps was tried: in five minutes
 * from the corpus it reached 1,180 edges; libFuzzer's own mutations reached 1,188 with half the
 * executions. */

#include "check.h"
#include "scenario/reference.h"

/* A run beside a crowd takes hundreds of times as long as one of a few clients, and a fuzzer would
 * soon run little else. Waits that come back full are for random scenarios (scenario soak). */
#define CROWD_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct scenario scenario;
    static struct run_result results[2];
    scenario_decode(&scenario, data, size);
    if (scenario_crowd(&scenario) > CROWD_MAX) return -1;
    if (run_all(&reference_target, &scenario, RUN_BRIEFLY, results)) return 0;
    fprintf(stderr, "%s%s\n", results[0].failure, results[1].failure);
    abort();
}
