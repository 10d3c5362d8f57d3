#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A condition whose failure is a finding. It is checked with NDEBUG, too. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

static inline _Noreturn void check_failed(const char *condition, const char *file, int line,
                                          const char *function) {
    fprintf(stderr, "%s:%d: %s: expected %s\n", file, line, function, condition);
    abort();
}

/* The entry that libFuzzer, AFL++ and the replay driver call; it returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
