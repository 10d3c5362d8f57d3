#include "core/epoll_codec.h"

#include <assert.h>

/*@ assigns  \nothing;
  @ ensures  events: \result == EpollEvents(interest);
  @*/
static uint32_t events_of(enum interest interest) {
    switch (interest) {
    case INTEREST_READ: return EPOLL_CODEC_IN;
    case INTEREST_WRITE: return EPOLL_CODEC_OUT;
    default: return 0;
    }
}

struct epoll_change epoll_encode(enum interest from, enum interest to) {
    assert(from != to);
    enum epoll_operation operation = to == INTEREST_NONE ? EPOLL_DELETE : EPOLL_MODIFY;
    if (from == INTEREST_NONE) operation = EPOLL_ADD;
    return (struct epoll_change){.operation = operation, .events = events_of(to)};
}

struct readiness epoll_decode(const struct epoll_record *record) {
    return (struct readiness){
        .token = token_unpack(record->token),
        .readable = (record->events & EPOLL_CODEC_IN) != 0,
        .writable = (record->events & EPOLL_CODEC_OUT) != 0,
        .hangup =
            (record->events & EPOLL_CODEC_HUP) != 0 || (record->events & EPOLL_CODEC_RDHUP) != 0,
        .error = (record->events & EPOLL_CODEC_ERR) != 0,
    };
}
