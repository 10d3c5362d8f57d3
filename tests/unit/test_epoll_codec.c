#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/epoll_codec.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static const uint32_t known_bits[] = {
    EPOLL_CODEC_IN, EPOLL_CODEC_OUT, EPOLL_CODEC_ERR, EPOLL_CODEC_HUP, EPOLL_CODEC_RDHUP,
};
#define SUBSETS (1U << LENGTH(known_bits))

static const struct token tokens[] = {
    {.slot = 0, .generation = 0}, /* the listener's */
    {.slot = 5, .generation = 1},
    {.slot = UINT32_MAX, .generation = 2},
    {.slot = 3, .generation = UINT32_MAX},
};

static size_t cases;

static int report_cases(void **state) {
    (void)state;
    print_message("epoll_codec: %zu cases\n", cases);
    return 0;
}

static uint32_t events_of(unsigned subset) {
    uint32_t events = 0;
    for (size_t i = 0; i < LENGTH(known_bits); i++) {
        if ((subset >> i & 1U) != 0) {
            events |= known_bits[i];
        }
    }
    return events;
}

/* Bits of the subset: 1 IN, 2 OUT, 4 ERR, 8 HUP, 16 RDHUP. Each flag depends on its own bits
 * alone. */
static void check_decode(unsigned subset, uint32_t unknown, struct token token) {
    const struct epoll_record record = {
        .events = events_of(subset) | unknown,
        .token = token_pack(token),
    };
    struct readiness readiness = epoll_decode(&record);
    assert_int_equal(readiness.readable, (subset & 1U) != 0);
    assert_int_equal(readiness.writable, (subset & 2U) != 0);
    assert_int_equal(readiness.error, (subset & 4U) != 0);
    assert_int_equal(readiness.hangup, (subset & 24U) != 0);
    assert_int_equal(readiness.token.slot, token.slot);
    assert_int_equal(readiness.token.generation, token.generation);
    cases++;
}

static void decode_reads_every_subset_and_ignores_unknown_bits(void **state) {
    (void)state;
    const uint32_t known = events_of(SUBSETS - 1);
    for (size_t t = 0; t < LENGTH(tokens); t++) {
        for (unsigned subset = 0; subset < SUBSETS; subset++) {
            check_decode(subset, 0, tokens[t]);
            check_decode(subset, ~known, tokens[t]);
            for (unsigned bit = 0; bit < 32; bit++) {
                check_decode(subset, (1U << bit) & ~known, tokens[t]);
            }
        }
    }
}

static void encode_gives_one_call_for_each_change(void **state) {
    (void)state;
    static const struct {
        enum interest from, to;
        enum epoll_operation operation;
        uint32_t events;
    } changes[] = {
        {INTEREST_NONE, INTEREST_READ, EPOLL_ADD, EPOLL_CODEC_IN},
        {INTEREST_NONE, INTEREST_WRITE, EPOLL_ADD, EPOLL_CODEC_OUT},
        {INTEREST_READ, INTEREST_WRITE, EPOLL_MODIFY, EPOLL_CODEC_OUT},
        {INTEREST_WRITE, INTEREST_READ, EPOLL_MODIFY, EPOLL_CODEC_IN},
        {INTEREST_READ, INTEREST_NONE, EPOLL_DELETE, 0},
        {INTEREST_WRITE, INTEREST_NONE, EPOLL_DELETE, 0},
    };
    for (size_t i = 0; i < LENGTH(changes); i++) {
        struct epoll_change change = epoll_encode(changes[i].from, changes[i].to);
        assert_int_equal(change.operation, changes[i].operation);
        assert_int_equal(change.events, changes[i].events);
        cases++;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_reads_every_subset_and_ignores_unknown_bits),
        cmocka_unit_test(encode_gives_one_call_for_each_change),
    };
    return cmocka_run_group_tests_name("epoll_codec", tests, NULL, report_cases);
}
