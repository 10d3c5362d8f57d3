#pragma once

#include "core/readiness.h"

/* The epoll interface as plain data: it compiles and is tested on every system, and the real
 * kernel's table converts each field (struct epoll_event is packed on x86-64 only).
 * source    epoll_ctl(2); the numbers are those of linux/eventpoll.h */
#define EPOLL_CODEC_IN 0x001u
#define EPOLL_CODEC_OUT 0x004u
#define EPOLL_CODEC_ERR 0x008u    /* always reported, cannot be masked */
#define EPOLL_CODEC_HUP 0x010u    /* likewise */
#define EPOLL_CODEC_RDHUP 0x2000u /* never requested: it spins on a half-closed peer */

enum epoll_operation { EPOLL_ADD, EPOLL_DELETE, EPOLL_MODIFY };

struct epoll_change {
    enum epoll_operation operation;
    uint32_t events; /* 0 for EPOLL_DELETE */
};

struct epoll_record {
    uint32_t events;
    uint64_t token; /* packed */
};

/*@
#include "core/acsl/epoll_codec.acsl"
*/

/* The epoll_ctl call that changes one interest to another; level-triggered.
 * requires  from != to
 * ensures   only IN or OUT is requested; NONE removes the descriptor
 * carries   COST-1, COST-3, COST-4, COST-5 */
/*@ requires known: from != to && from <= INTEREST_WRITE && to <= INTEREST_WRITE;
  @ assigns  \nothing;
  @ ensures  add: \result.operation == EPOLL_ADD <==> from == INTEREST_NONE;
  @ ensures  delete: \result.operation == EPOLL_DELETE <==> to == INTEREST_NONE;
  @ ensures  modify: \result.operation == EPOLL_MODIFY <==>
  @            from != INTEREST_NONE && to != INTEREST_NONE;
  @ ensures  events: \result.events == EpollEvents(to);
  @*/
struct epoll_change epoll_encode(enum interest from, enum interest to);

/* Decodes a record. Unknown bits are ignored.
 * ensures   each flag of the result depends on its own bits only
 * carries   CLOSE-1: a hang-up is a hint, never the end of the stream; FAIR-1 */
/*@ requires readable: \valid_read(record);
  @ assigns  \nothing;
  @ ensures  token: TokenPacked(\result.token) == record->token;
  @ ensures  readable: \result.readable <==> (record->events & EPOLL_CODEC_IN) != 0;
  @ ensures  writable: \result.writable <==> (record->events & EPOLL_CODEC_OUT) != 0;
  @ ensures  hangup: \result.hangup <==> (record->events & EPOLL_CODEC_HUP) != 0 ||
  @            (record->events & EPOLL_CODEC_RDHUP) != 0;
  @ ensures  error: \result.error <==> (record->events & EPOLL_CODEC_ERR) != 0;
  @*/
struct readiness epoll_decode(const struct epoll_record *record);
