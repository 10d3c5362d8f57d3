#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buffer.h"

#define CAPACITY_MAX 4
#define STEPS_MAX 8

/* A buffer, the two storages that it may describe, and the model: a queue of the bytes that it
 * should hold, the first to be consumed in queue[0]. */
struct fixture {
    struct buffer buffer;
    uint8_t storage[2][CAPACITY_MAX];
    unsigned at; /* the storage that the buffer describes now */
    uint8_t queue[CAPACITY_MAX];
    size_t queued;
    uint8_t next; /* the value of the next byte to arrive: no two in a sequence are equal */
};

enum verb { INIT, COMMIT, CONSUME, MOVE };

struct operation {
    enum verb verb;
    size_t count;
};

#define OPERATIONS_MAX (2 + 2 * (CAPACITY_MAX + 1))

static size_t cases;
static struct operation trail[STEPS_MAX];

static int report_cases(void **state) {
    (void)state;
    print_message("buffer: %zu cases\n", cases);
    return 0;
}

static void fail_after(size_t steps, size_t capacity, const char *what) {
    static const char *const names[] = {"init", "commit", "consume", "move"};
    print_error("capacity %zu:", capacity);
    for (size_t i = 0; i < steps; i++) {
        print_error(" %s %zu;", names[trail[i].verb], trail[i].count);
    }
    fail_msg("%s", what);
}

static size_t legal_operations(const struct fixture *fixture, size_t capacity,
                               struct operation operations[OPERATIONS_MAX]) {
    size_t number = 0;
    operations[number++] = (struct operation){INIT, 0};
    operations[number++] = (struct operation){MOVE, 0};
    for (size_t count = 0; count <= fixture->queued; count++) {
        operations[number++] = (struct operation){CONSUME, count};
    }
    for (size_t count = 0; fixture->queued == 0 && count <= capacity; count++) {
        operations[number++] = (struct operation){COMMIT, count};
    }
    return number;
}

/* `count` bytes arrive at the start of the storage. */
static void receive(struct fixture *fixture, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fixture->storage[fixture->at][i] = fixture->next;
        fixture->queue[i] = fixture->next++;
    }
    fixture->queued = count;
    buffer_commit(&fixture->buffer, count);
}

static void send(struct fixture *fixture, size_t count) {
    for (size_t i = count; i < fixture->queued; i++) {
        fixture->queue[i - count] = fixture->queue[i];
    }
    fixture->queued -= count;
    buffer_consume(&fixture->buffer, count);
}

/* True if the move changed nothing but the pending bytes in the storage moved to. */
static bool move(struct fixture *fixture) {
    const struct fixture before = *fixture;
    unsigned to = 1 - fixture->at;
    buffer_move(&fixture->buffer, fixture->storage[to], fixture->storage[fixture->at]);
    for (size_t i = 0; i < CAPACITY_MAX; i++) {
        bool pending = before.buffer.read <= i && i < before.buffer.write;
        uint8_t source = before.storage[before.at][i];
        if (fixture->storage[to][i] != (pending ? source : before.storage[to][i]) ||
            fixture->storage[fixture->at][i] != source) {
            return false;
        }
    }
    fixture->at = to;
    return true;
}

static void apply(struct fixture *fixture, struct operation operation, size_t capacity,
                  size_t steps) {
    switch (operation.verb) {
    case INIT:
        fixture->queued = 0;
        buffer_init(&fixture->buffer);
        break;
    case COMMIT: receive(fixture, operation.count); break;
    case CONSUME: send(fixture, operation.count); break;
    case MOVE:
        if (!move(fixture)) {
            fail_after(steps, capacity, "expected move to change the pending bytes only");
        }
        break;
    }
}

static void check(const struct fixture *fixture, size_t capacity, size_t steps) {
    const struct buffer *buffer = &fixture->buffer;
    if (!buffer_is_valid(buffer, capacity)) {
        fail_after(steps, capacity, "not valid");
    }
    if (buffer_pending(buffer) != fixture->queued) {
        fail_after(steps, capacity, "the number of pending bytes differs from the model");
    }
    if (memcmp(fixture->storage[fixture->at] + buffer->read, fixture->queue, fixture->queued) !=
        0) {
        fail_after(steps, capacity, "the pending bytes differ from the model");
    }
    if (fixture->queued == 0 && (buffer->read != 0 || buffer->write != 0)) {
        fail_after(steps, capacity, "empty, but not rewound");
    }
}

/* An operation that changed nothing is not followed further: its continuations are those of the
 * shorter sequence without it. */
static bool same(const struct fixture *a, const struct fixture *b) {
    return a->buffer.read == b->buffer.read && a->buffer.write == b->buffer.write &&
           a->at == b->at && a->next == b->next;
}

static void explore(const struct fixture *fixture, size_t capacity, size_t steps) {
    struct operation operations[OPERATIONS_MAX];
    size_t number = legal_operations(fixture, capacity, operations);
    for (size_t i = 0; i < number; i++) {
        struct fixture after = *fixture;
        trail[steps] = operations[i];
        apply(&after, operations[i], capacity, steps + 1);
        check(&after, capacity, steps + 1);
        cases++;
        if (steps + 1 < STEPS_MAX && !same(fixture, &after)) {
            explore(&after, capacity, steps + 1);
        }
    }
}

static void all_sequences_agree_with_a_queue(void **state) {
    (void)state;
    for (size_t capacity = 1; capacity <= CAPACITY_MAX; capacity++) {
        struct fixture fixture = {.buffer = {.read = 3, .write = 7}, .next = 1};
        memset(fixture.storage, 0xEE, sizeof fixture.storage);
        buffer_init(&fixture.buffer);
        check(&fixture, capacity, 0);
        explore(&fixture, capacity, 0);
    }
}

static void valid_means_ordered_in_bounds_and_rewound_when_empty(void **state) {
    (void)state;
    static const uint32_t positions[] = {0, 1, 2, 3, 4, 5, UINT32_MAX - 1, UINT32_MAX};
    static const size_t capacities[] = {0, 1, 2, 3, 4, 5, UINT32_MAX - 1, UINT32_MAX, SIZE_MAX};
    for (size_t r = 0; r < sizeof positions / sizeof *positions; r++) {
        for (size_t w = 0; w < sizeof positions / sizeof *positions; w++) {
            for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
                const struct buffer buffer = {.read = positions[r], .write = positions[w]};
                bool ordered = positions[r] < positions[w] && positions[w] <= capacities[c];
                bool rewound = positions[r] == 0 && positions[w] == 0;
                assert_int_equal(buffer_is_valid(&buffer, capacities[c]), ordered || rewound);
                cases++;
            }
        }
    }
}

static void positions_use_all_32_bits(void **state) {
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_commit(&buffer, UINT32_MAX);
    assert_true(buffer_is_valid(&buffer, UINT32_MAX));
    assert_int_equal(buffer_pending(&buffer), UINT32_MAX);
    buffer_consume(&buffer, UINT32_MAX - 1);
    assert_true(buffer_is_valid(&buffer, UINT32_MAX));
    assert_int_equal(buffer_pending(&buffer), 1);
    assert_int_equal(buffer.read, UINT32_MAX - 1);
    buffer_consume(&buffer, 1);
    assert_int_equal(buffer_pending(&buffer), 0);
    assert_true(buffer_is_valid(&buffer, 0));
    cases++;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sequences_agree_with_a_queue),
        cmocka_unit_test(valid_means_ordered_in_bounds_and_rewound_when_empty),
        cmocka_unit_test(positions_use_all_32_bits),
    };
    return cmocka_run_group_tests_name("buffer", tests, NULL, report_cases);
}
