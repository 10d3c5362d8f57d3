#include "shell/poller.h"

/* One call makes the changes and returns their receipts: with RECEIPT, each change has one, in
 * order, and no event comes between. */
static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    struct kqueue_record changes[KQUEUE_CHANGES_MAX];
    struct kqueue_record receipts[KQUEUE_CHANGES_MAX];
    size_t count = kqueue_encode(descriptor, token, from, to, changes);
    struct result result = poller->kernel.ops->kevent(poller->kernel.self, poller->queue, changes,
                                                      count, receipts, count, 0);
    if (result.fault == FAULT_INTERRUPTED)
        return (struct result){.fault = FAULT_NONE}; /* kqueue(2): the changes were applied */
    if (result.fault != FAULT_NONE) return result;
    for (int64_t i = 0; i < result.value; i++) {
        enum fault fault = kqueue_receipt(&changes[i], &receipts[i]);
        if (fault != FAULT_NONE)
            return (struct result){.fault = fault, .raw = (int32_t)receipts[i].data};
    }
    return result;
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    struct kqueue_record events[POLLER_EVENTS_MAX];
    struct result result = poller->kernel.ops->kevent(poller->kernel.self, poller->queue, NULL, 0,
                                                      events, POLLER_EVENTS_MAX, timeout_ms);
    for (int64_t i = 0; result.fault == FAULT_NONE && i < result.value; i++)
        ready[i] = kqueue_decode(&events[i]);
    return result;
}

const struct poller_ops poller_kqueue = {.change = change, .wait = wait};
