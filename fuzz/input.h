#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A target's source of decisions: the bytes of its input, then zeroes. */
struct input {
    const uint8_t *bytes;
    size_t length, at;
};

static inline bool input_ended(const struct input *in) { return in->at == in->length; }

static inline uint8_t input_byte(struct input *in) {
    return input_ended(in) ? 0 : in->bytes[in->at++];
}

/* `count` bytes, least significant first. */
static inline uint64_t input_bytes(struct input *in, unsigned count) {
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number += (uint64_t)input_byte(in) << (8 * i);
    return number;
}

/* 0 to `max`: small numbers and the largest one take one byte, others nine. */
static inline uint64_t input_number(struct input *in, uint64_t max) {
    uint64_t number = input_byte(in);
    if (number == 255) return max;
    if (number >= 240) number = input_bytes(in, 8);
    return number <= max ? number : number % (max + 1);
}

static inline size_t input_size(struct input *in, size_t max) {
    return (size_t)input_number(in, max);
}
