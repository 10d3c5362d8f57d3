#pragma once

#include "core/outcome.h"
#include "core/readiness.h"

/* The kqueue interface as plain data. The flags have the same values on every BSD; the filters do
 * not (NetBSD), so the real kernel's table converts them.
 * source    kqueue(2), sys/event.h of FreeBSD and macOS */
#define KQUEUE_CODEC_ADD 0x0001u
#define KQUEUE_CODEC_DELETE 0x0002u
#define KQUEUE_CODEC_RECEIPT 0x0040u /* report every change, even a successful one */
#define KQUEUE_CODEC_ERROR 0x4000u
#define KQUEUE_CODEC_EOF 0x8000u /* may be set while data are unread */

enum kqueue_filter { KQUEUE_OTHER, KQUEUE_READ, KQUEUE_WRITE };

/* A change, a receipt or an event. */
struct kqueue_record {
    int32_t descriptor;
    enum kqueue_filter filter;
    uint32_t flags;
    uint32_t filter_flags; /* with EOF: the socket's errno, or 0 */
    int64_t data;          /* bytes available, or with ERROR the change's errno, 0 for success */
    enum fault fault;      /* with ERROR: what `data` means; else FAULT_NONE */
    uint64_t token;        /* packed */
};

#define KQUEUE_CHANGES_MAX 2

/*@
#include "core/acsl/kqueue_codec.acsl"
*/

/* The changes from one interest to another: delete the old filter, add the new one.
 *
 * requires  from != to
 * ensures   the result is the number of changes in `changes`, 1 or 2; each requests a receipt
 * carries   COST-1, COST-3, COST-4
 */
/*@ requires known: from != to && from <= INTEREST_WRITE && to <= INTEREST_WRITE;
  @ requires room: \valid(changes + (0 .. KQUEUE_CHANGES_MAX - 1));
  @ assigns  changes[0 .. KQUEUE_CHANGES_MAX - 1];
  @ ensures  count: \result == (from == INTEREST_NONE || to == INTEREST_NONE ? 1 : 2);
  @ ensures  goes: from != INTEREST_NONE ==>
  @            KqueueChange(changes[0], descriptor, token, from, KQUEUE_CODEC_DELETE);
  @ ensures  comes: to != INTEREST_NONE ==>
  @            KqueueChange(changes[\result - 1], descriptor, token, to, KQUEUE_CODEC_ADD);
  @*/
size_t kqueue_encode(int32_t descriptor, struct token token, enum interest from, enum interest to,
                     struct kqueue_record changes[KQUEUE_CHANGES_MAX]);

/* The result of a change, from its receipt.
 * ensures   FAULT_NONE also if the filter to delete did not exist
 * carries   CLOSE-7, REF-14 */
/*@ requires readable: \valid_read(change) && \valid_read(receipt);
  @ assigns  \nothing;
  @ ensures  gone: (change->flags & KQUEUE_CODEC_DELETE) != 0 &&
  @            receipt->fault == FAULT_NOT_FOUND ==> \result == FAULT_NONE;
  @ ensures  said: !((change->flags & KQUEUE_CODEC_DELETE) != 0 &&
  @            receipt->fault == FAULT_NOT_FOUND) ==> \result == receipt->fault;
  @*/
enum fault kqueue_receipt(const struct kqueue_record *change, const struct kqueue_record *receipt);

/* Decodes an event. Unknown filters and flags are ignored.
 * ensures   readable, writable: by the filter; hangup: EOF; error: ERROR, or EOF with an errno
 * carries   CLOSE-1: a hang-up is a hint, never the end of the stream; FAIR-1 */
/*@ requires readable: \valid_read(record);
  @ assigns  \nothing;
  @ ensures  token: TokenPacked(\result.token) == record->token;
  @ ensures  readable: \result.readable <==> record->filter == KQUEUE_READ;
  @ ensures  writable: \result.writable <==> record->filter == KQUEUE_WRITE;
  @ ensures  hangup: \result.hangup <==> (record->flags & KQUEUE_CODEC_EOF) != 0;
  @ ensures  error: \result.error <==> (record->flags & KQUEUE_CODEC_ERROR) != 0 ||
  @            ((record->flags & KQUEUE_CODEC_EOF) != 0 && record->filter_flags != 0);
  @*/
struct readiness kqueue_decode(const struct kqueue_record *record);
