#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/token.h"

#define SLOTS 3
#define STEPS_MAX 8
#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* The descriptors of the slots; 0 shares its slot number with the listener's token. */
static const uint32_t numbers[SLOTS] = {0, 1, UINT32_MAX};

static const uint32_t boundaries[] = {
    0,          1,          2,          0x7F,       0x80,       0xFF,
    0x100,      0xFFFF,     0x10000,    0x10001,    0x7FFFFFFF, 0x80000000,
    0x80000001, 0x12345678, 0xFFFF0000, 0xFFFFFFFE, 0xFFFFFFFF,
};

/* The slots, and the model: every token ever issued, in order, and whether it is in use. */
struct table {
    struct token_slot slots[SLOTS];
    struct issued {
        struct token token;
        size_t at;
        bool in_use;
    } issued[STEPS_MAX];
    size_t count;
};

static size_t cases;

static int report_cases(void **state) {
    (void)state;
    print_message("token: %zu cases\n", cases);
    return 0;
}

/* The model's token in use in a slot, or null. */
static struct issued *in_use(struct table *table, size_t at) {
    for (size_t i = 0; i < table->count; i++) {
        if (table->issued[i].at == at && table->issued[i].in_use) {
            return &table->issued[i];
        }
    }
    return NULL;
}

static bool equal(struct token a, struct token b) {
    return a.slot == b.slot && a.generation == b.generation;
}

static void check(const struct table *table) {
    for (size_t i = 0; i < table->count; i++) {
        const struct issued *issued = &table->issued[i];
        assert_int_equal(issued->token.slot, numbers[issued->at]);
        assert_int_not_equal(issued->token.generation, 0);
        assert_int_equal(token_resolves(issued->token, &table->slots[issued->at]), issued->in_use);
        for (size_t j = 0; j < i; j++) {
            assert_false(equal(issued->token, table->issued[j].token));
            assert_true(token_pack(issued->token) != token_pack(table->issued[j].token));
        }
    }
    for (size_t at = 0; at < SLOTS; at++) {
        assert_false(token_resolves(TOKEN_LISTENER, &table->slots[at]));
    }
}

/* Each slot allows one operation: its token is issued, or the one in use released. */
static void explore(const struct table *table, size_t steps) {
    for (size_t at = 0; at < SLOTS; at++) {
        struct table after = *table;
        struct issued *old = in_use(&after, at);
        if (old != NULL) {
            token_release(&after.slots[at]);
            old->in_use = false;
        } else {
            struct token token = token_issue(&after.slots[at], numbers[at]);
            after.issued[after.count++] = (struct issued){token, at, true};
        }
        assert_int_equal(after.slots[at].live, old == NULL);
        check(&after);
        cases++;
        if (steps + 1 < STEPS_MAX) {
            explore(&after, steps + 1);
        }
    }
}

static void all_sequences_agree_with_a_list_of_tokens(void **state) {
    (void)state;
    const struct table table = {.count = 0};
    check(&table);
    explore(&table, 0);
}

static void all_sequences_agree_across_the_wrap_of_generations(void **state) {
    (void)state;
    struct table table = {.count = 0};
    for (size_t at = 0; at < SLOTS; at++) {
        table.slots[at].generation = UINT32_MAX - (uint32_t)at;
    }
    check(&table);
    explore(&table, 0);
}

static void generation_wraps_from_the_maximum_to_1(void **state) {
    (void)state;
    struct token_slot slot = {.generation = UINT32_MAX - 1, .live = false};
    struct token last = token_issue(&slot, 9);
    assert_int_equal(last.generation, UINT32_MAX);
    token_release(&slot);
    struct token first = token_issue(&slot, 9);
    assert_int_equal(first.generation, 1);
    assert_int_equal(first.slot, 9);
    assert_true(token_resolves(first, &slot));
    assert_false(token_resolves(last, &slot));
    assert_false(token_resolves(TOKEN_LISTENER, &slot));
    cases++;
}

/* One generation before, one after, one bit apart, and not live. */
static void only_the_newest_live_generation_resolves(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(boundaries); i++) {
        for (size_t j = 0; j < LENGTH(boundaries); j++) {
            const struct token token = {.slot = 4, .generation = boundaries[i]};
            struct token_slot slot = {.generation = boundaries[j], .live = true};
            if (boundaries[j] != 0) {
                assert_int_equal(token_resolves(token, &slot), i == j);
            }
            slot.live = false;
            assert_false(token_resolves(token, &slot));
            cases++;
        }
        for (unsigned bit = 0; bit < 32; bit++) {
            const struct token token = {.slot = 4, .generation = boundaries[i] ^ (1U << bit)};
            const struct token_slot slot = {.generation = boundaries[i], .live = true};
            assert_false(boundaries[i] != 0 && token_resolves(token, &slot));
            cases++;
        }
    }
}

static void packing_is_reversible(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(boundaries); i++) {
        for (size_t j = 0; j < LENGTH(boundaries); j++) {
            const struct token token = {.slot = boundaries[i], .generation = boundaries[j]};
            assert_true(equal(token_unpack(token_pack(token)), token));
            assert_int_equal(token_pack(token) == 0, equal(token, TOKEN_LISTENER));
            uint64_t packed = (uint64_t)boundaries[i] << 32 | boundaries[j];
            assert_true(token_pack(token_unpack(packed)) == packed);
            cases++;
        }
    }
    assert_true(equal(token_unpack(0), TOKEN_LISTENER));
    assert_int_equal(TOKEN_LISTENER.generation, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sequences_agree_with_a_list_of_tokens),
        cmocka_unit_test(all_sequences_agree_across_the_wrap_of_generations),
        cmocka_unit_test(generation_wraps_from_the_maximum_to_1),
        cmocka_unit_test(only_the_newest_live_generation_resolves),
        cmocka_unit_test(packing_is_reversible),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, report_cases);
}
