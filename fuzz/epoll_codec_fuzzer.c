/* Targets epoll_encode and epoll_decode.
 *
 * For any sequence of interests, a model of an epoll set (epoll_ctl(2)) accepts every change and is
 * then registered for exactly that interest. Each defined bit of a record sets its own flag; other
 * bits set none. */

#include "check.h"
#include "core/epoll_codec.h"
#include "input.h"

/* The entry of a descriptor in an epoll set. */
struct place {
    bool there;
    uint32_t events;
};

static void control(struct place *place, struct epoll_change change) {
    switch (change.operation) {
    case EPOLL_ADD:
        CHECK(!place->there); /* EEXIST */
        *place = (struct place){.there = true, .events = change.events};
        break;
    case EPOLL_MODIFY:
        CHECK(place->there); /* ENOENT */
        place->events = change.events;
        break;
    default:
        CHECK(change.operation == EPOLL_DELETE);
        CHECK(place->there && change.events == 0);
        place->there = false;
        break;
    }
}

static void try_changes(struct input *in) {
    struct place place = {.there = false};
    enum interest from = INTEREST_NONE;
    while (!input_ended(in)) {
        enum interest to = (enum interest)(input_byte(in) % 3);
        if (to == from) continue;
        control(&place, epoll_encode(from, to));
        from = to;
        CHECK(place.there == (to != INTEREST_NONE));
        CHECK(to != INTEREST_READ || place.events == 0x001);  /* EPOLLIN */
        CHECK(to != INTEREST_WRITE || place.events == 0x004); /* EPOLLOUT */
    }
}

/* The values of the bits are from linux/eventpoll.h. */
static bool has_bit(uint32_t events, unsigned number) {
    for (; number > 0; number--)
        events /= 2;
    return events % 2 == 1;
}

static void try_record(struct input *in) {
    const struct epoll_record record = {.events = (uint32_t)input_number(in, UINT32_MAX),
                                        .token = input_number(in, UINT64_MAX)};
    struct readiness readiness = epoll_decode(&record);
    CHECK(readiness.readable == has_bit(record.events, 0));
    CHECK(readiness.writable == has_bit(record.events, 2));
    CHECK(readiness.error == has_bit(record.events, 3));
    CHECK(readiness.hangup == (has_bit(record.events, 4) || has_bit(record.events, 13)));
    CHECK(token_pack(readiness.token) == record.token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    if (input_byte(&in) % 2 == 0)
        try_changes(&in);
    else
        try_record(&in);
    return 0;
}
