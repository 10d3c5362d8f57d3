/* Targets kqueue_encode, kqueue_receipt and kqueue_decode.
 *
 * For any sequence of interests, a model of a kqueue (kqueue(2)) never adds a filter twice, deletes
 * a missing one or holds two, and ends with exactly the filter of that interest. Receipts are
 * returned, except for deleting a missing filter. Each defined flag of a record sets its own flag;
 * other bits set none. */

#include "check.h"
#include "core/kqueue_codec.h"
#include "input.h"

/* The filters of one descriptor. */
struct filters {
    bool read, write;
    uint64_t token; /* of the last change */
};

static void apply(struct filters *filters, const struct kqueue_record *change) {
    CHECK(change->filter == KQUEUE_READ || change->filter == KQUEUE_WRITE);
    bool *filter = change->filter == KQUEUE_READ ? &filters->read : &filters->write;
    bool adds = change->flags == 0x41;    /* EV_ADD | EV_RECEIPT */
    CHECK(adds || change->flags == 0x42); /* EV_DELETE | EV_RECEIPT */
    CHECK(*filter != adds);
    *filter = adds;
    CHECK(!filters->read || !filters->write);
    if (adds) filters->token = change->token;
}

static void try_changes(struct input *in) {
    struct filters filters = {.read = false};
    enum interest from = INTEREST_NONE;
    int32_t descriptor = (int32_t)input_number(in, INT32_MAX);
    struct token token = token_unpack(input_number(in, UINT64_MAX));
    while (!input_ended(in)) {
        enum interest to = (enum interest)(input_byte(in) % 3);
        struct kqueue_record changes[KQUEUE_CHANGES_MAX];
        if (to == from) continue;
        size_t count = kqueue_encode(descriptor, token, from, to, changes);
        CHECK(count >= 1 && count <= KQUEUE_CHANGES_MAX);
        for (size_t i = 0; i < count; i++) {
            CHECK(changes[i].descriptor == descriptor && changes[i].fault == FAULT_NONE);
            CHECK(changes[i].filter_flags == 0 && changes[i].data == 0);
            apply(&filters, &changes[i]);
        }
        from = to;
        CHECK(filters.read == (to == INTEREST_READ) && filters.write == (to == INTEREST_WRITE));
        CHECK(to == INTEREST_NONE || filters.token == token_pack(token));
    }
}

static void try_receipt(struct input *in) {
    const struct token token = {.slot = 5, .generation = 1};
    struct kqueue_record changes[KQUEUE_CHANGES_MAX];
    bool deletes = input_byte(in) % 2 == 1;
    enum interest interest = input_byte(in) % 2 == 1 ? INTEREST_READ : INTEREST_WRITE;
    kqueue_encode(5, token, deletes ? interest : INTEREST_NONE, deletes ? INTEREST_NONE : interest,
                  changes);
    struct kqueue_record receipt = changes[0];
    receipt.flags = (uint32_t)input_number(in, UINT32_MAX);
    receipt.fault = (enum fault)(input_byte(in) % (FAULT_OTHER + 1));
    enum fault returned = kqueue_receipt(&changes[0], &receipt);
    CHECK(returned == (deletes && receipt.fault == FAULT_NOT_FOUND ? FAULT_NONE : receipt.fault));
}

static void try_event(struct input *in) {
    struct kqueue_record record = {.descriptor = (int32_t)input_number(in, INT32_MAX),
                                   .filter = (enum kqueue_filter)(input_byte(in) % 3)};
    record.flags = (uint32_t)input_number(in, UINT32_MAX);
    record.filter_flags = (uint32_t)input_number(in, UINT32_MAX);
    record.data = (int64_t)input_number(in, INT64_MAX);
    record.fault = (enum fault)(input_byte(in) % (FAULT_OTHER + 1));
    record.token = input_number(in, UINT64_MAX);
    bool ended = record.flags / 0x8000 % 2 == 1;   /* EV_EOF */
    bool refused = record.flags / 0x4000 % 2 == 1; /* EV_ERROR */
    struct readiness readiness = kqueue_decode(&record);
    CHECK(readiness.readable == (record.filter == KQUEUE_READ));
    CHECK(readiness.writable == (record.filter == KQUEUE_WRITE));
    CHECK(readiness.hangup == ended);
    CHECK(readiness.error == (refused || (ended && record.filter_flags > 0)));
    CHECK(token_pack(readiness.token) == record.token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    switch (input_byte(&in) % 3) {
    case 0: try_changes(&in); break;
    case 1: try_receipt(&in); break;
    default: try_event(&in); break;
    }
    return 0;
}
