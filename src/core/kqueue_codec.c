#include "core/kqueue_codec.h"

#include <assert.h>

/*@ assigns  \nothing;
  @ ensures  filter: \result == KqueueFilter(interest);
  @*/
static enum kqueue_filter filter_of(enum interest interest) {
    return interest == INTEREST_READ ? KQUEUE_READ : KQUEUE_WRITE;
}

/* A change is one verb plus RECEIPT: without it a successful change has no record, and a failure
 * cannot be matched with its change by position. */
/*@ requires verb: verb == KQUEUE_CODEC_ADD || verb == KQUEUE_CODEC_DELETE;
  @ assigns  \nothing;
  @ ensures  change: KqueueChange(\result, descriptor, token, interest, verb);
  @*/
static struct kqueue_record change(int32_t descriptor, struct token token, enum interest interest,
                                   uint32_t verb) {
    return (struct kqueue_record){.descriptor = descriptor,
                                  .filter = filter_of(interest),
                                  .flags = verb + KQUEUE_CODEC_RECEIPT,
                                  .fault = FAULT_NONE,
                                  .token = token_pack(token)};
}

size_t kqueue_encode(int32_t descriptor, struct token token, enum interest from, enum interest to,
                     struct kqueue_record changes[KQUEUE_CHANGES_MAX]) {
    assert(from != to);
    size_t count = 0;
    if (from != INTEREST_NONE)
        changes[count++] = change(descriptor, token, from, KQUEUE_CODEC_DELETE);
    if (to != INTEREST_NONE) changes[count++] = change(descriptor, token, to, KQUEUE_CODEC_ADD);
    return count;
}

enum fault kqueue_receipt(const struct kqueue_record *change, const struct kqueue_record *receipt) {
    bool deleted = (change->flags & KQUEUE_CODEC_DELETE) != 0;
    if (deleted && receipt->fault == FAULT_NOT_FOUND) return FAULT_NONE;
    return receipt->fault;
}

struct readiness kqueue_decode(const struct kqueue_record *record) {
    bool failed = (record->flags & KQUEUE_CODEC_EOF) != 0 && record->filter_flags != 0;
    return (struct readiness){
        .token = token_unpack(record->token),
        .readable = record->filter == KQUEUE_READ,
        .writable = record->filter == KQUEUE_WRITE,
        .hangup = (record->flags & KQUEUE_CODEC_EOF) != 0,
        .error = failed || (record->flags & KQUEUE_CODEC_ERROR) != 0,
    };
}
