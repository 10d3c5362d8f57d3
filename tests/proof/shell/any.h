/* Any value: what the analysis follows is not one run, but all of them. */
#pragma once

#include <__fc_builtin.h>
#include <stdbool.h>

#include "core/outcome.h"

extern volatile int any_int;
extern volatile uint32_t any_u32;
extern volatile uint64_t any_u64;

/* Both are followed, each by itself. */
static bool any_bool(void) {
    if (any_int) return true;
    return false;
}

/* Both at once. */
static bool any_bool_value(void) { return Frama_C_interval(false, true); }

static int any_of(int count) {
    for (int i = 0; i < count - 1; i++)
        if (any_int) return i;
    return count - 1;
}

static void any_bytes(void *bytes, size_t length) { Frama_C_make_unknown(bytes, length); }

static struct result any_fault(enum fault first, enum fault last) {
    struct result result = {.value = (int64_t)any_u64, .raw = any_int};
    result.fault = (enum fault)Frama_C_interval(first, last);
    return result;
}

/* Clocks stay below 2^62 ms, and a connection below 2^62 bytes: see README.md. */
static uint64_t any_ms(void) { return any_u64 % ((uint64_t)1 << 62); }

static uint64_t any_received(uint64_t least) {
    return Frama_C_unsigned_long_long_interval(least, (uint64_t)1 << 62);
}

static uint32_t any_positive(void) { return Frama_C_unsigned_int_interval(1, UINT32_MAX); }
