#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/outcome.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define FAULTS (FAULT_OTHER + 1)

static const size_t asked_sizes[] = {
    0, 1, 2, 4096, 65536, INT32_MAX, UINT32_MAX, SIZE_MAX / 2, SIZE_MAX};

/* In addition, each size is tried with the values around it. */
static const int64_t plain_values[] = {
    INT64_MIN,
    INT32_MIN,
    -4096,
    -1,
    0,
    1,
    2,
    INT32_MAX,
    INT64_C(0x80000000),
    INT64_C(0xFFFFFFFF),
    INT64_C(0x100000000),
    INT64_C(0x100000001),
    INT64_MAX - 1,
    INT64_MAX,
};

/* The kind of each fault, for every call; without a fault it depends on the value. */
static const enum outcome_kind kinds[FAULTS] = {
    [FAULT_WOULD_BLOCK] = OUTCOME_WOULD_BLOCK,
    [FAULT_INTERRUPTED] = OUTCOME_INTERRUPTED,
    [FAULT_RESET] = OUTCOME_RESET,
    [FAULT_PIPE] = OUTCOME_RESET,
    [FAULT_ABORTED] = OUTCOME_RESET,
    [FAULT_DESCRIPTORS] = OUTCOME_FAILED,
    [FAULT_MEMORY] = OUTCOME_FAILED,
    [FAULT_NOT_FOUND] = OUTCOME_FAILED,
    [FAULT_EXISTS] = OUTCOME_FAILED,
    [FAULT_NO_SPACE] = OUTCOME_FAILED,
    [FAULT_OTHER] = OUTCOME_FAILED,
};

static size_t cases;

static int report_cases(void **state) {
    (void)state;
    print_message("outcome: %zu cases\n", cases);
    return 0;
}

static struct outcome of_fault(enum fault fault) {
    return (struct outcome){.kind = kinds[fault], .fault = fault, .count = 0};
}

static struct outcome of_value(int64_t value, size_t asked, enum outcome_kind of_zero) {
    if (value == 0) {
        return (struct outcome){.kind = asked == 0 ? OUTCOME_WOULD_BLOCK : of_zero};
    }
    if (value > 0 && (uint64_t)value <= asked) {
        return (struct outcome){.kind = OUTCOME_MOVED, .count = (size_t)value};
    }
    return (struct outcome){.kind = OUTCOME_FAILED, .fault = FAULT_OTHER};
}

static void check(struct outcome actual, struct outcome wanted, struct result result,
                  size_t asked) {
    cases++;
    if (actual.kind != wanted.kind || actual.fault != wanted.fault ||
        actual.count != wanted.count) {
        fail_msg("value %lld, fault %d, asked %zu: got kind %d fault %d count %zu, "
                 "expected kind %d fault %d count %zu",
                 (long long)result.value, result.fault, asked, actual.kind, actual.fault,
                 actual.count, wanted.kind, wanted.fault, wanted.count);
    }
}

/* Checks receive and send with one value: without a fault, and with each fault, where the value is
 * undefined. */
static void check_value(int64_t value, size_t asked, int32_t raw) {
    for (enum fault fault = FAULT_NONE; fault <= FAULT_OTHER; fault++) {
        const struct result result = {.value = value, .fault = fault, .raw = raw};
        bool none = fault == FAULT_NONE;
        check(outcome_of_receive(result, asked),
              none ? of_value(value, asked, OUTCOME_END) : of_fault(fault), result, asked);
        check(outcome_of_send(result, asked),
              none ? of_value(value, asked, OUTCOME_WOULD_BLOCK) : of_fault(fault), result, asked);
    }
}

static void receive_and_send_map_every_result(void **state) {
    (void)state;
    static const int32_t raws[] = {0, 4, 11, -1};
    for (size_t r = 0; r < LENGTH(raws); r++) {
        for (size_t a = 0; a < LENGTH(asked_sizes); a++) {
            size_t asked = asked_sizes[a];
            for (size_t v = 0; v < LENGTH(plain_values); v++) {
                check_value(plain_values[v], asked, raws[r]);
            }
            uint64_t wide = asked; /* SIZE_MAX may be less than INT64_MAX */
            int64_t near = wide < INT64_MAX - 3 ? (int64_t)wide : INT64_MAX - 3;
            for (int64_t value = near - 2; value <= near + 2; value++) {
                check_value(value, asked, raws[r]);
            }
        }
    }
}

static void accept_maps_every_result(void **state) {
    (void)state;
    const struct outcome moved = {.kind = OUTCOME_MOVED, .count = 1};
    const struct outcome impossible = {.kind = OUTCOME_FAILED, .fault = FAULT_OTHER};
    for (size_t v = 0; v < LENGTH(plain_values); v++) {
        for (enum fault fault = FAULT_NONE; fault <= FAULT_OTHER; fault++) {
            const struct result result = {.value = plain_values[v], .fault = fault, .raw = 24};
            struct outcome wanted = of_fault(fault);
            if (fault == FAULT_NONE) {
                wanted = result.value >= 0 && result.value <= INT32_MAX ? moved : impossible;
            }
            check(outcome_of_accept(result), wanted, result, 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receive_and_send_map_every_result),
        cmocka_unit_test(accept_maps_every_result),
    };
    return cmocka_run_group_tests_name("outcome", tests, NULL, report_cases);
}
