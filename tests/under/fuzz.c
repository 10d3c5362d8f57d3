#include "under/fuzz.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "under/real.h"

#define RUNS_MAX 100000 /* of one process */

/* With a larger crowd no step is run: each client has a socket that reserves its number, and
 * such runs took a hundred times as long as others. */
#define CROWD_MAX 32

/* Of AFL++'s runtime: null if the server has none. The runtime forks each process of the server
 * before main(), so that they share no pipe and no epoll; what comes before the first run is not
 * counted as its coverage. */
extern int __afl_sharedmem_fuzzing __attribute__((weak));
extern unsigned char *__afl_fuzz_ptr __attribute__((weak));
extern unsigned int *__afl_fuzz_len __attribute__((weak));
int __afl_persistent_loop(unsigned int runs) __attribute__((weak));

struct channel *fuzz_channel(void) {
    const char *port = getenv(FUZZ_VARIABLE);
    if (port == NULL || __afl_persistent_loop == NULL) return NULL;
    struct channel *channel = mmap(NULL, sizeof *channel, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (channel == MAP_FAILED) return NULL;
    channel->port = (uint16_t)strtoul(port, NULL, 10);
    channel->judge = RUN_BRIEFLY;
    channel->seeds = 1;
    __afl_sharedmem_fuzzing = 1;
    return channel;
}

void fuzz_take(struct channel *channel) {
    if (__afl_persistent_loop(RUNS_MAX) == 0) REAL(SYS_exit_group, 0);
    scenario_decode(&channel->scenario, __afl_fuzz_ptr, *__afl_fuzz_len);
    run_make_random_foreign(&channel->scenario);
    if (scenario_crowd(&channel->scenario) > CROWD_MAX)
        channel->scenario.step_count = channel->scenario.client_count = 0;
}

void fuzz_failed(void) {
    signal(SIGABRT, SIG_DFL);
    abort();
}
