/* Targets buffer_init, buffer_pending, buffer_commit, buffer_consume, buffer_move, buffer_is_valid.
 *
 * After any sequence of receives, sends and moves the pending bytes equal those of a simple queue.
 * No other byte of either storage changes, an empty buffer is rewound, and counts are right up to
 * 32 bits. */

#include <string.h>

#include "check.h"
#include "core/buffer.h"
#include "input.h"

#define CAPACITY_MAX 64
#define STORAGE_BYTES (CAPACITY_MAX + 16)

struct queue {
    uint8_t bytes[CAPACITY_MAX];
    size_t length;
};

struct trial {
    struct buffer buffer;
    struct queue queue;
    size_t capacity;
    uint8_t storages[2][STORAGE_BYTES];
    unsigned current; /* the storage with the pending bytes */
    uint8_t next;     /* the next byte to receive */
};

static void queue_drop_first(struct queue *queue) {
    for (size_t i = 1; i < queue->length; i++)
        queue->bytes[i - 1] = queue->bytes[i];
    queue->length--;
}

static void receive(struct trial *t, size_t count) {
    for (size_t i = 0; i < count; i++) {
        t->storages[t->current][i] = t->next;
        t->queue.bytes[t->queue.length++] = t->next++;
    }
    buffer_commit(&t->buffer, count);
}

static void consume(struct trial *t, size_t count) {
    for (size_t i = 0; i < count; i++)
        queue_drop_first(&t->queue);
    buffer_consume(&t->buffer, count);
}

/* Moves to the other storage, which is filled with other bytes. */
static void move(struct trial *t) {
    uint8_t *from = t->storages[t->current], *to = t->storages[!t->current];
    uint8_t from_before[STORAGE_BYTES], to_before[STORAGE_BYTES];
    for (size_t i = 0; i < STORAGE_BYTES; i++)
        to[i] = (uint8_t)~from[i];
    memcpy(from_before, from, STORAGE_BYTES);
    memcpy(to_before, to, STORAGE_BYTES);
    struct buffer before = t->buffer;
    buffer_move(&t->buffer, to, from);
    CHECK(t->buffer.read == before.read && t->buffer.write == before.write);
    CHECK(memcmp(from, from_before, STORAGE_BYTES) == 0);
    for (size_t i = 0; i < STORAGE_BYTES; i++) {
        bool pending = i >= before.read && i < before.read + t->queue.length;
        CHECK(to[i] == (pending ? from_before[i] : to_before[i]));
    }
    t->current = !t->current;
}

static void check_pending(const struct trial *t) {
    CHECK(buffer_is_valid(&t->buffer, t->capacity));
    CHECK(buffer_pending(&t->buffer) == t->queue.length);
    CHECK(t->buffer.read + t->queue.length <= t->capacity);
    CHECK(t->queue.length > 0 || t->buffer.read == 0);
    const uint8_t *first = t->storages[t->current] + t->buffer.read;
    CHECK(memcmp(first, t->queue.bytes, t->queue.length) == 0);
}

static void try_bytes(struct input *in) {
    struct trial t = {.capacity = 1 + input_size(in, CAPACITY_MAX - 1)};
    t.buffer = (struct buffer){.read = 7, .write = 9};
    buffer_init(&t.buffer);
    check_pending(&t);
    while (!input_ended(in)) {
        uint8_t what = input_byte(in) % 3;
        if (what == 0 && t.queue.length == 0)
            receive(&t, input_size(in, t.capacity));
        else if (what == 1)
            consume(&t, input_size(in, t.queue.length));
        else if (what == 2)
            move(&t);
        check_pending(&t);
    }
}

/* Positions alone, up to 32 bits. */
static void try_counts(struct input *in) {
    struct buffer buffer = {0, 0};
    size_t pending = 0, gone = 0;
    while (!input_ended(in)) {
        if (pending == 0) {
            pending = input_size(in, UINT32_MAX);
            gone = 0;
            buffer_commit(&buffer, pending);
        } else {
            size_t count = input_size(in, pending);
            pending -= count;
            gone += count;
            buffer_consume(&buffer, count);
        }
        CHECK(buffer_pending(&buffer) == pending);
        CHECK(buffer.read == (pending == 0 ? 0 : gone));
        CHECK(buffer_is_valid(&buffer, UINT32_MAX));
    }
}

/* Any positions: valid if read, write and capacity are in this order. */
static void try_validity(struct input *in) {
    uint8_t read = input_byte(in), write = input_byte(in), capacity = input_byte(in);
    bool read_met = false, both_met = false;
    for (unsigned position = 0; position <= capacity; position++) {
        read_met = read_met || position == read;
        both_met = both_met || (read_met && position == write);
    }
    if (read == write && read > 0) both_met = false;
    const struct buffer buffer = {.read = read, .write = write};
    CHECK(buffer_is_valid(&buffer, capacity) == both_met);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    switch (input_byte(&in) % 3) {
    case 0: try_bytes(&in); break;
    case 1: try_counts(&in); break;
    default: try_validity(&in); break;
    }
    return 0;
}
