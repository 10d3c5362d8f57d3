#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that one connection has received and not yet sent: two positions in storage that the
 * caller owns.
 *
 *      0            read              write          capacity
 *      |   sent     |    pending      |    unused    |
 *
 * A buffer is filled by one receive and consumed from the front; when it is empty, both positions
 * return to 0. It never wraps, compacts or appends, because the server does not read from a client
 * that still has bytes pending.
 *
 * The positions do not refer to one storage. They first describe bytes in the scratch area that
 * all connections share and, after a partial send, the same bytes at the same positions in the
 * connection's own area (`buffer_move`).
 */
struct buffer {
    uint32_t read;  /* bytes from the start to the first pending one */
    uint32_t write; /* bytes from the start to the end of the pending ones */
};

/*@
#include "core/acsl/buffer.acsl"
*/

/* True if read <= write <= capacity, and both are 0 in an empty buffer. Every function below
 * requires and preserves it.
 * carries   FLOW-3 */
/*@ requires readable: \valid_read(buffer);
  @ assigns  \nothing;
  @ ensures  twin: \result <==> BufferValid(buffer, capacity);
  @*/
bool buffer_is_valid(const struct buffer *buffer, size_t capacity);

/* Makes the buffer empty.
 * ensures   nothing is pending
 * carries   FAIR-1 */
/*@ requires writable: \valid(buffer);
  @ assigns  buffer->read, buffer->write;
  @ ensures  empty: BufferValid(buffer, 0) && BufferPending(buffer) == 0;
  @*/
void buffer_init(struct buffer *buffer);

/* The number of bytes pending, from storage[buffer->read] on.
 * carries   ECHO-3, ECHO-6 */
/*@ requires valid: \valid_read(buffer) && BufferValid(buffer, UINT32_MAX);
  @ assigns  \nothing;
  @ ensures  pending: \result == BufferPending(buffer);
  @*/
size_t buffer_pending(const struct buffer *buffer);

/* Records that `count` bytes were received at the start of the storage.
 *
 * requires  nothing is pending; `count` is at most the capacity and fits 32 bits
 * ensures   `count` bytes are pending, storage[0] first
 * carries   ECHO-3
 */
/*@ requires valid: \valid(buffer) && BufferValid(buffer, UINT32_MAX);
  @ requires empty: BufferPending(buffer) == 0 && count <= UINT32_MAX;
  @ assigns  buffer->write;
  @ ensures  valid: BufferValid(buffer, count);
  @ ensures  joins: BufferPending(buffer) == count;
  @ ensures  first: \forall uint8_t *s, integer i; BufferByte(buffer, s, i) == s[i];
  @*/
void buffer_commit(struct buffer *buffer, size_t count);

/* Records that the first `count` pending bytes were sent.
 *
 * requires  at least `count` bytes are pending
 * ensures   the others stay pending, in order; in an empty buffer both positions are 0
 * carries   ECHO-3, FLOW-2
 */
/*@ requires valid: \valid(buffer) && BufferValid(buffer, UINT32_MAX);
  @ requires there: count <= BufferPending(buffer);
  @ assigns  buffer->read, buffer->write;
  @ ensures  valid: BufferValid(buffer, \old(buffer->write));
  @ ensures  fifo: BufferGave{Pre, Post}(buffer, count);
  @*/
void buffer_consume(struct buffer *buffer, size_t count);

/* Copies the pending bytes from one storage to another, at the same positions.
 *
 * requires  both storages hold at least buffer->write bytes; they overlap neither each other nor
 *           the buffer
 * ensures   the pending bytes in `to` are those in `from`; no other byte of `to` changed
 * carries   ECHO-3, FLOW-2
 */
/*@ requires valid: \valid_read(buffer) && BufferValid(buffer, UINT32_MAX);
  @ requires readable: \valid_read(from + (0 .. buffer->write - 1));
  @ requires writable: \valid(to + (0 .. buffer->write - 1));
  @ requires apart: \separated(buffer, to + (0 .. buffer->write - 1),
  @                             from + (0 .. buffer->write - 1));
  @ assigns  to[buffer->read .. buffer->write - 1];
  @ ensures  moved: \forall integer i; 0 <= i < BufferPending(buffer) ==>
  @            BufferByte(buffer, to, i) == BufferByte(buffer, from, i);
  @*/
void buffer_move(const struct buffer *buffer, uint8_t *to, const uint8_t *from);
