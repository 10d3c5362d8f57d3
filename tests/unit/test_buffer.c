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

/* A buffer, the two storages it may describe, and the model: a queue of the bytes it should hold,
 * the first to leave in queue[0]. */
struct world {
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

static size_t legal_operations(const struct world *world, size_t capacity,
                               struct operation operations[OPERATIONS_MAX]) {
    size_t number = 0;
    operations[number++] = (struct operation){INIT, 0};
    operations[number++] = (struct operation){MOVE, 0};
    for (size_t count = 0; count <= world->queued; count++) {
        operations[number++] = (struct operation){CONSUME, count};
    }
    for (size_t count = 0; world->queued == 0 && count <= capacity; count++) {
        operations[number++] = (struct operation){COMMIT, count};
    }
    return number;
}

/* As many bytes arrive at the start of the storage as the operation says. */
static void receive(struct world *world, size_t count) {
    for (size_t i = 0; i < count; i++) {
        world->storage[world->at][i] = world->next;
        world->queue[i] = world->next++;
    }
    world->queued = count;
    buffer_commit(&world->buffer, count);
}

static void send(struct world *world, size_t count) {
    for (size_t i = count; i < world->queued; i++) {
        world->queue[i - count] = world->queue[i];
    }
    world->queued -= count;
    buffer_consume(&world->buffer, count);
}

/* True if the move changed nothing but the pending bytes in the storage moved to. */
static bool move(struct world *world) {
    const struct world before = *world;
    unsigned to = 1 - world->at;
    buffer_move(&world->buffer, world->storage[to], world->storage[world->at]);
    for (size_t i = 0; i < CAPACITY_MAX; i++) {
        bool pending = before.buffer.read <= i && i < before.buffer.write;
        uint8_t source = before.storage[before.at][i];
        if (world->storage[to][i] != (pending ? source : before.storage[to][i]) ||
            world->storage[world->at][i] != source) {
            return false;
        }
    }
    world->at = to;
    return true;
}

static void apply(struct world *world, struct operation operation, size_t capacity, size_t steps) {
    switch (operation.verb) {
    case INIT:
        world->queued = 0;
        buffer_init(&world->buffer);
        break;
    case COMMIT: receive(world, operation.count); break;
    case CONSUME: send(world, operation.count); break;
    case MOVE:
        if (!move(world)) {
            fail_after(steps, capacity, "move changed other bytes than the pending ones");
        }
        break;
    }
}

static void check(const struct world *world, size_t capacity, size_t steps) {
    const struct buffer *buffer = &world->buffer;
    if (!buffer_is_valid(buffer, capacity)) {
        fail_after(steps, capacity, "not valid");
    }
    if (buffer_pending(buffer) != world->queued) {
        fail_after(steps, capacity, "not as many bytes pending as in the model");
    }
    if (memcmp(world->storage[world->at] + buffer->read, world->queue, world->queued) != 0) {
        fail_after(steps, capacity, "not the bytes of the model");
    }
    if (world->queued == 0 && (buffer->read != 0 || buffer->write != 0)) {
        fail_after(steps, capacity, "empty, but not rewound");
    }
}

/* An operation that left everything as it was is not followed further: what could come after it
 * is what comes after the shorter sequence without it. */
static bool same(const struct world *a, const struct world *b) {
    return a->buffer.read == b->buffer.read && a->buffer.write == b->buffer.write &&
           a->at == b->at && a->next == b->next;
}

static void explore(const struct world *world, size_t capacity, size_t steps) {
    struct operation operations[OPERATIONS_MAX];
    size_t number = legal_operations(world, capacity, operations);
    for (size_t i = 0; i < number; i++) {
        struct world after = *world;
        trail[steps] = operations[i];
        apply(&after, operations[i], capacity, steps + 1);
        check(&after, capacity, steps + 1);
        cases++;
        if (steps + 1 < STEPS_MAX && !same(world, &after)) {
            explore(&after, capacity, steps + 1);
        }
    }
}

static void sequences_agree_with_a_queue(void **state) {
    (void)state;
    for (size_t capacity = 1; capacity <= CAPACITY_MAX; capacity++) {
        struct world world = {.buffer = {.read = 3, .write = 7}, .next = 1};
        memset(world.storage, 0xEE, sizeof world.storage);
        buffer_init(&world.buffer);
        check(&world, capacity, 0);
        explore(&world, capacity, 0);
    }
}

static void validity_is_order_bound_and_rewound(void **state) {
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

static void positions_reach_32_bits(void **state) {
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
        cmocka_unit_test(sequences_agree_with_a_queue),
        cmocka_unit_test(validity_is_order_bound_and_rewound),
        cmocka_unit_test(positions_reach_32_bits),
    };
    return cmocka_run_group_tests_name("buffer", tests, NULL, report_cases);
}
