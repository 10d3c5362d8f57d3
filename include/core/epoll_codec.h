#pragma once

#include "core/readiness.h"

/* epoll's language, as plain data: this compiles and is tested on every system, and the real
 * kernel's table translates field by field (struct epoll_event is packed on x86-64 only).
 * source    epoll_ctl(2); the numbers are those of linux/eventpoll.h */
#define EPOLL_CODEC_IN 0x001u
#define EPOLL_CODEC_OUT 0x004u
#define EPOLL_CODEC_ERR 0x008u /* always reported, cannot be masked */
#define EPOLL_CODEC_HUP 0x010u /* likewise */
#define EPOLL_CODEC_RDHUP                                                                          \
    0x2000u /* never asked for: with IN or OUT it spins on a half-closed peer */

enum epoll_operation { EPOLL_ADD, EPOLL_DELETE, EPOLL_MODIFY };

struct epoll_change {
    enum epoll_operation operation;
    uint32_t events; /* 0 for EPOLL_DELETE */
};

struct epoll_record {
    uint32_t events;
    uint64_t token; /* packed */
};

/* The one epoll_ctl that leads from one interest to another; level-triggered.
 * requires  from != to */
struct epoll_change epoll_encode(enum interest from, enum interest to);

/* Reads a record. Total: unknown bits are ignored.
 * ensures   each flag of the result depends on its own bits alone */
struct readiness epoll_decode(const struct epoll_record *record);
