#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one connection has received and not yet sent: two positions over storage that the caller
 * owns.
 *
 *      0            read              write          capacity
 *      |   gone     |    pending      |    unused    |
 *
 * A buffer is filled once, by one receive, and consumed from the front; when it is empty both
 * positions rewind to 0. So it never wraps, never compacts and never appends: the server does
 * not read from a client that still has bytes pending.
 *
 * The positions do not name their storage. The same buffer first describes bytes in the scratch
 * area that all connections share and then, when a send falls short, the same bytes at the same
 * positions in the connection's own area (`buffer_move`).
 */
struct buffer {
    uint32_t read;  /* bytes from the start to the first pending one */
    uint32_t write; /* bytes from the start to the end of the pending ones */
};

/* True if read <= write <= capacity, and an empty buffer is rewound. Every function below
 * requires it and keeps it. */
bool buffer_is_valid(const struct buffer *buffer, size_t capacity);

/* Makes the buffer empty.
 * ensures   nothing is pending */
void buffer_init(struct buffer *buffer);

/* The number of bytes pending, from storage[buffer->read] on. */
size_t buffer_pending(const struct buffer *buffer);

/* Notes that `count` bytes were received at the start of the storage.
 *
 * requires  nothing is pending; `count` is at most the capacity and fits 32 bits
 * ensures   `count` bytes are pending, storage[0] first
 */
void buffer_commit(struct buffer *buffer, size_t count);

/* Notes that the first `count` pending bytes were sent.
 *
 * requires  `count` is at most what is pending
 * ensures   the rest stays pending, in order; an empty buffer is rewound
 */
void buffer_consume(struct buffer *buffer, size_t count);

/* Copies what is pending from one storage to another, at the same positions.
 *
 * requires  both storages hold at least buffer->write bytes and do not overlap
 * ensures   the pending bytes in `to` are those in `from`; no other byte of `to` changed
 */
void buffer_move(const struct buffer *buffer, uint8_t *to, const uint8_t *from);
