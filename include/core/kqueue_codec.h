#pragma once

#include "core/outcome.h"
#include "core/readiness.h"

/* kqueue's language, as plain data. The flags have the same numbers on every BSD; the filters do
 * not (NetBSD), so those are translated by the real kernel's table.
 * source    kqueue(2), sys/event.h of FreeBSD and macOS */
#define KQUEUE_CODEC_ADD 0x0001u
#define KQUEUE_CODEC_DELETE 0x0002u
#define KQUEUE_CODEC_RECEIPT 0x0040u /* report each change, also one that succeeded */
#define KQUEUE_CODEC_ERROR 0x4000u
#define KQUEUE_CODEC_EOF 0x8000u /* may come while data are still unread */

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

/* The changes that lead from one interest to another: the old filter goes, the new one comes.
 *
 * requires  from != to
 * ensures   the result is how many changes stand in `changes`, 1 or 2, each asking for a receipt
 */
size_t kqueue_encode(int32_t descriptor, struct token token, enum interest from, enum interest to,
                     struct kqueue_record changes[KQUEUE_CHANGES_MAX]);

/* What the receipt says of its change.
 * ensures   FAULT_NONE also if a filter to be deleted was already gone */
enum fault kqueue_receipt(const struct kqueue_record *change, const struct kqueue_record *receipt);

/* Reads an event. Total: unknown filters and flags are ignored.
 * ensures   readable, writable: by the filter; hangup: EOF; error: ERROR, or EOF with an errno */
struct readiness kqueue_decode(const struct kqueue_record *record);
