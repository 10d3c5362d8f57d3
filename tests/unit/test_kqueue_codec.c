#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/kqueue_codec.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static const uint32_t known_bits[] = {
    KQUEUE_CODEC_ADD,   KQUEUE_CODEC_DELETE, KQUEUE_CODEC_RECEIPT,
    KQUEUE_CODEC_ERROR, KQUEUE_CODEC_EOF,
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
    print_message("kqueue_codec: %zu cases\n", cases);
    return 0;
}

static uint32_t flags_of(unsigned subset) {
    uint32_t flags = 0;
    for (size_t i = 0; i < LENGTH(known_bits); i++) {
        if ((subset >> i & 1U) != 0) {
            flags |= known_bits[i];
        }
    }
    return flags;
}

static void check_decode(const struct kqueue_record *record) {
    bool eof = (record->flags & KQUEUE_CODEC_EOF) != 0;
    bool refused = (record->flags & KQUEUE_CODEC_ERROR) != 0;
    struct readiness readiness = kqueue_decode(record);
    assert_int_equal(readiness.readable, record->filter == KQUEUE_READ);
    assert_int_equal(readiness.writable, record->filter == KQUEUE_WRITE);
    assert_int_equal(readiness.hangup, eof);
    assert_int_equal(readiness.error, refused || (eof && record->filter_flags != 0));
    assert_true(token_pack(readiness.token) == record->token);
    cases++;
}

/* Each filter and an invalid number, with each socket error, and data that must not matter. */
static void check_flags(uint32_t flags) {
    static const uint32_t socket_errors[] = {0, 1, 104, 0x80000000U};
    static const int64_t data[] = {INT64_MIN, -1, 0, 9000, INT64_MAX};
    struct kqueue_record record = {.descriptor = 7, .flags = flags};
    for (int filter = KQUEUE_OTHER; filter <= KQUEUE_WRITE + 1; filter++) {
        record.filter = (enum kqueue_filter)filter;
        for (size_t e = 0; e < LENGTH(socket_errors); e++) {
            record.filter_flags = socket_errors[e];
            for (size_t d = 0; d < LENGTH(data); d++) {
                record.data = data[d];
                record.token = token_pack(tokens[(e + d) % LENGTH(tokens)]);
                check_decode(&record);
            }
        }
    }
}

static void decode_reads_every_subset_and_ignores_unknown_bits(void **state) {
    (void)state;
    const uint32_t known = flags_of(SUBSETS - 1);
    for (unsigned subset = 0; subset < SUBSETS; subset++) {
        check_flags(flags_of(subset));
        check_flags(flags_of(subset) | ~known);
        for (unsigned bit = 0; bit < 32; bit++) {
            check_flags(flags_of(subset) | ((1U << bit) & ~known));
        }
    }
}

/* A change has only an operation, a filter, a descriptor and a token. */
static void check_change(const struct kqueue_record *change, enum kqueue_filter filter,
                         uint32_t flag, int32_t descriptor, struct token token) {
    assert_int_equal(change->descriptor, descriptor);
    assert_int_equal(change->filter, filter);
    assert_int_equal(change->flags, flag | KQUEUE_CODEC_RECEIPT);
    assert_int_equal(change->filter_flags, 0);
    assert_int_equal(change->data, 0);
    assert_int_equal(change->fault, FAULT_NONE);
    assert_true(change->token == token_pack(token));
}

static void check_encode(enum interest from, enum interest to, int32_t descriptor,
                         struct token token) {
    static const enum kqueue_filter filters[] = {
        [INTEREST_READ] = KQUEUE_READ,
        [INTEREST_WRITE] = KQUEUE_WRITE,
    };
    struct kqueue_record changes[KQUEUE_CHANGES_MAX + 1];
    memset(changes, 0xEE, sizeof changes);
    const struct kqueue_record untouched = changes[KQUEUE_CHANGES_MAX];

    size_t count = kqueue_encode(descriptor, token, from, to, changes);

    size_t next = 0;
    if (from != INTEREST_NONE) {
        check_change(&changes[next++], filters[from], KQUEUE_CODEC_DELETE, descriptor, token);
    }
    if (to != INTEREST_NONE) {
        check_change(&changes[next++], filters[to], KQUEUE_CODEC_ADD, descriptor, token);
    }
    assert_int_equal(count, next);
    assert_memory_equal(&changes[KQUEUE_CHANGES_MAX], &untouched, sizeof untouched);
    cases++;
}

static void encode_removes_the_old_filter_and_adds_the_new(void **state) {
    (void)state;
    static const int32_t descriptors[] = {0, 3, INT32_MAX};
    for (enum interest from = INTEREST_NONE; from <= INTEREST_WRITE; from++) {
        for (enum interest to = INTEREST_NONE; to <= INTEREST_WRITE; to++) {
            for (size_t d = 0; from != to && d < LENGTH(descriptors); d++) {
                for (size_t t = 0; t < LENGTH(tokens); t++) {
                    check_encode(from, to, descriptors[d], tokens[t]);
                }
            }
        }
    }
}

/* Kernels set ERROR alone (FreeBSD) or in addition to the flags of the change (macOS). */
static void check_receipt(const struct kqueue_record *change, enum fault fault, int64_t number) {
    const uint32_t answers[] = {KQUEUE_CODEC_ERROR, KQUEUE_CODEC_ERROR | change->flags};
    bool gone = (change->flags & KQUEUE_CODEC_DELETE) != 0 && fault == FAULT_NOT_FOUND;
    for (size_t i = 0; i < LENGTH(answers); i++) {
        struct kqueue_record receipt = *change;
        receipt.flags = answers[i];
        receipt.data = fault == FAULT_NONE ? 0 : number;
        receipt.fault = fault;
        assert_int_equal(kqueue_receipt(change, &receipt), gone ? FAULT_NONE : fault);
        cases++;
    }
}

static void receipt_returns_every_fault_except_deleting_a_missing_filter(void **state) {
    (void)state;
    static const int64_t numbers[] = {1, 2, 17, 104,
                                      INT32_MAX}; /* systems differ, so fault decides */
    struct kqueue_record changes[KQUEUE_CHANGES_MAX];
    for (enum interest from = INTEREST_READ; from <= INTEREST_WRITE; from++) {
        enum interest to = from == INTEREST_READ ? INTEREST_WRITE : INTEREST_READ;
        assert_int_equal(kqueue_encode(7, tokens[1], from, to, changes), 2);
        for (enum fault fault = FAULT_NONE; fault <= FAULT_OTHER; fault++) {
            for (size_t n = 0; n < LENGTH(numbers); n++) {
                check_receipt(&changes[0], fault, numbers[n]);
                check_receipt(&changes[1], fault, numbers[n]);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_reads_every_subset_and_ignores_unknown_bits),
        cmocka_unit_test(encode_removes_the_old_filter_and_adds_the_new),
        cmocka_unit_test(receipt_returns_every_fault_except_deleting_a_missing_filter),
    };
    return cmocka_run_group_tests_name("kqueue_codec", tests, NULL, report_cases);
}
