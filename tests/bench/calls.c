/* The mean number of kernel calls per poller in one execution of server_fuzzer, as JSON. Without it
 * a rate of executions means little. Usage: calls FILE... */

#include <stdio.h>
#include <stdlib.h>

#include "scenario/reference.h"

static struct scenario scenario;
static uint8_t bytes[SCENARIO_ENCODED_MAX];

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    size_t length = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
    if (file == NULL || ferror(file)) {
        fprintf(stderr, "calls: %s: cannot be read\n", path);
        exit(2);
    }
    fclose(file);
    scenario_decode(&scenario, bytes, length);
}

static uint64_t calls_of(const struct run_result *result) {
    uint64_t calls = 0;
    for (int call = 0; call < CALL_KINDS; call++)
        calls += result->calls[call];
    return calls;
}

int main(int count, char *arguments[]) {
    struct run_result results[2];
    uint64_t calls[2] = {0, 0};
    if (count < 2) return fputs("usage: calls FILE...\n", stderr), 2;
    for (int i = 1; i < count; i++) {
        load(arguments[i]);
        if (!run_all(&reference_target, &scenario, RUN_BRIEFLY, results)) return 1;
        calls[SIM_EPOLL] += calls_of(&results[SIM_EPOLL]);
        calls[SIM_KQUEUE] += calls_of(&results[SIM_KQUEUE]);
    }
    printf("{\"inputs\": %d, \"epoll\": %.1f, \"kqueue\": %.1f}\n", count - 1,
           (double)calls[SIM_EPOLL] / (count - 1), (double)calls[SIM_KQUEUE] / (count - 1));
    return 0;
}
