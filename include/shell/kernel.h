#pragma once

#include "core/endpoint.h"
#include "core/epoll_codec.h"
#include "core/kqueue_codec.h"
#include "core/outcome.h"

/* Memory is given back in multiples of this: the largest page size in use. */
#define KERNEL_MEMORY_UNIT 65536u

/* The longest line of the log: what any pipe takes whole (source: POSIX, PIPE_BUF). */
#define KERNEL_LINE_BYTES 512

/* The port: all that the server asks of an operating system while it serves, at the line of system
 * calls. The real kernels and the simulated one fill in this table; the server never knows which it
 * has. No entry blocks but epoll_wait and kevent.
 *
 * A system has one of the two pollers; the entries of the other are null.
 */
struct kernel_ops {
    /* A new descriptor: non-blocking, close-on-exec, no Nagle delay, urgent data in line. On
     * success `peer` says who it is. */
    struct result (*accept)(void *self, int32_t listener, struct endpoint *peer);
    struct result (*receive)(void *self, int32_t descriptor, uint8_t *bytes, size_t length);
    struct result (*send)(void *self, int32_t descriptor, const uint8_t *bytes, size_t length);
    /* Sends FIN; receiving goes on. */
    struct result (*shutdown)(void *self, int32_t descriptor);
    struct result (*close)(void *self, int32_t descriptor);
    /* value: how many received bytes the kernel holds, at most UINT32_MAX. */
    struct result (*unread)(void *self, int32_t descriptor);

    /* Gives memory back; it reads as anything until it is written again. `memory` and `length` are
     * multiples of KERNEL_MEMORY_UNIT. */
    void (*release)(void *self, uint8_t *memory, size_t length);

    struct result (*epoll_control)(void *self, int32_t queue, int32_t descriptor,
                                   struct epoll_change change, uint64_t token);
    /* value: how many records were filled in. `timeout_ms` -1: for ever. */
    struct result (*epoll_wait)(void *self, int32_t queue, struct epoll_record *records, size_t max,
                                int32_t timeout_ms);
    /* value: how many receipts or events were filled in. */
    struct result (*kevent)(void *self, int32_t queue, const struct kqueue_record *changes,
                            size_t count, struct kqueue_record *events, size_t max,
                            int32_t timeout_ms);

    /* Milliseconds of a clock that never goes back. */
    uint64_t (*clock_ms)(void *self);

    /* Writes one line, of at most KERNEL_LINE_BYTES, to the log. A fault, at once, if it would
     * block; a value below `length` if there was no room for the rest. */
    struct result (*log_write)(void *self, const char *line, size_t length);
};

struct kernel {
    const struct kernel_ops *ops;
    void *self;
};
