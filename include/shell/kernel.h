#pragma once

#include "core/endpoint.h"
#include "core/epoll_codec.h"
#include "core/kqueue_codec.h"
#include "core/outcome.h"

/* Memory is released in multiples of this: the largest page size in use. */
#define KERNEL_MEMORY_UNIT 65536u

/* The porting interface: all system calls that the server makes while it serves. The real kernels
 * and the simulated one implement this table. Only epoll_wait, kevent and, for a millisecond,
 * log_write may block.
 *
 * A system has one of the two pollers; the entries of the other are null.
 */
struct kernel_ops {
    /* value: a new descriptor: non-blocking, close-on-exec, no Nagle delay, urgent data in line.
     * On success `peer` is its address. */
    struct result (*accept)(void *self, int32_t listener, struct endpoint *peer);
    struct result (*receive)(void *self, int32_t descriptor, uint8_t *bytes, size_t length);
    struct result (*send)(void *self, int32_t descriptor, const uint8_t *bytes, size_t length);
    /* Sends FIN; receiving remains possible. */
    struct result (*shutdown)(void *self, int32_t descriptor);
    struct result (*close)(void *self, int32_t descriptor);
    /* value: the number of unread bytes in the kernel, at most UINT32_MAX. */
    struct result (*unread)(void *self, int32_t descriptor);

    /* Returns memory to the system; its contents are undefined until it is written again. `memory`
     * and `length` are multiples of KERNEL_MEMORY_UNIT. */
    void (*release)(void *self, uint8_t *memory, size_t length);

    struct result (*epoll_control)(void *self, int32_t queue, int32_t descriptor,
                                   struct epoll_change change, uint64_t token);
    /* value: the number of records filled in. `timeout_ms` -1: no limit. */
    struct result (*epoll_wait)(void *self, int32_t queue, struct epoll_record *records, size_t max,
                                int32_t timeout_ms);
    /* value: the number of receipts or events filled in. */
    struct result (*kevent)(void *self, int32_t queue, const struct kqueue_record *changes,
                            size_t count, struct kqueue_record *events, size_t max,
                            int32_t timeout_ms);

    /* Milliseconds of a monotonic clock. */
    uint64_t (*clock_ms)(void *self);

    /* A fault if writing to the log would block. */
    struct result (*log_poll)(void *self);
    /* Writes one line, of at most PIPE_BUF bytes, to the log; a value below `length` after a
     * partial write. If it blocks all the same, it ends after `limit_us`, at most 999,999; 0:
     * never. */
    struct result (*log_write)(void *self, const char *line, size_t length, int32_t limit_us);
};

struct kernel {
    const struct kernel_ops *ops;
    void *self;
};
