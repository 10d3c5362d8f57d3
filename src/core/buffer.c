#include "core/buffer.h"

#include <assert.h>

bool buffer_is_valid(const struct buffer *buffer, size_t capacity) {
    bool ordered = buffer->read <= buffer->write && buffer->write <= capacity;
    bool rewound = buffer->read != buffer->write || buffer->read == 0;
    return ordered && rewound;
}

void buffer_init(struct buffer *buffer) {
    buffer->read = 0;
    buffer->write = 0;
}

size_t buffer_pending(const struct buffer *buffer) { return buffer->write - buffer->read; }

void buffer_commit(struct buffer *buffer, size_t count) {
    assert(buffer_pending(buffer) == 0);
    assert(count <= UINT32_MAX);
    buffer->write = (uint32_t)count; /* read is 0, because the buffer is empty */
}

void buffer_consume(struct buffer *buffer, size_t count) {
    assert(count <= buffer_pending(buffer));
    buffer->read += (uint32_t)count;
    if (buffer->read == buffer->write) buffer_init(buffer);
}

/*@ requires ordered: begin <= end;
  @ requires readable: \valid_read(from + (begin .. end - 1));
  @ requires writable: \valid(to + (begin .. end - 1));
  @ requires apart: \separated(to + (begin .. end - 1), from + (begin .. end - 1));
  @ assigns  to[begin .. end - 1];
  @ ensures  copied: \forall integer i; begin <= i < end ==> to[i] == from[i];
  @*/
static void copy(uint8_t *to, const uint8_t *from, size_t begin, size_t end) {
    /*@ loop invariant range: begin <= i <= end;
      @ loop invariant done: \forall integer k; begin <= k < i ==> to[k] == from[k];
      @ loop assigns i, to[begin .. end - 1];
      @ loop variant end - i;
      @*/
    for (size_t i = begin; i < end; i++)
        to[i] = from[i];
}

void buffer_move(const struct buffer *buffer, uint8_t *to, const uint8_t *from) {
    copy(to, from, buffer->read, buffer->write);
}
