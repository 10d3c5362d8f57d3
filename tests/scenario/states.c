#include "scenario/states.h"

#include <stdlib.h>
#include <string.h>

#include "scenario/file.h"

/* A table with open addressing. An entry is 0, or the digest without its lowest bits, a mark, and
 * how much is explored: 4 bits for steps, 3 for deviations. */
#define MARK 0x80u
#define BITS_FIRST 16
#define RUN_STATES_MAX 4096

static uint64_t *table;
static uint32_t bits;
static uint64_t count, sum;

/* The states of the current run. */
static uint64_t reached[RUN_STATES_MAX];
static uint32_t reached_count;

static uint64_t key_of(uint64_t entry) { return entry & ~0xffull; }

static uint64_t *find(uint64_t key) {
    uint64_t at = key >> (64 - bits);
    while (table[at] != 0 && key_of(table[at]) != key)
        at = (at + 1) & ((1ull << bits) - 1);
    return &table[at];
}

static void allocate(uint32_t new_bits) {
    bits = new_bits;
    table = calloc((size_t)1 << bits, sizeof table[0]);
    if (table == NULL) quit("explore", "no memory for the states");
}

static void grow(void) {
    uint64_t *old = table;
    uint64_t size = 1ull << bits;
    allocate(bits + 1);
    for (uint64_t i = 0; i < size; i++) {
        if (old[i] != 0) *find(key_of(old[i])) = old[i];
    }
    free(old);
}

void states_clear(void) {
    free(table);
    allocate(BITS_FIRST);
    count = sum = 0;
}

void states_begin_run(void) { reached_count = 0; }

static bool is_of_this_run(uint64_t key) {
    for (uint32_t i = 0; i < reached_count; i++) {
        if (reached[i] == key) return true;
    }
    return false;
}

bool states_visit(uint64_t digest, uint32_t steps, uint32_t deviations) {
    uint64_t key = key_of(digest);
    uint64_t *entry = find(key);
    uint64_t known = *entry;
    bool covered = known != 0 && (known >> 3 & 15) >= steps && (known & 7) >= deviations;
    if (covered && !is_of_this_run(key)) return true;
    *entry = key | MARK | steps << 3 | deviations;
    if (reached_count < RUN_STATES_MAX) reached[reached_count++] = key;
    if (known != 0) return false;
    sum += key;
    if (++count > (1ull << bits) / 2) grow();
    return false;
}

uint64_t states_count(void) { return count; }

uint64_t states_sum(void) { return sum; }

bool states_failure(const char *text) {
    static char *texts[256];
    static uint32_t known;
    for (uint32_t i = 0; i < known; i++) {
        if (strcmp(texts[i], text) == 0) return false;
    }
    if (known == 256) return false;
    size_t length = strlen(text) + 1;
    texts[known] = malloc(length);
    if (texts[known] == NULL) quit("explore", "no memory for failures");
    memcpy(texts[known++], text, length);
    return true;
}
