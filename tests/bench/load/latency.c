#include "latency.h"

#include <stddef.h>
#include <string.h>

#define STEPS_LOG 5
#define STEPS ((size_t)1 << STEPS_LOG)
#define CLASSES ((64 - STEPS_LOG + 1) * STEPS)

static uint64_t classes[CLASSES];
static uint64_t total;

void latency_reset(void) {
    memset(classes, 0, sizeof classes);
    total = 0;
}

/* The class of a number is its leading bits and how many bits follow. */
static size_t class_of(uint64_t ns) {
    size_t shift = 0;
    while ((ns >> shift) >= 2 * STEPS)
        shift++;
    return shift * STEPS + (size_t)(ns >> shift);
}

static uint64_t end_of(size_t class) {
    if (class < 2 * STEPS) return class;
    size_t shift = class / STEPS - 1;
    return ((class - shift * STEPS + 1) << shift) - 1;
}

void latency_add(uint64_t ns) {
    classes[class_of(ns)]++;
    total++;
}

uint64_t latency_at(double percent) {
    double wanted = percent / 100 * (double)total;
    uint64_t seen = 0;
    for (size_t i = 0; i < CLASSES && total > 0; i++) {
        seen += classes[i];
        if (seen > 0 && (double)seen >= wanted) return end_of(i);
    }
    return 0;
}
